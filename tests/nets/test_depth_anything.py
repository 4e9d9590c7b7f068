"""Parity of Depth Anything with transformers, in both layouts of its files."""

from pathlib import Path

import pytest
import torch
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from danqing.nets.depth_anything import DepthAnything
from danqing.weights import store
from danqing.weights.families.depth import DEPTH_ANYTHING, DEPTH_ANYTHING_PUBLISHED, RULES
from danqing.weights.load import load

TINY = {"num_attention_heads": 2}


@pytest.fixture(scope="module")
def reference() -> DepthAnythingForDepthEstimation:
    torch.manual_seed(0)
    body = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=70,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=body,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 12, 16, 16],
        fusion_hidden_size=16,
        head_hidden_size=8,
        patch_size=14,
    )
    net = DepthAnythingForDepthEstimation(config).eval()
    with torch.no_grad():  # as published, nothing is zero or one; the depths are about 1
        for p in net.parameters():
            p.copy_(torch.randn_like(p) * p[0].numel() ** -0.5 if p.ndim > 1 else torch.rand_like(p) / 2 + 0.1)
    return net


@pytest.fixture(scope="module")
def file(reference: DepthAnythingForDepthEstimation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("depth")
    reference.save_pretrained(folder)
    return folder / "model.safetensors"


@pytest.mark.parametrize("size", [(70, 70), (70, 98), (42, 28), (14, 14)])
def test_depths_are_those_of_transformers(
    reference: DepthAnythingForDepthEstimation, file: Path, size: tuple[int, int]
) -> None:
    net = load(file, config=TINY)
    assert isinstance(net, DepthAnything)
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, theirs = net(x), reference(x).predicted_depth
    assert theirs.std() > 1e-2
    assert (ours - theirs).abs().max() <= 1e-5


def test_the_published_layout_holds_the_same_network(file: Path, tmp_path: Path) -> None:
    net = load(file, config=TINY)
    state = DEPTH_ANYTHING_PUBLISHED.keymap({}).back(net.state_dict())
    assert "pretrained.blocks.0.attn.qkv.weight" in state and "depth_head.scratch.refinenet4.out_conv.bias" in state
    store.write(tmp_path / "published.safetensors", {**state, "pretrained.mask_token": torch.zeros(1, 32)})
    again = load(tmp_path / "published.safetensors", config=TINY)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
    assert all(new is None or new != old for old, new in RULES)


def test_the_defaults_are_the_small_network_of_version_2() -> None:
    with torch.device("meta"):
        net = DepthAnything(DEPTH_ANYTHING.classes()[1]())
    assert sum(p.numel() for p in net.parameters()) == 24_785_089 - 384  # without the mask token
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert DEPTH_ANYTHING.infer(shapes).inferred["neck_hidden_sizes"] == (48, 96, 192, 384)
    assert DEPTH_ANYTHING.infer(shapes).assumed["out_indices"] == (3, 6, 9, 12)
