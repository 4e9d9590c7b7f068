"""Laws of what a prompt says in another grammar: nothing of it passes in silence, and nothing of ours is suspected."""

import pytest

from danqing.prompt.grammar import Tag, parse, plan


@pytest.mark.parametrize(
    ("prompt", "quoted"),
    [
        ("{red|blue fox", "{red|blue fox"),
        ("red|blue} fox", "} fox"),
        ("(cat:1,3)", ":1,3)"),
        ("（红色：1.2）的狐狸", "：1.2）"),
        ("(红色：1.2)的狐狸", "：1.2)"),
        ("（red:1.2） fox", ":1.2）"),
        ("(red:１．２) fox", "１．"),
        ("fox, embedding:easynegative", "embedding:easynegative"),
        ("a cat++ on a mat", "cat++"),
        ("a (red cat)++ on a mat", ")++"),
        ("(cat)1.3", ")1.3"),
        ('("a cat", "a dog").and()', ".and("),
        ("a fox --ar 16:9", "--ar"),
        ("1.5::a fox::", "::a fox::"),
        ("<lora:ink:1 a fox", "<lora:ink:1"),
        ("[a cat:a dog:half]", "[a cat:a dog:half]"),
        ("a fox\nNegative prompt: frame\nSteps: 20, Sampler: Euler, Seed: 3", "Negative prompt:"),
        ("a fox\nSteps: 20, Sampler: Euler, Seed: 3", "Steps: 20"),
        ("a (red fox", "(red fox"),
        ("a red) fox", "a red)"),
        ("[a (b] c", "(b] c"),
    ],
)
def test_another_grammar_is_quoted_and_what_is_written_instead_is_said(prompt, quoted):
    (said, *_) = parse(prompt).unread
    assert quoted in said and plan(prompt, 4).unread == parse(prompt).unread


@pytest.mark.parametrize(
    "prompt",
    [
        *(
            "a red fox, 3d style",
            "一只(红色:1.2)的狐狸",
            "[a cat:a dog:0.5]",
            "[a::3]",
            "[b:2]",
            "[a|b|]",
            "x AND y:-0.5",
        ),
        *(
            "((a)) [b] \\(c\\) (d:1.3)",
            "at 10:30, 16:9",
            "a well-known -- and old -- fox",
            "一只狐狸（红色）",
            "<b>x</b>",
        ),
        *("a BREAK b", "<lora:ink:0.5:1> fox", "snake_case__name", "[a:b: 0.5 ]", "[a:b:1e1]", "a fox; 'x' \"y\"", ""),
    ],
)
def test_our_own_grammar_and_plain_words_are_not_suspected(prompt):
    assert parse(prompt).unread == ()


@pytest.mark.parametrize(
    ("tag", "strengths", "unread"),
    [
        ("<lora:x:0.5:0.7>", (0.5, 0.7), ()),
        ("<lora:x:0.5:unet=0.7>", (0.5, 0.7), ()),
        ("<lora:x:strong>", (1, 1), ("strong",)),
        ("<lora:x:0,5>", (1, 1), ("0,5",)),
        ("<lora:x:0.5:0.7:0.9>", (0.5, 0.7), ("0.9",)),
        ("<lora:x:0.5:lbw=MIDD>", (0.5, 0.5), ("lbw=MIDD",)),
        ("<lora:x:te=half>", (1, 1), ("te=half",)),
        (f"<lora:x:{'9' * 400}>", (1000, 1000), ()),
    ],
)
def test_arguments_of_a_tag_are_read_or_listed(tag, strengths, unread):
    (found,) = parse(tag).tags
    assert found == Tag(kind="lora", name="x", te=strengths[0], unet=strengths[1], text=tag, unread=unread)


def test_what_was_not_read_is_a_warning_of_the_picture(painter):
    from danqing.request.request import Request

    picture = painter.paint(Request(prompt="{red|blue fox", negative="(frame", seed=1, steps=1))
    assert len([line for line in picture.warnings if "{red|blue" in line or "(frame" in line]) == 2
