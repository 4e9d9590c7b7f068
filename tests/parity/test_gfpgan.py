"""GFPGAN's files against spandrel 0.4.2, recorded by record_gfpgan.py: read by their shapes, they restore the same
faces."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.parity.record_gfpgan import FILES, faces
from tests.parity.record_spandrel import weights

from danqing.errors import InvalidFile
from danqing.nets.gfpgan import GFPGAN
from danqing.weights.load import load
from danqing.weights.store import write

RECORD = np.load(Path(__file__).parent / "fixtures" / "gfpgan.npz")


def file(name: str) -> dict[str, torch.Tensor]:
    return weights({key: tuple(shape) for key, shape in json.loads(str(RECORD[f"{name} / file"])).items()})


def restorer(folder: Path, name: str) -> GFPGAN:
    net = load(write(folder / "a.safetensors", file(name)))
    assert isinstance(net, GFPGAN)
    return net


@pytest.mark.parametrize("name", FILES)
@torch.no_grad()
def test_the_same_file_restores_the_same_faces_to_the_same_numbers(tmp_path: Path, name: str):
    net = restorer(tmp_path, name)
    assert net.config.resolution == FILES[name]["out_size"]
    want = torch.from_numpy(RECORD[name])
    torch.testing.assert_close(net(faces(net.config.resolution)) / want.std(), want / want.std(), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_drawn_noise_that_is_the_constant_noise_changes_nothing(tmp_path: Path):
    net, x = restorer(tmp_path, "16 px"), faces(16)
    constants = dict(net.stylegan_decoder.noises.named_buffers())
    drawn = net(x, noise=lambda like, k: constants[f"noise{k}"].expand_as(like))
    torch.testing.assert_close(drawn, net(x), rtol=0, atol=0)
    still = net(x, noise=lambda like, k: torch.zeros_like(like))
    for constant in constants.values():
        constant.zero_()
    torch.testing.assert_close(still, net(x), rtol=0, atol=0)


def test_each_weight_gets_a_gradient(tmp_path: Path):
    net = restorer(tmp_path, "16 px").requires_grad_(True)
    net(faces(16)).square().mean().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]


def test_a_file_that_lacks_a_name_is_refused(tmp_path: Path):
    state = file("16 px")
    del state["condition_shift.0.2.bias"]
    with pytest.raises(InvalidFile, match=r"missing: condition_shift\.0\.2\.bias"):
        load(write(tmp_path / "a.safetensors", state))
