"""`cast` is torch's own conversion, number by number."""

import itertools

import pytest
import torch

from danqing.weights.cast import BLOCK, LARGE, cast, room

TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize(("old", "new"), itertools.permutations((torch.float16, torch.bfloat16)))
def test_every_number_of_16_bits_becomes_what_torch_makes_of_it(old, new):
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(old)
    ours, theirs = cast(every, new), every.to(new)
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert torch.equal(ours[~ours.isnan()].view(torch.int16), theirs[~theirs.isnan()].view(torch.int16))


@pytest.mark.parametrize(("old", "new"), itertools.product(TYPES, TYPES))
@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (BLOCK - 1,), (2, BLOCK + 7), (LARGE // 2, 3)])
def test_size_and_place_of_a_number_do_not_matter(old, new, shape):
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(old)
    assert torch.equal(cast(given, new), given.to(new))
    if given.ndim > 1:
        assert torch.equal(cast(given.mT, new), given.mT.to(new))


def test_whole_numbers_and_no_wish_leave_a_tensor_as_it_is():
    whole, real = torch.arange(3), torch.ones(3)
    assert cast(whole, torch.float16) is whole
    assert cast(real, None) is real
    assert cast(real, torch.float32) is real


def test_a_tensor_in_pages_of_its_own_outlives_its_maker_and_can_be_written():
    made = room((LARGE,), torch.float32)
    assert made.fill_(2).sum() == 2 * LARGE
    assert made.untyped_storage().nbytes() == LARGE * 4
