"""A finish: so many levels of each channel are left."""

from typing import Literal

import numpy as np
from pydantic import Field

from danqing.finish.pixels import Levels, Pixels, Raster, top
from danqing.finish.records import Finish, Load, Record
from danqing.finish.tone import changed


class Posterize(Record):
    """So many levels of each channel are left, at equal distances."""

    name: Literal["posterize"] = "posterize"
    levels: int = Field(default=4, ge=2, le=256, description="How many are left of each channel.")

    def make(self, load: Load | None = None, device: str | None = None) -> Finish:
        def levelled(pixels: Pixels) -> Levels:
            white, steps = top(pixels.colour), self.levels - 1
            return (np.rint(pixels.colour / white * steps) / steps * white).round().astype(pixels.colour.dtype)

        def finish(picture: Raster, /) -> Raster:
            return changed(picture, levelled)

        return finish
