"""Laws of a subject in styles that none of its pictures shows: there it is drafted as in the nearest that is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image
from tests.painting.test_own_tower import model, shipped

from danqing.nets.drafted import DraftedUNet
from danqing.painting.styles import Styles, Words
from danqing.teach.adapters.elsewhere import Told, distances, drafted, elsewhere, summaries
from danqing.teach.adapters.lora import OwnLoRA

__all__ = ["model", "shipped"]  # fixtures

STYLES = Styles(
    words={
        "3d": Words(("3d style", "3d"), ("3D风格", "3D")),
        "flat": Words(("flat style", "flat"), ("扁平风格",)),
        "ink": Words(("ink style",), ("水墨风格",)),
    }
)
APART = {
    "3d": {"3d": 0.0, "flat": 2.0, "ink": 3.0},
    "flat": {"3d": 2.0, "flat": 0.0, "ink": 1.0},
    "ink": {"3d": 3.0, "flat": 1.0, "ink": 0.0},
}


def test_a_style_that_is_not_shown_gets_the_pictures_of_the_nearest_that_is():
    captions = ["a zorb, 3d style", "a zorb, flat style", "a zorb on a hill, flat"]
    found = elsewhere(captions, STYLES, APART)
    assert found == [Told("a zorb, ink style", 1), Told("a zorb on a hill, ink style", 2)]


def test_captions_of_no_style_or_of_every_style_are_told_nowhere_else():
    assert elsewhere(["a zorb", "a fox, inkfolk"], STYLES, APART) == []
    assert elsewhere(["a zorb, 3d", "a zorb, flat", "a zorb, ink style"], STYLES, APART) == []


@pytest.mark.parametrize("text", ["a zorb, 3d style", "a flat zorb", "左边的zorb，水墨风格"])
def test_a_text_moved_to_a_style_names_that_one_alone(text):
    (style,) = (name for name, words in STYLES.words.items() if words.within(text))
    for other in set(STYLES.words) - {style}:
        moved = STYLES.moved(text, style, other)
        assert [name for name, words in STYLES.words.items() if words.within(moved)] == [other]


@pytest.fixture
def folder(model: Path, shipped: Path) -> Path:
    """Two pictures in two of three styles that the drafting model names."""
    rows = [{"style": name, "en": list(words.en), "zh": list(words.zh)} for name, words in STYLES.words.items()]
    (model / "styles.json").write_text(json.dumps(rows))
    said = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**said, "text": {"styles": "styles.json"}}))
    Path("own").mkdir()
    for i, style in enumerate(("3d", "flat")):
        drawn = np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(drawn).save(f"own/{i}.png")
        Path(f"own/{i}.txt").write_text(f"a fox, {style} style")
    return model


def made(model: Path, **changes: float) -> OwnLoRA:
    return OwnLoRA(folder=Path("own"), model=str(model), size=32, batch=2, precision="fp32", rate=1e-2, **changes)  # type: ignore[arg-type]


def test_styles_are_as_far_apart_either_way_and_none_from_itself(folder: Path):
    apart = distances(made(folder).frozen)
    assert set(apart) == set(STYLES.words)
    for one in apart:
        for other in apart:
            assert apart[one][other] == apart[other][one] >= apart[one][one] == 0


def test_the_draft_comes_nearer_to_the_pictures_in_every_style_and_without_weight_it_does_not(folder: Path):
    def far(experiment: OwnLoRA, steps: int) -> float:
        run = experiment.training()
        list(run.run(steps))
        pooled, targets = made_of._drafted
        net = cast(DraftedUNet, experiment.frozen.nets["denoiser"])
        with torch.no_grad():
            return float((drafted(net, pooled) - targets).square().mean())

    made_of = made(folder)
    before = far(made_of, 0)
    texts = [text for text, _ in made_of._told]
    assert texts == ["a fox, 3d style", "a fox, flat style", *texts[2:]] and len(texts) == 3
    torch.testing.assert_close(summaries(made_of.frozen, texts), made_of._drafted[0])
    after, without = far(made(folder), 30), far(made(folder, elsewhere=0.0), 30)
    assert after < min(before, without)
    assert far(made(folder, text=True), 30) < min(before, without)
