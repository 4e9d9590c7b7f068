"""The default model in diffusers: its folder of their classes, and the pipeline file that lies in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

import danqing
from danqing.errors import InvalidFile
from danqing.noise import Noise
from danqing.prompt.tokenize import bilingual_tokenizer, framed, room_of
from danqing.store.convert import convert
from danqing.store.find import find
from danqing.store.shipped import DEFAULT

PROMPT, SEED = "一只红色的狐狸, 3d style", 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(DEFAULT, tmp_path_factory.mktemp("drafted") / "mini").path


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    made: Any = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
    made.set_progress_bar_config(disable=True)
    return made


def noise(*shape: int) -> torch.Tensor:
    return Noise.of(SEED, [0], "start")(torch.empty(shape))


# diffusers begins at a sigma of 0.9997 where we begin at 1, which counts the less the more steps there are.
@pytest.mark.parametrize(
    ("prompt", "width", "height", "steps", "mean", "most"),
    [
        (PROMPT, 128, 128, 20, 0.2, 4),
        (PROMPT, 96, 160, 12, 0.3, 8),
        ("a cat to the left of a tree, 3d style", 128, 128, 6, 0.5, 20),
    ],
)
def test_the_default_model_paints_in_diffusers_what_it_paints_here(
    pipeline: Any, prompt: str, width: int, height: int, steps: int, mean: float, most: int
) -> None:
    size: dict[str, Any] = {"width": width, "height": height}
    ours = danqing.paint(
        prompt,
        seed=SEED,
        steps=steps,
        precision="fp32",
        engine="torch",
        finish=(),
        style="none",
        scene="whole",
        **size,
    )
    latents = noise(1, 8, height // 8, width // 8)
    theirs = pipeline(prompt, latents=latents, num_inference_steps=steps, **size).images[0]
    far = np.abs(np.asarray(ours.image).astype(int) - np.asarray(theirs))
    assert far.mean() < mean  # levels of 255
    assert far.max() <= most


def test_the_words_are_numbered_and_framed_alike(folder: Path, pipeline: Any) -> None:
    model = find(DEFAULT)
    own = bilingual_tokenizer(model.path(model.tokenizer["file"]))
    for text in ("a red fox, 3d style", "一只红色的狐狸", "", " two  dogs, " + "word " * 40, "½ cup <b>"):
        said = pipeline.tokenizer(text, padding="max_length", max_length=own.window, truncation=True).input_ids
        assert said == framed(own, own.encode(text)[: room_of(own)])


def test_a_size_between_cells_is_refused_there(pipeline: Any) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        pipeline(PROMPT, height=120)


def test_a_folder_with_code_of_its_own_is_not_taken_for_another_model(folder: Path) -> None:
    with pytest.raises(InvalidFile, match=r"pipeline\.py, which is not run here"):
        danqing.paint(PROMPT, model=str(folder))
