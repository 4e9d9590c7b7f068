"""Gradient checkpointing: forget a layer's inner activations and compute them again when the backward pass needs
them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ...errors import UnknownName


class Recomputed:
    """A layer's forward that keeps its inputs alone for the backward pass; where nothing is differentiated, the plain
    forward."""

    def __init__(self, forward: Callable[..., Any]):
        self.forward = forward

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.forward(*inputs, **named)
        return checkpoint(self.forward, *inputs, use_reentrant=False, **named)


def checkpointed(module: nn.Module, names: Iterable[str]) -> nn.Module:
    """The module itself, whose named layers keep only their inputs: of n such layers in a row, memory falls from that
    of all activations to n inputs and one layer's, for one more forward pass (Chen et al. 2016, "Training deep nets
    with sublinear memory cost"). The gradients are the same bit for bit: dropout draws again what it drew, from the
    generator's kept state.

    Args:
        module: any; its weights keep their names.
        names: of layers inside it, as in ``named_modules``; a ModuleList stands for its members.

    Raises:
        UnknownName: there is no such layer.
    """
    layers = dict(module.named_modules())
    for name in names:
        if name not in layers or not name:
            raise UnknownName(
                "layer", name, [other for other in layers if other and other.count(".") == name.count(".")]
            )
        layer = layers[name]
        for inner in layer if isinstance(layer, nn.ModuleList) else (layer,):
            if not isinstance(inner.forward, Recomputed):
                inner.forward = Recomputed(inner.forward)
    return module
