"""Laws of what steers a denoiser from beside: residuals of controls, and maps that lie over the picture."""

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from danqing.denoise import Denoiser, LearnedVariance
from danqing.errors import InvalidInput
from danqing.guide import compose
from danqing.nets.ports import NO_RESIDUALS, Residuals
from danqing.nets.unet import SD1, UNet
from danqing.schedule import Flow
from danqing.tiles import Tiling, in_tiles
from danqing.types import Conditioning, Denoised

TINY = replace(
    SD1,
    block_out_channels=(8, 16),
    transformer_layers=(1, 0),
    attention_heads=(2, 2),
    norm_num_groups=4,
    cross_attention_dim=12,
    layers_per_block=1,
)
SKIPS, MIDDLE = [(8, 1), (8, 1), (8, 2), (16, 2)], (16, 2)  # channels, and cells of the latent along one of theirs
UNIT = 8  # a hint has so many pixels along a cell
DRAW = torch.Generator().manual_seed(0)
X, T = torch.randn(2, 4, 8, 8, generator=DRAW), torch.tensor([0.4, 0.7])
HINT = torch.rand(2, 1, 8 * UNIT, 8 * UNIT, generator=DRAW)
ONES = torch.ones_like(HINT)


def words(hint: Tensor = HINT, seed: int = 2) -> Conditioning:
    draw = torch.Generator().manual_seed(seed)
    return Conditioning(tokens=torch.randn(2, 5, 12, generator=draw), maps={"hint": hint})


@pytest.fixture(scope="module", params=[Denoiser, LearnedVariance])
def denoiser(request: pytest.FixtureRequest) -> Denoiser:
    torch.manual_seed(0)
    outputs = 8 if request.param is LearnedVariance else 4
    return request.param(UNet(replace(TINY, out_channels=outputs)), Flow(), "flow").requires_grad_(False)


@dataclass(eq=False)
class Hinted:
    """A control of no network: the hint averaged over the cells of each skip, times a weight."""

    weight: float = 1.0
    name: str = "hint"

    def __call__(self, x: Tensor, time: Tensor, cond: Conditioning) -> Residuals:
        hint = cond.maps[self.name]
        assert hint.shape == (len(x), 1, x.shape[2] * UNIT, x.shape[3] * UNIT) and time.shape == (len(x),)

        def over(channels: int, cells: int) -> Tensor:
            return self.weight * F.avg_pool2d(hint, cells * UNIT).expand(-1, channels, -1, -1)

        return Residuals(down=tuple(over(*skip) for skip in SKIPS), mid=over(*MIDDLE))


def alike(found: Denoised, want: Denoised) -> bool:
    return all(a is b is None or torch.equal(a, b) for a, b in zip(found, want, strict=True))


def test_zero_residuals_change_no_bit_and_others_every_answer(denoiser: Denoiser):
    plain = denoiser(X, T, words())
    for weight, same in ((0.0, True), (0.5, False)):
        detach = denoiser.add_control(Hinted(weight))
        found = denoiser(X, T, words())
        assert all((a is b is None) or torch.equal(a, b) == same for a, b in zip(found, plain, strict=True))
        detach()


def test_attached_and_taken_off_in_any_order_every_bit_is_what_it_was(denoiser: Denoiser):
    plain, state = denoiser(X, T, words()), {name: value.clone() for name, value in denoiser.state_dict().items()}
    control = Hinted(0.5)
    first, second, third = (denoiser.add_control(one) for one in (control, Hinted(-2.0), control))
    second()
    twice = denoiser(X, T, words())
    first(), first()  # taking off what is off changes nothing
    once = denoiser(X, T, words())
    third()
    assert denoiser.controls == () and alike(denoiser(X, T, words()), plain)
    assert not torch.equal(twice.x0, once.x0) and not torch.equal(once.x0, plain.x0)
    assert all(torch.equal(denoiser.state_dict()[name], value) for name, value in state.items())


def test_the_residuals_of_several_controls_add(denoiser: Denoiser):
    controls = Hinted(0.5), Hinted(-0.2)
    detach = [denoiser.add_control(one) for one in controls]
    found = denoiser(X, T, words())
    for off in detach:
        off()
    detach = [denoiser.add_control(lambda *asked: controls[0](*asked) + controls[1](*asked))]
    assert alike(found, denoiser(X, T, words()))
    detach[0]()


def test_residuals_that_are_empty_are_neutral_and_those_of_other_networks_are_refused():
    x = torch.randn(1, 2, 3, 3)
    whole, middle = Residuals(down=(x, 2 * x), mid=x), Residuals(mid=x)
    assert whole + NO_RESIDUALS == NO_RESIDUALS + whole == whole
    assert torch.equal((middle + middle).mid, 2 * x) and (middle + middle).down == ()
    assert (whole + middle).down == whole.down
    with pytest.raises(InvalidInput, match="2 and for 1 skips"):
        whole + Residuals(down=(x,))


def test_each_term_of_guidance_is_steered_by_its_own_map(denoiser: Denoiser):
    base, term = words(0 * HINT, seed=3), words(HINT)
    detach = denoiser.add_control(Hinted(0.5))
    alone = denoiser(X, T, base).x0, denoiser(X, T, term).x0
    found = compose(denoiser, [(term, 3.0)], base)(X, T)
    detach()
    torch.testing.assert_close(found.x0, alone[0] + 3 * (alone[1] - alone[0]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close((found.base, found.cond), alone, rtol=1e-4, atol=1e-4)


def test_a_control_in_tiles_is_given_its_part_of_the_map(denoiser: Denoiser):
    """Its residuals are those of the whole hint, cut: with a hint that is the same everywhere, as if it were small."""
    x, hint = torch.cat([X, X, X], -1), torch.rand(2, 1, 64, 192, generator=DRAW)
    seen: list[Tensor] = []

    def watched(x: Tensor, time: Tensor, cond: Conditioning) -> Residuals:
        seen.append(cond.maps["hint"])
        return Hinted(0.5)(x, time, cond)

    detach = denoiser.add_control(watched)
    tiled = in_tiles(denoiser, Tiling(tile=8))
    found, starts = tiled(x, T, words(hint)), Tiling(tile=8).sides(8, 24)[1].starts
    detach()
    assert found.x0.shape == x.shape
    assert all(torch.equal(part, hint[..., s * 8 : s * 8 + 64]) for part, s in zip(seen, starts, strict=True))


# Maps -----------------------------------------------------------------------------------------------------------------


def test_a_conditioning_knows_its_maps_wherever_it_knows_its_extras():
    one = Conditioning(tokens=torch.ones(1, 3, 2), extra={"id": torch.ones(1, 4)}, maps={"hint": HINT[:1]})
    assert one.expand(3).maps["hint"].shape == (3, *HINT.shape[1:])
    two = one.map(lambda value: 2 * value)
    both = one.cat(two)
    assert torch.equal(both.maps["hint"], torch.cat([HINT[:1], 2 * HINT[:1]]))
    with pytest.raises(ValueError, match="different maps"):
        one.cat(replace(one, maps={}))
    with pytest.raises(ValueError, match="'hint'"):
        replace(one, extra={"hint": HINT[:1]})


def test_the_network_reads_extras_and_maps_each_under_its_own_name():
    class Net(torch.nn.Module):
        def forward(self, x: Tensor, time: Tensor, tokens: Tensor, *, pooled=None, extra, residuals) -> Tensor:
            assert set(extra) == {"id", "hint"}
            return x + F.avg_pool2d(extra["hint"], UNIT) + extra["id"].mean()

    net, cond = Net(), replace(words(), extra={"id": torch.ones(2, 3)})
    found = Denoiser(net, Flow(), "x0")(X, T, cond).x0
    torch.testing.assert_close(found, X + F.avg_pool2d(HINT, UNIT) + 1)


@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize("unit", [1, 3])
def test_maps_of_any_fineness_are_cut_as_the_latent_is_and_extras_are_whole(unit: int, closing: bool):
    x, hint = torch.randn(2, 2, 20, 24, generator=DRAW), torch.randn(2, 2, 20 * unit, 24 * unit, generator=DRAW)
    cond = replace(words(hint), extra={"id": torch.randn(2, 20, 24)})

    def denoise(x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
        assert cond.extra["id"].shape == (2, 20, 24)
        return Denoised(x + F.avg_pool2d(cond.maps["hint"], unit), variance=2 * x)

    found, want = in_tiles(denoise, Tiling(tile=8, closing=closing))(x, T, cond), denoise(x, T, cond)
    torch.testing.assert_close(found, want)


def test_a_map_that_does_not_lie_over_the_picture_is_refused():
    cond = words(torch.zeros(2, 1, 8 * UNIT, 8 * UNIT))
    with pytest.raises(InvalidInput, match="a map of 64×64 was given for a picture of 24×8 cells"):
        in_tiles(lambda x, t, cond: Denoised(x), Tiling(tile=8))(torch.cat([X, X, X], -1), T, cond)
