"""An adapter of image prompts of a model that drafts learns about the draft that it is painted about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from tests.painting.test_own_tower import CONFIG, model, random, shipped

from danqing.nets.drafted import DraftedUNet
from danqing.nets.ip_adapter import IPAdapter
from danqing.teach.adapters.image_prompt import OwnImagePrompt
from danqing.teach.adapters.shown import NAME
from danqing.weights.load import save

__all__ = ["model", "shipped"]  # fixtures


@pytest.fixture
def experiment(model: Path, shipped: Path) -> OwnImagePrompt:
    """Of eight noisy pictures."""
    Path("own").mkdir()
    for i in range(8):
        drawn = np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(drawn).save(f"own/{i}.png")
    return OwnImagePrompt(folder=Path("own"), model=str(model), size=32, batch=2, precision="fp32", inner=6)


def net_of(experiment: OwnImagePrompt) -> DraftedUNet:
    return cast(DraftedUNet, experiment.frozen.nets["denoiser"])


def test_a_picture_that_is_shown_is_the_draft_and_none_leaves_the_text_its_own(experiment: OwnImagePrompt) -> None:
    run: Any = experiment.training()
    net, (told,) = net_of(experiment), experiment.said([""])
    x = torch.zeros(1, 4, 16, 16)
    none, one = (experiment.beside(told, items, None) for items in ([], [(0, False)]))
    latent = experiment.batches.latents[0, False][None]
    side = net.config.draft_size
    torch.testing.assert_close(
        net.drafted(x, told.pooled, one.extra), torch.nn.functional.interpolate(latent, (side, side), mode="area")
    )
    assert torch.equal(net.drafted(x, told.pooled, none.extra), net.draft(told.pooled))
    assert NAME in net.shares
    with experiment.wearing(None):
        assert not net.shares
    next(iter(run.run(1)))
    assert run.model.image_proj.drawn.weight.grad is not None


def test_an_adapter_that_made_no_drafts_goes_on_without(experiment: OwnImagePrompt, shipped: Path) -> None:
    old = shipped / "ipadapter" / "old.safetensors"
    save(random(IPAdapter(replace(CONFIG, tokens=experiment.tokens))), old)
    again = replace(experiment, begin=str(old))
    made = again.made()
    assert made.config.drawn == 0 and not again.drafts(made, [(0, False)], torch.ones(1))
    assert replace(experiment).made().config.drawn == 4
