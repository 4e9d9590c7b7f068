"""Laws of choices in prompts: read as dynamicprompts reads them, drawn by seed and index alone, in linear time."""

import itertools
import re
import time
from collections import Counter
from contextlib import suppress

import pytest
from dynamicprompts.generators import CombinatorialPromptGenerator
from dynamicprompts.wildcards.wildcard_manager import WildcardManager
from hypothesis import given, settings
from hypothesis import strategies as st

from danqing.errors import InvalidFile, InvalidInput
from danqing.prompt.templates import Draws, Lines, drawn, has_choices, parse
from danqing.store.own import wildcards

LISTS = {"animal": ["fox", "owl", "red {panda|squirrel}"], "a/b": ["one", "two"], "a/c": ["three"]}


def nothing(name):
    raise AssertionError(name)


def every(text, lists=nothing, tries=600):
    """All that comes of a text, as far as so many seeds show it."""
    return {plain(drawn(text, Draws(seed), lists)) for seed in range(tries)}


def plain(text):
    return " ".join(re.sub(r"\s*,\s*", ",", text).split())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(wildcards, "folder", lambda: tmp_path)
    for name, lines in LISTS.items():
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("# words\n\n" + "\n".join(lines), "utf-8")
    return tmp_path


TEXTS = [
    "a plain fox", "x { a | b } y", "{2$$a|b|c}", "{2$$ and $$a|b|c}", "{a|}", "{}", "{1-2$$a|b}", "{0$$a|b}",
    "{-2$$a|b}",
    "{1-$$a|b|c}", "{0.5::a|b}", "{a|{b|c}} d", "{a, b|c}", "{[a|b]|c}", "a{b|c}d", "{a|b}{c|d}",
    "{3$$a|b}", "{ 2$$ a | b }",
    "{a::b|c}", "{2::a|3::b}", "{2-1$$a|b}", "{2$$, $$a|b|c}", "a # words\nb", "{(red:1.2)|[a:b:0.5]} fox",
    "{a|{b|{c|{d|e}}}}", "{2$$; $$x|y|z} {p|q}",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_things_come_of_a_text_as_of_dynamicprompts(text):
    theirs = {plain(each) for each in CombinatorialPromptGenerator().generate(text, 500)}
    assert every(text) == theirs


@pytest.mark.parametrize(
    "text", ["a __animal__", "{__animal__|cat}", "__a/*__", "{2$$__a/b__}", "{1-2$$, $$__a/b__} x"]
)
def test_the_same_things_come_of_lists_of_words_as_of_dynamicprompts(folder, text):
    theirs = CombinatorialPromptGenerator(wildcard_manager=WildcardManager(folder)).generate(text, 500)
    assert every(text, wildcards.lines) == {plain(each) for each in theirs}


words = st.text(st.characters(categories=["L", "N"], exclude_characters="\n"), min_size=1, max_size=4)
trees = st.recursive(
    words,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda some: "{" + "|".join(some) + "}"),
    max_leaves=8,
)


@given(st.lists(trees, min_size=1, max_size=3).map(" ".join))
@settings(max_examples=60)
def test_any_nested_choices_give_what_dynamicprompts_gives(text):
    theirs = {plain(each) for each in CombinatorialPromptGenerator().generate(text, 2000)}
    assert every(text, tries=40) <= theirs
    assert len(theirs) > 6 or every(text, tries=400) == theirs


@given(st.text(max_size=60))
def test_a_text_without_signs_of_choices_stays_and_any_text_is_drawn_without_an_error(text):
    try:
        found = drawn(text, Draws(1), lambda name: Lines(["x"]))
    except InvalidInput:
        return
    if not any(sign in text for sign in "{}_#\\"):
        assert found == text.strip() and not has_choices(text)


@given(st.text(alphabet="{}|_$#:0123\\ab \n", max_size=80))
def test_any_signs_are_read_and_what_is_not_closed_stays(text):
    parse(text)
    if "{" in text and "}" not in text and not set(text) & set("#_\\"):
        assert parse(text) == (text,)


def test_the_signs_themselves_are_written_with_a_backslash():
    assert drawn(r"a \{b\|c\} and \_\_d\_\_", Draws(0), nothing) == "a {b|c} and __d__"
    assert not has_choices("C# and #1, a_b, (a:1.2)")


def test_weights_are_shares_and_every_order_is_as_likely():
    found = Counter(drawn("{3::a|b}", Draws(seed), nothing) for seed in range(8000))
    assert abs(found["a"] / 8000 - 0.75) < 0.02
    orders = Counter(drawn("{2$$ $$a|b|c}", Draws(seed), nothing) for seed in range(6000))
    assert len(orders) == 6 and max(abs(n / 6000 - 1 / 6) for n in orders.values()) < 0.03
    lines = Counter(drawn("__x__", Draws(s), lambda name: Lines.of(["3::a", "b"])) for s in range(8000))
    assert abs(lines["a"] / 8000 - 0.75) < 0.02


def test_a_draw_depends_on_seed_index_and_prompt_alone():
    text = "{a|b|c|d} {a|b|c|d} {a|b|c|d}"
    keys = [(seed, index, what) for seed in (1, 2**63 - 1) for index in (0, 1) for what in ("prompt", "negative")]
    found = [drawn(text, Draws(*key), nothing) for key in keys]
    assert found == [drawn(text, Draws(*key), nothing) for key in keys] and len(set(found)) > 4


def test_lists_that_hold_each_other_are_refused_by_their_names():
    lists = {"a": Lines(["x __b__"]), "b": Lines(["__a__"])}
    with pytest.raises(InvalidInput, match="a in b in a"):
        drawn("__a__", Draws(0), lists.__getitem__)


def test_what_grows_beyond_all_bounds_or_is_too_deep_is_refused():
    for last in ("word", "{}"):
        lists = {str(n): Lines([f"__{n + 1}____{n + 1}__"]) for n in range(40)} | {"40": Lines([last])}
        with pytest.raises(InvalidInput, match="grows beyond"):
            drawn("__0__", Draws(0), lists.__getitem__)
    with pytest.raises(InvalidInput, match="deep"):
        parse("{" * 3000 + "a" + "}" * 3000)


def test_a_missing_list_is_named_with_its_nearest_and_the_folder_and_an_empty_one_is_refused(folder):
    with pytest.raises(InvalidInput, match="__animal__.*animal.txt") as caught:
        wildcards.lines("animl")
    assert str(folder) in str(caught.value)
    for name in ("../animal", "a", "/etc/passwd"):
        with pytest.raises(InvalidInput, match="no list"):
            wildcards.lines(name)
    (folder / "none.txt").write_text("\n# nothing\n")
    with pytest.raises(InvalidInput, match="is empty"):
        wildcards.lines("none")
    (folder / "bad.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InvalidFile, match="UTF-8"):
        wildcards.lines("bad")


def test_a_list_that_changes_is_read_anew(folder):
    assert wildcards.lines("a/c").texts == ["three"]
    (folder / "a/c.txt").write_text("four\nfive")
    assert wildcards.lines("a/c").texts == ["four", "five"]


def test_a_million_lines_are_a_list_and_many_draws_are_quick(folder):
    (folder / "many.txt").write_text("\n".join(map(str, range(1_000_000))))
    drawn("__many__", Draws(0), wildcards.lines)
    began = time.thread_time()
    found = [drawn("a {red|blue} __many__ with {2$$, $$a|b|c}", Draws(seed), wildcards.lines) for seed in range(5000)]
    assert time.thread_time() - began < 2 and len(set(found)) > 4900


@pytest.mark.parametrize(
    "unit", ["{", "}", "{a|", "__", "__a", "a__ ", "{1$$", "# ", "\\{", "{a|b}", "|", "1::", "{" + " "]
)
def test_reading_takes_time_linear_in_the_text(unit):
    def took(count):
        text = unit * count
        parse.cache_clear()
        began = time.thread_time()
        with suppress(InvalidInput):
            parse(text)
        return time.thread_time() - began

    short, long = (min(took(n) for _ in range(3)) for n in (4_000, 16_000))
    assert long < 8 * short + 0.02


def test_pairs_of_every_kind_of_sign_are_independent():
    for first, second in itertools.product(TEXTS[:8], TEXTS[8:14]):
        both = every(f"{first}; {second}", tries=30)
        assert {each.split(";")[0].strip() for each in both} <= every(first)
