"""Prompts that name classes."""

import pytest

from danqing.errors import InvalidInput, UnknownName
from danqing.prompt.classes import QUOTED, Classes

KINDS = Classes(
    (
        ("cat", "猫"),
        ("fox", "狐狸", "狐"),
        ("sea animal and reptile", "海洋动物"),
        ("animal", "动物"),
        ("hot dog", "热狗"),
        ("dog", "狗"),
    )
)


@pytest.mark.parametrize("index", range(len(KINDS.names)))
def test_every_name_alone_is_its_class_without_a_warning(index):
    for name in KINDS.names[index]:
        for said in (name, name.upper(), f" {name}. ", f"({name})", name.replace(" ", "  ")):
            assert KINDS.of(said) == (index, "")


@pytest.mark.parametrize("said", ["", "  ", "，", "()"])
def test_a_prompt_without_words_names_no_class(said):
    assert KINDS.of(said) == (None, "")


@pytest.mark.parametrize(
    ("said", "name"),
    [("a hot dog", "hot dog"), ("一条热狗", "hot dog"), ("a sea animal and reptile", "sea animal and reptile")],
)
def test_the_longest_name_counts(said, name):
    index, _ = KINDS.of(said)
    assert index is not None and KINDS.names[index][0] == name


def test_of_names_as_long_the_first_said_counts():
    assert KINDS.of("dog, cat")[0] == 5
    assert KINDS.of("cat, dog")[0] == 0


def test_an_english_name_is_whole_words_and_a_chinese_one_any_part():
    assert KINDS.of("一只大狐狸在雪地里")[0] == 1
    assert KINDS.of("狐狸fox猫")[0] == 1
    for said in ("category", "concat", "cat5", "foxes"):
        with pytest.raises(UnknownName):
            KINDS.of(said)


def test_what_else_is_said_is_named_as_ignored():
    index, warning = KINDS.of("a photo of a cat, well-lit 蓝天")
    assert index == 0
    assert '"a photo of a well-lit 蓝天"' in warning and "ignored" in warning
    assert len(KINDS.of("cat" + " and more" * 1000)[1]) < 2 * QUOTED


def test_an_unknown_kind_is_refused_with_the_names_that_there_are():
    with pytest.raises(UnknownName, match="kind 'ct'.*Did you mean 'cat'.*Possible: animal, cat, dog, fox, hot dog"):
        KINDS.of("ct")


@pytest.mark.parametrize("names", [(), ((),), (("cat",), ("",))])
def test_a_class_without_a_name_is_refused(names):
    with pytest.raises(InvalidInput, match="needs a name"):
        Classes(names)
