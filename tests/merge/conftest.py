"""Checkpoints of Stable Diffusion's names and the smallest shapes, of random weights."""

from dataclasses import asdict, replace

import pytest
import torch

from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.nets.unet import UNet, UNetConfig
from danqing.store.convert import convert
from danqing.store.model import write_model
from danqing.weights import store

UNET = UNetConfig(
    block_out_channels=(8, 16),
    layers_per_block=2,
    transformer_layers=(1, 0),
    attention_heads=(2, 2),
    cross_attention_dim=768,
    norm_num_groups=4,
)
CODEC = AutoencoderKLConfig(block_out_channels=(8, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4)
TEXT = CLIPTextConfig(
    vocab_size=64,
    hidden_size=768,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=12,
    hidden_act="quick_gelu",
    projection_dim=0,
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Writes a folder of ours and the single file of it: (seed, channels that the denoiser reads, changes of the text
    encoder's config) -> the file; made once."""
    home, made = tmp_path_factory.mktemp("checkpoints"), {}

    def make(seed, channels=4, **text):
        key = (seed, channels, *text.items())
        if key in made:
            return made[key]
        torch.manual_seed(seed)
        configs = {
            "denoiser": ("unet", UNet, replace(UNET, in_channels=channels)),
            "codec": ("autoencoder-kl", AutoencoderKL, CODEC),
            "text": ("clip-text", CLIPText, replace(TEXT, **text)),
        }
        folder = home / f"{len(made)}-{seed}"
        folder.mkdir()
        for role, (_, build, config) in configs.items():
            net = build(config)
            state = {name: x + 0.05 * torch.randn_like(x) for name, x in net.state_dict().items()}
            store.write(folder / f"{role}.safetensors", state)
        write_model(
            folder,
            name=f"m{seed}",
            components={
                role: (family, f"{role}.safetensors", asdict(config)) for role, (family, _, config) in configs.items()
            },
            tokenizer={"kind": "clip"},
            schedule={"kind": "scaled-linear", "start": 0.00085, "end": 0.012},
            prediction="eps",
            text={"kind": "clip"},
            defaults={},
            licence="CC0-1.0",
        )
        made[key] = convert(folder, home / f"{len(made)}-{seed}.safetensors").path
        return made[key]

    return make
