"""Laws of letting go: a file's numbers stay what they are, and what only memory has is not lost."""

import mmap
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.run.engine.engines import ENGINES
from danqing.weights import store
from danqing.weights.load import load, save
from danqing.weights.mappings import let_go

PAGES = 3 * mmap.PAGESIZE // 4


@pytest.fixture
def file(tmp_path):
    numbers = torch.arange(3 * PAGES, dtype=torch.float32).view(3, PAGES)
    return store.write(tmp_path / "x.safetensors", {name: numbers[i].clone() for i, name in enumerate("abc")})


def test_numbers_of_a_file_are_the_same_afterwards(file):
    tensors = store.read(file)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        assert let_go(tensor) is tensor and torch.equal(tensor, before[name])


def test_numbers_that_somebody_wrote_are_kept_and_so_are_the_neighbours(file):
    tensors = store.read(file)
    for tensor in tensors.values():
        tensor += 0.5
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    assert torch.equal(let_go(tensors["b"]), before["b"])
    assert torch.equal(tensors["a"], before["a"]) and torch.equal(tensors["c"], before["c"])


@pytest.mark.parametrize("tensor", [torch.ones(5000), torch.ones(()), torch.ones(90, 90).t(), torch.empty(0)])
def test_numbers_of_no_file_are_what_they_were(tensor):
    assert let_go(tensor) is tensor


def resident(path: Path) -> int:
    """Kilobytes of a mapped file that this process has in memory; 0 where the system does not say."""
    maps = Path("/proc/self/smaps")
    lines = maps.read_text() if maps.exists() else ""
    found = re.findall(rf"{re.escape(str(path))}\n(?:\w+:.*\n)*?Rss: +(\d+) kB", lines)
    return sum(map(int, found))


def test_a_file_is_not_in_memory_beside_what_was_packed_of_it(tmp_path):
    config = AutoencoderKLConfig(block_out_channels=(64, 128), layers_per_block=1, mid_block_add_attention=False)
    torch.manual_seed(0)
    path = save(AutoencoderKL(config), tmp_path / "vae.safetensors")
    z, size = torch.randn(1, 4, 16, 16), path.stat().st_size // 1024
    plain, packed = load(path), load(path)
    state = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    del plain
    off = ENGINES["packed"].attach(packed)
    with torch.inference_mode():
        packed.encode(packed.decode(z))
    assert resident(path) < size / 4
    off()
    assert isinstance(packed.decoder.conv_in, nn.Conv2d)
    assert all(torch.equal(tensor, state[name]) for name, tensor in packed.state_dict().items())
