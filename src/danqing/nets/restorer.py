"""A small restorer of faces: a U-Net that says what is to be added to a poor picture."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import InvalidInput
from .u_shape import ShapeConfig, UShape


class RestorerConfig(ShapeConfig):
    """The shape of a `Restorer`."""


#: For drawn portraits of 128 px.
MINI = RestorerConfig()


class Restorer(UShape):
    """``y = x + out(U(x))``, and at first y = x, since ``out`` begins with zeros.

    Source: `UShape`; He et al. 2016 as to what is added.

    Args:
        config: the network's shape.
    """

    def __init__(self, config: RestorerConfig):
        super().__init__(config)
        self.config = config
        self.conv_out = nn.Conv2d(config.widths[0], 3 * config.patch**2, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 3, H, W).

        Raises:
            InvalidInput: a side that is not halved often enough without a rest.
        """
        if x.shape[-2] % self.multiple or x.shape[-1] % self.multiple:
            raise InvalidInput(
                f"a face of {x.shape[-1]}×{x.shape[-2]} was given; possible are multiples of {self.multiple} pixels"
            )
        return x + nn.functional.pixel_shuffle(self.conv_out(self.levels(x)), self.patch)
