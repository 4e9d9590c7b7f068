"""What words leave open: how far a painter's first estimate, at pure noise, is from the picture that they tell of."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...noise import keyed
from ...painting.painter import Painter
from ...request.request import Request
from .art import Art, Row


@torch.inference_mode()
def open_variance(painter: Painter, art: Art, rows: Sequence[Row]) -> float:
    """``E |x_0 - E[x_0 | x_T, words]|² / E |x_0 - mean|²`` of latents: 1 where words say nothing, 0 where they say all.

    Args:
        rows: singles of the art, asked for in English; one noise each.
    """
    missed, latents = [], []
    for i, row in enumerate(rows):
        request = painter.resolve(Request(model=painter.model.source, prompt=art.single(row, "en"), seed=0, index=i))
        picture = painter.image(art.pictures([row]).float() / 127.5 - 1)
        x0 = painter.encode_image(picture.resize((request.width or 0, request.height or 0))).float()
        point = painter.points(request)[0]
        noise = torch.randn(x0.shape, generator=keyed("open variance", i)).to(x0)
        said = painter.encode(request).scenes[0].terms[0][0]
        x, t = point.alpha * x0 + point.sigma * noise, torch.full((1,), float(point.t), device=x0.device)
        latents.append(x0.cpu())
        missed.append((painter.denoiser(x, t, said).x0.float() - x0).square().mean().cpu())
    return float(torch.stack(missed).mean() / torch.cat(latents).var())
