"""Laws of the exact likelihood, and of the palette whose colours it counts."""

import math
from itertools import pairwise

import pytest
import torch

from danqing.errors import InvalidInput
from danqing.learn.data.palette import nearest, palette
from danqing.learn.objectives.autoregressive import Autoregressive
from danqing.nets.pixelcnn import PixelCNN, PixelCNNConfig
from danqing.noise import keyed

TINY = PixelCNNConfig(levels=16, embedding=3, hidden=6, width=4, first=3, dilations=(1,))


def build(**changes: object) -> PixelCNN:
    torch.manual_seed(0)
    return PixelCNN(PixelCNNConfig(**{**TINY.__dict__, **changes})).double()  # type: ignore[arg-type]


@torch.no_grad()
@pytest.mark.parametrize(("head", "bits"), [("palette", 4 / 3), ("levels", 4.0)])
def test_a_model_that_knows_nothing_needs_the_logarithm_of_the_levels(head, bits):
    model = build(head=head)
    for out in model.head.out:
        out.weight.zero_()
        out.bias.zero_()
    x = torch.randint(0, 16, (2, 3, 4, model.head.channels), generator=keyed("x"))
    torch.testing.assert_close(Autoregressive()(model, (x, None), keyed("n"))["loss"].item(), bits)


@torch.no_grad()
def test_the_loss_is_the_bits_of_the_pictures_own_probability():
    model, x = build(), torch.randint(0, 16, (3, 4, 5, 1), generator=keyed("x"))
    bits = -model(x).sum((1, 2)) / math.log(2)  # a picture
    torch.testing.assert_close(Autoregressive()(model, (x, None), keyed("n"))["loss"], bits.mean() / (3 * 20))


@torch.no_grad()
def test_the_expected_bits_of_the_models_own_pictures_are_its_entropy():
    """And those of any other distribution are more, by the divergence (Gibbs): here the uniform one."""
    model = build(levels=2, classes=0)
    every = torch.tensor([[i >> k & 1 for k in range(4)] for i in range(16)]).view(16, 2, 2, 1)
    logs = model(every).sum((1, 2))
    entropy = -(logs.exp() * logs).sum() / math.log(2) / 12
    uniform = Autoregressive()(model, (every, None), keyed("n"))["loss"]
    assert entropy < 4 / 12 < uniform
    torch.testing.assert_close(uniform - 4 / 12, (-math.log(16) - logs).mean() / math.log(2) / 12)


def test_training_on_one_picture_learns_it_by_heart():
    model, x = build().float(), torch.randint(0, 16, (1, 4, 4, 1), generator=keyed("x"))
    adam = torch.optim.Adam(model.parameters(), 0.03)
    losses = []
    for _ in range(60):
        adam.zero_grad()
        losses.append(Autoregressive()(model, (x, None), keyed("n"))["loss"])
        losses[-1].backward()
        adam.step()
    assert losses[-1] < 0.1 * losses[0]


# The palette --------------------------------------------------------------------------------------------------------

COLOURS = torch.randint(0, 256, (500, 3), generator=keyed("colours")).float()


def error(found: torch.Tensor) -> float:
    return (COLOURS - found[nearest(COLOURS, found)]).square().sum(1).mean().item()


def test_no_step_makes_the_error_larger_and_more_colours_make_it_smaller():
    errors = [error(palette(COLOURS, 8, keyed("start"), steps=n)) for n in range(12)]
    assert all(later <= earlier + 1e-3 for earlier, later in pairwise(errors)) and errors[-1] < errors[0]
    assert error(palette(COLOURS, 64, keyed("start"))) < error(palette(COLOURS, 16, keyed("start")))


def test_at_the_end_each_colour_is_the_mean_of_those_that_are_nearest_to_it():
    found = palette(COLOURS, 8, keyed("start"), steps=100)
    which = nearest(COLOURS, found)
    torch.testing.assert_close(found, torch.stack([COLOURS[which == k].mean(0) for k in range(8)]))


def test_fixed_colours_come_first_and_stay_and_as_many_as_there_are_miss_nothing():
    white = torch.full((1, 3), 255.0)
    assert torch.equal(palette(COLOURS, 8, keyed("start"), fixed=white)[:1], white)
    few = COLOURS[:5].repeat(3, 1)
    assert torch.equal(torch.unique(palette(few, 5, keyed("start")), dim=0), torch.unique(few, dim=0))
    with pytest.raises(InvalidInput, match="6 colours were asked for, of 5"):
        palette(few, 6, keyed("start"))
