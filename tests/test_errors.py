"""The words of what is refused."""

import pytest

from danqing.errors import UnknownName, shortened


@pytest.mark.parametrize("length", [1, 79, 80, 81, 82, 83, 1000])
def test_a_name_is_shown_whole_or_by_both_its_ends(length):
    name = "a" + "/" * (length - 2) + "z" * (length > 1)
    shown = shortened(name)
    assert len(shown) <= 80 and shown[0] == name[0] and shown[-1] == name[-1]
    assert (shown == name) == (len(name) <= 80)
    assert repr(shown) in str(UnknownName("file", name, ()))
