"""Laws of what is learned beside layers and of its files: a file holds what was learned, here, in peft and in
diffusers; what is put on comes off in any order."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from diffusers import UNet2DConditionModel

from danqing.adapt.base import attached
from danqing.adapt.deltas import Delta, Difference
from danqing.adapt.layouts import read
from danqing.adapt.learned import Changes, changeable
from danqing.adapt.lora import Worn
from danqing.adapt.written import kohya
from danqing.adapt.written import peft as written
from danqing.errors import InvalidInput
from danqing.nets.drafted import MINI, DraftedUNet
from danqing.nets.unet import diffusers_config
from danqing.weights import store

KINDS = pytest.mark.parametrize("decomposed", [False, True])


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-5)


def stirred(bench, net, names: list[str], *, decomposed: bool = False, alpha: float = 3.0) -> Changes:
    """Changes of the named layers, no parameter of which is zero."""
    changes = Changes({"denoiser": net}, {"denoiser": names}, rank=2, alpha=alpha, decomposed=decomposed)
    with torch.no_grad():
        for p in changes.parameters():
            p.add_(bench.draw(*p.shape, scale=0.2))
    return changes


def answered(bench, net, changes: Changes) -> torch.Tensor:
    detach = changes.attach({"denoiser": net})
    answer = bench.call(net)
    detach()
    return answer.detach()


@KINDS
@pytest.mark.parametrize("layout", ["kohya", "peft"])
def test_a_written_file_changes_here_what_was_learned(bench, layout: str, decomposed: bool) -> None:
    net = bench.unet()
    changes = stirred(bench, net, changeable(net), decomposed=decomposed)
    if layout == "kohya":
        lora = read(kohya(changes.deltas, torch.float32), {"denoiser": net}, strict=True)
    else:
        tensors, config = written(changes.deltas["denoiser"])
        lora = read(tensors, {"denoiser": net}, config=config, strict=True)
    expected = answered(bench, net, changes)
    with attached(net, lora.on("denoiser")):
        close(bench.call(net), expected)


def test_what_is_learned_of_all_layers_changes_the_draft_too_and_its_file_says_so(bench) -> None:
    tiny = replace(MINI, block_out_channels=(8, 16, 24), attention_heads=(1, 2, 3), norm_num_groups=4)
    net = DraftedUNet(replace(tiny, pooled_channels=6, draft_size=4, draft_hidden=8, draft_blocks=1))
    of_draft = [name for name in changeable(net) if name.startswith("draft.")]
    assert of_draft == ["draft.body.0", "draft.body.1.up", "draft.body.1.down", "draft.linear"]
    changes, pooled = stirred(bench, net, of_draft), bench.draw(2, 6)
    plain = net.draft(pooled)
    detach = changes.attach({"denoiser": net})
    expected = net.draft(pooled)
    detach()
    assert not torch.allclose(expected, plain, atol=1e-2) and torch.equal(net.draft(pooled), plain)
    with attached(net, read(kohya(changes.deltas, torch.float32), {"denoiser": net}, strict=True).on("denoiser")):
        close(net.draft(pooled), expected)


def theirs(net, config) -> UNet2DConditionModel:
    other = UNet2DConditionModel(**diffusers_config(config))
    other.load_state_dict(net.state_dict(), strict=True)
    return other.eval()


def ask(bench, net, other) -> torch.Tensor:
    words = bench.inputs(net.config)
    with torch.no_grad():
        return other(words["x"], words["time"], words["tokens"]).sample


@KINDS
def test_peft_loads_a_written_folder_and_answers_the_same(bench, tmp_path: Path, decomposed: bool) -> None:
    config = bench.configs["shallow"]
    net = bench.unet(config)
    changes = stirred(bench, net, changeable(net), decomposed=decomposed)
    tensors, said = written(changes.deltas["denoiser"])
    store.write(tmp_path / "adapter_model.safetensors", tensors)
    (tmp_path / "adapter_config.json").write_text(json.dumps(said))
    other = peft.PeftModel.from_pretrained(theirs(net, config), tmp_path)
    close(answered(bench, net, changes), ask(bench, net, other))


def test_diffusers_loads_a_written_file_and_answers_the_same(bench, tmp_path: Path) -> None:
    config = bench.configs["sd1"]
    net = bench.unet(config)
    changes = stirred(bench, net, [name for name in changeable(net) if ".attn" in name])
    store.write(tmp_path / "a.safetensors", kohya(changes.deltas, torch.float32))
    from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

    other = theirs(net, config)
    state, alphas, *_ = Loader.lora_state_dict(str(tmp_path / "a.safetensors"), unet_config=other.config)
    Loader.load_lora_into_unet(state, alphas, other)
    close(answered(bench, net, changes), ask(bench, net, other))


def test_what_is_learned_comes_off_in_any_order_and_leaves_every_bit(bench) -> None:
    net = bench.unet()
    names = changeable(net)
    before, bare = {name: value.clone() for name, value in net.state_dict().items()}, bench.call(net)
    first, second = stirred(bench, net, names), stirred(bench, net, names[::2], decomposed=True)
    worn = Worn(first.deltas["denoiser"])
    off = first.attach({"denoiser": net})
    with attached(net, worn):
        other = second.attach({"denoiser": net})
        off()
    other()
    assert torch.equal(bench.call(net), bare) and list(net.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_gradients_reach_what_is_learned_alone(bench) -> None:
    net = bench.unet()
    changes = stirred(bench, net, changeable(net), decomposed=True)
    changes.attach({"denoiser": net})
    words = bench.inputs(net.config)
    net(words["x"], words["time"], words["tokens"]).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in changes.parameters())
    assert not any(p.requires_grad or p.grad is not None for p in net.parameters())


def test_what_is_no_product_of_two_matrices_is_refused(bench) -> None:
    delta = Delta(Difference(torch.ones(2, 2)))
    with pytest.raises(InvalidInput, match="a is no product of two matrices"):
        kohya({"denoiser": {"a": delta}})
    net = bench.unet()
    names = changeable(net)
    several = {
        **stirred(bench, net, names[:1]).deltas["denoiser"],
        **stirred(bench, net, names[1:2], alpha=1.0).deltas["denoiser"],
    }
    with pytest.raises(InvalidInput, match="several ranks or scales"):
        written(several)
