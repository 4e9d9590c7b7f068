"""A model small enough to paint with in milliseconds, in a folder like any other; its weights are random, its laws are not."""

from dataclasses import asdict

import numpy as np
import pytest
import tokenizers
import torch
from PIL import Image
from tokenizers import models, pre_tokenizers, trainers

from danqing.easel.painter import Painter
from danqing.easel.zoo import write_model
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.nets.unet import UNet, UNetConfig
from danqing.weights import store

VAE = AutoencoderKLConfig(
    block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4, mid_block_add_attention=False, scaling_factor=1.0,
    patch=2,
)  # fmt: skip
UNET = UNetConfig(
    block_out_channels=(8, 16), layers_per_block=1, transformer_layers=(0, 1), attention_heads=(2, 2), cross_attention_dim=16,
    norm_num_groups=4, use_linear_projection=True,
)  # fmt: skip
LINES = ["a red fox, 3d style", "一只红色的狐狸", "a blue cat to the left of a tree"]


def vocabulary(path):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<pad>", "<bos>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.save(str(path))
    return tokenizer.get_vocab_size(), tokenizer.token_to_id("<eos>")


@pytest.fixture(autouse=True)
def one_thread():
    """Layers this small are computed faster than threads meet."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def nobody(tmp_path_factory, monkeypatch):
    """The settings, models and memory of whoever runs the tests are not touched."""
    home = tmp_path_factory.getbasetemp() / "home"
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.delenv("DANQING_MODELS", raising=False)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of the tiny model."""
    folder = tmp_path_factory.mktemp("zoo") / "tiny"
    folder.mkdir()
    torch.manual_seed(0)
    size, eos = vocabulary(folder / "tokenizer.json")
    text = CLIPTextConfig(
        vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=12,
        hidden_act="gelu", projection_dim=16, eos_token_id=eos,
    )  # fmt: skip
    nets = {
        "denoiser": ("unet", UNet(UNET), UNET),
        "codec": ("autoencoder-kl", AutoencoderKL(VAE), VAE),
        "text": ("clip-text", CLIPText(text), text),
    }
    for role, (_, net, _) in nets.items():
        store.write(folder / f"{role}.safetensors", net.state_dict())
    write_model(
        folder,
        name="tiny",
        components={role: (family, f"{role}.safetensors", asdict(config)) for role, (family, _, config) in nets.items()},
        tokenizer={"kind": "bilingual", "file": "tokenizer.json", "window": 12},
        schedule={"kind": "flow", "shift": 1.0},
        prediction="flow",
        multiple=8,
        defaults={"width": 32, "height": 32, "steps": 3, "solver": "euler", "spacing": "trailing", "scale": 3.0},
    )
    return folder


@pytest.fixture
def painter(tiny):
    return Painter.load(tiny, "cpu", "fp32")


@pytest.fixture
def picture(tmp_path):
    """A picture file, 32 × 32."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    path = tmp_path / "given.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def mask(tmp_path):
    """A mask file, 32 × 32: white in the middle."""
    pixels = np.zeros((32, 32), np.uint8)
    pixels[8:24, 10:20] = 255
    path = tmp_path / "mask.png"
    Image.fromarray(pixels).save(path)
    return path
