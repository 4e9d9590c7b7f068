"""Laws of gradient checkpointing: the same gradients from less memory, and nothing else changes."""

import copy

import pytest
import torch
from torch import nn

from danqing.errors import UnknownName
from danqing.learn.training.recompute import checkpointed


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Dropout(0.3), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 8))
            for _ in range(3)
        )

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return x


def gradients(net: nn.Module) -> list[torch.Tensor]:
    torch.manual_seed(3)
    net.zero_grad()
    net(torch.ones(5, 4)).square().sum().backward()
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def saved(net: nn.Module) -> int:
    """The numbers that a forward pass keeps for the backward pass, each storage once."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = net(torch.ones(5, 4))
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    assert out.requires_grad
    return sum(tensor.numel() for place, tensor in kept.items() if place not in weights)


@pytest.mark.parametrize("names", [["blocks"], ["blocks.0", "blocks.2"], ["first", "blocks"]])
def test_gradients_are_the_same_bit_for_bit_from_less_memory(names):
    plain, net = Net(), checkpointed(Net(), names)
    expected = gradients(plain)
    assert len(expected) == 20 and all(torch.equal(a, b) for a, b in zip(expected, gradients(net), strict=True))
    assert saved(net) < saved(plain)
    if names == ["blocks"]:
        assert saved(net) < saved(plain) / 3


def test_names_of_weights_stay_and_a_copy_is_a_model_of_its_own():
    net = checkpointed(Net(), ["blocks"])
    assert list(net.state_dict()) == list(Net().state_dict())
    twin = copy.deepcopy(net)
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
        assert not twin(torch.ones(5, 4)).any() and net(torch.ones(5, 4)).any()
    assert all(
        torch.equal(a, b) for a, b in zip(gradients(Net()), gradients(checkpointed(net, ["blocks"])), strict=True)
    )


def test_a_layer_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match=r"'blocks\.2'"):
        checkpointed(Net(), ["blocks.3"])
