"""Networks in the layouts of published files, for tests to write and to read: the maps backwards."""

from collections.abc import Mapping
from pathlib import Path

import torch

from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.mmdit import MMDiTConfig
from danqing.nets.unet import UNetConfig
from danqing.weights.layouts import ldm, openclip, sd3
from danqing.weights.layouts.keymap import KeyMap
from danqing.weights.store import Header, Spec

OPENCLIP = KeyMap((openclip.TEXT,), openclip.CUTS)
OURS = KeyMap()


def ldm_unet(config: UNetConfig) -> KeyMap:
    """A UNet's map by the names that choose it: its blocks, where they change the resolution, where they attend."""
    levels, steps = len(config.block_out_channels), config.layers_per_block + 1
    shapes = {f"input_blocks.{n}.0.x": () for n in range(levels * steps)}
    shapes |= {f"input_blocks.{n * steps}.0.op.weight": () for n in range(1, levels)}
    for i, depth in enumerate(reversed(config.transformer_layers)):
        shapes |= {f"output_blocks.{i * steps + j}.1.norm.weight": () for j in range(steps) if depth}
    return ldm.unet(shapes)


def ldm_autoencoder(config: AutoencoderKLConfig) -> KeyMap:
    """An autoencoder's map by the names that choose it: its levels."""
    return ldm.autoencoder({f"decoder.up.{i}.block.0.norm1.weight": () for i in range(len(config.block_out_channels))})


def sd3_mmdit(config: MMDiTConfig) -> KeyMap:
    """A transformer's map by the names that choose it: its blocks."""
    return sd3.mmdit({f"joint_blocks.{i}.x_block.attn.qkv.weight": () for i in range(config.num_layers)})


def written(keymap: KeyMap, module: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    """A network's tensors as a file of that layout holds them; LDM's autoencoder has 1×1 convolutions in its
    attention."""
    state = module.state_dict()
    if isinstance(module, AutoencoderKL):
        kernels = {
            name
            for name in state
            if ".mid_block.attentions." in name and name.endswith("weight") and state[name].ndim == 2
        }
        state = {name: tensor[:, :, None, None] if name in kernels else tensor for name, tensor in state.items()}
    return {prefix + name: tensor for name, tensor in keymap.back(state).items()}


def on_paper(state: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> Header:
    """The header that a file of these tensors, which may be on the meta device, would have."""
    specs, at = {}, 0
    for name, tensor in state.items():
        specs[name] = Spec(dtype="F16", shape=tuple(tensor.shape), start=at, stop=at + 2 * tensor.numel())
        at = specs[name].stop
    return Header(path=Path("paper.safetensors"), tensors=specs, metadata=metadata or {}, size=at)


def same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    """The same names, numbers and types."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)
