"""PuLID against what is published of it, stated anew in float64: the image tower's answer, the tokens of both versions,
and what an attention of a UNet of diffusers' becomes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from tests.parity.test_unet import TINY, shake

from danqing.nets.eva import EVAVision, EVAVisionConfig
from danqing.nets.ip_adapter import IPAdapter, IPAdapterConfig, places
from danqing.nets.pulid import Apart
from danqing.nets.unet import UNet, diffusers_config, size_embedding
from danqing.weights import store
from danqing.weights.load import load

TOWER = EVAVisionConfig(
    hidden_size=128, intermediate_size=20, num_hidden_layers=12, image_size=24, patch_size=8, projection_dim=9
)
SHAPES: dict[str, dict[str, Any]] = {
    "pulid": {"tokens": 10, "face": 11, "seen": 6, "inner": 7, "fed": 8, "hidden": 5},
    "pulid-resampler": {
        **{"tokens": 4, "face": 11, "seen": 6, "inner": 7, "fed": 12, "hidden": 8, "depth": 10, "attended": 128}
    },
}
Array = np.ndarray
Weights = Mapping[str, Array]


def published(config: IPAdapterConfig, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """An adapter's tensors by the names of PuLID's files."""
    names = {"image_proj.": "id_adapter.", "ip_adapter.": "id_adapter_attn_layers."}
    found = {}
    for key, tensor in tensors.items():
        start = next(start for start in names if key.startswith(start))
        renamed = names[start] + key.removeprefix(start)
        found[renamed.replace(".to_k_ip.", ".id_to_k.").replace(".to_v_ip.", ".id_to_v.")] = tensor
    return found


def adapter(kind: str, layers: tuple[int, ...] = (8, 16), width: int = 12) -> IPAdapter:
    torch.manual_seed(1)
    net = IPAdapter(IPAdapterConfig(kind=kind, layers=layers, width=width, **SHAPES[kind]))
    shake(net, 2)
    return net


# The equations, in numpy ---------------------------------------------------------------------------------------------


def linear(x: Array, w: Weights, name: str) -> Array:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def norm(x: Array, w: Weights, name: str, eps: float) -> Array:
    middle = x - x.mean(-1, keepdims=True)
    scaled = middle / np.sqrt((middle**2).mean(-1, keepdims=True) + eps)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def heads(x: Array, width: int) -> Array:
    return x.reshape(*x.shape[:-1], -1, width).swapaxes(-3, -2)


def merged(x: Array) -> Array:
    return x.swapaxes(-3, -2).reshape(*x.shape[:-3], x.shape[-2], -1)


def leaky(x: Array, w: Weights, name: str) -> Array:
    for at in (0, 3):
        x = norm(linear(x, w, f"{name}.{at}"), w, f"{name}.{at + 1}", 1e-5)
        x = np.where(x > 0, x, 0.01 * x)
    return linear(x, w, f"{name}.6")


def gelu(x: Array) -> Array:
    return x * torch.special.ndtr(torch.from_numpy(x)).numpy()


def version1(seen: Array, face: Array, w: Weights) -> Array:
    tokens = [leaky(face, w, "body").reshape(len(face), 5, -1)]
    for i in range(5):
        patches = leaky(seen[:, i, 1:], w, f"mapping_patch_{i}").mean(1, keepdims=True)
        tokens.append(leaky(seen[:, i, :1], w, f"mapping_{i}") + patches)
    return np.concatenate(tokens, 1)


def version11(seen: Array, face: Array, w: Weights) -> Array:
    own = leaky(face, w, "id_embedding_mapping").reshape(len(face), 5, -1)
    z = np.concatenate([np.repeat(w["latents"], len(face), 0), own], 1)
    for i in range(10):
        at = f"layers.{i}"
        x = np.concatenate([own, leaky(seen[:, i // 2], w, f"mapping_{i // 2}")], 1)
        x, q = norm(x, w, f"{at}.0.norm1", 1e-5), norm(z, w, f"{at}.0.norm2", 1e-5)
        k, v = np.split(linear(np.concatenate([x, q], 1), w, f"{at}.0.to_kv"), 2, -1)
        q, k, v = (heads(y, 64) for y in (linear(q, w, f"{at}.0.to_q"), k, v))
        z = z + linear(merged(softmax(q @ k.swapaxes(-1, -2) / 8) @ v), w, f"{at}.0.to_out")
        z = z + linear(gelu(linear(norm(z, w, f"{at}.1.0", 1e-5), w, f"{at}.1.1")), w, f"{at}.1.3")
    return z[:, :4] @ w["proj_out"]


def tower(pixels: Array, w: Weights) -> tuple[Array, Array]:
    """The states after layers 2, 4, 6, 8, 10 of 12 and the summary, of pictures of 3 x 3 patches of 8 px."""
    cut = pixels.reshape(-1, 3, 3, 8, 3, 8).transpose(0, 2, 4, 1, 3, 5).reshape(len(pixels), 9, -1)
    x = cut @ w["patch_embed.proj.weight"].reshape(128, -1).T + w["patch_embed.proj.bias"]
    x = np.concatenate([np.repeat(w["cls_token"], len(x), 0), x], 1) + w["pos_embed"]
    spin = np.zeros((10, 64), complex)
    for i in range(9):
        for pair in range(32):
            place = (i // 3 if pair < 16 else i % 3) / 3 * 16
            spin[i + 1, 2 * pair] = place / 10000 ** ((pair % 16) / 16)
    spin = np.exp(1j * spin[:, ::2])

    def turn(y: Array) -> Array:
        moved = (y[..., ::2] + 1j * y[..., 1::2]) * spin
        return np.stack([moved.real, moved.imag], -1).reshape(y.shape)

    states = []
    for i in range(12):
        at = f"blocks.{i}"
        y = norm(x, w, f"{at}.norm1", 1e-6)
        q, k, v = (linear(y, w, f"{at}.attn.{name}_proj") for name in "qkv")
        q, k, v = (heads(y, 64) for y in (q + w[f"{at}.attn.q_bias"], k, v + w[f"{at}.attn.v_bias"]))
        y = merged(softmax(turn(q) @ turn(k).swapaxes(-1, -2) / 8) @ v)
        x = x + linear(norm(y, w, f"{at}.attn.inner_attn_ln", 1e-6), w, f"{at}.attn.proj")
        y = norm(x, w, f"{at}.norm2", 1e-6)
        gate = linear(y, w, f"{at}.mlp.w1")
        y = gate / (1 + np.exp(-gate)) * linear(y, w, f"{at}.mlp.w2")
        x = x + linear(norm(y, w, f"{at}.mlp.ffn_ln", 1e-6), w, f"{at}.mlp.w3")
        states += [x] if i in (1, 3, 5, 7, 9) else []
    return np.stack(states, 1), linear(norm(x, w, "norm", 1e-6)[:, 0], w, "head")


# The laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["both towers", "alone"])
@torch.no_grad()
def test_the_image_tower_says_what_its_equations_say(whole: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors: Any = shake(EVAVision(TOWER), 1).state_dict()
    prefix = "visual." if whole else ""
    file = {prefix + name: tensor for name, tensor in tensors.items()}
    file |= {f"{prefix}rope.freqs_cos": torch.zeros(9, 64), f"{prefix}blocks.3.attn.rope.freqs_sin": torch.zeros(9, 64)}
    file |= {"text.ln_final.weight": torch.zeros(3), "logit_scale": torch.zeros(())} if whole else {}
    net: Any = load(store.write(tmp_path / "eva.safetensors", file), dtype=torch.float64)
    assert isinstance(net, EVAVision) and net.config == TOWER
    pixels = torch.randn(2, 3, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    states, summary = tower(pixels.numpy(), {name: each.double().numpy() for name, each in tensors.items()})
    said = net(pixels)
    np.testing.assert_allclose(said.states, states, rtol=0, atol=1e-5)  # the turns' angles are of fp32
    np.testing.assert_allclose(said.projected, summary, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "equations"), [("pulid", version1), ("pulid-resampler", version11)])
@torch.no_grad()
def test_a_file_tells_its_version_and_its_tokens_are_what_its_equations_say(kind: str, equations, tmp_path) -> None:
    made = adapter(kind)
    torch.save(published(made.config, made.state_dict()), tmp_path / "pulid.bin")
    net: Any = load(tmp_path / "pulid.bin", dtype=torch.float64)
    assert isinstance(net, IPAdapter) and net.config == made.config
    draw = torch.Generator().manual_seed(3)
    seen = torch.randn(2, 5, 4, 6, dtype=torch.float64, generator=draw)
    face = torch.randn(2, 11, dtype=torch.float64, generator=draw)
    own = {name: each.double().numpy() for name, each in made.image_proj.state_dict().items()}
    np.testing.assert_allclose(net(seen, face), equations(seen.numpy(), face.numpy(), own), rtol=0, atol=1e-10)


class Published(torch.nn.Module):
    """An attention of diffusers' as PuLID's processors compute it: the words' answer, and a face's beside."""

    def __init__(self, tokens: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, empty: int, faithful: bool):
        super().__init__()
        nothing = tokens.new_zeros(len(tokens), empty, tokens.shape[2])
        every = torch.cat([tokens, nothing], 1)
        self.keys, self.values, self.faithful = every @ keys.T, every @ values.T, faithful

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **more: Any) -> Any:
        q, k, v = attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        q, k, v, own, said = (
            x.unflatten(2, (attn.heads, -1)).swapaxes(1, 2) for x in (q, k, v, self.keys, self.values)
        )
        scale = q.shape[-1] ** -0.5
        y = ((q @ k.mT * scale).softmax(-1) @ v).swapaxes(1, 2).flatten(2)
        z = ((q @ own.mT * scale).softmax(-1) @ said).swapaxes(1, 2).flatten(2)
        along = (y * z).sum(-2, keepdim=True) / (y * y).sum(-2, keepdim=True) * y
        share = (q @ own.mT).softmax(-1).mean(1)[:, :, :5].sum(-1, keepdim=True)
        z = z + (share - 1) * along if self.faithful else z - along
        return attn.to_out[0](y + 0.7 * z)


@torch.no_grad()
def test_a_unet_with_its_branches_answers_as_published_in_both_modes() -> None:
    config, draw = TINY["sdxl"], torch.Generator().manual_seed(4)
    torch.manual_seed(0)
    theirs: Any = shake(UNet2DConditionModel(**diffusers_config(config))).eval()
    ours = UNet(config)
    ours.load_state_dict(theirs.state_dict())
    found = places(ours)
    net = adapter("pulid", tuple(each.to_q.in_features for each in found.values()), config.cross_attention_dim)
    tokens = net(torch.randn(2, 5, 4, 6, generator=draw), torch.randn(2, 11, generator=draw))
    own, usual = published(net.config, net.state_dict()), list(theirs.attn_processors)
    x, time = torch.randn(2, 4, 16, 16, generator=draw), torch.tensor([3.0, 977.0])
    text = torch.randn(2, 7, config.cross_attention_dim, generator=draw)
    ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)
    summary = torch.randn(2, config.pooled_channels - 6 * 256, generator=draw)
    pooled, answers = torch.cat([summary, size_embedding(ids)], 1), list[torch.Tensor]()
    for faithful, empty in ((True, 8), (False, 16)):
        processors: Any = theirs.attn_processors
        for i, (name, layer) in enumerate(found.items()):
            keys, values = net.keys_values(tokens, i)
            layer.branches["one"] = Apart("one", keys, 0.7 * values, layer, empty=empty, faithful=faithful)
            at = usual.index(f"{name}.processor")  # files count an attention by its place here
            given = (own[f"id_adapter_attn_layers.{at}.id_to_{x}.weight"] for x in "kv")
            processors[f"{name}.processor"] = Published(tokens, *given, empty=empty, faithful=faithful)
        theirs.set_attn_processor(processors)
        want = theirs(x, time, text, added_cond_kwargs={"text_embeds": summary, "time_ids": ids}).sample
        answers.append(ours(x, time, text, pooled=pooled, extra={"one": torch.tensor([0, 1])}))
        torch.testing.assert_close(answers[-1], want, rtol=0, atol=1e-5)
    plain = ours(x, time, text, pooled=pooled)
    assert min((a - b).abs().max() for a, b in ((plain, answers[0]), (plain, answers[1]), answers)) > 1e-2
