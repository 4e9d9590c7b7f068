"""Colours of any profile as sRGB, in which models paint."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

#: The modes that a profile of colours may be of, and what they become.
MODES = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}
#: Every 51st level of each colour; a profile that moves none of them by more is sRGB under one of its names.
GRID = np.stack(np.meshgrid(*[np.arange(0, 256, 51, dtype=np.uint8)] * 3), -1).reshape(1, -1, 3)
SAME = 2


def converted(image: Image.Image) -> Image.Image:
    """A picture in sRGB, without a profile; one whose profile is sRGB, grey or damaged keeps its levels.

    Colours outside of sRGB become the nearest within it (relative colorimetric, black to black).
    """
    if not isinstance(profile := image.info.get("icc_profile"), bytes):
        return image
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    change = _change(profile, image.mode) if image.mode in MODES else None
    image = image.copy() if change is None else change.apply(image)
    image.info.pop("icc_profile", None)
    return image


@lru_cache(maxsize=8)
def _change(profile: bytes, mode: str) -> Any:
    """The transform of pictures of a mode from a profile to sRGB; None where there is nothing to change."""
    from PIL import ImageCms

    def to_srgb(mode: str) -> Any:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            MODES[mode],
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )

    try:
        if mode == "CMYK":
            return to_srgb(mode)
        moved = np.abs(np.asarray(to_srgb("RGB").apply(Image.fromarray(GRID))).astype(int) - GRID)
        return to_srgb(mode) if moved.max() > SAME else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
