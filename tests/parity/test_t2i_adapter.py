"""T2I-Adapters against diffusers': published shapes by key, tiny ones by output, and by what a UNet makes of them."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from diffusers import T2IAdapter as Reference
from PIL import Image
from tests.conftest import UNET
from tests.parity.test_unet import TINY, call, pair, shake, shapes

from danqing.denoise import Denoiser
from danqing.nets.t2i_adapter import T2IAdapter, T2IAdapterConfig, diffusers_arguments
from danqing.painting.adapters.steering import How, Member
from danqing.painting.adapters.t2i import Adding
from danqing.request.control import Control
from danqing.request.request import Request
from danqing.schedule import schedule
from danqing.types import Conditioning
from danqing.weights import store
from danqing.weights.families.adapters.t2i_adapter import published
from danqing.weights.identify import identify
from danqing.weights.load import load, save

PUBLISHED = {
    "full": T2IAdapterConfig(),
    "grey": T2IAdapterConfig(in_channels=1),
    "light": T2IAdapterConfig(light=True, num_res_blocks=4),
    "xl": T2IAdapterConfig(downscale_factor=16),
}
SMALL = {
    "sd1": T2IAdapterConfig(channels=(8, 16, 16, 24), downscale_factor=4),
    "light": T2IAdapterConfig(channels=(8, 16, 16, 16), downscale_factor=4, light=True, num_res_blocks=3),
    "sdxl": T2IAdapterConfig(channels=(8, 16, 24, 24), downscale_factor=16),
}
UNETS = {"light": replace(TINY["sd1"], block_out_channels=(8, 16, 16, 16)), **TINY}


@pytest.mark.parametrize("config", PUBLISHED.values(), ids=PUBLISHED)
def test_a_full_shape_has_the_published_names_and_shapes(config: T2IAdapterConfig) -> None:
    with torch.device("meta"):
        assert shapes(T2IAdapter(config)) == shapes(Reference(**diffusers_arguments(config)))


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_a_unet_is_steered_as_diffusers_is(name: str) -> None:
    torch.manual_seed(0)
    theirs, ours = shake(Reference(**diffusers_arguments(SMALL[name]))), T2IAdapter(SMALL[name])
    ours.load_state_dict(theirs.state_dict(), strict=True)
    unet, reference = pair(UNETS[name])
    (x, time, tokens), our_words, their_words = call(UNETS[name], (16, 16))
    halved = SMALL[name].downscale_factor // (2 if name == "sdxl" else 1)
    hint = torch.rand(1, 3, 16 * halved, 16 * halved, generator=torch.Generator().manual_seed(3))
    features = [0.6 * one.expand(2, -1, -1, -1) for one in theirs(hint)]
    torch.testing.assert_close([0.6 * one for one in ours(hint)], [one[:1] for one in features], rtol=0, atol=1e-5)
    want = reference(x, time, tokens, down_intrablock_additional_residuals=features, **their_words).sample
    how = How(0, Control(kind="edges", image="x.png", weight=0.6), Request())
    adding = Adding(ours, Member(how, lambda time: True))
    denoiser = Denoiser(unet, schedule("flow"), "flow")
    plain = unet(x, time, tokens, **our_words)
    off = adding.put(unet, denoiser.add_control)
    residuals = adding(x, time, Conditioning(tokens=tokens, maps={how.name: hint.expand(2, -1, -1, -1)}))
    got = unet(x, time, tokens, residuals=residuals, **our_words)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=2e-5)
    off()
    assert torch.equal(unet(x, time, tokens, **our_words), plain) and (got - plain).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["full", "light"])
def test_the_layout_of_its_authors_is_told_by_its_names_and_read(name: str, tmp_path) -> None:
    config = replace(PUBLISHED[name], channels=(8, 16, 16, 16))
    torch.manual_seed(0)
    net = T2IAdapter(config)
    names = {"conv_in.weight": (), **{f"body.{n}.block1.weight": () for n in range(8)}} if name == "full" else {}
    path = store.write(tmp_path / "a.safetensors", published(names).back(net.state_dict()))
    assert identify(path).family == "t2i-adapter"
    again = load(path)
    assert isinstance(again, T2IAdapter) and again.config == config
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in net.state_dict().items())


def test_a_picture_is_steered_and_tiles_and_windows_too(painter, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    shape = T2IAdapterConfig(channels=UNET.block_out_channels, downscale_factor=4)
    save(shake(T2IAdapter(shape)), tmp_path / "t2i.safetensors")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save("a.png")

    def states(*controls: str, **options: object) -> list:
        said = {"prompt": "a fox", "seed": 1, "steps": 4, "finish": "none", "controls": controls, **options}
        return list(painter.states(Request(**said)))

    control = "edges@t2i.safetensors:a.png,ready"
    plain, whole, late = states(), states(control), states(f"{control},from=0.5")
    assert [torch.equal(a.x, b.x) for a, b in zip(plain[:-1], late[:-1], strict=True)] == [True, True, False, False]
    assert not torch.equal(plain[0].x, whole[0].x) and torch.equal(states()[-2].x, plain[-2].x)
    assert torch.equal(states(control, tile=32)[-2].x, whole[-2].x)
    assert not torch.equal(states(control, tile=16)[-2].x, states(tile=16)[-2].x)
    one_sided = states(f"{control},balance=control")
    assert not torch.equal(one_sided[0].x, whole[0].x)
    assert asdict(shape)["channels"] == UNET.block_out_channels
