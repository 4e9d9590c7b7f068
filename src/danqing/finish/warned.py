"""Finishes that may have something to say of what they did."""

from __future__ import annotations

from abc import ABC, abstractmethod

from .pixels import Raster


class WithWarnings(ABC):
    """A finish: a picture -> a picture, and what is to be said of it."""

    def __call__(self, picture: Raster) -> Raster:
        """The picture alone; `with_warnings` gives the warnings too."""
        return self.with_warnings(picture)[0]

    @abstractmethod
    def with_warnings(self, picture: Raster) -> tuple[Raster, tuple[str, ...]]:
        """The picture, and what is to be said of it; of Pillow, or an array (H, W, 1 to 4) of uint8 or uint16."""
