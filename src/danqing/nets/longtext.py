"""Long text beside a picture: what a block of an `MMDiT` costs grows linearly in the text beyond a window.

Picture and text share one attention there, of N + L tokens at a cost of (N + L)². Of a text that is longer than a
window of W tokens, which then stands in windows of W, the last one shorter::

    the picture's queries      see the picture and all of the text             N (N + L)
    the queries of a window    see the picture and the text of that window     L (N + W)

What another window says reaches a token through the picture, a block later. The picture is thus what a few chosen
tokens are in
attention that is local and global: Beltagy et al. 2020 (Longformer, section 3.1), Zaheer et al. 2020 (BigBird, section
2) and, nearest, Ainslie et al. 2020 (ETC, section 3), whose global tokens are a stream of their own with projections of
their own.

Nothing is trained for it: a network that read short texts reads every window as it has learned to, and its picture
reads them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InvalidInput
from .mmdit import Block, Streams
from .ports import Context


@dataclass(frozen=True)
class Windowed:
    """Runs a block on a text of any length, a window at a time; a text of one window at most is read as ever, bit for
    bit.

    All that is as long as the text are the stream before and after, its keys and its values: never a matrix of N + L or
        L
    times L, never the wide middle of a feed-forward.

    Args:
        window: W, >= 1, in tokens of the text stream.

    Raises:
        InvalidInput: a window below 1.
    """

    window: int = 4096

    def __post_init__(self) -> None:
        if self.window < 1:
            raise InvalidInput(f"a window of {self.window} tokens holds no text: give 1 or more, 4096 is usual")

    def __call__(self, block: Block, x: Streams, ctx: Context) -> Streams:
        """(B, N, W), (B, L, W) -> the same."""
        return block(x, ctx) if x.text.shape[1] <= self.window else self.in_windows(block, x, ctx)

    def in_windows(self, block: Block, x: Streams, ctx: Context) -> Streams:
        """The same without the shorter way for short texts."""
        attn, here, parts = block.attn, block.norm1(ctx.time), x.text.split(self.window, dim=1)
        there = [] if block.last else block.norm1_context(ctx.time)

        def enter(part: Tensor) -> Tensor:
            """What the attention reads of a window, (B, w, W)."""
            return block.norm1_context(part, ctx.time) if block.last else there[0].enter(part)

        query, k, v = attn.ask_image(here[0].enter(x.image))
        offers = [attn.offer_text(enter(part)) for part in parts]
        keys = torch.cat([k, *(add_k for add_k, _ in offers)], dim=2)  # (B, heads, N + L, d)
        values = torch.cat([v, *(add_v for _, add_v in offers)], dim=2)
        y = F.scaled_dot_product_attention(attn.norm_q(query), keys, values)  # (B, heads, N, d)
        del keys, values
        image = block.finish_image(x.image, attn.tell_image(y, query, ctx), here)
        if block.last:
            return x._replace(image=image)

        def read(part: Tensor, add_k: Tensor, add_v: Tensor) -> Tensor:
            """A window of the text after the block, (B, w, W)."""
            own_keys, own_values = torch.cat([k, add_k], dim=2), torch.cat([v, add_v], dim=2)  # (B, heads, N + w, d)
            z = F.scaled_dot_product_attention(attn.ask_text(enter(part)), own_keys, own_values)
            return block.finish_text(part, attn.tell_text(z), there)

        return x._replace(
            image=image, text=torch.cat([read(part, *offer) for part, offer in zip(parts, offers, strict=True)], dim=1)
        )
