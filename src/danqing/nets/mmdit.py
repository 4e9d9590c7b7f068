"""The MMDiT of Stable Diffusion 3 and 3.5: a transformer over two streams, picture and text, that attend to each other.

How an adapter meets it, port by port. The state between layers is `Streams`, the pair (image, text):

1. ``residuals.down[i]`` of the call is added to the image stream after the i-th block but the last (ControlNet);
2. ``net.inserted[i]["name"] = layer`` runs ``layer(streams, ctx) -> streams`` after the i-th block and its residual,
   ``del`` takes it away again;
3. every `JointAttention` owns ``branches``, an empty ``nn.ModuleDict``: each ``branch(q, ctx)`` reads the image's
   queries (B, heads, N, d) as projected, not yet normed, and adds a term of their shape before the output projection;
4. every ``nn.Linear`` and ``nn.Conv2d`` is called as a module and may be replaced by name (LoRA);
5. ``net.body(streams, ctx, residuals) -> streams`` runs all blocks, and another may stand in its place (`nets.deep`).

Each block is run by ``net.through(block, streams, ctx)``, `whole` by default; whoever loads a network for long texts
hands it `danqing.nets.longtext.Windowed`, which changes nothing for a text that fits a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .operations import Attend
from .ports import NO_RESIDUALS, NOTHING, Context, Residuals
from .trunk import Embedding, sinusoid

EPS = 1e-6
TIME_CHANNELS = 256  # of the sinusoid of time


@dataclass(frozen=True, kw_only=True)
class MMDiTConfig:
    """The shape of an `MMDiT`; the defaults are Stable Diffusion 3 medium's.

    Args:
        sample_size: side of the latent at which one step of the position table is one step of the sinusoid's scale.
        patch_size: side of the square of latent cells that becomes one token of the image stream.
        in_channels, out_channels: of the latent.
        num_layers: blocks, >= 1. The last one updates the image stream alone.
        num_attention_heads, attention_head_dim: their product is the width W of both streams, a multiple of 4.
        joint_attention_dim: D of the text tokens.
        pooled_projection_dim: P of the pooled conditioning.
        pos_embed_max_size: side of the position table in tokens, the largest picture; smaller ones read its middle.
        dual_attention_layers: blocks with a second attention, of the image over itself alone (3.5 medium).
        qk_norm: queries and keys pass a root-mean-square norm a head (3.5).
    """

    sample_size: int = 128
    patch_size: int = 2
    in_channels: int = 16
    out_channels: int = 16
    num_layers: int = 24
    num_attention_heads: int = 24
    attention_head_dim: int = 64
    joint_attention_dim: int = 4096
    pooled_projection_dim: int = 2048
    pos_embed_max_size: int = 192
    dual_attention_layers: tuple[int, ...] = ()
    qk_norm: bool = False

    @property
    def width(self) -> int:
        """W of both streams."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def skips(self) -> int:
        """How many residuals port 1 takes: one after every block but the last."""
        return self.num_layers - 1


SD3_MEDIUM = MMDiTConfig()
SD35_MEDIUM = MMDiTConfig(pos_embed_max_size=384, dual_attention_layers=tuple(range(13)), qk_norm=True)
SD35_LARGE = MMDiTConfig(num_layers=38, num_attention_heads=38, qk_norm=True)
#: For the 16×16×8 latents of the default model: 64 tokens a picture, 18.6M parameters.
MINI = MMDiTConfig(
    sample_size=16,
    in_channels=8,
    out_channels=8,
    num_layers=8,
    num_attention_heads=4,
    joint_attention_dim=256,
    pooled_projection_dim=256,
    pos_embed_max_size=32,
    qk_norm=True,
)


class Streams(NamedTuple):
    """What flows from block to block.

    Args:
        image: (B, N, W), N = H W / patch², row by row.
        text: (B, L, W).
    """

    image: Tensor
    text: Tensor


def norm(x: Tensor) -> Tensor:
    """Layer norm over the last axis, without weights of its own."""
    return F.layer_norm(x, x.shape[-1:], eps=EPS)


class Modulation(NamedTuple):
    """Of one sublayer f, (B, 1, W) each: ``y = x + gate · f(norm(x) · (1 + scale) + shift)``."""

    shift: Tensor
    scale: Tensor
    gate: Tensor

    def enter(self, x: Tensor) -> Tensor:
        """The input of f, (B, N, W)."""
        return norm(x) * (1 + self.scale) + self.shift

    def leave(self, x: Tensor, y: Tensor) -> Tensor:
        """x plus the gated output y of f, (B, N, W)."""
        return x + self.gate * y


class AdaLN(nn.Module):
    """``W silu(time)``, cut into one `Modulation` a sublayer; W starts at zero, so that every sublayer starts shut.

    Source: Peebles & Xie 2022, section 3.2 (adaLN-Zero).
    """

    def __init__(self, width: int, sublayers: int):
        super().__init__()
        self.linear = zero(nn.Linear(width, 3 * sublayers * width))
        self.sublayers = sublayers

    def forward(self, time: Tensor) -> list[Modulation]:
        """(B, W) -> ``sublayers`` modulations."""
        values = self.linear(F.silu(time)).unflatten(1, (self.sublayers, 3, 1, -1))  # (B, sublayers, 3, 1, W)
        return [Modulation(*one.unbind(1)) for one in values.unbind(1)]


class FinalAdaLN(nn.Module):
    """``norm(x) · (1 + scale) + shift`` with [scale, shift] = W silu(time): where no gate follows."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = zero(nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, N, W), (B, W) -> (B, N, W)."""
        scale, shift = self.linear(F.silu(time))[:, None].chunk(2, dim=-1)  # (B, 1, W) each
        return norm(x) * (1 + scale) + shift


class Heads(nn.Module):
    """The image's projections to queries, keys, values and back; the norms are a head's own, over its width d."""

    def __init__(self, config: MMDiTConfig):
        super().__init__()
        width, self.heads = config.width, config.num_attention_heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.norm_q, self.norm_k = head_norm(config), head_norm(config)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.attend = Attend()

    def split(self, x: Tensor) -> Tensor:
        """(B, N, W) -> (B, heads, N, d)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def merge(self, x: Tensor) -> Tensor:
        """(B, heads, N, d) -> (B, N, W)."""
        return x.transpose(1, 2).flatten(2)


class SelfAttention(Heads):
    """Multi-headed attention of the image over itself.

    ``W_o softmax(q kᵀ / √d) v``, q and k normed where the configuration says so.
    Source: Vaswani et al. 2017, section 3.2; Esser et al. 2024, section 5.3.2 (the norms).
    """

    def forward(self, image: Tensor) -> Tensor:
        """(B, N, W) -> (B, N, W)."""
        q, k, v = self.split(self.to_q(image)), self.split(self.to_k(image)), self.split(self.to_v(image))
        return self.to_out[0](self.merge(self.attend(self.norm_q(q), self.norm_k(k), v)))


class JointAttention(Heads):
    """One attention over both streams, each with projections of its own, plus what the branches add (port 3).

    ``[y, z] = softmax([q, q'] [k, k']ᵀ / √d) [v, v'];  (W_o (y + Σ branch(q, ctx)), W_o' z)``.
    Source: Esser et al. 2024, section 4 and figure 2.

    Args:
        config: of the network.
        last: the text stream ends here and has no output projection.
    """

    def __init__(self, config: MMDiTConfig, *, last: bool):
        super().__init__(config)
        width = config.width
        self.add_q_proj, self.add_k_proj, self.add_v_proj = (nn.Linear(width, width) for _ in range(3))
        self.norm_added_q, self.norm_added_k = head_norm(config), head_norm(config)
        self.to_add_out = nn.Identity() if last else nn.Linear(width, width)
        self.branches = nn.ModuleDict()

    def forward(self, image: Tensor, text: Tensor, ctx: Context) -> tuple[Tensor, Tensor]:
        """(B, N, W), (B, L, W) -> the same."""
        return self.joined(image, text, ctx, None)

    def apart(self, image: Tensor, text: Tensor, ctx: Context) -> tuple[Tensor, Tensor]:
        """The same where of the image each cell attends to itself and to the text alone."""
        cells, length = image.shape[1], image.shape[1] + text.shape[1]
        seen = torch.ones(length, length, dtype=torch.bool, device=image.device)
        seen[:cells, :cells] = torch.eye(cells, dtype=torch.bool, device=image.device)
        return self.joined(image, text, ctx, seen)

    def joined(self, image: Tensor, text: Tensor, ctx: Context, seen: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `forward`; ``seen``, (N + L, N + L), says which query sees which key, every one where it is None."""
        query, k, v = self.ask_image(image)
        add_k, add_v = self.offer_text(text)
        q = torch.cat([self.norm_q(query), self.ask_text(text)], dim=2)  # (B, heads, N + L, d)
        keys, values = torch.cat([k, add_k], dim=2), torch.cat([v, add_v], dim=2)
        joint = self.attend(q, keys, values, seen)
        y, z = joint.tensor_split([image.shape[1]], dim=2)
        return self.tell_image(y, query, ctx), self.tell_text(z)

    def ask_image(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, W) -> queries not yet normed, keys, values, (B, heads, N, d) each."""
        return self.split(self.to_q(image)), self.norm_k(self.split(self.to_k(image))), self.split(self.to_v(image))

    def ask_text(self, text: Tensor) -> Tensor:
        """(B, L, W) -> queries (B, heads, L, d)."""
        return self.norm_added_q(self.split(self.add_q_proj(text)))

    def offer_text(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, W) -> keys and values, (B, heads, L, d) each."""
        return self.norm_added_k(self.split(self.add_k_proj(text))), self.split(self.add_v_proj(text))

    def tell_image(self, y: Tensor, query: Tensor, ctx: Context) -> Tensor:
        """What the image's queries have read and the branches add, (B, heads, N, d) -> (B, N, W)."""
        for branch in self.branches.values():
            y = y + branch(query, ctx)
        return self.to_out[0](self.merge(y))

    def tell_text(self, z: Tensor) -> Tensor:
        """What the text's queries have read, (B, heads, L, d) -> (B, L, W)."""
        return self.to_add_out(self.merge(z))


class GELU(nn.Module):
    """``gelu(W x)``, by its tanh approximation; (…, W) -> (…, 4W)."""

    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Linear(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    """A hidden layer four times as wide; `net.1` is where the published layout had dropout."""

    def __init__(self, width: int):
        super().__init__()
        self.net = nn.Sequential(GELU(width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Block(nn.Module):
    """Joint attention, then a feed-forward a stream; all modulated by time.

    Source: Esser et al. 2024, figure 2b.

    Args:
        config: of the network.
        dual: a second attention, of the image over itself, reads the same input and is added beside the first.
    """

    last = False  #: whether the text stream ends here

    def __init__(self, config: MMDiTConfig, *, dual: bool):
        super().__init__()
        width = config.width
        self.norm1 = AdaLN(width, 3 if dual else 2)
        self.norm1_context = FinalAdaLN(width) if self.last else AdaLN(width, 2)
        self.attn = JointAttention(config, last=self.last)
        self.attn2 = SelfAttention(config) if dual else None
        self.ff = FeedForward(width)
        self.ff_context = None if self.last else FeedForward(width)

    def forward(self, x: Streams, ctx: Context) -> Streams:
        """`Streams` -> `Streams`."""
        here, there = self.norm1(ctx.time), self.norm1_context(ctx.time)  # attention, feed-forward[, second attention]
        y, z = self.attn(here[0].enter(x.image), there[0].enter(x.text), ctx)
        return Streams(self.finish_image(x.image, y, here), self.finish_text(x.text, z, there))

    def finish_image(self, image: Tensor, attended: Tensor, here: list[Modulation]) -> Tensor:
        """The image stream after the joint attention said ``attended``, (B, N, W)."""
        y = here[0].leave(image, attended)
        if self.attn2 is not None:
            y = here[2].leave(y, self.attn2(here[2].enter(image)))
        return here[1].leave(y, self.ff(here[1].enter(y)))

    def finish_text(self, text: Tensor, attended: Tensor, there: list[Modulation]) -> Tensor:
        """The text stream after the joint attention said ``attended``, (B, L, W)."""
        assert self.ff_context is not None
        z = there[0].leave(text, attended)
        return there[1].leave(z, self.ff_context(there[1].enter(z)))


class LastBlock(Block):
    """The block after which nobody reads the text: it is attended to and passes unchanged."""

    last = True

    def forward(self, x: Streams, ctx: Context) -> Streams:
        """`Streams` -> `Streams`."""
        here = self.norm1(ctx.time)
        y, _ = self.attn(here[0].enter(x.image), self.norm1_context(x.text, ctx.time), ctx)
        return Streams(self.finish_image(x.image, y, here), x.text)


class PatchEmbed(nn.Module):
    """``W patch + position``, the positions read from the middle of one large table.

    Source: Dosovitskiy et al. 2020, section 3.1; Esser et al. 2024, section 5.3.2 (the crop).
    """

    def __init__(self, config: MMDiTConfig):
        super().__init__()
        width, patch, self.size = config.width, config.patch_size, config.pos_embed_max_size
        self.proj = nn.Conv2d(config.in_channels, width, patch, stride=patch)
        if self.proj.weight.is_meta:  # the table comes with the weights
            table = torch.empty(1, self.size**2, width)
        else:
            table = positions(self.size, width, self.size / (config.sample_size // patch))[None]
        self.register_buffer("pos_embed", table)  # (1, size², W); published files hold it

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, width)."""
        tokens = self.proj(x)  # (B, width, h, w)
        h, w = tokens.shape[-2:]
        top, left = (self.size - h) // 2, (self.size - w) // 2
        table = cast(Tensor, self.pos_embed).unflatten(1, (self.size, self.size))[:, top : top + h, left : left + w]
        return (tokens.permute(0, 2, 3, 1) + table.to(tokens.dtype)).flatten(1, 2)


def positions(size: int, width: int, stretch: float) -> Tensor:
    """Sines and cosines of the column, then of the row, of each cell of a square, row by row: (size², width).

    ``[sin(x f), cos(x f), sin(y f), cos(y f)]``, f_i = 10000^(-i / (width/4)) for i < width/4; x, y = index / stretch.
    Source: Vaswani et al. 2017, section 3.5, for two axes.
    """
    steps = torch.arange(width // 4, dtype=torch.float64)
    place = torch.arange(size, dtype=torch.float64) / stretch
    angles = place[:, None] * 10000.0 ** (-steps / (width // 4))  # (size, width/4)
    axis = torch.cat([angles.sin(), angles.cos()], dim=1).to(torch.get_default_dtype())  # (size, width/2)
    columns, rows = axis[None].expand(size, -1, -1), axis[:, None].expand(-1, size, -1)
    return torch.cat([columns, rows], dim=2).flatten(0, 1)


class TimeTextEmbed(nn.Module):
    """The sum of the embeddings of time and of the pooled conditioning, (B,), (B, P) -> (B, W)."""

    def __init__(self, config: MMDiTConfig):
        super().__init__()
        self.timestep_embedder = Embedding(TIME_CHANNELS, config.width)
        self.text_embedder = Embedding(config.pooled_projection_dim, config.width)

    def forward(self, time: Tensor, pooled: Tensor) -> Tensor:
        # The sinusoid is computed in at least float32: bfloat16 cannot tell time 999 from 1000.
        return self.timestep_embedder(sinusoid(time, TIME_CHANNELS).to(pooled.dtype)) + self.text_embedder(pooled)


#: How a block is run: (block, streams, ctx) -> streams.
Through = Callable[[Block, Streams, Context], Streams]


def whole(block: Block, x: Streams, ctx: Context) -> Streams:
    """The block as it was published: every token sees every other, whatever the length."""
    return block(x, ctx)


class MMDiT(nn.Module):
    """The multimodal diffusion transformer, conditioned on time, text tokens and a pooled summary.

    Module names are those of diffusers' `SD3Transformer2DModel`.
    Source: Esser et al. 2024, "Scaling rectified flow transformers for high-resolution image synthesis", section 4.

    Args:
        config: the shape; `SD3_MEDIUM`, `SD35_MEDIUM`, `SD35_LARGE` and `MINI` are at hand.

    Raises:
        InvalidInput: a width that is no multiple of 4, no layers, or a dual attention in a layer that is not there.
    """

    def __init__(self, config: MMDiTConfig):
        super().__init__()
        self.config = config
        layers, dual = config.num_layers, config.dual_attention_layers
        if config.width % 4 or config.width < 4:
            raise InvalidInput(f"an MMDiT of width {config.width} has no positions: choose a multiple of 4")
        if layers < 1 or any(not 0 <= i < layers for i in dual):
            raise InvalidInput(
                f"an MMDiT of {layers} layers with dual attention in {dual}: give at least one layer, and dual layers "
                f"within 0 .. {layers - 1}"
            )
        self.pos_embed = PatchEmbed(config)
        self.time_text_embed = TimeTextEmbed(config)
        self.context_embedder = nn.Linear(config.joint_attention_dim, config.width)
        kinds = [Block] * (layers - 1) + [LastBlock]
        self.transformer_blocks = nn.ModuleList(kind(config, dual=i in dual) for i, kind in enumerate(kinds))
        self.inserted = nn.ModuleList(nn.ModuleDict() for _ in kinds)
        self.through: Through = whole
        self.norm_out = FinalAdaLN(config.width)
        self.proj_out = zero(nn.Linear(config.width, config.patch_size**2 * config.out_channels))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        tokens: Tensor,
        *,
        pooled: Tensor | None = None,
        extra: Mapping[str, Tensor] = NOTHING,
        residuals: Residuals = NO_RESIDUALS,
    ) -> Tensor:
        """The network's raw output (what it means is the Denoiser's business), (B, C_out, H, W).

        Args:
            x: (B, C_in, H, W), H and W multiples of patch_size and at most pos_embed_max_size patches.
            time: (B,), in the units of the published schedule, 0 .. 1000.
            tokens: (B, L, D), L >= 1; those of one window in any order. Picture and text share one softmax, so that a
                token given twice
                weighs twice: do not fill up a short text by repeating it.
            pooled: (B, P).
            extra: tensors for adapters.
            residuals: port 1; ``down`` has ``config.skips`` entries (B, N, W) or none, and there is no middle.

        Raises:
            InvalidInput: a shape or the number of residuals does not match the configuration.
        """
        self.check(x, tokens, pooled, residuals)
        assert pooled is not None
        ctx = Context(time=self.time_text_embed(time, pooled.to(x.dtype)), tokens=tokens, extra=extra)
        state = Streams(self.pos_embed(x), self.context_embedder(tokens))  # (B, N, W), (B, L, W)
        state = self.body(state, ctx, residuals)
        patches = self.proj_out(self.norm_out(state.image, ctx.time))  # (B, N, patch² C_out)
        return unpatch(patches, x.shape[-2] // self.config.patch_size, self.config.patch_size)

    def body(self, x: Streams, ctx: Context, residuals: Residuals) -> Streams:
        """Port 5: all blocks, `Streams` -> `Streams`."""
        return self.run(range(self.config.num_layers), x, ctx, residuals)

    def run(self, blocks: Iterable[int], x: Streams, ctx: Context, residuals: Residuals) -> Streams:
        """Some of the blocks, each with its residual and what is inserted after it, `Streams` -> `Streams`."""
        for i in blocks:
            x = self.through(cast(Block, self.transformer_blocks[i]), x, ctx)
            if i < len(residuals.down):
                x = Streams(x.image + residuals.down[i], x.text)
            for layer in cast(nn.ModuleDict, self.inserted[i]).values():
                x = layer(x, ctx)
        return x

    def check(self, x: Tensor, tokens: Tensor, pooled: Tensor | None, residuals: Residuals) -> None:
        """Refuse what does not fit the configuration."""
        config = self.config
        if x.shape[1] != config.in_channels or tokens.shape[-1] != config.joint_attention_dim:
            raise InvalidInput(
                f"this MMDiT reads {config.in_channels} channels and tokens of width {config.joint_attention_dim}; "
                f"given were {x.shape[1]} channels and tokens of width {tokens.shape[-1]}: use the text encoders and "
                "the codec of its model"
            )
        if pooled is None or pooled.shape[-1] != config.pooled_projection_dim:
            given = "none" if pooled is None else f"one of width {pooled.shape[-1]}"
            raise InvalidInput(
                f"this MMDiT reads a pooled conditioning of width {config.pooled_projection_dim} and was given "
                f"{given}: concatenate the projected summaries of its CLIP text encoders"
            )
        height, width = x.shape[-2:]
        if height % config.patch_size or width % config.patch_size:
            raise InvalidInput(
                f"a latent of {height} × {width} does not divide into patches of {config.patch_size}: "
                f"choose multiples of {config.patch_size}"
            )
        if max(height, width) > config.pos_embed_max_size * config.patch_size:
            raise InvalidInput(
                f"a latent of {height} × {width} is larger than this MMDiT's positions reach: at most "
                f"{config.pos_embed_max_size * config.patch_size} a side; paint smaller and enlarge"
            )
        if len(residuals.down) not in (0, config.skips) or residuals.mid is not None:
            middle = "" if residuals.mid is None else " and one for a middle, which it has not"
            raise InvalidInput(
                f"{len(residuals.down)} residuals{middle} for an MMDiT of {config.num_layers} blocks: "
                f"give {config.skips}, one after each but the last (`spread` makes them of fewer), or none"
            )


def unpatch(patches: Tensor, height: int, patch: int) -> Tensor:
    """(B, h w, patch² C), row by row, C fastest -> (B, C, h patch, w patch); ``height`` is h."""
    cells = patches.unflatten(2, (patch, patch, -1)).unflatten(1, (height, -1))  # (B, h, w, p, p, C)
    return cells.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


def spread(controls: Sequence[Tensor], config: MMDiTConfig) -> tuple[Tensor, ...]:
    """The residuals of port 1 from a ControlNet of k blocks, 1 <= k <= num_layers: r_i is controls[⌊i k / num_layers⌋].

    Raises:
        InvalidInput: k out of range.
    """
    count, layers = len(controls), config.num_layers
    if not 1 <= count <= layers:
        raise InvalidInput(f"{count} controls for an MMDiT of {layers} blocks: give 1 to {layers}")
    return tuple(controls[i * count // layers] for i in range(config.skips))


class HeadNorm(nn.RMSNorm):
    """``w · x / √(mean x² + ε)`` in x's dtype: under autocast x is coarser than w, the fused kernel wants one dtype."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, heads, N, d) -> the same."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def head_norm(config: MMDiTConfig) -> nn.Module:
    """The norm of queries or keys, over each head's width."""
    return HeadNorm(config.attention_head_dim, eps=EPS) if config.qk_norm else nn.Identity()


def zero(linear: nn.Linear) -> nn.Linear:
    """The same, started at zero."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def diffusers_config(config: MMDiTConfig) -> dict[str, Any]:
    """The keyword arguments of diffusers' `SD3Transformer2DModel` of the same weights."""
    return asdict(config) | {
        "caption_projection_dim": config.width,
        "qk_norm": "rms_norm" if config.qk_norm else None,
    }
