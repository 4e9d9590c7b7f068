"""Laws of the prompt grammar: what each mark means at each step, and that no string is an error."""

import subprocess
import sys
import time
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from danqing.errors import InvalidInput
from danqing.prompt.grammar import LIMIT, Piece, Switch, Tag, Turn, parse, plan, weigh

MARKS = [
    "(",
    ")",
    "[",
    "]",
    ":",
    "|",
    "\\",
    "<lora:",
    ">",
    " AND ",
    "BREAK",
    "0.5",
    "3",
    "-1",
    "1e9",
    " ",
    "\n",
    "a",
    "狐狸",
    "b c",
]
MARKED = st.lists(st.sampled_from(MARKS), max_size=40).map("".join)
PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="()[]\\:|<>"), max_size=40).filter(
    lambda text: "AND" not in text and "BREAK" not in text
)


def shown(prompt: str, step: int, steps: int = 20, **second) -> str:
    """The bare text of a one-term prompt at a step."""
    (term,) = plan(prompt, steps, **second).at(step)
    return "".join(piece.text for part in term.text for piece in part)


def weights(prompt: str) -> list[tuple[str, float]]:
    (part,) = weigh(prompt)
    return [(piece.text, pytest.approx(piece.weight)) for piece in part]


# ---- any string ------------------------------------------------------------------------------------------------------


@settings(max_examples=250, deadline=None)
@given(prompt=st.one_of(st.text(max_size=200), MARKED), steps=st.integers(1, 30), first=st.none() | st.integers(1, 30))
@example(prompt="[a:b:1e999]", steps=3, first=None)
@example(prompt="(a:" + "9" * 400 + ")", steps=3, first=None)
@example(prompt="<lora:x:nan:>", steps=1, first=None)
def test_every_string_has_a_plan_over_exactly_its_steps(prompt, steps, first):
    made = plan(parse(prompt), steps, first=first)
    assert [step for run in made.runs for step in range(run.start, run.stop + 1)] == list(range(1, steps + 1))
    assert all(a.terms != b.terms for a, b in pairwise(made.runs))
    pieces = [piece for text in made.texts for part in text for piece in part]
    assert all(piece.text and abs(piece.weight) <= LIMIT for piece in pieces)


@pytest.mark.parametrize(
    "unit, close",
    [
        ("(", ""),
        ("[", ""),
        (")", ""),
        ("]", ""),
        ("(a", ")"),
        ("[a", "]"),
        ("[a:b:", "5]"),
        ("[a|", "]"),
        ("[:", ""),
        ("\\", ""),
        (":", ""),
        (" ", ""),
        (": ", ""),
        ("<a:", ""),
        (" AND a:1", ""),
        ("BREAK ", ""),
        ("[a|b]", ""),
        ("(a[b", ""),
        ("9", ""),
        ("(a:1.1", ")"),
    ],
)
def test_a_hundred_thousand_characters_take_linear_time(unit, close):
    count = 100_000 // len(unit + close)
    prompt = unit * count + close * count
    began = time.process_time()
    plan(prompt, 4)
    assert time.process_time() - began < 10  # quadratic time would be minutes


@given(text=PLAIN)
def test_text_without_marks_is_itself(text):
    assert shown(text, 1) == text


@pytest.mark.parametrize(
    "prompt", ["a (b", "a [b", "a b)", "[a:b", "a:b", "[a:b:c]", "[a:b|c]", "[a:b:c:5]", "(a|b)", "[a ( b:c:5]"]
)
def test_what_does_not_parse_is_text_at_every_step(prompt):
    assert parse(prompt).terms == (((prompt,), 1.0),)


# ---- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt, wanted",
    [
        ("plain", [("plain", 1)]),
        ("a (red) fox", [("a ", 1), ("red", 1.1), (" fox", 1)]),
        ("a [red] fox", [("a ", 1), ("red", 1 / 1.1), (" fox", 1)]),
        ("((fox))", [("fox", 1.21)]),
        ("(fox:1.5)", [("fox", 1.5)]),
        ("(fox: -.5 )", [("fox", -0.5)]),
        ("(a (b:1.5) c:2)", [("a ", 2), ("b", 3), (" c", 2)]),
        ("([a])", [("a", 1)]),
        ("(a)(b)", [("ab", 1.1)]),
        ("(a:1)b", [("ab", 1)]),
        ("(open to the end", [("open to the end", 1.1)]),
        ("((open) to the end", [("open", 1.21), (" to the end", 1.1)]),
        ("never opened)", [("never opened)", 1)]),
        ("never opened:1.5)", [("never opened:1.5)", 1)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1), (" c", 1 / 1.1)]),
        (r"\(a\) \[b\] c\\d", [(r"(a) [b] c\d", 1)]),
        (r"(a\):1.5)", [("a)", 1.5)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("()(:2)", []),
    ],
)
def test_weights(prompt, wanted):
    assert weights(prompt) == wanted


@given(outer=st.floats(0.1, 3).map(lambda w: round(w, 2)), inner=st.floats(0.1, 3).map(lambda w: round(w, 2)))
def test_nested_weights_multiply(outer, inner):
    assert weights(f"((x:{inner}):{outer})") == [("x", pytest.approx(outer * inner))]


@given(prompt=MARKED)
def test_neighbours_of_equal_weight_are_one_piece(prompt):
    for part in weigh(prompt):
        assert all(a.weight != b.weight for a, b in pairwise(part))


def test_a_weight_of_nothing_silences_whatever_surrounds_it():
    assert weights("(" * 10_000 + "(x:0)" + ")" * 10_000) == [("x", 0)]


def test_break_cuts_in_any_bracket_and_eats_the_spaces_around_it():
    assert weigh("a BREAK b") == ((Piece("a", 1.0),), (Piece("b", 1.0),))
    assert weigh("(a BREAK\n b:2)") == ((Piece("a", 2.0),), (Piece("b", 2.0),))
    assert weigh("BREAK") == ((), ())
    assert weigh("BREAKFAST break") == ((Piece("BREAKFAST break", 1.0),),)


# ---- schedules -------------------------------------------------------------------------------------------------------


@given(when=st.integers(0, 30), steps=st.integers(1, 20), data=st.data())
def test_the_switch_comes_after_step_when(when, steps, data):
    step = data.draw(st.integers(1, steps))
    assert shown(f"[cat:dog:{when}]", step, steps) == ("cat" if step <= when else "dog")
    assert shown(f"[cat:{when}]", step, steps) == ("" if step <= when else "cat")
    assert shown(f"[cat::{when}]", step, steps) == ("cat" if step <= when else "")


@given(hundredths=st.integers(0, 150), steps=st.integers(1, 60), data=st.data())
def test_a_point_makes_when_a_fraction_of_the_steps(hundredths, steps, data):
    step = data.draw(st.integers(1, steps))
    when = hundredths / 100
    assert shown(f"[cat:dog:{when:.2f}]", step, steps) == ("cat" if step <= int(when * steps) else "dog")


def test_one_without_a_point_is_a_step_and_with_it_all_steps():
    assert [shown("[a:b:1]", step, 3) for step in (1, 2, 3)] == ["a", "b", "b"]
    assert [shown("[a:b:1.0]", step, 3) for step in (1, 2, 3)] == ["a", "a", "a"]


@given(options=st.lists(st.sampled_from(["cat", "dog", "owl", ""]), min_size=2, max_size=5), step=st.integers(1, 20))
def test_alternation_takes_turns(options, step):
    assert shown(f"a [{'|'.join(options)}]", step) == "a " + options[(step - 1) % len(options)]


def test_schedules_nest_in_schedules_alternations_and_weights():
    prompt = "([a:[b:[c|d]:6]:3]:1.5)"
    assert [shown(prompt, step) for step in (1, 3, 4, 6, 7, 8, 9)] == ["a", "a", "b", "b", "c", "d", "c"]
    assert all(piece.weight == 1.5 for text in plan(prompt, 20).texts for part in text for piece in part)
    assert [shown("[[a:b:1]|c]", step) for step in (1, 2, 3)] == ["a", "c", "b"]
    assert plan("[(a:1.2):(b:0.8):1]", 2).texts == (((Piece("a", 1.2),),), ((Piece("b", 0.8),),))


def test_an_unbalanced_bracket_elsewhere_leaves_a_schedule_alone():
    assert [shown(f"{before}[a:b:1]", 2) for before in ("", ":) ", "((( ", "[ ", ") ] ")] == [
        "b",
        ":) b",
        " b",
        " b",
        ") ] b",
    ]


def test_escaped_marks_make_no_schedule():
    assert shown(r"\[a:b:1\]", 5) == "[a:b:1]"


def test_a_second_pass_is_addressed_by_fractions_over_one_and_steps_over_the_first():
    second = {"steps": 10, "first": 20}
    assert [shown("[a:b:1.5]", step, **second) for step in (5, 6)] == ["a", "b"]
    assert [shown("[a:b:23]", step, **second) for step in (3, 4)] == ["a", "b"]
    assert shown("[a:b:0.5]", 1, **second) == shown("[a:b:7]", 1, **second) == "b"


def test_the_tree_tells_what_was_written():
    ((nodes, weight),) = parse("a [b:c:0.5][d|]").terms
    assert (nodes, weight) == (("a ", Switch(("b",), ("c",), 0.5, True), Turn((("d",), ()))), 1.0)


# ---- composition and tags --------------------------------------------------------------------------------------------


def test_and_composes_with_weights_of_either_sign():
    terms = plan("a cat AND a dog:0.5 AND [x:y:1] : -1.25 AND", 2).at(2)
    assert [(term.text, term.weight) for term in terms] == [
        (((Piece("a cat", 1.0),),), 1.0),
        (((Piece("a dog", 1.0),),), 0.5),
        (((Piece("y", 1.0),),), -1.25),
        (((),), 1.0),
    ]


@pytest.mark.parametrize("prompt", ["at 10:30", "16:9", "ANDROID and SAND", "a cat:2"])
def test_without_and_a_number_at_the_end_is_text(prompt):
    assert shown(prompt, 1) == prompt


def test_and_stands_beside_chinese_without_spaces():
    assert len(parse("狐狸AND猫").terms) == 2


def test_a_negative_prompt_reads_and_as_a_word():
    assert parse("cats AND dogs:2", compose=False).terms == ((("cats AND dogs:2",), 1.0),)


def test_tags_leave_the_text_and_keep_their_strengths():
    prompt = parse("a <lora:paint:0.8> fox <lora:ink:0.5:1.5><lora:x><hypernet:h:0.3> <lora:n:unet=0.2:te=0.4>")
    assert prompt.terms == ((("a fox",), 1.0),)
    assert [(tag.kind, tag.name, tag.te, tag.unet) for tag in prompt.tags] == [
        ("lora", "paint", 0.8, 0.8),
        ("lora", "ink", 0.5, 1.5),
        ("lora", "x", 1.0, 1.0),
        ("hypernet", "h", 0.3, 0.3),
        ("lora", "n", 0.4, 0.2),
    ]
    assert plan(prompt, 3).tags == prompt.tags
    assert parse("<lora:a:much>").tags == (Tag(kind="lora", name="a", text="<lora:a:much>", unread=("much",)),)


# ---- plans -----------------------------------------------------------------------------------------------------------


def test_a_plan_holds_each_distinct_text_once():
    made = plan("[a|b] AND a", 9)
    assert len(made.runs) == 9
    assert made.texts == (((Piece("a", 1.0),),), ((Piece("b", 1.0),),))
    assert len(plan("x [y:y:3]", 9).runs) == 1


@pytest.mark.parametrize("step", [0, 4, -1])
def test_a_step_outside_the_plan_is_refused(step):
    with pytest.raises(InvalidInput, match="1 to 3"):
        plan("a", 3).at(step)


def test_a_plan_over_no_steps_is_refused():
    with pytest.raises(InvalidInput, match="1 step or more"):
        plan("a", 0)


def test_the_grammar_loads_without_torch():
    code = "import sys, danqing.prompt, danqing.prompt.grammar; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
