"""Laws of people who are drawn again: what is free changes, what is a person's stays, and words say what changes."""

import random

import pytest
from experiments.data.attributes import SETS
from experiments.data.portraits import person
from experiments.people import FREE, mixed, otherwise
from experiments.redrawn import asked


def people(style: str) -> list[tuple[dict, dict, dict]]:
    """Some, each as they are, otherwise, and mixed of both."""
    draw = random.Random(style)
    found = []
    for _ in range(10):
        options, said, _ = person(style, draw)
        line = {"kind": "portrait", "style": style, "options": options, "attributes": said}
        other = otherwise(line, draw)
        found.append((line, other, mixed(line, other, draw)))
    return found


@pytest.mark.parametrize("style", SETS)
def test_a_mixture_has_every_option_and_word_of_one_of_the_two_and_what_is_not_free_of_both(style: str) -> None:
    changed = set[tuple[str, ...]]()
    for one, other, both in people(style):
        for part in ("options", "attributes"):
            names = one[part].keys() | other[part].keys()
            assert all(both[part].get(name) in (one[part].get(name), other[part].get(name)) for name in names)
            assert both[part].keys() <= names
        own = [{name: words for name, words in each["attributes"].items() if name not in FREE} for each in (one, both)]
        assert own[0] == own[1]
        changed.add(tuple(name for name in FREE if both["attributes"].get(name) != one["attributes"].get(name)))
    assert len(changed) > 1 and all(len(each) < len(FREE) for each in changed)


@pytest.mark.parametrize("style", SETS)
def test_of_a_ground_that_changes_the_new_one_is_asked_for_and_never_the_one_that_is_shown(style: str) -> None:
    draw, asked_for = random.Random(0), list[bool]()
    for one, other, both in people(style):
        for shown, meant in ((one, other), (other, one), (one, both), (both, other)):
            old, new = (each["attributes"]["background"] for each in (shown, meant))
            if old != new:
                text = asked(shown, meant, draw)
                assert not any(words in text for words in (f"{old['en']} background", f"{old['zh']}背景"))
                asked_for.append(any(words in text for words in (f"{new['en']} background", f"{new['zh']}背景")))
    assert sum(asked_for) > len(asked_for) / 2
