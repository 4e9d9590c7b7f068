"""UNets that begin from a draft: a first guess of the latent from the text's summary alone. One reads it beside the
noisy latent; the other also paints only what it leaves open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .laid import laid
from .ports import NO_RESIDUALS, NOTHING, Residuals
from .unet import UNet, UNetConfig


@dataclass(frozen=True, kw_only=True)
class DraftedUNetConfig(UNetConfig):
    """The shape of a `DraftedUNet`.

    Args:
        in_channels: of the latent and the draft together.
        pooled_channels: P of the summary that is drafted.
        draft_size: the side S of the draft's grid, that of the latents trained on.
        draft_hidden: the width H of the draft's hidden layers; 0 draws it by one linear layer.
        draft_blocks: how many residual blocks are between the first and the last layer.
    """

    in_channels: int = 8
    pooled_channels: int = 768
    draft_size: int = 64
    draft_hidden: int = 0
    draft_blocks: int = 0


#: For 16×16×8 latents on a CPU: convolutions alone at 16×16, attention at 8×8 and in the 4×4 middle, where it is cheap.
#: The text's summary reaches every residual block, its words the attention.
#: 20.2M parameters, 1.95 GFLOP a call and picture (a multiplication and an addition counted as two).
MINI = DraftedUNetConfig(
    in_channels=16,
    out_channels=8,
    block_out_channels=(128, 192, 256),
    layers_per_block=1,
    transformer_layers=(0, 1, 0),
    mid_transformer_layers=2,
    attention_heads=(4, 6, 8),
    cross_attention_dim=256,
    use_linear_projection=True,
    pooled_channels=256,
    draft_size=16,
)
#: The same with a draft of 13M parameters, 26 MFLOP a picture.
MLP_MINI = replace(MINI, draft_hidden=1280, draft_blocks=2)


class Block(nn.Module):
    """``x + W_2 silu(W_1 norm(x))``, at first the identity (He et al. 2016, "Identity mappings"; RMSNorm: Zhang &
    Sennrich 2019)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.up, self.down = nn.RMSNorm(width), nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H) to (B, H)."""
        return x + self.down(F.silu(self.up(self.norm(x))))


class Draft(nn.Module):
    """The text's summary, laid out on a grid: ``draft = W body(pooled) + b``, at its best ``E[x_0 | text]``.

    Args:
        pooled_channels: P of the summary.
        channels: C of the latent.
        size: the side S of the grid.
        hidden: H of the body, a first layer, residual blocks and a norm; of 0 the body is the identity.
        blocks: how many residual blocks the body has.
    """

    def __init__(self, pooled_channels: int, channels: int, size: int, hidden: int = 0, blocks: int = 0):
        super().__init__()
        self.shape = (channels, size, size)
        self.body = nn.Sequential()
        if hidden:
            self.body = nn.Sequential(
                nn.Linear(pooled_channels, hidden), *(Block(hidden) for _ in range(blocks)), nn.RMSNorm(hidden)
            )
        self.linear = nn.Linear(hidden or pooled_channels, math.prod(self.shape))

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, P) to (B, C, S, S); (B, K, P), of several summaries each, to (B, K, C, S, S)."""
        return self.linear(self.body(pooled)).unflatten(-1, self.shape)


class Scene(NamedTuple):
    """Up to K things that are drafted each by itself, where they are.

    Args:
        things: the summary of what is said of each, (B, K, P).
        places: where its centre is, across and down, and how large it is, all of the picture's side, (B, K, 3); one of
            size 0 is not there.
    """

    things: Tensor
    places: Tensor


def scene_of(extra: Mapping[str, Tensor]) -> Scene | None:
    """The scene that a conditioning holds under the names of its parts, if it does."""
    return Scene(extra["things"], extra["places"]) if "things" in extra else None


class Share(NamedTuple):
    """What a picture has of a draft.

    Args:
        weight: how strongly it counts in each cell, at least 0, (B, 1, S, S).
        picture: as a draft, (B, C, S, S).
    """

    weight: Tensor
    picture: Tensor


class Drawn(nn.Module):
    """A picture in a draft (port 6): its `Share` as ``extra`` holds it, the two parts under ``NAME share`` and ``NAME
    draft``; none where it holds nothing of the name.

    Args:
        name: its own.
    """

    def __init__(self, name: str):
        super().__init__()
        self.names = share_names(name)

    def forward(self, extra: Mapping[str, Tensor]) -> tuple[Share, ...]:
        weight, picture = self.names
        return (Share(extra[weight], extra[picture]),) if picture in extra else ()


def share_names(name: str) -> tuple[str, str]:
    """Under which the parts of a `Share` are said."""
    return f"{name} share", f"{name} draft"


def shared(draft: Tensor, shares: Sequence[Share]) -> Tensor:
    """A draft m of which pictures p_i have their shares w_i; in any order, and one picture twice, of half its weight
    each, is that picture once.

        (1 - min(1, W)) m + sum_i w_i p_i / max(1, W),  W = sum_i w_i
    """
    if not shares:
        return draft
    total = torch.stack([share.weight for share in shares]).sum(0).to(draft)
    moved = torch.stack([share.weight.to(draft) * (share.picture.to(draft) - draft) for share in shares]).sum(0)
    return draft + moved / total.clamp(min=1)


class DraftedUNet(UNet):
    """A `UNet` whose first convolution reads the noisy latent and, beside it, the draft.

    Of the draft pictures have their shares, as ``shares`` says, an empty ``nn.ModuleDict`` (port 6).

    A summary that enters through the embedding of time says the same everywhere, and the network has to invent where
    things are; the draft says it from the first step of training. Concatenating a condition to the latent is as in
    Rombach et al. 2022, section 3.3; going from the text to a first picture by a small network of its own as in Ramesh
    et al. 2022, section 2.2.

    Args:
        config: the shape; `MINI` is at hand.
    """

    config: DraftedUNetConfig  # pyright: ignore[reportIncompatibleVariableOverride]  # frozen, as every config is

    def __init__(self, config: DraftedUNetConfig):
        super().__init__(config)
        channels = config.in_channels - config.out_channels
        self.draft = Draft(
            config.pooled_channels, channels, config.draft_size, config.draft_hidden, config.draft_blocks
        )
        self.shares = nn.ModuleDict()

    def drafted(self, x: Tensor, pooled: Tensor | None, extra: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """The draft of (B, P) for the latent x (B, C, H, W), resampled where its grid is not H × W: like x.

        Args:
            extra: ``where`` is, of a part of a picture, where in the draft its cells lie, (B, H, W, 2): across and
                down, -1 .. 1 from edge to edge; `scene_of` it what is drafted in place of the summary, thing by thing;
                and pictures' shares of what the summary drafts, each under its own names.

        Raises:
            InvalidInput: there is no summary, or one of another width.
        """
        if pooled is None or pooled.shape[-1] != self.config.pooled_channels:
            given = "none" if pooled is None else f"one of width {pooled.shape[-1]}"
            raise InvalidInput(
                f"this UNet drafts from the text's summary of width {self.config.pooled_channels} and was given "
                f"{given}: use the text encoder of its model"
            )
        where, scene = extra.get("where"), scene_of(extra)
        shares = tuple(chain.from_iterable(share(extra) for share in self.shares.values()))
        draft = shared(self.draft(pooled.to(x.dtype)), shares)
        if scene is not None:
            draft = laid(draft, self.draft(scene.things.to(x.dtype)), scene.places)
        if where is not None:
            return F.grid_sample(draft, where.to(draft), padding_mode="border", align_corners=False)
        if draft.shape[2:] != x.shape[2:]:
            return F.interpolate(draft, x.shape[2:], mode="bilinear", align_corners=False)
        return draft

    def read(self, x: Tensor, pooled: Tensor | None, extra: Mapping[str, Tensor]) -> Tensor:
        """``x`` is the latent alone, ``pooled`` is needed; what ``extra`` says, `drafted` reads."""
        return torch.cat([x, self.drafted(x, pooled, extra)], 1)


class ResidualUNet(DraftedUNet):
    """A `DraftedUNet` that paints the residual about its draft m, and says it as the velocity of a flow, eps - x_0.

    Of the deviation s of x_0 - m, with alpha = 1 - sigma, x = alpha x_0 + sigma eps and n² = alpha² s² + sigma²:

        x_0 = m + alpha s² / n² (x - alpha m) + s sigma / n F((x - alpha m) / n, m)
        eps - x_0 = (x - x_0) / sigma = (sigma - alpha s²) / n² (x - alpha m) - m - s / n F

    This is EDM's preconditioning (Karras et al. 2022, table 1) of x_0 - m. F = 0 is the estimate of Wiener: the draft
    at pure noise, x itself without noise; the second form divides by nothing that vanishes.

    The time it is given is 1000 sigma. s is a tensor of the weights, ``residual_std``: it is measured, not chosen.

    Raises:
        InvalidInput: its draft has not as many channels as its output.
    """

    residual_std: Tensor

    def __init__(self, config: DraftedUNetConfig):
        if config.in_channels != 2 * config.out_channels:
            raise InvalidInput(
                f"a residual UNet reads as many channels of the draft as it writes: in_channels is "
                f"{config.in_channels}, and twice out_channels is {2 * config.out_channels}"
            )
        super().__init__(config)
        self.register_buffer("residual_std", torch.tensor(0.4375))

    def read(self, x: Tensor, pooled: Tensor | None, extra: Mapping[str, Tensor]) -> Tensor:
        """``forward`` has put the draft beside it already."""
        return x

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        tokens: Tensor | None = None,
        *,
        pooled: Tensor | None = None,
        extra: Mapping[str, Tensor] = NOTHING,
        residuals: Residuals = NO_RESIDUALS,
    ) -> Tensor:
        """As `DraftedUNet.forward`."""
        draft = self.drafted(x, pooled, extra)
        sigma, s = (time / 1000).view(-1, 1, 1, 1), self.residual_std.to(time)
        alpha = 1 - sigma
        n = (alpha.square() * s.square() + sigma.square()).sqrt()
        about = x - alpha.to(x.dtype) * draft
        inputs = torch.cat([about / n.to(x.dtype), draft], 1)
        out = super().forward(inputs, time, tokens, pooled=pooled, extra=extra, residuals=residuals)
        plain = (sigma - alpha * s.square()) / n.square()
        return plain.to(x.dtype) * about - draft - (s / n).to(x.dtype) * out
