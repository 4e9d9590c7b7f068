"""What a word says, by the painter itself: where the word explains the picture better than no word."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...noise import Noise
from ...request.request import Request
from ..painter import Painter
from ..recipes.tasks import beside
from .finders import Find, Finder, Found, within

#: The times that are asked at, and how many draws of noise at each.
TIMES, DRAWS = (0.3, 0.5, 0.7), 3
#: What a word must explain at its best place for being there, in squared deviations of the latent; and the part of that
#: best which bounds the place.
LEAST, BOUND = 0.06, 0.4


@torch.inference_mode()
def gain(painter: Painter, image: Image.Image, word: str) -> Tensor:
    """How much nearer the painter comes to the picture for the word, cell by cell, (h, w) on the CPU.

    ``g = mean over t, eps, channels of (E[x_0 | x_t] - x_0)² - (E[x_0 | x_t, word] - x_0)²``, x_t noised with the same
    eps in both. Summed over the cells it is the evidence of a diffusion classifier. Source: Li et al. 2023
    ("Your diffusion model is secretly a zero-shot classifier"), section 3.
    """
    errors = list[Tensor]()
    for prompt in ("", word):
        request = painter.resolve(
            Request(prompt=prompt, style="none", scale=1.0, width=image.width, height=image.height, seed=0)
        )
        with painter.attached(request) as own:
            x0 = own.encode_image(image)
            denoise, total = own.assemble(request, own.points(request), beside(own, request)), 0 * x0[0, 0]
            for t in TIMES:
                alpha, sigma = own.denoiser.schedule(torch.tensor([t], device=x0.device))
                for draw in range(DRAWS):
                    noise = Noise.of(0, [draw], "find")(x0)
                    x = alpha.to(x0) * x0 + sigma.to(x0) * noise
                    total = total + (denoise(x, torch.full((1,), t, device=x0.device)).x0 - x0).square().mean(1)[0]
        errors.append(total / (len(TIMES) * DRAWS))
    return (errors[0] - errors[1]).float().cpu()


def words(what: str, painter: Painter) -> Find:
    """Where a word is in a picture, as far as the painter tells."""

    def find(image: Image.Image) -> list[Found]:
        import cv2

        size = painter.fit(image.size)
        cells = gain(painter, image.resize(size, Image.Resampling.LANCZOS), what)
        field = cv2.GaussianBlur(np.asarray(cells), (0, 0), 1.0)
        if field.max() < LEAST:
            return []
        field = cv2.resize(field, size, interpolation=cv2.INTER_LINEAR)
        _, labels, boxes, _ = cv2.connectedComponentsWithStats((field > BOUND * field.max()).astype(np.uint8))
        peaks = [float(field[labels == n].max()) for n in range(1, len(boxes))]
        scale = np.array([image.width / size[0], image.height / size[1]] * 2)
        found = list[Found]()
        for peak, (left, upper, width, height, _) in zip(peaks, boxes[1:], strict=True):
            box = within(tuple(np.array([left, upper, left + width, upper + height]) * scale), image.size)
            if peak >= max(LEAST, 0.7 * max(peaks)):
                found.append(Found(box, min(1.0, peak), what))
        return found

    return find


WORD = Finder(
    knows=lambda what: False,
    make=words,
    does="any other word: where it explains the picture to the model that paints, better than no word does.",
)
