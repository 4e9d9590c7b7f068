"""For all tests: models small enough to paint with in milliseconds, in folders like any other.

Their weights are random, their laws are not; small tensors are computed faster by one thread than by two that wait for
each other.
"""

import gc
import os
import sys
from dataclasses import asdict

import numpy as np
import pytest
import tokenizers
import torch
from PIL import Image
from tokenizers import models, pre_tokenizers, trainers

from danqing.cli import app
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.biggan import BigGAN, BigGANConfig
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.nets.cyclegan import CycleGAN, CycleGANConfig
from danqing.nets.pixelcnn import PixelCNN, PixelCNNConfig
from danqing.nets.stylegan2 import StyleGAN2, StyleGAN2Config
from danqing.nets.unet import UNet, UNetConfig
from danqing.nets.vae import VAE as VectorVAE
from danqing.nets.vae import VAEConfig
from danqing.painting.load import load
from danqing.store.model import write_model
from danqing.weights import store
from danqing.weights.load import save

torch.set_num_threads(1)
os.environ["DANQING_LANG"] = "en"  # whatever language the machine speaks
gc.disable()  # until all tests are collected: nothing of them is garbage, and looking for it takes seconds
# The processes that tests start, and the next run of the tests, need not compile the same modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

VAE = AutoencoderKLConfig(
    block_out_channels=(8, 8),
    layers_per_block=1,
    latent_channels=4,
    norm_num_groups=4,
    mid_block_add_attention=False,
    scaling_factor=1.0,
    patch=2,
)
UNET = UNetConfig(
    block_out_channels=(8, 16),
    layers_per_block=1,
    transformer_layers=(0, 1),
    attention_heads=(2, 2),
    cross_attention_dim=16,
    norm_num_groups=4,
    use_linear_projection=True,
)
LINES = ["a red fox, 3d style", "一只红色的狐狸", "a blue cat to the left of a tree"]

#: Of each family that paints without denoising, its network.
GENERATORS = {
    "vae": (VectorVAE, VAEConfig(image_size=16, latent_dim=6, widths=(4, 8), norm_num_groups=2)),
    "pixelcnn": (
        PixelCNN,
        PixelCNNConfig(levels=8, embedding=4, hidden=8, classes=3, width=8, first=3, dilations=(1,)),
    ),
    "stylegan2": (
        StyleGAN2,
        StyleGAN2Config(resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8),
    ),
    "biggan": (BigGAN, BigGANConfig(widths=(8, 8, 8), attention=(0,), z_dim=6, shared_dim=4, classes=3)),
    "cyclegan": (CycleGAN, CycleGANConfig(channels=4, blocks=1)),
}
KINDS = {"kind": "classes", "names": [["animal", "动物"], ["plant", "植物"], ["food", "食物"]]}
TEXTS = {"pixelcnn": KINDS, "biggan": KINDS, "cyclegan": {"kind": "styles", "names": ["fluent", "noto"]}}


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


@pytest.fixture(scope="session")
def nobodys(tmp_path_factory):
    """In place of the user's folders; its kernels are compiled once for all the processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    made = base / "home"
    if sys.platform == "linux":
        kernels = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels"
        kernels.mkdir(exist_ok=True)
        (made / "danqing").mkdir(parents=True)
        (made / "danqing" / "native").symlink_to(kernels, target_is_directory=True)
    return made


@pytest.fixture(autouse=True)
def nobody(nobodys, monkeypatch):
    """The settings, models and memory of whoever runs the tests are not touched."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(name, str(nobodys))
    monkeypatch.delenv("DANQING_MODELS", raising=False)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of the tiny model."""
    folder = tmp_path_factory.mktemp("zoo") / "tiny"
    folder.mkdir()
    torch.manual_seed(0)
    size, eos = vocabulary(folder / "tokenizer.json")
    text = CLIPTextConfig(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=12,
        hidden_act="gelu",
        projection_dim=16,
        eos_token_id=eos,
    )
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
        components={
            role: (family, f"{role}.safetensors", asdict(config)) for role, (family, _, config) in nets.items()
        },
        tokenizer={"kind": "bilingual", "file": "tokenizer.json", "window": 12},
        schedule={"kind": "flow", "shift": 1.0},
        prediction="flow",
        multiple=8,
        defaults={"width": 32, "height": 32, "steps": 3, "solver": "euler", "spacing": "trailing", "scale": 3.0},
    )
    return folder


@pytest.fixture
def painter(tiny):
    return load(tiny, "cpu", "fp32")


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


def write(folder, family, **changes):
    """A model of random weights; all of them vary, also those that begin as zeros or ones."""
    folder.mkdir()
    build, config = GENERATORS[family]
    torch.manual_seed(7)
    roles = ["generator", "back"] if family == "cyclegan" else ["generator"]
    for role in roles:
        net = build(config)
        for name, tensor in net.state_dict().items():
            tensor.copy_(torch.rand_like(tensor) * 200) if name == "head.palette" else tensor.add_(
                0.2 * torch.randn_like(tensor)
            )
        save(net, folder / f"{role}.safetensors")
    size = 8 if family == "pixelcnn" else 16
    said = {"name": family, "multiple": size, "defaults": {"width": size, "height": size}, "text": TEXTS.get(family)}
    parts = {role: (family, f"{role}.safetensors", asdict(config)) for role in roles}
    return write_model(folder, components=parts, **{**said, **changes}).folder


@pytest.fixture(scope="session")
def generator():
    """Writes a model of a family that paints without denoising: (folder, family, changed fields of the description) ->
    the folder."""
    return write


@pytest.fixture(scope="session")
def generators(tmp_path_factory):
    """A model's folder by its family."""
    home = tmp_path_factory.mktemp("generators")
    return {family: str(write(home / family, family)) for family in GENERATORS}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in a folder of its own; the exit code, standard output and standard error."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*args):
        code = 0
        try:
            app.main([*args])
        except SystemExit as stop:
            code = stop.code
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def pytest_collection_finish():
    """What was imported and collected stays, and is looked through no more."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config, items):
    """Leave out the tests marked "posix" on Windows."""
    lacking = [item for item in items if sys.platform == "win32" and item.get_closest_marker("posix")]
    config.hook.pytest_deselected(items=lacking)
    items[:] = [item for item in items if item not in lacking]
