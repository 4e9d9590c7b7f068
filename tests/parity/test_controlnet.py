"""Control networks of UNets against diffusers': published shapes by key, tiny ones by output; other layouts by name."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from diffusers import ControlNetModel
from tests.parity.test_unet import PUBLISHED as UNETS
from tests.parity.test_unet import TINY as TINY_UNETS
from tests.parity.test_unet import call, shake, shapes

from danqing.errors import InvalidFile
from danqing.nets.controlnet import ControlNet, ControlNetConfig, Shown, diffusers_arguments
from danqing.nets.unet import UNet, UNetConfig
from danqing.weights import relative, store
from danqing.weights.identify import identify
from danqing.weights.layouts import ldm
from danqing.weights.load import load, save


def controlling(config: UNetConfig, **changes: object) -> ControlNetConfig:
    return ControlNetConfig(**{**asdict(config), **changes})


def arguments(config: ControlNetConfig) -> dict:
    """Those of diffusers, which names by the kinds of its blocks what our config says by its depths."""
    levels, text = range(len(config.block_out_channels)), bool(config.mid_transformer_layers)
    reads = [depth > 0 or i in config.hollow for i, depth in enumerate(config.transformer_layers)]
    said = diffusers_arguments(config if text else replace(config, mid_transformer_layers=1))
    depths = tuple(config.transformer_layers[i] if reads[i] else 1 for i in levels)
    if config.mid_transformer_layers and not reads[-1]:
        depths = (*depths[:-1], config.mid_transformer_layers)
    return {
        **said,
        "down_block_types": tuple("CrossAttnDownBlock2D" if read else "DownBlock2D" for read in reads),
        "mid_block_type": "UNetMidBlock2DCrossAttn" if text else "UNetMidBlock2D",
        "transformer_layers_per_block": depths,
    }


PUBLISHED = {
    **{name: controlling(UNETS[name]) for name in ("sd1", "sd2", "sdxl")},
    "sdxl-mid": controlling(
        UNETS["sdxl"], transformer_layers=(0, 0, 1), mid_transformer_layers=1, hollow=(1,)
    ),
    "sdxl-small": controlling(
        UNETS["sdxl"], transformer_layers=(0, 0, 0), mid_transformer_layers=0, mid_resnets=1,
        cross_attention_dim=768, attention_heads=(1, 1, 1),
    ),
}  # fmt: skip
SMALL = {"hint_widths": (4, 6, 8)}
TINY = {
    **{name: controlling(TINY_UNETS[name], **SMALL) for name in ("sd1", "sd2", "sdxl")},
    "sdxl-mid": controlling(
        TINY_UNETS["sdxl"], transformer_layers=(0, 0, 1), mid_transformer_layers=1, hollow=(1,), **SMALL
    ),
    "sdxl-small": controlling(
        TINY_UNETS["sdxl"], transformer_layers=(0, 0, 0), mid_transformer_layers=0, mid_resnets=1, **SMALL
    ),
    "shuffle": controlling(TINY_UNETS["sd1"], pooled_residuals=True, **SMALL),
}


@pytest.mark.parametrize("config", PUBLISHED.values(), ids=PUBLISHED)
def test_a_full_shape_has_the_published_names_and_shapes(config: ControlNetConfig) -> None:
    with torch.device("meta"):
        ours, theirs = ControlNet(config), ControlNetModel(**arguments(config))
    assert shapes(ours) == shapes(theirs)


def pair(config: ControlNetConfig) -> tuple[ControlNet, ControlNetModel]:
    torch.manual_seed(0)
    theirs = shake(ControlNetModel(**arguments(config)))
    ours = ControlNet(config)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@pytest.mark.parametrize("size", [(16, 16), (12, 20)], ids=["square", "wide"])
@pytest.mark.parametrize("config", TINY.values(), ids=TINY)
@torch.no_grad()
def test_the_same_weights_give_the_same_residuals(config: ControlNetConfig, size: tuple[int, int]) -> None:
    ours, theirs = pair(config)
    (x, time, tokens), our_words, their_words = call(config, size)
    halved = 2 ** (len(config.hint_widths) - 1)
    hint = torch.rand(2, 3, size[0] * halved, size[1] * halved, generator=torch.Generator().manual_seed(3))
    got = ours(x, time, tokens, shown=[Shown(ours.see(hint))], **our_words)
    want = theirs(x, time, tokens, hint, **their_words)
    torch.testing.assert_close(got.down, tuple(want.down_block_res_samples), rtol=0, atol=1e-5)
    torch.testing.assert_close(got.mid, want.mid_block_res_sample, rtol=0, atol=1e-5)


@torch.no_grad()
def test_an_untrained_control_changes_nothing() -> None:
    config = TINY["sd1"]
    torch.manual_seed(0)
    net, control = UNet(TINY_UNETS["sd1"]), ControlNet(config)
    (x, time, tokens), _, _ = call(config, (16, 16))
    residuals = control(x, time, tokens, shown=[Shown(control.see(torch.rand(2, 3, 64, 64)))])
    assert torch.equal(net(x, time, tokens, residuals=residuals), net(x, time, tokens))


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "control_model."], ids=["bare", "prefixed"])
@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_the_layout_of_its_authors_is_told_by_its_names_and_read(name: str, prefix: str, tmp_path) -> None:
    config = TINY_LIKE_PUBLISHED[name]
    torch.manual_seed(0)
    net = shake(ControlNet(config))
    blocks = {f"input_blocks.{n}.0": () for n in range(len(config.block_out_channels) * 3)}
    blocks |= {f"input_blocks.{n * 3}.0.op.weight": () for n in range(1, len(config.block_out_channels))}
    tensors = ldm.controlnet(blocks).back(net.state_dict())
    assert {"zero_convs.0.0.weight", "input_hint_block.14.bias", "middle_block_out.0.weight"} <= tensors.keys()
    store.write(tmp_path / "a.safetensors", {prefix + key: value for key, value in tensors.items()})
    assert identify(tmp_path / "a.safetensors").family == "controlnet"
    again = load(tmp_path / "a.safetensors", config={"norm_num_groups": 4, "attention_heads": config.attention_heads})
    assert isinstance(again, ControlNet)
    for key, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


TINY_LIKE_PUBLISHED = {
    name: replace(TINY[name], hint_widths=(4, 6, 8, 8)) for name in ("sd1", "sdxl")
}  # its names count four widths


@pytest.mark.parametrize("name", TINY)
def test_a_file_of_ours_says_its_shape(name: str, tmp_path) -> None:
    net = ControlNet(TINY[name])
    again = load(save(net, tmp_path / "control.safetensors"))
    assert isinstance(again, ControlNet) and again.config == net.config


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shapes_of_a_published_one_say_its_config(name: str, tmp_path) -> None:
    config = PUBLISHED[name]
    with torch.device("meta"):
        shaped = {key: tuple(value.shape) for key, value in ControlNet(config).state_dict().items()}
    from danqing.weights.families.adapters.controlnet import CONTROLNET

    facts = CONTROLNET.infer(shaped)
    told = {**facts.assumed, **facts.inferred}
    said = {key: value for key, value in asdict(config).items() if key in told}
    assert told == said and not facts.unknown


def changes(net: ControlNet, base: UNet, rank: int) -> dict[str, torch.Tensor]:
    """A Control-LoRA: of each weight that the UNet has too the factors of its change, the rest whole."""
    draw, own, held = torch.Generator().manual_seed(5), base.state_dict(), {"lora_controlnet": torch.zeros(0)}
    state = net.state_dict()
    for name, value in state.items():
        stem, _, end = name.rpartition(".")
        if end != "weight" or value.ndim == 1 or name not in own:
            held[name] = value
            continue
        up = torch.randn(value.shape[0], rank, *[1] * (value.ndim - 2), generator=draw)
        down = torch.randn(rank, *value.shape[1:], generator=draw)
        held |= {f"{stem}.up": up, f"{stem}.down": down}
        value.copy_(own[name] + (up.flatten(1) @ down.flatten(1)).reshape(value.shape))
    return held


@pytest.mark.parametrize("kind", ["Control-LoRA", "difference"])
@torch.no_grad()
def test_a_network_stated_as_changes_of_its_unet_is_the_network(kind: str, tmp_path) -> None:
    config = TINY_LIKE_PUBLISHED["sd1"]
    torch.manual_seed(0)
    base, net = shake(UNet(TINY_UNETS["sd1"]), 1), shake(ControlNet(config), 2)
    own, state = base.state_dict(), net.state_dict()
    if kind == "difference":
        held = {name: value - own[name] if name in own else value for name, value in state.items()}
        mark, prefix = {"difference": torch.zeros(1)}, "control_model."
    else:
        held, mark, prefix = changes(net, base, 2), {}, ""
    blocks = {f"input_blocks.{n}.0": () for n in range(12)}
    blocks |= {f"input_blocks.{n * 3}.0.op.weight": () for n in range(1, 4)}
    tensors = {prefix + key: value for key, value in ldm.controlnet(blocks).back(held).items()}
    path = store.write(tmp_path / "a.safetensors", {**tensors, **mark})
    assert identify(path).family == "controlnet" and relative.is_relative(store.header(path).tensors)
    again = relative.load(path, base.config, own)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=1e-6)
    with pytest.raises(InvalidFile, match="another UNet"):
        relative.load(path, TINY_UNETS["sdxl"], UNet(TINY_UNETS["sdxl"]).state_dict())
