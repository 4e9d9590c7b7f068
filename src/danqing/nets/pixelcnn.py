"""PixelCNN: a picture pixel by pixel, row by row, each drawn from its distribution given all before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..errors import InvalidInput, UnknownName
from .pixel_heads import Levels, Mixture, Palette, wide


@dataclass(frozen=True, kw_only=True)
class PixelCNNConfig:
    """The shape of a `PixelCNN`.

    Args:
        head: what a pixel is: "palette" (one of ``levels`` colours), "levels" (three channels of ``levels`` each),
            "mixture" (three bytes, each from a mixture of logistics).
        levels: K of the palette or of a channel; nothing to a mixture.
        components: M of the mixture; nothing to the others.
        embedding: D of a symbol; a mixture reads its bytes as they are.
        hidden: width of the head's inner layer.
        classes: how many kinds of pictures it can be asked for; 0 for none.
        width: w, channels of each of the two stacks.
        first: side of the first layer's window, odd.
        dilations: one a layer after the first: how far apart the cells are that its convolutions read.
    """

    head: str = "palette"
    levels: int = 256
    components: int = 10
    embedding: int = 32
    hidden: int = 192
    classes: int = 0
    width: int = 80
    first: int = 7
    dilations: tuple[int, ...] = (1, 2, 4) * 4

    @property
    def reach(self) -> int:
        """How many rows up, and columns to either side, a pixel sees."""
        return self.first // 2 + sum(self.dilations)


#: 32 px art in 256 colours: the reach is the whole picture. 2.0M parameters.
ART = PixelCNNConfig()


def head(config: PixelCNNConfig) -> Levels | Mixture:
    """The head that a config names.

    Raises:
        UnknownName: there is none of this name.
    """
    if config.head == "mixture":
        return Mixture(config.width, config.components, config.hidden)
    kinds = {"palette": Palette, "levels": Levels}
    if config.head not in kinds:
        raise UnknownName("head of a PixelCNN", config.head, (*kinds, "mixture"))
    return kinds[config.head](config.width, config.levels, config.embedding, config.hidden)


class Gate(torch.autograd.Function):
    """tanh(a) sigmoid(b) of the two halves of the channels: (B, 2w, ...) -> (B, w, ...).

    tanh(a) = 2 sigmoid(2a) - 1, which a CPU has in a third of the time, in fp32 at least, for it cancels at 0.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        a, b = x.chunk(2, dim=1)
        t, s = (2 * wide(a)).sigmoid_().mul_(2).sub_(1).to(x.dtype), b.sigmoid()
        ctx.save_for_backward(t, s)
        return t * s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        t, s = ctx.saved_tensors
        return torch.cat([torch.ops.aten.tanh_backward(g * s, t), torch.ops.aten.sigmoid_backward(g * t, s)], 1)


def gate(x: Tensor) -> Tensor:
    """`Gate`."""
    return Gate.apply(x)  # type: ignore[no-any-return]


class GatedLayer(nn.Module):
    """One layer of both stacks: the vertical one sees the rows above, the horizontal one its own row to the left and
    the vertical one.

        a = W_v * v,     v' = gate(a + c_v) (+ v)
        b = W_h * h + L a,     h' = O gate(b + c_h) (+ h)

    Two stacks leave no blind spot, where one masked convolution after the other never sees the cells to the upper
    right. Source: van den Oord et al. 2016b, section 2 and figure 2; the skip around ``gate(a)`` is ours.

    Args:
        channels: of v and h; the skips exist where it is ``width``.
        width: w of v' and h'.
        rows, columns: of the vertical window; the horizontal one has (columns + 1) / 2 cells, without the middle one if
            strict.
        dilation: cells apart.
        strict: the pixel itself is not seen, nor is its row by the vertical stack: in the first layer, which reads the
            picture.
        classes: how many biases c there are to choose from.
    """

    def __init__(self, channels: int, width: int, *, columns: int, dilation: int, strict: bool, classes: int):
        super().__init__()
        half = columns // 2
        self.dilation, self.strict, self.skip = dilation, strict, channels == width and not strict
        taps = half if strict else half + 1
        #: How many rows above, and pixels to the left, are read; and the columns to either side.
        self.past, self.side = dilation * half, dilation * half
        self.vertical = nn.Conv2d(channels, 2 * width, (taps, columns), dilation=dilation)
        self.horizontal = nn.Conv2d(channels, 2 * width, (1, taps), dilation=dilation)
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        self.condition = nn.Embedding(classes, 4 * width) if classes else None

    def biases(self, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """c_v and c_h of each picture's class, (B, 2w, 1, 1), or without classes zeros, ()."""
        if self.condition is None or label is None:
            nothing = self.link.weight.new_zeros(())
            return nothing, nothing
        c_v, c_h = self.condition(label)[:, :, None, None].chunk(2, dim=1)
        return c_v, c_h

    def forward(self, v: Tensor, h: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both (B, C, H, W) -> both (B, w, H, W)."""
        height, width = v.shape[2:]
        # Where the layer is strict the windows end one cell early, so one answer is left over at the far end.
        a = self.vertical(F.pad(v, (self.side, self.side, self.past, 0)))[:, :, :height]
        c_v, c_h = (c.to(a.dtype) for c in self.biases(label))  # sums of two types are twenty times slower on a CPU
        b = self.link(a).add_(c_h).add_(self.horizontal(F.pad(h, (self.past, 0)))[..., :width])
        v_out, h_out = gate(a + c_v), self.out(gate(b))
        return (v + v_out, h + h_out) if self.skip else (v_out, h_out)


class PixelCNN(nn.Module):
    """A gated PixelCNN: ``P(x) = prod_i P(x_i | x_1 .. x_(i-1))`` over the pixels of a picture, row by row.

    Source: van den Oord et al. 2016a, section 2; 2016b, section 2 (gates, two stacks, classes). Dilated windows (Yu &
        Koltun 2016)
    make the reach that of a deep stack.

    Args:
        config: the shape; `ART` is at hand.

    Raises:
        InvalidInput: the first window has an even side.
        UnknownName: the head is none.
    """

    def __init__(self, config: PixelCNNConfig):
        super().__init__()
        if config.first % 2 == 0 or config.first < 3:
            raise InvalidInput(f"the first window has side {config.first}: give an odd one, at least 3")
        self.config = config
        self.head = head(config)
        channels, shared = self.head.channels * self.head.embedding, {"width": config.width, "classes": config.classes}
        self.first = GatedLayer(channels, columns=config.first, dilation=1, strict=True, **shared)
        self.layers = nn.ModuleList(
            GatedLayer(config.width, columns=3, dilation=dilation, strict=False, **shared)
            for dilation in config.dilations
        )

    def check(self, label: Tensor | None) -> None:
        """Refuse a label where none is known, and none where one is needed."""
        classes = self.config.classes
        if (label is None) != (classes == 0):
            raise InvalidInput(
                "this PixelCNN knows no classes: give no label" if not classes else f"give a label in [0, {classes})"
            )
        if label is not None and not ((label >= 0) & (label < classes)).all():
            raise InvalidInput(f"a label is outside of [0, {classes}): {label.tolist()}")

    def features(self, parts: Tensor, label: Tensor | None = None) -> Tensor:
        """What each pixel knows of those before it: the head's parts (B, H, W, C, D) -> (B, H, W, w); label (B,)."""
        x = parts.flatten(3).movedim(-1, 1)  # (B, C·D, H, W)
        v, h = self.first(x, x, label)
        for layer in self.layers:
            v, h = layer(v, h, label)
        return F.silu(h).movedim(1, -1)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Symbols (B, H, W, C), int64, of classes (B,) -> log P of each pixel given those before it, in nats, (B, H,
        W).

        Raises:
            InvalidInput: a label is missing, not wanted or none of the classes.
        """
        self.check(label)
        parts = self.head.read(x)
        return self.head.log_prob(self.features(parts, label), parts, x)


class Trace:
    """What one layer has to remember of a picture in the making: ``past`` rows of v and pixels of h, so a pixel costs
    the same anywhere."""

    def __init__(self, layer: GatedLayer, batch: int, width: int, label: Tensor | None):
        self.layer, (self.c_v, self.c_h) = layer, layer.biases(label)
        weight = layer.vertical.weight
        self.rows = deque([weight.new_zeros(batch, weight.shape[1], width)] * layer.past, maxlen=layer.past)
        self.nothing = weight.new_zeros(batch, weight.shape[1])
        self.pixels: deque[Tensor] = deque(maxlen=layer.past)
        self.linked = weight  # what the vertical stack says to each pixel of the row, (W, B, 2w)

    def window(self, past: deque[Tensor], now: Tensor | None) -> Tensor:
        """The cells of the window, stacked behind the channels; ``now`` is the newest, None in a strict layer."""
        cells = [*past] if now is None else [*past, now]
        return torch.stack(cells[:: self.layer.dilation], 2)

    def row(self, v: Tensor | None) -> Tensor:
        """The vertical stack's next row, (B, w, W), from that of the layer before, (B, C, W)."""
        layer = self.layer
        conv, padding = layer.vertical, (0, layer.side)
        a = F.conv2d(
            self.window(self.rows, v), conv.weight, conv.bias, padding=padding, dilation=(1, layer.dilation)
        )  # (B, 2w, 1, W)
        self.linked = (layer.link(a) + self.c_h)[:, :, 0].permute(2, 0, 1) + layer.horizontal.bias
        self.pixels.extend([self.nothing] * layer.past)
        out = gate(a + self.c_v)[:, :, 0]
        if v is None:
            return out
        self.rows.append(v)
        return v + out

    def pixel(self, h: Tensor | None, column: int) -> Tensor:
        """The horizontal stack's next pixel, (B, w), from that of the layer before, (B, C)."""
        layer = self.layer
        window = self.window(self.pixels, h).flatten(1)  # (B, C·taps)
        b = torch.addmm(self.linked[column], window, layer.horizontal.weight.flatten(1).T)
        out = F.linear(gate(b), layer.out.weight.flatten(1), layer.out.bias)
        if h is None:
            return out
        self.pixels.append(h)
        return h + out


class Walk:
    """The features of each next pixel, from cached ones: a row of the vertical stack at once, then the horizontal one
    pixel by pixel.

    Each pixel of each layer is computed once, as in the training's forward pass, and not once for every pixel after it
    (Ramachandran et al. 2017, "Fast generation for convolutional autoregressive models").
    """

    def __init__(self, net: PixelCNN, batch: int, width: int, label: Tensor | None):
        self.net, self.column = net, 0
        self.first, *self.others = [Trace(layer, batch, width, label) for layer in (net.first, *net.layers)]  # type: ignore[arg-type]
        self.drawn: list[Tensor] = []  # the pixels of this row, as the first layer reads them

    def row(self) -> None:
        """Begin the next row, the one before being whole."""
        if self.drawn:
            self.first.rows.append(torch.stack(self.drawn, 2))
        self.drawn, self.column = [], 0
        v = self.first.row(None)
        for trace in self.others:
            v = trace.row(v)

    def features(self) -> Tensor:
        """Of the next pixel of the row, (B, w); asked once a pixel."""
        h = self.first.pixel(None, self.column)
        for trace in self.others:
            h = trace.pixel(h, self.column)
        return F.silu(h)

    def put(self, x: Tensor) -> None:
        """The pixel that was drawn there, (B, C)."""
        values = self.net.head.read(x).flatten(1)  # (B, C·D)
        self.first.pixels.append(values)
        self.drawn.append(values)
        self.column += 1


@torch.no_grad()
def sample(
    net: PixelCNN,
    noises: Sequence[torch.Generator],
    height: int,
    width: int,
    label: Tensor | None = None,
    *,
    temperature: float = 1.0,
    start: Tensor | None = None,
) -> Iterator[Tensor]:
    """Draw pictures, yielding row after row, symbols (B, W, C); ``net.head.picture`` makes bytes of a stack of rows (B,
    H, W, C).

    Args:
        noises: one generator a picture, from which all its numbers are drawn at the beginning: a picture depends on its
            own alone.
        height, width: of the pictures, not bound to those trained on.
        label: the classes, (B,), where the network knows any.
        temperature: above 0; below 1 likelier pixels are drawn than the model's.
        start: the first rows, (B, h, W, C), which are kept, and continued.

    Raises:
        InvalidInput: a label is missing, not wanted or none of the classes; the temperature is not positive; start is
            no beginning.
    """
    net.check(label)
    count, drawn = len(noises), net.head.channels
    if not temperature > 0:
        raise InvalidInput(f"the temperature is {temperature}: give one above 0")
    if label is not None and len(label) != count:
        raise InvalidInput(f"{len(label)} labels for {count} pictures: give one each")
    known = 0 if start is None else start.shape[1]
    if start is not None and (start.shape != (count, known, width, drawn) or known > height):
        raise InvalidInput(f"start has shape {tuple(start.shape)}: give ({count}, at most {height}, {width}, {drawn})")
    uniform = torch.stack([torch.rand(height, width, net.head.draws, generator=noise) for noise in noises])
    uniform = uniform.to(net.first.out.weight.device)  # (B, H, W, draws)
    walk = Walk(net, count, width, label)
    for y in range(height):
        walk.row()
        pixels = []
        for x in range(width):
            features = walk.features()
            pixels.append(
                net.head.draw(features, uniform[:, y, x], temperature)
                if start is None or y >= known
                else start[:, y, x]
            )
            walk.put(pixels[-1])
        yield torch.stack(pixels, 1)
