"""Laws of holding two worktrees' results against each other."""

import json

from benchmarks.behaviour.differences import differences
from hypothesis import given, settings
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(old=VALUES, new=VALUES)
def test_something_differs_exactly_where_the_values_do(old, new):
    alike = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert (list(differences(old, new)) == []) == alike


@settings(deadline=None)
@given(old=VALUES, new=VALUES)
def test_a_difference_is_found_at_any_depth_and_alone(old, new):
    found = list(differences({"same": [1], "case": [{"step": old}]}, {"same": [1], "case": [{"step": new}]}))
    assert len(found) == len(list(differences(old, new))) and all(each.startswith("case[0] > step") for each in found)


def test_of_two_texts_the_lines_that_differ_are_shown_and_no_others():
    (found,) = differences({"help": "a\nb\nc\n"}, {"help": "a\nx\nc\n"})
    assert found.splitlines()[0] == "help" and found.splitlines()[2:] == ["  -b", "  +x"]
