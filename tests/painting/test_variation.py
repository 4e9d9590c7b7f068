"""Laws of the noise that a picture starts from: other programs' of the same seed, and the way to another seed's."""

import numpy as np
import pytest
import torch

from danqing.errors import InvalidInput, UnknownName
from danqing.noise import Noise
from danqing.request import infotext
from danqing.request.names import NOISES
from danqing.request.request import Request
from danqing.solve.starting import DRAWS, between, philox, starting

SHAPE = (1, 4, 8, 8)


def noise(seed=3, index=0, **options):
    return starting(seed, index, "start", **options)(torch.zeros(SHAPE))


def pixels(painter, **options):
    return np.asarray(painter.paint(Request(**{"prompt": "a fox", "steps": 2, "seed": 3, **options})).image)


def test_a_cuda_generator_is_the_published_one():
    """The first number of A1111's own example, and the moments and independence of many."""
    assert abs(float(philox(0, 12)[0]) + 0.92466259) < 1e-6
    many = philox(7, 200_000)
    assert abs(many.mean()) < 0.01 and abs(many.std() - 1) < 0.01 and not torch.equal(many, philox(8, 200_000))
    assert torch.equal(philox(2**40 + 5, 50)[:10], philox(2**40 + 5, 10))


def test_the_noise_of_other_programs_is_torchs_of_the_same_seed():
    def generator(seed):
        return torch.Generator().manual_seed(seed)

    assert torch.equal(noise(like="a1111-cpu", index=2)[0], torch.randn(SHAPE[1:], generator=generator(5)))
    assert torch.equal(noise(like="comfy", index=2)[0], torch.randn((3, *SHAPE[1:]), generator=generator(3))[2])
    assert torch.equal(noise(like="a1111-gpu", index=2)[0], philox(5, 256).view(SHAPE[1:]))
    assert set(NOISES) == set(DRAWS)
    with pytest.raises(InvalidInput, match="ComfyUI"):
        noise(like="comfy", index=5000)


@pytest.mark.parametrize("like", ["", *NOISES])
def test_at_strength_0_and_1_it_is_the_noise_of_the_one_and_of_the_other_seed(like):
    assert torch.equal(noise(like=like, other=9), noise(like=like))
    assert torch.equal(noise(like=like, index=2, other=9, strength=1.0), noise(9, 2, like=like))


def test_our_own_noise_is_what_it_was():
    assert torch.equal(noise(index=4), Noise.of(3, [4], "start")(torch.zeros(SHAPE)))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_on_the_way_it_stays_standard_normal_and_comes_nearer_to_the_other(share):
    first, second = (starting(seed, 0, "start")(torch.zeros(1, 4, 128, 128)) for seed in (1, 2))
    found = between(first, second, share)
    assert abs(found.std() - 1) < 0.02 and abs(found.mean()) < 0.02
    assert torch.allclose(between(first, second, share), between(second, first, 1 - share), atol=1e-5)
    assert (found - second).norm() < (between(first, second, share - 0.1) - second).norm()
    assert torch.allclose(between(first, first, share), first, atol=1e-4)


def test_pictures_of_a_count_vary_the_first_by_their_index():
    varied = [noise(index=k, other=9, strength=0.2) for k in range(3)]
    assert all(torch.cosine_similarity(each.flatten(), noise().flatten(), 0) > 0.9 for each in varied)
    assert not torch.equal(varied[0], varied[1])


def test_strength_0_paints_every_byte_as_before_and_more_of_it_moves_further(painter):
    plain = pixels(painter)
    assert np.array_equal(pixels(painter, variation_seed=9), plain)
    varied = [pixels(painter, variation_seed=9, variation_strength=s) for s in (0.05, 1)]
    near, far = (np.abs(one.astype(int) - plain).mean() for one in varied)
    assert 0 < near < far


def test_the_variation_seed_changes_no_words(painter):
    typed = Request(prompt="a {red|blue|green|black} fox", seed=3, variation_strength=0.3)
    assert len({painter.resolve(typed.but(variation_seed=k)).prompt for k in range(9)}) == 1


def test_a_picture_over_another_varies_too(painter, tmp_path):
    path = painter.paint(Request(prompt="x", seed=1, steps=1)).save(tmp_path / "x.png")
    given = {"recipe": "image2image", "image": str(path), "strength": 1.0}
    plain = pixels(painter, **given)
    assert not np.array_equal(plain, pixels(painter, **given, variation_seed=2, variation_strength=0.5))
    assert not np.array_equal(plain, pixels(painter, **given, like_noise="comfy"))


def test_the_a1111_text_says_and_reads_the_variation():
    request = Request(prompt="x", seed=1, variation_seed=5, variation_strength=0.25).resolve()
    options, _ = infotext.request_of(infotext.read(infotext.write(request)))
    assert (options["variation_seed"], options["variation_strength"]) == (5, 0.25)
    assert "Variation" not in infotext.write(Request(prompt="x", seed=1, variation_seed=5).resolve())


def test_an_unknown_noise_is_named_with_those_there_are():
    with pytest.raises(UnknownName, match="a1111-gpu"):
        Request(like_noise="a1111")
