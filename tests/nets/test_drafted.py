"""The drafted UNets: one reads its draft beside the latent, the other paints the residual about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from danqing.denoise import Denoiser, edm
from danqing.errors import InvalidInput
from danqing.nets.drafted import MINI, Draft, DraftedUNet, Drawn, ResidualUNet, Share, share_names, shared
from danqing.nets.laid import laid
from danqing.nets.unet import UNet
from danqing.schedule import Flow
from danqing.types import Conditioning

TINY = replace(
    MINI,
    block_out_channels=(8, 16, 24),
    attention_heads=(1, 2, 3),
    norm_num_groups=4,
    cross_attention_dim=12,
    pooled_channels=6,
    in_channels=5,
    out_channels=3,
    draft_size=4,
)


@pytest.fixture
def net() -> DraftedUNet:
    torch.manual_seed(0)
    return DraftedUNet(TINY).double().requires_grad_(False)


def call(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latent, time, tokens and summary."""
    draw = torch.Generator().manual_seed(1)
    x, tokens, pooled = (torch.randn(shape, generator=draw).double() for shape in ((2, 3, *size), (2, 7, 12), (2, 6)))
    return x, torch.tensor([3.0, 977.0]), tokens, pooled


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (6, 10)])
def test_it_is_a_unet_that_reads_latent_and_draft(net: DraftedUNet, size: tuple[int, int]) -> None:
    plain = UNet(TINY).double()
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("draft.")})
    x, time, tokens, pooled = call(size)
    grid = (pooled @ net.draft.linear.weight.T + net.draft.linear.bias).reshape(2, 2, 4, 4)
    both = torch.cat([x, F.interpolate(grid, size, mode="bilinear")], 1)
    torch.testing.assert_close(
        net(x, time, tokens, pooled=pooled), plain(both, time, tokens, pooled=pooled), rtol=0, atol=1e-12
    )


def test_the_draft_of_a_picture_does_not_depend_on_its_neighbours(net: DraftedUNet) -> None:
    x, time, tokens, pooled = call((4, 4))
    alone = torch.cat(
        [net(x[i : i + 1], time[i : i + 1], tokens[i : i + 1], pooled=pooled[i : i + 1]) for i in range(2)]
    )
    torch.testing.assert_close(net(x, time, tokens, pooled=pooled), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [None, 5])
def test_without_its_summary_it_says_what_is_missing(net: DraftedUNet, width: int | None) -> None:
    x, time, tokens, _ = call((4, 4))
    with pytest.raises(InvalidInput, match="summary of width 6"):
        net(x, time, tokens, pooled=None if width is None else torch.zeros(2, width).double())


def shares(seed: int = 3) -> tuple[Share, Share]:
    """Of two pictures for `TINY`, with other weights in every cell."""
    draw = torch.Generator().manual_seed(seed)
    sizes = ((2, 1, 4, 4), (2, 2, 4, 4))
    one, other = (Share(*(torch.rand(size, generator=draw).double() for size in sizes)) for _ in range(2))
    return one, other


def test_pictures_share_a_draft_by_their_weights_in_any_order() -> None:
    draft = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(2)).double()
    one, other = shares()
    half = one._replace(weight=one.weight / 2)
    assert shared(draft, []) is draft
    assert torch.equal(shared(draft, [one._replace(weight=0 * one.weight)]), draft)
    torch.testing.assert_close(shared(draft, [one._replace(weight=one.weight * 0 + 1)]), one.picture)
    torch.testing.assert_close(shared(draft, [half, half]), shared(draft, [one]))
    assert torch.equal(shared(draft, [one, other]), shared(draft, [other, one]))
    third = draft + (one.picture - draft) / 3
    torch.testing.assert_close(shared(draft, [one._replace(weight=one.weight * 0 + 1 / 3)]), third)


def test_a_draft_with_pictures_stays_between_them_however_much_they_weigh() -> None:
    draft = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(2)).double()
    for times in (100, 1, 1000):
        one, other = (share._replace(weight=times * share.weight) for share in shares())
        every = torch.stack([draft, one.picture, other.picture])
        made = shared(draft, [one, other])
        assert (made >= every.amin(0) - 1e-12).all() and (made <= every.amax(0) + 1e-12).all()
    much = [share._replace(weight=share.weight + 1) for share in shares()]
    torch.testing.assert_close(shared(draft, much), shared(-draft, much))  # nothing is left for the text


def test_a_picture_counts_where_it_is_said_and_leaves_no_trace(net: DraftedUNet) -> None:
    x, time, tokens, pooled = call((4, 4))
    bare, share = net(x, time, tokens, pooled=pooled), shares()[0]
    net.shares["fox"] = Drawn("fox")
    said = dict(zip(share_names("fox"), share, strict=True))
    assert torch.equal(net(x, time, tokens, pooled=pooled), bare)
    assert torch.equal(net(x, time, tokens, pooled=pooled, extra={**said, "fox share": 0 * share.weight}), bare)
    assert not torch.equal(net(x, time, tokens, pooled=pooled, extra=said), bare)
    torch.testing.assert_close(net.drafted(x, pooled, said), shared(net.draft(pooled), [share]))
    assert not any("shares" in name for name in net.state_dict())
    net.shares.pop("fox")
    assert torch.equal(net(x, time, tokens, pooled=pooled, extra=said), bare)


def test_where_words_place_things_their_drafts_stand_in_the_picture_s_place(net: DraftedUNet) -> None:
    x, _, _, pooled = call((4, 4))
    net.shares["fox"] = Drawn("fox")
    said = dict(zip(share_names("fox"), shares()[0], strict=True))
    scene = {"things": pooled[:, None], "places": torch.tensor([[[0.5, 0.5, 1.0]], [[0.5, 0.5, 0.0]]]).double()}
    placed = net.drafted(x, pooled, {**scene, **said})
    assert torch.equal(placed[0], net.drafted(x, pooled, scene)[0])
    assert torch.equal(placed[1], net.drafted(x, pooled, said)[1])  # whose thing is not there


def test_the_draft_of_a_part_is_that_part_of_the_draft(net: DraftedUNet) -> None:
    from danqing.tiles import places

    x, _, _, pooled = call((12, 10))
    net.shares["fox"] = Drawn("fox")
    said = dict(zip(share_names("fox"), shares()[0], strict=True))
    whole, where = net.drafted(x, pooled, said), places(x).movedim(1, -1).expand(2, -1, -1, -1)  # (2, 12, 10, 2)
    for rows, columns in [(slice(0, 12), slice(0, 10)), (slice(3, 7), slice(5, 9))]:
        part = net.drafted(x[..., rows, columns], pooled, {**said, "where": where[:, rows, columns]})
        torch.testing.assert_close(part, whole[..., rows, columns], rtol=0, atol=1e-12)


def scene(*places: tuple[float, float, float]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A draft of the whole, drafts of things and their places, (1, 2, 12, 12), (1, K, 2, 12, 12), (1, K, 3)."""
    draw = torch.Generator().manual_seed(2)
    whole, things = (
        torch.randn(shape, generator=draw).double() for shape in ((1, 2, 12, 12), (1, len(places), 2, 12, 12))
    )
    return whole, things, torch.tensor([places]).double()


def test_where_no_thing_is_placed_the_draft_is_that_of_the_whole() -> None:
    whole, things, places = scene((0.3, 0.5, 0.0), (0.5, 0.5, 0.0))
    assert torch.equal(laid(whole, things, places), whole)


def test_a_thing_is_laid_where_it_is_placed_as_large_as_it_is_and_goes_on_beyond_its_edge() -> None:
    whole, things, places = scene((0.25, 0.5, 0.5), (0.75, 0.5, 0.5))
    flat = things.mean((-1, -2), keepdim=True).expand_as(things).clone()
    out = laid(whole, flat, places)
    torch.testing.assert_close(out[..., :6], flat[:, 0, :, :, :6], rtol=0, atol=1e-12)
    torch.testing.assert_close(out[..., 6:], flat[:, 1, :, :, 6:], rtol=0, atol=1e-12)
    flat[:, 0, :, 4:8, 4:8] += 9.0  # the middle third of the first thing
    marked = (laid(whole, flat, places) - out).abs().amax(1)[0] > 1e-9
    rows, columns = marked.nonzero().amin(0).tolist(), marked.nonzero().amax(0).tolist()
    assert (rows, columns) == ([4, 1], [7, 4])  # about its centre at (3, 6), two cells and a blurred rim of one


def test_a_thing_placed_a_cell_aside_is_laid_a_cell_aside() -> None:
    whole, things, places = scene((0.5, 0.5, 0.5))
    aside = laid(whole, things, places + torch.tensor([1 / 12, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(aside[..., 1:], laid(whole, things, places)[..., :-1], rtol=0, atol=1e-9)


def test_a_net_is_given_things_and_places_and_drafts_each_by_itself(net: DraftedUNet) -> None:
    x, time, tokens, pooled = call((4, 4))
    things, places = torch.stack([pooled, -pooled], 1), torch.tensor([[[0.3, 0.5, 0.5], [0.7, 0.5, 0.5]]] * 2).double()
    given = {"things": things, "places": places}
    out = laid(net.draft(pooled), torch.stack([net.draft(pooled), net.draft(-pooled)], 1), places)
    torch.testing.assert_close(net.read(x, pooled, given), torch.cat([x, out], 1), rtol=0, atol=1e-12)
    nowhere = {**given, "places": 0 * places}
    said = net(x, time, tokens, pooled=pooled, extra=nowhere)
    torch.testing.assert_close(said, net(x, time, tokens, pooled=pooled), rtol=0, atol=1e-12)


@pytest.fixture
def residual() -> ResidualUNet:
    torch.manual_seed(0)
    return ResidualUNet(replace(TINY, in_channels=6, draft_hidden=10, draft_blocks=2)).double().requires_grad_(False)


def estimate(net: UNet, t: float, size: tuple[int, int] = (4, 4)) -> tuple[torch.Tensor, torch.Tensor, Conditioning]:
    """The flow's estimate of x_0, what it was made from, and the words."""
    x, _, tokens, pooled = call(size)
    said = Conditioning(tokens=tokens, pooled=pooled)
    return Denoiser(net, Flow(shift=3.0), "flow")(x, torch.full((2,), t).double(), said).x0, x, said


def test_a_linear_draft_is_one_layer_of_the_name_that_published_weights_have() -> None:
    assert set(Draft(6, 2, 4).state_dict()) == {"linear.weight", "linear.bias"}


def test_blocks_of_a_draft_begin_as_the_identity() -> None:
    torch.manual_seed(0)
    deep = Draft(6, 2, 4, 10, 3)
    none = Draft(6, 2, 4, 10, 0)
    none.body[0], none.body[-1], none.linear = deep.body[0], deep.body[-1], deep.linear
    for block in list(deep.body)[1:-1]:
        block.down.bias.data.zero_()
    pooled = torch.randn(5, 6)
    torch.testing.assert_close(deep(pooled), none(pooled), rtol=0, atol=0)


def test_a_silent_residual_unet_answers_its_draft_at_pure_noise_and_the_latent_without_noise(
    residual: ResidualUNet,
) -> None:
    for p in residual.conv_out.parameters():
        p.zero_()
    x0, x, said = estimate(residual, 1.0)
    torch.testing.assert_close(x0, residual.drafted(x, said.pooled), rtol=0, atol=1e-12)
    x0, x, _ = estimate(residual, 0.0)
    torch.testing.assert_close(x0, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("t", [0.2, 0.5, 0.9])
def test_a_silent_residual_unet_answers_the_best_linear_estimate(residual: ResidualUNet, t: float) -> None:
    """Wiener's: no other gain on x - alpha m has a smaller error where x_0 - m has the deviation s."""
    for p in residual.conv_out.parameters():
        p.zero_()
    x0, x, said = estimate(residual, t)
    alpha, sigma = (v.item() for v in Flow(shift=3.0)(torch.tensor(t).double()))
    mean, s = residual.drafted(x, said.pooled), residual.residual_std.item()
    gain = ((x0 - mean) / (x - alpha * mean)).flatten()
    torch.testing.assert_close(gain, gain[:1].expand_as(gain), rtol=1e-9, atol=0)
    error = lambda g: (1 - g * alpha) ** 2 * s**2 + (g * sigma) ** 2  # noqa: E731
    best = gain[0].item()
    assert error(best) < min(error(best - 1e-3), error(best + 1e-3))


@pytest.mark.parametrize("t", [0.2, 0.5, 0.9])
def test_the_residual_is_denoised_as_edm_would(residual: ResidualUNet, t: float) -> None:
    """x_0 - m by a Denoiser of EDM's parametrisation whose data have the deviation s."""
    x0, x, said = estimate(residual, t)
    mean = residual.drafted(x, said.pooled)

    class Inner(torch.nn.Module):
        def forward(self, about, time, tokens, *, pooled, **neutral):
            return UNet.forward(residual, torch.cat([about, mean], 1), time, tokens, pooled=pooled)

    kind = edm(residual.residual_std.item())._replace(time=None)
    alpha, _ = Flow(shift=3.0)(torch.tensor(t).double())
    about = Denoiser(Inner(), Flow(shift=3.0), kind)(x - alpha * mean, torch.full((2,), t).double(), said).x0
    torch.testing.assert_close(x0, mean + about, rtol=1e-9, atol=1e-9)


def test_gradients_reach_every_parameter_of_a_residual_unet(residual: ResidualUNet) -> None:
    residual.requires_grad_(True)
    for block in list(residual.draft.body)[1:-1]:
        torch.nn.init.normal_(block.down.weight)
    x0, _, _ = estimate(residual, 0.5, (8, 8))  # so that the middle has cells that attend to each other
    x0.square().sum().backward()
    silent = [name for name, p in residual.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


@pytest.mark.parametrize("size", [(8, 8), (6, 10)])
def test_a_residual_unet_of_a_part_reads_that_part_of_the_draft(residual: ResidualUNet, size: tuple[int, int]) -> None:
    """Given where its cells lie, the whole is answered as without being told."""
    from danqing.tiles import places

    x, time, tokens, pooled = call(size)
    where = places(x).movedim(1, -1).expand(2, -1, -1, -1)
    told = residual(x, time, tokens, pooled=pooled, extra={"where": where})
    torch.testing.assert_close(told, residual(x, time, tokens, pooled=pooled), rtol=0, atol=1e-9)


def test_a_residual_unet_refuses_a_draft_of_other_channels() -> None:
    with pytest.raises(InvalidInput, match="in_channels is 5"):
        ResidualUNet(TINY)
