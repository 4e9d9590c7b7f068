"""Upscalers' files of every published layout against spandrel 0.4.2, recorded by record_spandrel.py."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.parity.record_spandrel import FILES, picture, weights

from danqing.nets.rrdb import RRDBNet, RRDBNetConfig
from danqing.nets.srvgg import SRVGGNetCompact, SRVGGNetCompactConfig
from danqing.weights.families import esrgan
from danqing.weights.layouts.keymap import IDENTITY, KeyMap

RECORD = np.load(Path(__file__).parent / "fixtures" / "spandrel.npz")


@pytest.mark.parametrize("name", FILES)
@torch.no_grad()
def test_the_same_file_enlarges_the_same_picture_to_the_same_numbers(name: str):
    said = json.loads(str(RECORD[f"{name} / file"]))
    file = weights({key: tuple(shape) for key, shape in said["shapes"].items()})
    shapes = {key: tuple(tensor.shape) for key, tensor in file.items()}
    layout = name.split()[0]
    keymap = esrgan.numbered(shapes) if layout == "old" else KeyMap((esrgan.NAMED,)) if layout == "bsrgan" else IDENTITY
    state = {ours: file[source.name] for ours, source in keymap.sources(file).items()}
    ours = {key: tuple(tensor.shape) for key, tensor in state.items()}
    if layout == "compact":
        net = SRVGGNetCompact(SRVGGNetCompactConfig(**esrgan.srvgg_facts(ours).inferred))
    else:
        net = RRDBNet(RRDBNetConfig(**esrgan.rrdb_facts(ours).inferred))
    net.load_state_dict(state, strict=True)
    assert net.config.scale == said["scale"]
    want = torch.from_numpy(RECORD[name])
    torch.testing.assert_close(net(picture(net.config.in_channels)), want, rtol=1e-5, atol=1e-5)


def test_the_record_is_of_the_files_that_the_script_names():
    assert {name: json.loads(str(RECORD[f"{name} / file"]))["shapes"] for name in FILES} == json.loads(
        json.dumps(FILES)
    )
