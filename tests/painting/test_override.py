"""What is said of a model by hand goes before its files, stands in the record, and is said of no other model."""

import shutil
from pathlib import Path

import pytest
import torch

import danqing
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.nets.autoencoder_kl import AutoencoderKL
from danqing.painting.load import load, load_for
from danqing.request.names import NOISE_SCHEDULES, PREDICTIONS
from danqing.request.request import Request
from danqing.store.foreign import hand
from danqing.weights.load import save


def paint(model: Path | str, **options) -> danqing.Picture:
    given = {"model": str(model), "seed": 1, "steps": 2, "precision": "fp32", **options}
    return danqing.paint("a fox", **given)


@pytest.fixture
def vae(tiny, tmp_path) -> Path:
    """An autoencoder of the tiny model's shape, of other weights."""
    config = danqing.load(str(tiny)).codec.vae.config
    torch.manual_seed(9)
    save(AutoencoderKL(config), tmp_path / "other.safetensors")
    return tmp_path / "other.safetensors"


@pytest.mark.parametrize("said", [{"prediction": "v"}, {"noise_schedule": "cosine"}, {"vae": ""}])
def test_it_changes_the_picture_and_is_painted_again_from_the_record(tiny, vae, tmp_path, said):
    said = {"vae": str(vae)} if "vae" in said else said
    plain, other = paint(tiny), paint(tiny, **said)
    assert other.image.tobytes() != plain.image.tobytes() and not other.warnings
    path = other.save(tmp_path / "fox.png")
    assert danqing.replay(path).exact
    assert paint(tiny).image.tobytes() == plain.image.tobytes()


def test_what_the_files_say_already_changes_nothing(tiny):
    assert paint(tiny, prediction="flow").image.tobytes() == paint(tiny).image.tobytes()


def test_it_stays_with_the_model_in_another_precision_and_with_no_other(tiny, tmp_path):
    other = shutil.copytree(tiny, tmp_path / "other")
    loaded = load_for(Request(model=str(tiny), prediction="v", precision="fp32"))
    assert loaded.in_precision("bf16").denoiser.prediction == loaded.denoiser.prediction != "flow"  # type: ignore
    assert loaded.sibling(str(other), {"precision": "fp32"}).denoiser.prediction == load(tiny).denoiser.prediction  # type: ignore


def test_what_cannot_be_is_refused(tiny, generators, tmp_path):
    with pytest.raises(UnknownName, match="prediction 'velocity'"):
        paint(tiny, prediction="velocity")
    with pytest.raises(UnknownName, match="noise schedule 'cosin'.*cosine"):
        paint(tiny, noise_schedule="cosin")
    with pytest.raises(InvalidInput, match="paints without denoising"):
        danqing.paint(model=generators["vae"], prediction="eps")
    with pytest.raises(InvalidFile):
        paint(tiny, vae=str(tmp_path / "gone.safetensors"))


def test_the_names_are_those_that_are_known():
    assert set(NOISE_SCHEDULES) == set(hand.SCHEDULES) and set(PREDICTIONS) == set(hand.PREDICTIONS)
