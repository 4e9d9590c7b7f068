"""Our T5 against transformers': the same weights give the same answer, and the published shapes are the same."""

from dataclasses import replace

import pytest
import torch
import transformers
from transformers.models.t5.modeling_t5 import T5Attention

from danqing.nets import t5
from danqing.nets.t5 import T5, T5Config

TINY = T5Config(
    vocab_size=60,
    d_model=16,
    d_kv=6,
    d_ff=24,
    num_layers=3,
    num_heads=3,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=20,
)


def their_config(config: T5Config) -> transformers.T5Config:
    names = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
    reach = ("relative_attention_num_buckets", "relative_attention_max_distance", "layer_norm_epsilon")
    return transformers.T5Config(
        feed_forward_proj="gated-gelu", **{name: getattr(config, name) for name in (*names, *reach)}
    )


def pair(config: T5Config) -> tuple[T5, transformers.T5EncoderModel]:
    """Random weights in every place, norms too, and large enough biases that distances matter."""
    torch.manual_seed(0)
    theirs = transformers.T5EncoderModel(their_config(config)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    ours = T5(config)
    state = theirs.state_dict()
    ours.load_state_dict({name: state[name] for name in state if name != "encoder.embed_tokens.weight"}, strict=True)
    return ours.eval(), theirs


def draw(length: int = 40) -> torch.Tensor:
    return torch.randint(0, 60, (3, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, d_kv=8, num_heads=2, num_layers=1, relative_attention_num_buckets=32)]
)
@torch.no_grad()
def test_the_network_equals_the_published_one(config):
    ours, theirs = pair(config)
    for length in (1, 7, 40):
        expected = theirs(draw(length)).last_hidden_state
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(draw(length)), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_mask_says_the_same_to_both():
    ours, theirs = pair(TINY)
    mask = torch.ones(3, 40, dtype=torch.long)
    mask[0, 3:], mask[1, 25:] = 0, 0
    expected = theirs(draw(), attention_mask=mask).last_hidden_state
    assert (expected - theirs(draw()).last_hidden_state).abs().max() > 0.1
    for given in (mask, mask.bool()):
        torch.testing.assert_close(ours(draw(), given), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("count", "reach"), [(32, 128), (8, 20), (12, 7), (4, 3)])
def test_distances_fall_into_the_published_buckets(count, reach):
    place = torch.arange(400)
    theirs = T5Attention._relative_position_bucket(place[None] - place[:, None], num_buckets=count, max_distance=reach)
    assert torch.equal(t5.buckets(400, count, reach), theirs)


@torch.no_grad()
def test_float16_keeps_wide_what_transformers_keeps_wide():
    """Products beyond 65504 in the feed-forward, as the published weights make them, stay finite and right in both."""
    ours, theirs = pair(TINY)
    for net in (ours, theirs):
        for block in net.encoder.block:
            block.layer[1].DenseReluDense.wi_1.weight.mul_(300)
            block.layer[1].DenseReluDense.wo.weight.mul_(3000)
    expected = theirs(draw()).last_hidden_state
    largest = max(block.layer[1].DenseReluDense(torch.ones(1, 1, 16)).abs().max() for block in theirs.encoder.block)
    assert largest > 65504 > max(p.abs().max() for p in theirs.parameters())
    apart = ours.half()(draw()).float() - expected
    assert apart.norm() < 0.01 * expected.norm()  # of all together: single numbers near 0 are rounded by more


def test_keys_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        ours, theirs = T5(t5.XXL), transformers.T5EncoderModel(their_config(t5.XXL))
    shapes = [{k: tuple(v.shape) for k, v in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[1].pop("encoder.embed_tokens.weight") == shapes[1]["shared.weight"]
    assert shapes[0] == shapes[1]
    assert (
        round(sum(p.numel() for p in ours.parameters()) / 1e9, 2) == 4.76
    )  # billions, as the published card counts them
