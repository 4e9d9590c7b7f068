"""Against peft and diffusers: the files that they write or read themselves, the same base weights, the same answers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.utils import state_dict_utils

from danqing.adapt.base import attached, layers
from danqing.adapt.layouts import read
from danqing.adapt.names import table
from danqing.nets.clip import CLIPText
from danqing.nets.unet import UNet, UNetConfig, diffusers_config
from danqing.weights.layouts import ldm
from danqing.weights.store import header
from danqing.weights.store import read as read_file

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
EVERYWHERE = [*ATTENTION, "ff.net.0.proj", "proj_in", "conv1", "downsamplers.0.conv", "linear_1"]


def theirs(net: UNet, config: UNetConfig) -> UNet2DConditionModel:
    other = UNet2DConditionModel(**diffusers_config(config))
    other.load_state_dict(net.state_dict(), strict=True)
    return other.eval()


def ask(bench, net: UNet, other: UNet2DConditionModel) -> torch.Tensor:
    """Their answer to what `Bench.call` asks."""
    words = bench.inputs(net.config)
    added = {"text_embeds": words["summary"], "time_ids": torch.zeros(2, 6)} if net.config.pooled_channels else None
    with torch.no_grad():
        return other(words["x"], words["time"], words["tokens"], added_cond_kwargs=added).sample


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def fill(bench, net: torch.nn.Module, marks: tuple[str, ...]) -> None:
    """Random numbers in what an adapter added."""
    with torch.no_grad():
        for name, p in net.named_parameters():
            if any(mark in name for mark in marks):
                p.copy_(bench.draw(*p.shape) + (1.0 if "magnitude" in name else 0.0))


@pytest.mark.parametrize("kohya", [False, True])
def test_what_diffusers_trained_and_saved_paints_the_same_here(bench, tmp_path: Path, kohya: bool) -> None:
    config = bench.configs["shallow"]
    net = bench.unet(config)
    other = theirs(net, config)
    other.add_adapter(peft.LoraConfig(r=4, lora_alpha=4 if kohya else 6, target_modules=EVERYWHERE))
    fill(bench, other, ("lora_",))
    trained = peft.get_peft_model_state_dict(other)
    if kohya:  # its alphas are the ranks
        tensors = state_dict_utils.convert_state_dict_to_kohya({f"unet.{key}": value for key, value in trained.items()})
        metadata = {}
    else:
        said = other.peft_config["default"].to_dict()
        said = {key: sorted(value) if isinstance(value, set) else value for key, value in said.items()}
        StableDiffusionLoraLoaderMixin.save_lora_weights(tmp_path, trained, unet_lora_adapter_metadata=said)
        path = tmp_path / "pytorch_lora_weights.safetensors"
        tensors, metadata = read_file(path), header(path).metadata
    lora = read(tensors, {"denoiser": net}, metadata=metadata, strict=True)
    with attached(net, lora.on("denoiser")):
        close(bench.call(net), ask(bench, net, other))


@pytest.mark.parametrize("topology", ["shallow", "sdxl"])
def test_a_kohya_file_paints_what_it_paints_in_diffusers(bench, topology: str) -> None:
    config = bench.configs[topology]
    net = bench.unet(config)
    names = table(net, [ldm.unet])
    single = [name for name in names if name.startswith(("input_blocks.", "middle_block.", "output_blocks."))]
    back = {names[name][0].layer: name for name in reversed(single)}  # .to_out.0, which stands before .to_out
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in layers(net).items():
        if name.endswith(
            ("to_q", "to_v", "to_out.0", "ff.net.2", "proj_in", "conv1", "time_emb_proj", "conv_shortcut")
        ):
            # kohya's trainer names SDXL's layers as its single file does, SD1's as diffusers.
            key = "lora_unet_" + (back[name] if topology == "sdxl" else name).replace(".", "_")
            up, down = bench.low_rank(layer)
            tensors |= {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down, f"{key}.alpha": torch.tensor(2.0)}
    other = theirs(net, config)
    converted, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(dict(tensors), unet_config=other.config)
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(converted, alphas, other)
    lora = read(tensors, {"denoiser": net}, maps=(ldm.unet,), strict=True)
    before = bench.call(net)
    with attached(net, lora.on("denoiser")):
        after = bench.call(net)
        close(after, ask(bench, net, other))
    assert not torch.allclose(before, after, atol=1e-2)


KINDS: dict[str, tuple[Any, tuple[str, ...], bool]] = {
    "lora": (peft.LoraConfig(r=3, lora_alpha=5, target_modules=EVERYWHERE), ("lora_",), False),
    "rslora": (peft.LoraConfig(r=4, lora_alpha=5, target_modules=ATTENTION, use_rslora=True), ("lora_",), False),
    "lora with biases": (
        peft.LoraConfig(r=3, lora_alpha=5, target_modules=ATTENTION, lora_bias=True),
        ("lora_",),
        False,
    ),
    "dora": (peft.LoraConfig(r=3, lora_alpha=5, target_modules=EVERYWHERE, use_dora=True), ("lora_",), True),
    "loha": (peft.LoHaConfig(r=3, alpha=5, target_modules=EVERYWHERE, init_weights=False), ("hada_",), True),
    "loha, Tucker": (
        peft.LoHaConfig(r=3, alpha=5, target_modules=["conv1"], init_weights=False, use_effective_conv2d=True),
        ("hada_",),
        True,
    ),
    "lokr": (peft.LoKrConfig(r=2, alpha=5, target_modules=EVERYWHERE, init_weights=False), ("lokr_",), True),
    "lokr, both decomposed, Tucker": (
        peft.LoKrConfig(
            r=1,
            alpha=5,
            target_modules=["conv1", "to_q"],
            init_weights=False,
            decompose_both=True,
            decompose_factor=4,
            use_effective_conv2d=True,
        ),
        ("lokr_",),
        True,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_peft_saved_computes_the_same_here(bench, tmp_path: Path, kind: str) -> None:
    config, marks, merge = KINDS[kind]
    net = bench.unet()
    model = peft.get_peft_model(copy.deepcopy(net), copy.deepcopy(config))
    fill(bench, model, marks)
    model.eval().save_pretrained(tmp_path)
    stated = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    want = bench.call(model.base_model.model)
    lora = read(read_file(tmp_path / "adapter_model.safetensors"), {"denoiser": net}, config=stated, strict=True)
    assert not torch.allclose(bench.call(net), want, atol=1e-2)
    with attached(net, lora.on("denoiser")):
        close(bench.call(net), want)
    if merge:
        take_out = lora.on("denoiser").merge(net)
        torch.testing.assert_close(bench.call(net), want, rtol=1e-4, atol=1e-5)
        take_out()


def test_a_text_encoder_says_what_it_says_in_diffusers(bench) -> None:
    tower: CLIPText = bench.tower(projection_dim=10)
    config = transformers.CLIPTextConfig(
        vocab_size=64, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=8, projection_dim=10, eos_token_id=63, bos_token_id=62, pad_token_id=0,
    )  # fmt: skip
    other = transformers.CLIPTextModelWithProjection(config).eval()
    other.load_state_dict(tower.state_dict(), strict=True)
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in layers(tower).items():
        if name.endswith(("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")):
            key, (up, down) = "lora_te_" + name.replace(".", "_"), bench.low_rank(layer)
            tensors |= {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down, f"{key}.alpha": torch.tensor(2.0)}
    lora = read(tensors, {"text": tower}, strict=True)
    converted, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(dict(tensors))
    StableDiffusionLoraLoaderMixin.load_lora_into_text_encoder(converted, alphas, other, prefix="text_encoder")
    with torch.no_grad():
        want = other(torch.tensor([[62, 3, 4, 5, 63, 0, 0, 0]])).last_hidden_state
    assert not torch.allclose(bench.read_text(tower), want, atol=1e-2)
    with attached(tower, lora.on("text")):
        close(bench.read_text(tower), want)
