"""Control networks of the MMDiT against diffusers': tiny ones by output, published shapes by key; other layouts by
name."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from diffusers import SD3ControlNetModel
from tests.parity.test_mmdit import SD3_LIKE, SD35_LARGE_LIKE, SD35_MEDIUM_LIKE, inputs, pair, shake

from danqing.nets.controlnet import Shown
from danqing.nets.controlnet_mmdit import MMDiTControl, MMDiTControlConfig
from danqing.nets.mmdit import MMDiT, MMDiTConfig
from danqing.painting.adapters import networks
from danqing.painting.adapters.mmdit_control import MMDiTSteering
from danqing.weights import store
from danqing.weights.identify import identify
from danqing.weights.layouts import sd3
from danqing.weights.load import load, save


def controlling(config: MMDiTConfig, **changes: Any) -> MMDiTControlConfig:
    return MMDiTControlConfig(**{**asdict(config), **changes})


def arguments(config: MMDiTControlConfig) -> dict[str, Any]:
    """Those of diffusers' network of the same weights."""
    said = asdict(config)
    extra, silent, _ = (said.pop(name) for name in ("hint_channels", "silent", "edges"))
    return {
        **said,
        "joint_attention_dim": config.joint_attention_dim or None,
        "caption_projection_dim": config.width,
        "qk_norm": "rms_norm" if config.qk_norm else None,
        "use_pos_embed": bool(config.pos_embed_max_size),
        "pos_embed_max_size": config.pos_embed_max_size or None,
        "extra_conditioning_channels": extra,
        "force_zeros_for_pooled_projection": silent,
    }


UNUSED: Any = None  # a codec, where the latent of a hint is given
ALONE: dict[str, Any] = {"joint_attention_dim": 0, "pos_embed_max_size": 0, "qk_norm": False, "silent": False}
#: Of each shape the transformer that it steers.
TINY = {
    "joint": (controlling(SD3_LIKE, num_layers=2), SD3_LIKE),
    "one block": (controlling(SD3_LIKE, num_layers=1, silent=False), SD3_LIKE),
    "inpainting": (controlling(SD3_LIKE, num_layers=2, hint_channels=1), SD3_LIKE),
    "3.5 medium": (controlling(SD35_MEDIUM_LIKE, num_layers=2, dual_attention_layers=(0,)), SD35_MEDIUM_LIKE),
    "without positions": (controlling(SD3_LIKE, num_layers=2, pos_embed_max_size=0), SD3_LIKE),
    "image alone": (controlling(SD35_LARGE_LIKE, num_layers=1, **ALONE), SD35_LARGE_LIKE),
}
PUBLISHED = {
    "InstantX": MMDiTControlConfig(num_layers=6),
    "inpainting": MMDiTControlConfig(num_layers=23, hint_channels=1),
    "Stability AI": MMDiTControlConfig(num_layers=19, num_attention_heads=38, **ALONE),
}


@pytest.mark.parametrize("size", [(8, 8), (6, 10)], ids=["square", "wide"])
@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_the_same_weights_steer_as_the_published_ones(name: str, size: tuple[int, int]) -> None:
    config, steered = TINY[name]
    mmdit, transformer = pair(steered)
    torch.manual_seed(0)
    theirs: Any = shake(SD3ControlNetModel(**arguments(config)), seed=3)
    ours = MMDiTControl(config).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x, time, tokens, pooled = inputs(steered, *size)
    seen = torch.randn(2, 4 + config.hint_channels, *size, generator=torch.Generator().manual_seed(4))
    residuals = MMDiTSteering(ours, mmdit, UNUSED)(x, time, tokens, shown=[Shown(seen, 0.7)], pooled=pooled)
    controls = theirs(
        x if config.pos_embed_max_size else transformer.pos_embed(x), seen, 0.7,
        tokens if config.joint_attention_dim else None,
        torch.zeros_like(pooled) if config.silent else pooled, time, return_dict=False,
    )[0]  # fmt: skip
    found = mmdit(x, time, tokens, pooled=pooled, residuals=residuals)
    wanted = transformer(x, tokens, pooled, time, block_controlnet_hidden_states=controls, return_dict=False)[0]
    plain = mmdit(x, time, tokens, pooled=pooled)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert (found - plain).abs().max() > 0.1


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_an_untrained_control_changes_nothing(name: str) -> None:
    config, steered = TINY[name]
    torch.manual_seed(0)
    mmdit, control = shake(MMDiT(steered)), MMDiTControl(config)
    x, time, tokens, pooled = inputs(steered)
    seen = torch.randn(2, 4 + config.hint_channels, 8, 8)
    residuals = MMDiTSteering(control, mmdit, UNUSED)(x, time, tokens, shown=[Shown(seen)], pooled=pooled)
    assert torch.equal(
        mmdit(x, time, tokens, pooled=pooled, residuals=residuals), mmdit(x, time, tokens, pooled=pooled)
    )


@pytest.mark.parametrize("config", PUBLISHED.values(), ids=PUBLISHED)
def test_a_full_shape_has_the_published_names_and_shapes_and_they_say_its_config(config: MMDiTControlConfig) -> None:
    from danqing.weights.families.adapters.controlnet_mmdit import CONTROLNET_MMDIT

    with torch.device("meta"):
        nets = MMDiTControl(config), SD3ControlNetModel(**arguments(config))
    ours, theirs = ({name: tuple(v.shape) for name, v in net.state_dict().items()} for net in nets)
    assert ours == theirs
    facts = CONTROLNET_MMDIT.infer(ours)
    assert not facts.unknown and {**facts.assumed, **facts.inferred} == asdict(config)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_a_file_of_ours_says_its_shape(name: str, tmp_path) -> None:
    net = MMDiTControl(TINY[name][0])
    again = load(save(net, tmp_path / "canny.safetensors"), config=networks.stated(tmp_path / "canny.safetensors"))
    assert isinstance(again, MMDiTControl) and again.config == net.config


@pytest.mark.parametrize(("kind", "edges"), [(0, False), (1, True), (2, False), (None, False)])
def test_the_layout_of_stability_ai_is_told_by_its_names_and_says_its_hint(
    kind: int | None, edges: bool, tmp_path
) -> None:
    config = replace(
        TINY["image alone"][0], num_attention_heads=2, attention_head_dim=64, num_layers=2, sample_size=128
    )
    net: Any = shake(MMDiTControl(config))
    tensors = sd3.controlnet({}).back(net.state_dict())
    assert {"transformer_blocks.1.attn.qkv.weight", "transformer_blocks.0.mlp.fc1.bias"} <= tensors.keys()
    told = {} if kind is None else {"control_type": torch.tensor([kind], dtype=torch.int32)}
    path = store.write(tmp_path / "a.safetensors", {**tensors, **told})
    assert identify(path).family == "controlnet-mmdit" and identify(path).layout == "Stability AI"
    again = load(path, config=networks.stated(path))
    assert isinstance(again, MMDiTControl) and again.config == replace(config, edges=edges)
    for key, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    assert networks.made_for(store.header(path)) == networks.Made(text=0, pooled=20, width=128)


def test_a_transformer_is_not_taken_for_its_control_network(tmp_path) -> None:
    assert identify(save(MMDiT(SD3_LIKE), tmp_path / "a.safetensors")).family == "mmdit"
    store.write(tmp_path / "b.safetensors", MMDiTControl(TINY["joint"][0]).state_dict())
    assert identify(tmp_path / "b.safetensors").family == "controlnet-mmdit"
