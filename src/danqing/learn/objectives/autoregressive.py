"""The likelihood of an autoregressive model, which is exact: no bound, one forward pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Autoregressive:
    """-log P(x) = -sum_i log P(x_i | x_1 .. x_(i-1)), per colour number and in bits (van den Oord et al. 2016a, section
    5.1).

    The batch is (symbols (B, H, W, C), classes (B,) or None); the model is (symbols, classes) -> log P of each pixel in
    nats, (B, H, W). A pixel counts as ``numbers`` numbers whatever its symbols are, so that pictures of a palette are
    measured as those of bytes are. The bits are those of the symbols: fewer colours take fewer bits, and only models of
    the same symbols can be compared.
    """

    numbers: int = 3

    def __call__(
        self, model: nn.Module, batch: tuple[Tensor, Tensor | None], noise: torch.Generator
    ) -> dict[str, Tensor]:
        symbols, label = batch
        return {"loss": -model(symbols, label).mean() / (self.numbers * math.log(2))}
