"""The control network of several kinds against diffusers': the published shape by key, tiny ones by output."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from diffusers import ControlNetUnionModel
from tests.parity.test_controlnet import PUBLISHED, SMALL, TINY, arguments
from tests.parity.test_unet import call, shake, shapes

from danqing.nets.controlnet import Shown
from danqing.nets.controlnet_union import ControlNetUnion, ControlNetUnionConfig
from danqing.weights.load import load, save

SDXL = ControlNetUnionConfig(**{**asdict(PUBLISHED["sdxl"]), "hint_widths": (48, 96, 192, 384)})
TINY_UNION = ControlNetUnionConfig(**{**asdict(TINY["sdxl"]), **SMALL}, types=8, type_heads=2)


def said(config: ControlNetUnionConfig) -> dict:
    known = {name: value for name, value in arguments(config).items() if name != "mid_block_type"}
    width = config.block_out_channels[0]
    return {
        **known,
        "num_control_type": config.types,
        "num_trans_channel": width,
        "num_proj_channel": width,
        "num_trans_head": config.type_heads,
        "num_trans_layer": config.type_layers,
    }


@pytest.mark.parametrize("types", [6, 8], ids=["union", "ProMax"])
def test_a_full_shape_has_the_published_names_and_shapes(types: int) -> None:
    config = replace(SDXL, types=types)
    with torch.device("meta"):
        ours, theirs = ControlNetUnion(config), ControlNetUnionModel(**said(config))
    assert shapes(ours) == shapes(theirs)


@pytest.mark.parametrize("kinds", [(3,), (1, 3), (0, 0, 7)], ids=str)
@torch.no_grad()
def test_the_same_weights_give_the_same_residuals(kinds: tuple[int, ...], tmp_path) -> None:
    torch.manual_seed(0)
    theirs = shake(ControlNetUnionModel(**said(TINY_UNION)))
    ours = load(save_as(theirs, tmp_path))
    (x, time, tokens), our_words, their_words = call(TINY_UNION, (16, 16))
    x, time, tokens = x[:1], time[:1], tokens[:1]  # the reference's pictures know of their neighbours in a batch
    our_words = {name: value[:1] for name, value in our_words.items()}
    their_words = {"added_cond_kwargs": {k: v[:1] for k, v in their_words["added_cond_kwargs"].items()}}
    draw = torch.Generator().manual_seed(3)
    hints, weights = [torch.rand(1, 3, 64, 64, generator=draw) for _ in kinds], [0.7, 0.4, 1.3][: len(kinds)]
    marks = torch.zeros(1, TINY_UNION.types).index_fill(1, torch.tensor(kinds), 1)
    want = theirs(x, time, tokens, hints, marks, list(kinds), weights, **their_words)
    seen = [Shown(ours.see(hint), *rest) for hint, *rest in zip(hints, weights, kinds, strict=True)]
    got = ours(x, time, tokens, shown=seen, **our_words)
    torch.testing.assert_close(got.down, tuple(want.down_block_res_samples), rtol=0, atol=1e-5)
    torch.testing.assert_close(got.mid, want.mid_block_res_sample, rtol=0, atol=1e-5)
    both = ours(
        *(torch.cat([v, v]) for v in (x, time, tokens)),
        shown=[one._replace(seen=torch.cat([one.seen, 2 * one.seen])) for one in seen],
        pooled=torch.cat([our_words["pooled"]] * 2),
    )
    torch.testing.assert_close(both.mid[:1], got.mid, rtol=0, atol=1e-5)


def save_as(theirs: torch.nn.Module, folder):
    ours = ControlNetUnion(TINY_UNION)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return save(ours, folder / "union.safetensors")
