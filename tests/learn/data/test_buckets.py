"""Laws of batches of one shape: no batch mixes shapes, an epoch leaves nothing out, and sizes hold their bounds."""

from collections import Counter

import pytest

from danqing.learn.data.buckets import Buckets, nearest, sizes

SHAPES = [(64, 64)] * 5 + [(48, 80)] * 3 + [(80, 48)]


@pytest.mark.parametrize("batch", [1, 2, 4, 16])
def test_every_batch_is_of_one_shape_and_every_epoch_shows_every_item(batch):
    order = Buckets(SHAPES, batch, "x")
    for epoch in range(3):
        seen = [order(epoch * order.batches + i) for i in range(order.batches)]
        assert all(len(items) == batch and len({SHAPES[i] for i in items}) == 1 for items in seen)
        counts = Counter(i for items in seen for i in items)
        assert set(counts) == set(range(len(SHAPES)))
        if batch == 1:
            assert set(counts.values()) == {1}


def test_a_batch_depends_on_its_index_alone():
    order, other = Buckets(SHAPES, 2, "x"), Buckets(SHAPES, 2, "x")
    forwards = [order(i) for i in range(20)]
    assert [other(i) for i in reversed(range(20))] == forwards[::-1]
    assert [Buckets(SHAPES, 2, "y")(i) for i in range(20)] != forwards


@pytest.mark.parametrize(
    ("side", "multiple", "widest"), [(512, 64, 2.0), (1024, 64, 4.0), (128, 16, 2.0), (96, 8, 1.0)]
)
def test_sizes_are_multiples_within_the_area_and_the_ratio_and_hold_their_transposes(side, multiple, widest):
    found = sizes(side, multiple, widest)
    assert (side, side) in found
    for width, height in found:
        assert width % multiple == height % multiple == 0 and width * height <= side * side
        assert max(width, height) <= widest * min(width, height)
    for width, height in found:  # nothing larger of that width would still fit
        assert width * (height + multiple) > side * side or widest == 1


def test_a_picture_of_a_sizes_ratio_goes_there_and_a_taller_one_never_to_a_wider():
    among = sizes(512, 64)
    for width, height in among:
        chosen = nearest((3 * width, 3 * height), among)
        assert chosen[0] * height == chosen[1] * width
    chosen = [nearest((100 + i, 200), among) for i in range(300)]
    ratios = [width / height for width, height in chosen]
    assert ratios == sorted(ratios) and ratios[0] < 1 < ratios[-1]
