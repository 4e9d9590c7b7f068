"""What an image tower or a recogniser of faces says of a picture, as a few tokens beside the words': the projections of
IP-Adapters, one for each kind.

Source: Ye et al. 2023, section 3.2, and its published code for what came later (Plus, full face, FaceID).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .redrawn import Redrawn
from .tower import ImageTower, ImageTowerConfig

#: Width of a head of the resampler's attention.
HEAD = 64


@dataclass(frozen=True, kw_only=True)
class IPAdapterConfig:
    """The shape of an `IPAdapter`; the defaults are those of the first one published, for Stable Diffusion 1.

    Args:
        kind: "base", "summary", "full-face", "plus", "face-id", "face-id-plus" or "portrait": a row of
            `PROJECTIONS`; or one of `danqing.nets.pulid.KINDS`.
        tokens: N that a picture becomes; 0 for as many as the tower says of it ("full-face").
        width: D of the text tokens of the UNet.
        seen: of what is read of the image tower; 0 where nothing is.
        face: of what is read of the recogniser of faces; 0 where nothing is.
        inner: of the hidden layer of "full-face", of the faces' projection, and of what is added to the text's summary.
        summary: P of the text's summary, to which "summary" and "portrait" add; 0 where nothing is added.
        drawn: C of the latent that "summary" and "portrait" make a draft of; 0 where they make none.
        redrawn: the widths of the network by which "portrait" makes it.
        texture: of what "portrait" reads of the judge beside its grid, which is what it has seen.
        hidden, depth, attended, fed: of the resampler: its width, layers, all its heads together, and the hidden layer
            of its MLPs; "portrait" has the first, of the block that tells who it is.
        layers: width of every attention to the text of the UNet, in the order of `places`.
        rank: of the changes of all attentions that the file holds beside (FaceID); 0 for none.
    """

    kind: str = "base"
    tokens: int = 4
    width: int = 768
    seen: int = 1024
    face: int = 0
    inner: int = 0
    summary: int = 0
    drawn: int = 0
    redrawn: tuple[int, ...] = ()
    texture: int = 0
    hidden: int = 0
    depth: int = 0
    attended: int = 0
    fed: int = 0
    layers: tuple[int, ...] = (320, 320, 640, 640, 1280, 1280, *(1280,) * 3, *(640,) * 3, *(320,) * 3, 1280)
    rank: int = 0


class Projection(nn.Module):
    """What is said of a picture to tokens, as ``forward(seen, face)``, each (B, …) or None where it is not read.

    Args:
        config: of the adapter.
    """

    #: Of the image tower: "projected", "tokens" of the layer before the last, "matched" to the words of our model,
    #: "states" at five depths, or nothing; and whether a face is read.
    tower: str = ""
    faces: bool = False
    #: Whether the numbers of a face are brought to length 1.
    unit: bool = True
    #: Whether a face's own tokens are added to those filled from it: version 2 of "face-id-plus", by its name alone.
    shortcut: bool = False

    def __init__(self, config: IPAdapterConfig):
        super().__init__()
        self.config = config

    def summary(self, seen: Tensor | None) -> Tensor | None:
        """What is added to the text's summary, (B, P); None where nothing is."""
        return None

    def draft(self, latent: Tensor) -> Tensor | None:
        """A picture's latent (B, C, S, S) as the draft that is painted about, like it; None where it is none."""
        return None


class Base(Projection):
    """``norm(W s)`` of the tower's summary s (B, S), as N tokens (B, N, D). Ye et al. 2023, section 3.2.1."""

    tower = "projected"

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        self.proj = nn.Linear(config.seen, config.tokens * config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, seen: Tensor, face: Tensor | None = None) -> Tensor:
        return self.norm(self.proj(seen).unflatten(1, (self.config.tokens, -1)))


class Summary(Base):
    """`Base`, and ``A s + V gelu(U s)``, which is added to the text's summary: of no picture, s = 0, it is nothing. And
    of the picture's latent z its draft ``K * z + k``, a convolution over 3 × 3 cells, at first the identity, for files
    that hold one.

    Ours, for networks that draft from the text's summary, which no attention reaches; s lies in the space of summaries,
    as of a CLIP. From a picture's place in that space to a text's: Ramesh et al. 2022, section 2.1, there a prior that
    is drawn from, here its mean.
    """

    tower = "matched"

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        self.skip = nn.Linear(config.seen, config.summary, bias=False)
        self.up = nn.Linear(config.seen, config.inner, bias=False)
        self.down = nn.Linear(config.inner, config.summary, bias=False)
        self.drawn = identity(config.drawn) if config.drawn else None

    def summary(self, seen: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.skip(seen) + self.down(F.gelu(self.up(seen)))

    def draft(self, latent: Tensor) -> Tensor | None:
        return None if self.drawn is None else self.drawn(latent)


def identity(channels: int) -> nn.Conv2d:
    """A convolution over 3 × 3 cells that changes nothing as it begins; beyond the edge the last cell goes on."""
    made = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="replicate")
    with torch.no_grad():
        nn.init.dirac_(made.weight)
        nn.init.zeros_(cast(Tensor, made.bias))
    return made


class FullFace(Projection):
    """``norm(W_2 gelu(W_1 x))`` of every token x of the tower, (B, L, S) -> (B, L, D)."""

    tower = "tokens"

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        layers = nn.Linear(config.seen, config.inner), nn.GELU(), nn.Linear(config.inner, config.width)
        self.proj = nn.Sequential(*layers, nn.LayerNorm(config.width))

    def forward(self, seen: Tensor, face: Tensor | None = None) -> Tensor:
        return self.proj(seen)


class PerceiverAttention(nn.Module):
    """``W_o softmax(q kᵀ / √d) v``: queries of the latents, keys and values of what is seen and of the latents.

    Source: Alayrac et al. 2022, section 3.1.1.
    """

    def __init__(self, width: int, attended: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, attended, bias=False)
        self.to_kv = nn.Linear(width, 2 * attended, bias=False)
        self.to_out = nn.Linear(attended, width, bias=False)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """(B, L, H), (B, N, H) -> (B, N, H)."""
        x, latents = self.norm1(x), self.norm2(latents)
        every = self.to_q(latents), *self.to_kv(torch.cat([x, latents], 1)).chunk(2, -1)
        q, k, v = (y.unflatten(2, (-1, HEAD)).transpose(1, 2) for y in every)
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Resampler(Projection):
    """Layers of attention and an MLP that fill latents from what is seen, between projections in and out.

    ``z += attention(W_i x, z); z += mlp(z)``, then ``norm(W_o z)``.
    """

    def __init__(self, config: IPAdapterConfig, width: int):
        super().__init__(config)
        self.proj_in = nn.Linear(config.seen, width)
        self.proj_out = nn.Linear(width, config.width)
        self.norm_out = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(width, config.attended), mlp(width, config.fed)])
            for _ in range(config.depth)
        )

    def filled(self, x: Tensor, latents: Tensor) -> Tensor:
        """(B, L, S), (B, N, H) -> (B, N, D)."""
        x = self.proj_in(x)
        for attention, feed in cast("Any", self.layers):
            latents = attention(x, latents) + latents
            latents = feed(latents) + latents
        return self.norm_out(self.proj_out(latents))


def mlp(width: int, inner: int) -> nn.Sequential:
    """``W_2 gelu(W_1 norm(x))``."""
    linears = nn.Linear(width, inner, bias=False), nn.GELU(), nn.Linear(inner, width, bias=False)
    return nn.Sequential(nn.LayerNorm(width), *linears)


class Plus(Resampler):
    """N latents that are learned, filled from every token of the tower, (B, L, S) -> (B, N, D); or, of InstantID (Wang
    et al. 2024, section 3.2), from a face (B, F) of any length, as a single token."""

    tower, unit = "tokens", False

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config, config.hidden)
        self.latents = nn.Parameter(torch.randn(1, config.tokens, config.hidden) / max(config.hidden, 1) ** 0.5)
        if config.face:
            self.tower, self.faces = "", True

    def forward(self, seen: Tensor | None, face: Tensor | None = None) -> Tensor:
        x = face[:, None] if face is not None else seen
        assert x is not None
        return self.filled(x, self.latents.expand(len(x), -1, -1))


class FaceID(Projection):
    """``norm(W_2 gelu(W_1 f))`` of a face f (B, F), as N tokens (B, N, D)."""

    faces = True

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        out = nn.Linear(config.inner, config.tokens * config.width)
        self.proj = nn.Sequential(nn.Linear(config.face, config.inner), nn.GELU(), out)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, seen: Tensor | None, face: Tensor) -> Tensor:
        return self.norm(self.proj(face).unflatten(1, (self.config.tokens, -1)))


class FaceIDPlus(FaceID):
    """The tokens of a face, filled from every token of the tower; ``shortcut`` adds them again (version 2)."""

    tower = "tokens"

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        self.perceiver_resampler = Resampler(config, config.width)

    def forward(self, seen: Tensor | None, face: Tensor) -> Tensor:
        assert seen is not None
        tokens = super().forward(None, face)
        filled = self.perceiver_resampler.filled(seen, tokens)
        return tokens + filled if self.shortcut else filled


class Portrait(Projection):
    """Whose portrait it is, a unit vector f (B, F) of what the judge sees of a picture; ``norm(W f)`` of that, as N
    tokens (B, N, D); and ``V gelu(U [f, p] + b) + c``, which is added to a text's summary p.

    And, for files that hold one, the draft of the portrait's latent z as p has it, `Redrawn`.

    Ours, for networks that draft from the text's summary: what a person changes of a picture depends on what else is
    said of it.
    """

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        looks = ImageTowerConfig(grid=config.seen, texture=config.texture, hidden=config.hidden, width=config.face)
        self.person = ImageTower(looks)
        self.proj = nn.Linear(config.face, config.tokens * config.width)
        self.norm = nn.LayerNorm(config.width)
        self.told = nn.Linear(config.face + config.summary, config.inner)
        self.down = nn.Linear(config.inner, config.summary)
        self.redrawn = Redrawn(config.drawn, config.summary, config.redrawn) if config.drawn else None

    def forward(self, seen: Tensor | None, face: Tensor) -> Tensor:
        return self.norm(self.proj(face).unflatten(1, (self.config.tokens, -1)))

    def added(self, face: Tensor, summary: Tensor) -> Tensor:
        """(B, F), (B, P) -> what is added to the summary, (B, P)."""
        return self.down(F.gelu(self.told(torch.cat([face, summary], 1))))


PROJECTIONS: Mapping[str, Callable[[IPAdapterConfig], Projection]] = {
    "base": Base,
    "summary": Summary,
    "full-face": FullFace,
    "plus": Plus,
    "face-id": FaceID,
    "face-id-plus": FaceIDPlus,
    "portrait": Portrait,
}
