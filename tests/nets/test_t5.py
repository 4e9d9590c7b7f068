"""Laws of the T5 encoder that hold whatever the weights."""

from dataclasses import replace

import pytest
import torch

from danqing.errors import InvalidInput
from danqing.nets.t5 import T5, T5Config, buckets

TINY = T5Config(vocab_size=50, d_model=12, d_kv=4, d_ff=20, num_layers=2, num_heads=2)


def network(config: T5Config = TINY) -> T5:
    torch.manual_seed(0)
    net = T5(config).double().eval().requires_grad_(False)
    table = net.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    table.normal_(generator=torch.Generator().manual_seed(1))
    return net


def draw_ids(batch: int, length: int) -> torch.Tensor:
    return torch.randint(0, 50, (batch, length), generator=torch.Generator().manual_seed(2))


def test_what_is_masked_is_not_read():
    net, ids = network(), draw_ids(2, 9)
    mask = torch.ones(2, 9)
    mask[:, 6:] = 0
    other = ids.clone()
    other[:, 6:] = 7
    assert torch.equal(net(ids, mask)[:, :6], net(other, mask)[:, :6])
    torch.testing.assert_close(net(ids, mask)[:, :6], net(ids[:, :6]))
    assert not torch.allclose(net(ids)[:, :6], net(other)[:, :6])


def test_a_mask_of_ones_changes_nothing():
    net, ids = network(), draw_ids(2, 9)
    torch.testing.assert_close(net(ids, torch.ones(2, 9, dtype=torch.bool)), net(ids))


def test_a_batch_equals_its_texts_one_by_one():
    net, ids = network(), draw_ids(3, 9)
    torch.testing.assert_close(net(ids), torch.cat([net(one[None]) for one in ids]))


def test_every_token_sees_every_other_and_their_order():
    net, ids = network(), draw_ids(1, 9)
    for place in range(9):
        other = ids.clone()
        other[0, place] = (ids[0, place] + 1) % 50
        assert ((net(other) - net(ids)).abs().amax(-1) > 0).all()
    assert not torch.allclose(net(ids.flip(1)).flip(1), net(ids))


def test_only_the_distance_counts_not_the_place():
    table = buckets(30, 8, 20)
    assert torch.equal(table[:20, :20], table[10:, 10:])
    assert set(table.flatten().tolist()) == set(range(8)) - {4}  # nothing ahead has the distance 0
    assert (
        table.diff(dim=1)[:, :][torch.ones(30, 29).triu(1).bool()] >= 0
    ).all()  # ahead, farther is never a lower bucket


def test_every_parameter_gets_a_gradient():
    net = network().requires_grad_(True)
    net(draw_ids(2, 9)).square().sum().backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in net.parameters())


@pytest.mark.parametrize(
    "change", [{"num_layers": 0}, {"relative_attention_num_buckets": 6}, {"relative_attention_max_distance": 8}]
)
def test_a_shape_that_cannot_be_is_refused(change):
    with pytest.raises(InvalidInput, match="a multiple of 4 buckets"):
        T5(replace(TINY, **change))


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(InvalidInput, match="one value for each id"):
        network()(draw_ids(2, 9), torch.ones(2, 8))
