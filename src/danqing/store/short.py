"""Models of the Hugging Face hub by short names, as `danqing pull` and ``--model`` take them."""

from __future__ import annotations

from collections.abc import Mapping

#: Models by short names. The conditions of the last three are to be accepted at the hub.
SHORT: Mapping[str, str] = {
    "sd1.5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sd1.5-inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
    "sdxl-refiner": "stabilityai/stable-diffusion-xl-refiner-1.0",
    "sd3-medium": "stabilityai/stable-diffusion-3-medium-diffusers",
    "sd3.5-medium": "stabilityai/stable-diffusion-3.5-medium",
    "sd3.5-large": "stabilityai/stable-diffusion-3.5-large",
}
