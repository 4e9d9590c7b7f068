"""IP-Adapters against diffusers': the same file gives the same tokens, and the same answer of the UNet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from tests.parity.test_unet import TINY, shake

from danqing.nets.ip_adapter import Branch, IPAdapter, IPAdapterConfig, places
from danqing.nets.unet import UNet, UNetConfig, diffusers_config, size_embedding
from danqing.painting.adapters.attachment import Target
from danqing.painting.adapters.ip_adapters import _changes
from danqing.weights import store
from danqing.weights.load import load

UNETS = {name: TINY[name] for name in ("sd1", "sdxl")}
FACE = {"face": 10, "inner": 20}
RESAMPLED = {"depth": 4, "attended": 128, "fed": 96}
KINDS: dict[str, dict[str, Any]] = {
    "base": {"tokens": 4, "seen": 12},
    "full-face": {"tokens": 0, "seen": 12, "inner": 12},
    "plus": {"tokens": 6, "seen": 12, "hidden": 24, **RESAMPLED},
    "face-id": {"tokens": 4, "seen": 0, "face": 10, "inner": 20},
    # diffusers takes the width of the resampler for 64 times its heads, as published.
    "face-id-plus": {"tokens": 4, "seen": 12, "face": 10, "inner": 20, "depth": 4, "attended": 64, "fed": 96},
}


def file_of(kind: str, config: UNetConfig, **more: Any) -> tuple[IPAdapterConfig, dict[str, torch.Tensor]]:
    """A file of random weights for a UNet, flat."""
    with torch.device("meta"):
        layers = tuple(layer.to_q.in_features for layer in places(UNet(config)).values())
    if kind in ("plus", "face-id-plus"):  # diffusers' MLPs are four times as wide as what they read
        more["fed"] = 4 * KINDS[kind].get("hidden", config.cross_attention_dim)
    if kind in ("face-id", "face-id-plus"):  # and twice here
        more["inner"] = 2 * KINDS[kind]["face"]
    shape = IPAdapterConfig(kind=kind, layers=layers, width=config.cross_attention_dim, **{**KINDS[kind], **more})
    torch.manual_seed(1)
    return shape, shake(IPAdapter(shape), 1).state_dict()


def nested(tensors: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    groups: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in tensors.items():
        group, _, inner = name.partition(".")
        groups[group][inner] = tensor
    return groups


def written(tensors: dict[str, torch.Tensor], folder: Path, ending: str) -> Path:
    """The file in one of the two published formats: flat, or nested in a pickle."""
    path = folder / f"a.{ending}"
    if ending == "bin":
        torch.save(nested(tensors), path)
        return path
    return store.write(path, tensors)


def said(kind: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """What a tower and a recogniser say of no picture and of one."""
    draw = torch.Generator().manual_seed(2)
    tower = torch.randn(2, 12, generator=draw) if kind == "base" else torch.randn(2, 7, 12, generator=draw)
    face = torch.randn(2, 10, generator=draw)
    return None if kind == "face-id" else tower, face if kind.startswith("face") else None


@pytest.fixture(scope="module")
def loader() -> Any:
    """What reads files in diffusers."""
    return UNet2DConditionModel(**diffusers_config(TINY["inpainting"]))


def theirs(config: UNetConfig, tensors: dict[str, torch.Tensor]) -> UNet2DConditionModel:
    torch.manual_seed(0)
    net: Any = shake(UNet2DConditionModel(**diffusers_config(config)))
    net._load_ip_adapter_weights([nested(tensors)], low_cpu_mem_usage=False)
    return net.eval()


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_file_tells_its_shape_and_its_tokens_are_diffusers(
    kind: str, ending: str, tmp_path: Path, loader: Any
) -> None:
    config, tensors = file_of(kind, TINY["sd1"])
    ours: Any = load(written(tensors, tmp_path, ending))
    assert isinstance(ours, IPAdapter) and ours.config == config
    own = nested(tensors)["image_proj"]
    layer = loader._convert_ip_adapter_image_proj_to_diffusers(own, low_cpu_mem_usage=False).eval()
    tower, face = said(kind)
    for shortcut in (False, True) if kind == "face-id-plus" else (False,):
        if kind == "face-id-plus":
            layer.clip_embeds, layer.shortcut, ours.image_proj.shortcut = tower[:, None], shortcut, shortcut
        want = layer(face if face is not None else tower)
        torch.testing.assert_close(ours(tower, face), want, rtol=0, atol=1e-5)


def answers(
    config: UNetConfig, kind: str, weights: Callable[[str], float], mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The noise that both UNets find for no picture and for one: ours, diffusers'."""
    shape, tensors = file_of(kind, config)
    reference = theirs(config, tensors)
    ours = UNet(config)
    own = {name: value for name, value in reference.state_dict().items() if "processor" not in name}
    ours.load_state_dict({name: value for name, value in own.items() if not name.startswith("encoder_hid_proj")})
    adapter = IPAdapter(shape)
    adapter.load_state_dict(tensors)
    tower, face = said(kind)
    tokens = adapter(tower, face)
    for i, (name, layer) in enumerate(places(ours).items()):
        keys, values = adapter.keys_values(tokens, i)
        layer.branches["one"] = Branch("one", keys, weights(name) * values, layer.heads)
    for name, processor in reference.attn_processors.items():
        if isinstance(processor, IPAdapterAttnProcessor2_0):
            processor.scale = [weights(name)]
    if kind == "face-id-plus":
        reference.encoder_hid_proj.image_projection_layers[0].clip_embeds = tower[:, None]

    draw = torch.Generator().manual_seed(3)
    x = torch.randn(2, 4, 16, 16, generator=draw)
    time, text = torch.tensor([3.0, 977.0]), torch.randn(2, 7, config.cross_attention_dim, generator=draw)
    pooled = torch.randn(2, config.pooled_channels, generator=draw)
    ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)
    more: dict[str, Any] = {"image_embeds": [(face if face is not None else tower)[:, None]]}
    extra = {"one": torch.tensor([0, 1])}
    options = {} if mask is None else {"cross_attention_kwargs": {"ip_adapter_masks": [mask]}}
    if config.pooled_channels:
        summary = pooled[:, : config.pooled_channels - 6 * 256]
        more |= {"text_embeds": summary, "time_ids": ids}
        pooled = torch.cat([summary, size_embedding(ids)], 1)
    if mask is not None:
        extra["one mask"] = mask.expand(2, -1, -1, -1)
    got = ours(x, time, text, pooled=pooled if config.pooled_channels else None, extra=extra)
    want = reference(x, time, text, added_cond_kwargs=more, **options).sample
    plain = ours(x, time, text, pooled=pooled if config.pooled_channels else None)
    assert (got - plain).abs().max() > 1e-3
    return got, want


@pytest.mark.parametrize(("name", "kind"), [("sd1", "base"), ("sd1", "face-id-plus"), ("sdxl", "plus")])
@torch.no_grad()
def test_the_decoupled_attention_is_diffusers(name: str, kind: str) -> None:
    got, want = answers(UNETS[name], kind, lambda name: 0.7)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


@torch.no_grad()
def test_what_a_file_changes_beside_is_changed_where_diffusers_means_it() -> None:
    config = UNETS["sd1"]
    shape, tensors = file_of("face-id", config, rank=2)
    adapter = IPAdapter(shape)
    adapter.load_state_dict(tensors)
    torch.manual_seed(0)
    reference = cast(UNet2DConditionModel, shake(UNet2DConditionModel(**diffusers_config(config))))
    ours = UNet(config)
    ours.load_state_dict(reference.state_dict())
    for i, name in enumerate(reference.attn_processors):  # diffusers counts them so
        attention: Any = reference.get_submodule(name.removesuffix(".processor"))
        places = {"to_q": attention.to_q, "to_k": attention.to_k, "to_v": attention.to_v, "to_out": attention.to_out[0]}
        for part, layer in places.items():
            up, down = (tensors[f"ip_adapter.{i}.{part}_lora.{end}.weight"] for end in ("up", "down"))
            layer.weight += up @ down
    target: Any = Target({"denoiser": ours}, None, None)  # type: ignore[arg-type]
    _changes(adapter, target, "a").on("denoiser", 1.0).attach(ours)
    draw = torch.Generator().manual_seed(3)
    args = torch.randn(2, 4, 16, 16, generator=draw), torch.tensor([3.0, 977.0])
    text = torch.randn(2, 7, config.cross_attention_dim, generator=draw)
    torch.testing.assert_close(ours(*args, text), reference(*args, text).sample, rtol=0, atol=1e-5)


@torch.no_grad()
def test_weights_may_differ_from_block_to_block() -> None:
    got, want = answers(UNETS["sdxl"], "base", lambda name: 1.0 if name.startswith("up_blocks.0.attentions.1") else 0)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_mask_of_whole_cells_of_the_coarsest_grid_counts_as_in_diffusers() -> None:
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., :64, 32:96] = 1
    config = replace(
        UNETS["sd1"], block_out_channels=(8, 16, 16), transformer_layers=(1, 1, 0), attention_heads=(2,) * 3
    )
    got, want = answers(config, "base", lambda name: 0.7, mask)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
