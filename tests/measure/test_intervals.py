"""Laws of intervals."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from danqing.measure.evaluation.intervals import bootstrap, mean, share
from danqing.noise import keyed


@settings(deadline=None)
@example([False] * 7)
@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_a_share_lies_in_its_interval_and_the_interval_in_0_to_100(right):
    found = share(torch.tensor(right))
    assert 0 <= found.low <= found.value <= found.high <= 100 and found.low < found.high
    twice = share(torch.tensor(right * 4))
    assert twice.value == pytest.approx(found.value) and twice.high - twice.low < found.high - found.low


def test_wilsons_interval_is_that_of_the_book():
    found = share(torch.tensor([True] * 15 + [False] * 5))  # 15 of 20: 53.1 to 88.8
    assert (found.low, found.high) == (pytest.approx(53.13, abs=0.01), pytest.approx(88.81, abs=0.01))


@pytest.mark.parametrize("measure", ["share", "mean", "bootstrap"])
def test_nineteen_of_twenty_intervals_hold_the_truth(measure):
    held = 0
    for trial in range(300):
        x = torch.rand(60, generator=keyed(measure, trial))
        if measure == "share":
            found, truth = share(x < 0.3), 30
        elif measure == "mean":
            found, truth = mean(x), 0.5
        else:
            found, truth = bootstrap(lambda i, x=x: float(x[i].mean()), 60), 0.5
        held += found.low <= truth <= found.high
    assert 0.91 <= held / 300 <= 0.99


def test_a_measure_that_grows_when_pictures_are_drawn_twice_lies_in_its_interval():
    """As the Fréchet distance of few pictures does; the least distance to another is 0 where one is drawn twice."""
    x = torch.rand(50, 1, generator=keyed("biased"))

    def spread(i):
        apart = torch.cdist(x[i], x[i]) + 9 * torch.eye(len(i))
        return 100 * float((apart.min(1).values < 0.01).double().mean())

    found = bootstrap(spread, 50, top=100)
    assert 0 <= found.low < found.value < found.high <= 100


def test_real_art_is_scored_alike_and_stands_beside():
    right = torch.tensor([True, False])
    assert share(right, torch.tensor([True, True])).real == 100 and share(right).real is None
    assert share(right, torch.tensor([], dtype=torch.bool)).real is None
