"""A picture painted with weights in few bits is near the one without, says so, and replays."""

import shutil
from typing import Any

import numpy as np
import pytest

from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.painting.load import load
from danqing.request.request import Request
from danqing.run.quantise.layers import Quantised
from danqing.store.convert import convert
from danqing.store.inspect import describe

ASKED = {"prompt": "a red fox, 3d style", "seed": 3, "steps": 8, "finish": (), "precision": "fp32"}
#: PSNR, in dB, at least.
NEAR = {"int8": 28, "int8-weights": 34, "int4": 16}


@pytest.fixture(scope="module")
def plain():
    return load(precision="fp32").paint(Request(**ASKED))


def psnr(one, other):
    one, other = (np.asarray(picture.image, np.float64) for picture in (one, other))
    return 10 * np.log10(255**2 / ((one - other) ** 2).mean())


@pytest.mark.parametrize("name", NEAR)
def test_a_picture_is_near_and_says_how_it_was_painted(plain, name):
    picture = load(precision="fp32").paint(Request(**ASKED, quantise=name))
    assert NEAR[name] < psnr(picture, plain) < 60
    assert picture.request.quantise == name and plain.request.quantise == "none"
    assert not picture.warnings


def test_a_picture_replays_from_its_record():
    first = load(precision="fp32", quantise="int8").paint(Request(**ASKED))
    again = load(precision="fp32").paint(Request.parse(first.request.json_text()))
    assert first.image.tobytes() == again.image.tobytes()


def test_networks_but_the_codec_are_kept_so():
    painter: Any = load(precision="fp32", quantise="int8")
    assert all(
        any(isinstance(layer, Quantised) for layer in net.modules()) for net in painter.adapters.target.nets.values()
    )
    assert painter.sibling(painter.model.source, painter.computed) is painter


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The default model, its weights kept in 8 bits on the disk."""
    folder = tmp_path_factory.mktemp("kept") / "small"
    convert("danqing-mini", folder, quantise="int8")
    return folder


def test_a_model_kept_in_few_bits_paints_what_quantising_at_load_paints(kept):
    asked = {**ASKED, "steps": 2}
    ours = load(str(kept), precision="fp32").paint(Request(**asked, quantise="none"))
    theirs = load(precision="fp32", quantise="int8").paint(Request(**asked))
    assert ours.image.tobytes() == theirs.image.tobytes()
    assert ours.request.quantise == "int8" and not ours.warnings
    assert describe(kept)["quantise"] == "int8"
    assert describe(kept / "denoiser.safetensors")["metadata"]["danqing.quantise"] == "int8"


def test_a_model_kept_in_few_bits_is_of_its_kind_alone(kept, tmp_path):
    with pytest.raises(InvalidInput, match="in int8.*int4 was given"):
        load(str(kept), quantise="int4")
    with pytest.raises(InvalidInput, match="in int8 already"):
        convert(kept, tmp_path / "other", quantise="int8")
    with pytest.raises(InvalidInput, match="folder"):
        convert("danqing-mini", tmp_path / "one.safetensors", quantise="int8")
    with pytest.raises(UnknownName, match="int9"):
        convert("danqing-mini", tmp_path / "other", quantise="int9")
    other = shutil.copytree(kept, tmp_path / "newer")
    said = (other / "model.json").read_text()
    for name, error in (("int9", UnknownName), ("int4", InvalidFile)):
        (other / "model.json").write_text(said.replace('"int8"', f'"{name}"'))
        with pytest.raises(error, match=name):
            load(str(other))


def test_what_is_unknown_is_named():
    with pytest.raises(UnknownName, match="int8-weights"):
        load(quantise="int9")
    with pytest.raises(UnknownName, match="int8-weights"):
        Request(quantise="int9")
