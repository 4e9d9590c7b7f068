"""Levels to linear light and to Lab and back, exactly: what tones are measured and changed in.

Source: IEC 61966-2-1 (sRGB); CIE 15:2004 (Lab), white D65. OpenCV's own Lab is wrong by up to a level of 8 bits on the
way and back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

#: Linear RGB to XYZ, each row divided by its sum, so that white is (1, 1, 1).
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
XYZ /= XYZ.sum(1, keepdims=True)
#: The luminance Y of linear RGB.
LUMINANCE = XYZ[1]
#: XYZ's curved values to Lab: L = 116 f(Y) - 16, a = 500 (f(X) - f(Y)), b = 200 (f(Y) - f(Z)).
OPPONENT = np.array([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
ORIGIN = np.array([16.0, 0.0, 0.0])
KNEE = 6 / 29


def linear(v: Array) -> Array:
    """sRGB in [0, 1] -> linear light in [0, 1]."""
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def encoded(light: Array) -> Array:
    """Linear light -> sRGB; below black and above white it goes on."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def lab(rgb: Array) -> Array:
    """sRGB (..., 3) in [0, 1] -> Lab: L in [0, 100], a and b about [-110, 110]."""
    t = linear(rgb) @ XYZ.T
    curved = np.where(t > KNEE**3, np.cbrt(t), t / (3 * KNEE**2) + 4 / 29)
    return curved @ OPPONENT.T - ORIGIN


def lightness(rgb: Array) -> Array:
    """sRGB (..., 3) in [0, 1] -> L (...)."""
    y = linear(rgb) @ LUMINANCE
    return 116 * np.where(y > KNEE**3, np.cbrt(y), y / (3 * KNEE**2) + 4 / 29) - 16


def rgb(colours: Array) -> Array:
    """Lab (..., 3) -> sRGB (..., 3); outside [0, 1] where no screen shows the colour."""
    curved = (colours + ORIGIN) @ np.linalg.inv(OPPONENT).T
    t = np.where(curved > KNEE, curved**3, 3 * KNEE**2 * (curved - 4 / 29))
    return encoded(t @ np.linalg.inv(XYZ).T)


def shown(colours: Array, steps: int = 14) -> Array:
    """Lab (N, 3) -> sRGB (N, 3) in [0, 1]: a colour that no screen shows keeps its hue and lightness and loses chroma,
    as little as halving finds."""
    result = rgb(colours)
    out = ((result < 0) | (result > 1)).any(-1)
    if out.any():
        far = colours[out]
        low, high = np.zeros(len(far)), np.ones(len(far))
        for _ in range(steps):
            middle = (low + high) / 2
            tried = rgb(far * np.stack([np.ones_like(middle), middle, middle], -1))
            inside = ((tried >= 0) & (tried <= 1)).all(-1)
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        result[out] = rgb(far * np.stack([np.ones_like(low), low, low], -1))
    return result.clip(0, 1)
