"""Laws of the catalogues: they hold all that the code says and nothing else, and a text finds its message again."""

from itertools import cycle, islice

import pytest

from benchmarks import messages as kept
from danqing.lang.messages import messages
from danqing.lang.spoken import languages
from danqing.lang.template import Template

LANGUAGES = [language for language in languages() if language != "en"]
RUN = "run `python benchmarks/messages.py --write`, fill in what it names, and run it again"
#: What may stand in a hole, with brackets, ends of lines, quotes, signs of messages, another language, and much of it.
QUOTED = ("'{} {0} {x}'", '"it is: so; or, so. So"', "'there is no folder x'", repr("'\n\\"))
BARE = ("a\nb", "狐狸.png", "x" * 500, "%s", "/a/b c.png", "{}", "7")


@pytest.mark.parametrize("language", LANGUAGES)
def test_whatever_the_code_says_is_translated_and_nothing_else(language):
    said, there = set(kept.messages()), kept.read(kept.place(language))
    ours = {each.id for each in there if each.id and "click" not in each.auto_comments}
    assert not said - ours, f"not translated: {sorted(said - ours)}; {RUN}"
    assert not ours - said, f"said no more: {sorted(ours - said)}; {RUN}"
    assert not (empty := [text for text in kept.missing(there) if text in said]), f"not filled in: {empty}; {RUN}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_read_is_what_is_written(language):
    place = kept.place(language)
    assert place.with_suffix(".mo").read_bytes() == kept.compiled(kept.read(place)), RUN


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_holes_of_its_message(language):
    for english, other in _templates(language):
        named = [field for _, field, _ in other.parts if field is not None]
        numbers = [int(field) for field in named if field] or list(range(len(named)))
        assert sorted(numbers) == list(range(len(english.holes))), english.text
        assert all(any(named) == bool(field) for field in named), english.text
        lists = [bool(other.holes[numbers.index(n)]) for n in range(len(numbers))]
        assert lists == [bool(between) for between in english.holes], english.text
    for each in kept.read(kept.place(language)):
        if each.id and "click" in each.auto_comments:
            forms = [Template(text) for text in ((each.id,) if isinstance(each.id, str) else each.id)]
            told = [Template(text) for text in ((each.string,) if isinstance(each.string, str) else each.string)]
            assert {name for form in told for name in _names(form)} <= {name for form in forms for name in _names(form)}


@pytest.mark.parametrize("odd", [*QUOTED, *BARE])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_message_is_found_in_its_text_with_what_stood_in_its_holes(language, odd):
    said = messages(language).said
    for english, other in _templates(language):
        values = _values(english, odd if english.telling else "7")
        text = english.filled(values)
        if odd in QUOTED or english.values(text) == [
            value for (value,) in values
        ]:  # else no one could say what stood there
            assert said(text) == other.filled(values), english.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_message_in_a_hole_is_told_in_the_language_too(language):
    found = messages(language)
    inner = "a whole number"
    for english, _ in _templates(language):
        if english.telling and not any(literal == "" for literal in english.literals[1:-1]):
            given = [[inner], *[["x"]] * (len(english.holes) - 1)]
            text = english.filled(given)
            if english.values(text) == [inner, *["x"] * (len(english.holes) - 1)]:
                assert found.said(inner) in found.said(text), english.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_heading_stays_before_whatever_message_follows_it(language):
    said = messages(language).said
    heading = said("warning: x").removesuffix("x")
    for english, _ in _templates(language):
        text = english.filled(_values(english, "'x'" if english.telling else "7"))
        assert said(f"warning: {text}") == heading + said(text)


def test_a_field_with_the_name_of_a_heading_is_told_with_what_was_wrong_of_it():
    said = messages("zh").said
    wrong = "3 was given; possible is a group of fields"
    assert "engine: {}" in messages("zh").whole
    assert said(f"engine: {wrong}") == said(f"reference: {wrong}").replace("reference", "engine") != f"engine: {wrong}"


def test_what_is_no_message_stays_as_it_is():
    said = messages("zh").said
    words = ("solver", "a red fox, 3d style", "/home/a/cats and dogs.png", "my pictures", "House of cards.png", "狐狸")
    for text in (*words, "", " ", "x: y", "{}", "{0}", "'there is no folder x'", "a\tb"):
        assert said(text) == text


def test_what_is_quoted_is_nobodys_message():
    assert messages("zh").said("there is no file 'a whole number'.") == "没有文件 'a whole number'。"


def test_several_messages_are_told_one_by_one():
    said = messages("zh").said
    one, two = "there is no folder 'x'", "a whole number"
    for between in ("\n", "; ", ", "):
        assert said(f"{one}{between}{two}") == f"{said(one)}{between}{said(two)}"
    assert said("warning: there is no folder 'x'") == f"警告：{said(one)}"


def test_the_message_that_says_most_by_itself_is_taken():
    texts = ("cannot write {}: {}", "cannot write {}: {}. Choose another place")
    assert all(text in messages("zh").whole for text in texts)
    assert messages("zh").said("cannot write 'x': 'y'. Choose another place").endswith("请换一个位置")


def _templates(language):
    return list(dict.fromkeys(pair for pairs in messages(language).templates.values() for pair in pairs))


def _names(template):
    return [field for _, field, _ in template.parts if field]


def _values(template, odd):
    """Odd values for the holes; of two that touch, the first is empty, for nobody could say where it ends."""
    touching = [after == "" for after in template.literals[1:-1]] + [False]
    items = islice(cycle([odd, "'b'" if odd in QUOTED else odd]), len(touching))
    return [[""] if alone else [value] for value, alone in zip(items, touching, strict=True)]
