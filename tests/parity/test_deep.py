"""Calls of the outermost layers alone against the published networks: diffusers' UNet with the deep features of another
call, which is DeepCache, and diffusers' MMDiT with what later blocks added, which is first-block cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.parity import test_mmdit, test_unet

from danqing.nets.deep import KEEP, TAKE, Deep, Memory

CALLS = (3.0, 977.0), (40.0, 700.0)


def unet_calls(config: Any) -> list[tuple[list[Any], dict[str, Any], dict[str, Any]]]:
    """Two steps: other latents and times, the same text."""
    args, ours, theirs = test_unet.call(config, (16, 16))
    moved = args[0] + 0.3 * torch.randn(args[0].shape, generator=torch.Generator().manual_seed(2))
    return [([x, torch.tensor(time), *args[2:]], ours, theirs) for x, time in zip((args[0], moved), CALLS, strict=True)]


@pytest.mark.parametrize("branch", [0, 1, 2, 4])
@pytest.mark.parametrize("name", ["sd1", "sdxl"])
@torch.no_grad()
def test_a_unet_is_the_published_one_with_the_deep_features_of_the_call_before(name, branch):
    """Branch i of DeepCache computes the residual blocks up that read the skips 0 to i, and i layers down."""
    ours, theirs = test_unet.pair(config := test_unet.TINY[name])
    blocks = [block for stage in theirs.up_blocks for block in stage.resnets]
    skip = config.skip_channels[branch]
    kept = list[torch.Tensor]()

    def deep(_: torch.nn.Module, given: tuple[Any, ...]) -> Any:
        x, beside = given[0][:, :-skip], given[0][:, -skip:]
        kept.append(x)
        return torch.cat([kept[0], beside], 1), *given[1:]

    hook = blocks[-1 - branch].register_forward_pre_hook(deep)
    off, memory = Deep(ours, branch + 1)(), [Memory(), Memory()]
    for mark, (args, mine, others) in zip((KEEP, TAKE), unet_calls(config), strict=True):
        extra = {mark: torch.cat([one.mark for one in memory])}
        expected = theirs(*args, **others).sample
        torch.testing.assert_close(ours(*args, **mine, extra=extra), expected, rtol=1e-4, atol=1e-5)
    hook.remove()
    off()
    assert (kept[0] - kept[1]).abs().max() > 0.01


@torch.no_grad()
def test_an_mmdit_is_the_published_one_with_what_its_later_blocks_added_in_the_call_before():
    """First-block cache; diffusers' own cannot be held against, for it knows no last block without a text."""
    ours, theirs = test_mmdit.pair(test_mmdit.SD35_MEDIUM_LIKE)
    x, _, tokens, pooled = test_mmdit.inputs(test_mmdit.SD35_MEDIUM_LIKE)
    images = list[torch.Tensor]()  # after the first block and after the last, of each call

    def cached(_: torch.nn.Module, given: Any, answer: Any) -> Any:
        text, image = answer
        images.append(image)
        first = images[-2]
        return (text, first + (images[1] - images[0])) if len(images) == 4 else None

    blocks = theirs.transformer_blocks
    blocks[0].register_forward_hook(lambda _, given, answer: images.append(answer[1]))
    blocks[-1].register_forward_hook(cached)
    off, memory = Deep(ours, 1)(), [Memory(), Memory()]
    for mark, time, moved in zip((KEEP, TAKE), CALLS, (x, x + 0.5), strict=True):
        extra = {mark: torch.cat([one.mark for one in memory])}
        found = ours(moved, torch.tensor(time), tokens, pooled=pooled, extra=extra)
        test_mmdit.close(found, theirs(moved, tokens, pooled, torch.tensor(time)).sample)
    off()
    assert (images[1] - images[3]).abs().max() > 0.01
