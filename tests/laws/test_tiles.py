"""Laws of tiles: as if whole wherever the network does not reach further than tiles overlap, in the memory of one."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from danqing.codec import VAECodec
from danqing.errors import InvalidInput
from danqing.guide import compose
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.tiles import LEAST, SHARED, Fitting, Side, Tiled, Tiling, fitting, in_tiles, places
from danqing.types import Conditioning, Denoised

DOUBLE = torch.float64
SIZES = [(12, 40), (33, 16), (29, 31), (16, 16)]
VAE = AutoencoderKLConfig(
    block_out_channels=(4, 4), layers_per_block=1, norm_num_groups=2, mid_block_add_attention=False, patch=2
)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def words(concat=None):
    return Conditioning(tokens=draw(1, 3, 2), concat=concat)


T = torch.tensor([0.4, 0.4], dtype=DOUBLE)


class Watched:
    """A convolution of a reach in cells, over x and what stands beside it; remembers the largest it was given."""

    def __init__(self, reach, channels=3, closing=False):
        self.kernel, self.reach = draw(3, channels, 2 * reach + 1, 2 * reach + 1, seed=1), reach
        self.around = "circular" if closing else "constant"
        self.seen: list[torch.Size] = []

    def __call__(self, x, t, cond):
        self.seen.append(x.shape)
        whole = x if cond.concat is None else torch.cat([x, cond.concat.expand(len(x), -1, -1, -1)], 1)
        wide = F.pad(whole, (self.reach, self.reach, 0, 0), mode=self.around)
        return Denoised(F.conv2d(F.pad(wide, (0, 0, self.reach, self.reach)), self.kernel) * t.view(-1, 1, 1, 1))


# --------------------------------------------------------------------------------------------------------- windows


sides = st.integers(1, 200).flatmap(
    lambda length: st.tuples(st.just(length), st.integers(2, 64), st.sampled_from([0.25, 0.5, 0.75]), st.booleans())
)


@settings(deadline=None, max_examples=40)
@given(sides, st.sampled_from([1, 2, 8]))
def test_windows_of_one_size_cover_every_cell_with_weights_that_add_up_to_one(drawn, unit):
    length, tile, share, closing = drawn
    tile = min(tile, length)
    side = Side(length, tile, min(int(tile * share), tile - 1), closing)
    total = torch.zeros(length * unit, dtype=DOUBLE)
    for start, weight in zip(side.starts, side.weights(unit), strict=True):
        cells = side.cells(start, unit)
        assert len(cells) == len(weight) == tile * unit and (weight >= 0).all()
        assert len(cells.unique()) == tile * unit and (closing or start + tile <= length)
        total[cells] += weight
    torch.testing.assert_close(total, torch.ones_like(total))


@settings(deadline=None, max_examples=40)
@given(sides)
def test_neighbours_overlap_by_as_much_as_is_asked_and_are_evenly_spread(drawn):
    length, tile, share, closing = drawn
    tile = min(tile, length)
    overlap = min(int(tile * share), tile - 1)
    starts = Side(length, tile, overlap, closing).starts
    steps = [b - a for a, b in zip(starts, [*starts[1:], *([length] if closing else [])], strict=False)]
    assert all(step <= tile - overlap for step in steps) or (closing and length <= 2 * (tile - overlap))
    assert not steps or max(steps) - min(steps) <= 1
    assert starts[0] == 0 and (closing or starts[-1] + tile == length)


def test_weights_do_not_jump():
    for closing in (False, True):
        for weight in Side(64, 16, 8, closing).weights(8):
            assert weight.diff().abs().max() < 0.06 and weight.max() <= 1


def test_a_tile_too_small_to_overlap_is_refused():
    with pytest.raises(InvalidInput, match="at least 2"):
        Tiling(tile=1)


# -------------------------------------------------------------------------------------------------------- denoisers


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize("reach", [0, 1, 2])
def test_what_reaches_no_further_than_a_quarter_of_the_overlap_is_as_if_whole(size, closing, reach):
    x, net = draw(2, 3, *size), Watched(reach, closing=closing)
    whole = net(x, T, words()).x0
    tiled = in_tiles(Watched(reach), Tiling(tile=16, closing=closing))(x, T, words()).x0
    torch.testing.assert_close(tiled, whole, rtol=1e-10, atol=1e-10)


def test_what_stands_beside_x_is_cut_as_x_is():
    x, beside = draw(2, 3, 24, 40), draw(1, 2, 24, 40, seed=2)
    whole = Watched(1, 5)(x, T, words(beside)).x0
    tiled = in_tiles(Watched(1, 5), Tiling(tile=8))(x, T, words(beside)).x0
    torch.testing.assert_close(tiled, whole, rtol=1e-10, atol=1e-10)


def test_a_network_is_told_where_its_window_lies():
    def position(x, t, cond):
        return Denoised(cond.extra["where"].movedim(-1, 1))

    x = draw(2, 2, 24, 40)
    for closing in (False, True):  # the mean of what the windows say of a cell is what is true of it
        found = in_tiles(position, Tiling(tile=16, closing=closing))(x, T, words().expand(2)).x0
        torch.testing.assert_close(found, places(x).expand(2, -1, -1, -1))
    down, across = places(draw(1, 1, 2, 4))[0, 1], places(draw(1, 1, 2, 4))[0, 0]
    assert down[:, 0].tolist() == [-0.5, 0.5] and across[0].tolist() == [-0.75, -0.25, 0.25, 0.75]


@pytest.mark.parametrize("size", [(16, 16), (7, 16), (3, 3)])
def test_one_tile_is_the_whole_bit_for_bit(size):
    x = draw(2, 3, *size).float().contiguous(memory_format=torch.channels_last)
    net = torch.nn.Conv2d(3, 3, 3, padding=1)

    def denoise(x, t, cond):
        return Denoised(net(x))

    for tiling in (Tiling(tile=16), Tiling(), Tiling(tile=99)):
        assert torch.equal(in_tiles(denoise, tiling)(x, T, words()).x0, denoise(x, T, words()).x0)


def test_the_network_never_sees_more_than_a_tile_however_large_the_picture():
    most = []
    for side in (16, 32, 64, 128):
        net = Watched(1)
        in_tiles(net, Tiling(tile=16))(draw(1, 3, side, side), T[:1], words())
        most.append(max(shape.numel() for shape in net.seen))
        assert {tuple(shape) for shape in net.seen} == {(1, 3, 16, 16)}
    assert len(set(most)) == 1


def test_a_closing_panorama_turns_with_its_picture():
    """Turned by the step of the windows, a picture gives the answer turned by as much, edge or no edge."""
    x, tiling = draw(2, 3, 8, 48), Tiling(tile=16, closing=True)
    seen = in_tiles(Watched(5), tiling)
    step = tiling.sides(8, 48)[1].starts[1]
    turned = seen(x.roll(step, -1), T, words()).x0
    torch.testing.assert_close(turned, seen(x, T, words()).x0.roll(step, -1))
    assert not torch.allclose(in_tiles(Watched(5), Tiling(tile=16))(x.roll(step, -1), T, words()).x0, turned)


def test_a_panorama_closes_even_where_one_tile_holds_it():
    x = draw(2, 3, 8, 16)
    closed, whole = in_tiles(Watched(2), Tiling(closing=True))(x, T, words()), Watched(2, closing=True)(x, T, words())
    torch.testing.assert_close(closed.x0, whole.x0, rtol=1e-10, atol=1e-10)


def test_guidance_over_tiles_is_tiles_over_guidance():
    x, tiling, terms = draw(2, 3, 24, 24), Tiling(tile=8), [(words(), 3.0)]
    outside = compose(in_tiles(Watched(3), tiling), terms, words())(x, T)
    inside = in_tiles(lambda x, t, cond: compose(Watched(3), terms, words())(x, t), tiling)(x, T, words())
    torch.testing.assert_close(outside, inside)  # the estimates of the terms and of the base too


# ----------------------------------------------------------------------------------------------------------- codecs


class Averages:
    """A codec of 2 × 2 means, that asks for no neighbour; its largest picture is remembered."""

    factor, channels, scale = 2, 3, 1.0

    def __init__(self):
        self.most = 0

    def encode(self, image, noise=None):
        self.most = max(self.most, image.shape[-1] * image.shape[-2])
        return F.avg_pool2d(image, 2) + (0 if noise is None else noise)

    def decode(self, latent):
        self.most = max(self.most, 4 * latent.shape[-1] * latent.shape[-2])
        return F.interpolate(latent, scale_factor=2.0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("closing", [False, True])
def test_a_codec_without_reach_is_as_if_whole_in_the_memory_of_a_tile(size, closing):
    codec, plain = Averages(), Averages()
    tiled = Tiled(codec, Tiling(tile=8, closing=closing))
    image, noise = draw(1, 3, 2 * size[0], 2 * size[1]), draw(1, 3, *size, seed=3)
    torch.testing.assert_close(tiled.encode(image, noise), plain.encode(image, noise))
    torch.testing.assert_close(tiled.decode(noise), plain.decode(noise))
    assert codec.most <= 16 * 16


def test_an_autoencoder_in_one_tile_is_whole_bit_for_bit_and_refuses_what_it_refused():
    torch.manual_seed(0)
    codec = VAECodec(AutoencoderKL(VAE).requires_grad_(False))
    tiled, image = Tiled(codec, Tiling(tile=8)), draw(1, 3, 32, 24).float()
    latent = codec.encode(image)
    assert torch.equal(tiled.encode(image), latent) and torch.equal(tiled.decode(latent), codec.decode(latent))
    assert (tiled.factor, tiled.channels, tiled.scale) == (codec.factor, codec.channels, codec.scale)
    with pytest.raises(InvalidInput, match="multiples of 4"):
        tiled.encode(draw(1, 3, 33, 400).float())


def test_no_seam_shows_in_the_shipped_autoencoders_tiles():
    """The decoded picture changes from one column to the next within tiles as much as where they are joined."""
    from danqing.painting.load import load

    codec = load("danqing-mini", "cpu", "fp32").codec
    smooth = F.interpolate(draw(1, 8, 4, 6).float(), (16, 40), mode="bicubic")  # (1, 8, 16, 40): 128 × 320 px
    with torch.inference_mode():
        steps = Tiled(codec, Tiling(tile=16)).decode(smooth).diff(dim=-1).abs().mean((0, 1, 2))  # (319,)
    joined = torch.zeros(320, dtype=torch.bool)
    side = Side(40, 16, 8)
    for start, weight in zip(side.starts, side.weights(8), strict=True):
        joined[side.cells(start, 8)] |= (weight > 0) & (weight < 1)
    inside = steps[~joined[1:]]
    assert steps[joined[1:]].mean() < 1.1 * inside.mean() and steps[joined[1:]].max() < 1.1 * inside.max()


class Nearest:
    """A codec of two pixels a cell along each side; remembers the windows that it was given."""

    factor, channels, scale = 2, 3, 1.0

    def __init__(self):
        self.seen = []

    def decode(self, latent):
        self.seen.append(tuple(latent.shape[-2:]))
        return F.interpolate(latent, scale_factor=2)

    def encode(self, image, noise=None):
        self.seen.append(tuple(side // 2 for side in image.shape[-2:]))
        return F.avg_pool2d(image, 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(LEAST, 70), st.integers(LEAST, 70), st.integers(LEAST**2, 5000))
def test_a_codec_sees_as_much_as_there_is_room_for_and_the_whole_no_more_than_twice(height, width, room):
    codec, said = Nearest(), []
    ours = Fitting(codec, lambda h, w: h * w <= room, said.append)
    x = draw(1, 3, height, width)
    assert torch.allclose(ours.decode(x), F.interpolate(x, scale_factor=2))
    if height * width <= room:
        assert codec.seen == [(height, width)] and not said
        return
    count = len(codec.seen)
    assert all(h * w <= room or max(h, w) <= LEAST for h, w in codec.seen) and len(said) == 1
    tile = fitting((height, width), lambda h, w: h * w <= room).tile
    assert tile == max(max(window) for window in codec.seen) and count > 1
    row = next(k for k in range(1, 99) if tile >= (max(height, width) + (k - 1) * SHARED) / k)
    # Of the shorter side a second row may be nearly all overlap.
    assert sum(h * w for h, w in codec.seen) <= (height + row * (SHARED + 1)) * (width + row * (SHARED + 1)) * 2


def test_where_there_is_room_every_byte_is_the_codecs_own_and_else_it_is_said():
    said = []
    vae = VAECodec(AutoencoderKL(VAE).eval())
    latent, image = draw(1, 4, 32, 20).float(), draw(1, 3, 128, 80).float()
    with torch.inference_mode():
        whole = Fitting(vae, lambda h, w: True, said.append)
        assert torch.equal(whole.decode(latent), vae.decode(latent)) and not said
        tiled = Fitting(vae, lambda h, w: h * w <= 20 * 20, said.append)
        assert torch.equal(tiled.decode(latent), Tiled(vae, Tiling(tile=18, share=0.25)).decode(latent))
        assert torch.allclose(tiled.encode(image), vae.encode(image), atol=1.0)
        assert ["80×128 pixels" in word and "tiles of 72" in word for word in said] == [True, True]
