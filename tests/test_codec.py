"""Laws of the codec."""

import pytest
import torch

from danqing.codec import VAECodec
from danqing.errors import InvalidInput
from danqing.levels import bytes_of, levels_of
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig

SHAPE = {"block_out_channels": (8, 8), "layers_per_block": 1, "norm_num_groups": 4, "mid_block_add_attention": False}


def codecs(**second):
    """Two codecs of the same weights."""
    pair = []
    for extra in ({"scaling_factor": 1.0}, second):
        torch.manual_seed(0)
        pair.append(VAECodec(AutoencoderKL(AutoencoderKLConfig(**SHAPE, **extra)).double().requires_grad_(False)))
    return pair


def picture(height=8, width=12):
    return torch.rand(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_latent_is_shifted_then_scaled_and_decoding_undoes_it():
    plain, scaled = codecs(scaling_factor=1.7, shift_factor=0.3)
    z = plain.encode(picture())
    torch.testing.assert_close(scaled.encode(picture()), (z - 0.3) * 1.7)
    torch.testing.assert_close(scaled.decode(scaled.encode(picture())), plain.decode(z))


def test_encoding_without_noise_is_the_centre_of_encoding_with_it():
    codec, _ = codecs(scaling_factor=1.0)
    noise = torch.randn(2, 4, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    there, back = codec.encode(picture(), noise), codec.encode(picture(), -noise)
    torch.testing.assert_close((there + back) / 2, codec.encode(picture()))
    assert not torch.equal(there, back)


def test_shapes_follow_factor_and_channels():
    codec, _ = codecs(scaling_factor=1.0)
    z = codec.encode(picture(16, 8))
    assert z.shape == (2, codec.channels, 16 // codec.factor, 8 // codec.factor) and codec.decode(z).shape == (
        2,
        3,
        16,
        8,
    )


@pytest.mark.parametrize(
    ("dtype", "answer"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_half_precision_stays_inside(dtype, answer):
    codec = VAECodec(AutoencoderKL(AutoencoderKLConfig(**SHAPE)).to(dtype).requires_grad_(False))
    z = codec.encode(picture().float())
    assert z.dtype == answer == codec.decode(z).dtype


def test_a_size_that_does_not_divide_is_refused():
    with pytest.raises(InvalidInput, match="multiples of 2"):
        codecs(scaling_factor=1.0)[0].encode(picture(7, 8))


def test_all_256_levels_survive_the_way_there_and_back():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(bytes_of(levels_of(levels)), levels)
    assert bytes_of(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]
