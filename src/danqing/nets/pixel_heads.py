"""What a pixel is to an autoregressive model, and its distribution: a colour of a palette, three levels, or three
bytes.

A head turns the bytes of pictures into its symbols, whole numbers (B, H, W, C), and back; embeds them; and gives, from
the features of all pixels before this one, P(pixel) = prod_c P(x_c | x_1 .. x_(c-1), features). Its tensors have the
channels last, (..., C), so that it reads whole pictures and single pixels alike.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import discretised


def wide(x: Tensor) -> Tensor:
    """In fp32 at least: sums over 256 levels need more than the digits of bf16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def choose(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw from softmax(logits) by the inverse of its distribution function: (..., K) and (...) in [0, 1) -> (...),
    int64."""
    above = wide(logits).softmax(-1).cumsum(-1)
    # The sum is 1 but for rounding; scaled by it no draw falls behind the last.
    return torch.searchsorted(above, (uniform.to(above) * above[..., -1])[..., None], right=True)[..., 0].clamp(
        max=logits.shape[-1] - 1
    )


class Levels(nn.Module):
    """Each of three channels is one of K equally spaced levels: ``logits_c = W_c silu(V_c [features, E(x_1), ..,
    E(x_(c-1))])``.

    A channel knows those before it through their embeddings. Source: van den Oord et al. 2016a, section 3.2 (softmax
        over levels).

    Args:
        width: w of the features.
        levels: K, 2 to 256.
        embedding: D of each channel.
        hidden: between V and W.
    """

    channels = 3

    def __init__(self, width: int, levels: int, embedding: int, hidden: int):
        super().__init__()
        self.levels, self.embedding, self.draws = levels, embedding, self.channels
        self.tables = nn.ModuleList(nn.Embedding(levels, embedding) for _ in range(self.channels))
        self.mix = nn.ModuleList(nn.Linear(width + c * embedding, hidden) for c in range(self.channels))
        self.out = nn.ModuleList(nn.Linear(hidden, levels) for _ in range(self.channels))

    def quantise(self, picture: Tensor) -> Tensor:
        """Bytes (B, 3, H, W) to the nearest levels, (B, H, W, C) int64."""
        return (picture.movedim(1, -1).float() * (self.levels - 1) / 255).round().long()

    def picture(self, x: Tensor) -> Tensor:
        """Symbols (B, H, W, C) to bytes (B, 3, H, W), uint8."""
        return (x.float() * 255 / (self.levels - 1)).round().to(torch.uint8).movedim(-1, 1)

    def read(self, x: Tensor) -> Tensor:
        """Symbols (..., C) to what the network sees of them, (..., C, D)."""
        return torch.stack([table(x[..., c]) for c, table in enumerate(self.tables)], -2)

    def logits(self, c: int, features: Tensor, parts: Tensor) -> Tensor:
        """Of channel c: (..., w) and the embeddings (..., C, D), of which the first c are read, to (..., K)."""
        return self.out[c](F.silu(self.mix[c](torch.cat([features, parts[..., :c, :].flatten(-2)], -1))))

    def forward(self, features: Tensor, parts: Tensor) -> Tensor:
        """Logits of all channels, (..., C, K)."""
        return torch.stack([self.logits(c, features, parts) for c in range(self.channels)], -2)

    def log_prob(self, features: Tensor, parts: Tensor, x: Tensor) -> Tensor:
        """log P(pixel) in nats, (...)."""
        logs = wide(self(features, parts)).log_softmax(-1)
        return logs.gather(-1, x[..., None])[..., 0].sum(-1)

    def draw(self, features: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """A pixel (B, C) from features (B, w) and uniform numbers (B, draws); logits are divided by the temperature."""
        x = torch.zeros(len(features), self.channels, dtype=torch.long, device=features.device)
        for c in range(self.channels):
            x[:, c] = choose(self.logits(c, features, self.read(x)) / temperature, uniform[:, c])
        return x


class Palette(Levels):
    """A pixel is one of K colours, which are learned from pictures (`danqing.learn.data.palette`) and kept beside the
    weights.

    One softmax holds the joint distribution of the three channels, so that no draw mixes the channels of two colours,
    and a pixel takes one draw instead of three.
    """

    channels = 1
    palette: Tensor

    def __init__(self, width: int, levels: int, embedding: int, hidden: int):
        super().__init__(width, levels, embedding, hidden)
        self.register_buffer("palette", torch.zeros(levels, 3))  # bytes as numbers, which bf16 holds exactly

    def quantise(self, picture: Tensor) -> Tensor:
        """Bytes (B, 3, H, W) to the nearest colours, (B, H, W, 1) int64."""
        palette = self.palette.float()
        rows = [
            torch.cdist(row.movedim(0, -1).float(), palette).argmin(-1) for row in picture
        ]  # one picture at a time is little memory
        return torch.stack(rows)[..., None]

    def picture(self, x: Tensor) -> Tensor:
        return self.palette[x[..., 0]].to(torch.uint8).movedim(-1, 1)


class Mixture(nn.Module):
    """Three bytes from a mixture of M logistic densities, whose later means lean on the channels before.

    ``P(r, g, b) = sum_m pi_m P(r; mu_1) P(g; mu_2 + a r) P(b; mu_3 + b r + c g)``, each P a logistic density made into
    bytes (`discretised.log_prob`). Source: Salimans et al. 2017 (PixelCNN++), sections 2.1 and 2.2.

    Args:
        width: w of the features.
        components: M.
        hidden: between the two linear layers.
    """

    channels, embedding, draws = 3, 1, 4

    def __init__(self, width: int, components: int, hidden: int):
        super().__init__()
        self.components = components
        self.mix = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, 10 * components)  # pi, three means, three log scales, three slopes

    def quantise(self, picture: Tensor) -> Tensor:
        return picture.movedim(1, -1).long()

    def picture(self, x: Tensor) -> Tensor:
        return x.to(torch.uint8).movedim(-1, 1)

    def read(self, x: Tensor) -> Tensor:
        """Bytes (..., 3) as numbers in [-1, 1], (..., 3, 1)."""
        return (x.to(self.out.weight.dtype) / 127.5 - 1)[..., None]

    def forward(self, features: Tensor, parts: Tensor) -> Tensor:
        """Of all channels the logits of the components, the means, and the log scales, (..., C, 3, M): channel c reads
        the first c."""
        raw = wide(self.out(F.silu(self.mix(features)))).unflatten(-1, (10, self.components))
        logits, means, log_scales, slopes = raw[..., :1, :], raw[..., 1:4, :], raw[..., 4:7, :], raw[..., 7:, :].tanh()
        (a, b, c), (red, green, _) = slopes.unbind(-2), parts.unbind(-2)  # each (..., M) and (..., 1)
        lean = torch.stack([torch.zeros_like(a), a * red, b * red + c * green], -2)
        # The published floor, exp(-7) of the half range: narrower than a byte, and gradients stay tame.
        return torch.stack([logits.expand_as(means), means + lean, log_scales.clamp(-7, 4)], -2)

    def log_prob(self, features: Tensor, parts: Tensor, x: Tensor) -> Tensor:
        """log P(pixel) in nats, (...)."""
        logits, means, log_scales = self(features, parts).unbind(-2)  # each (..., C, M)
        each = discretised.log_prob(parts, means, log_scales, "logistic").sum(-2)  # (..., M)
        return torch.logsumexp(logits[..., 0, :].log_softmax(-1) + each, -1)

    def draw(self, features: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """A pixel (B, 3) from features (B, w) and uniform numbers (B, 4), the first of which chooses the component; the
        temperature divides the components' logits and multiplies the scales."""
        x = torch.zeros(len(features), 3, dtype=torch.long, device=features.device)
        chosen: Tensor | None = None
        for c in range(self.channels):
            logits, means, log_scales = self(features, self.read(x))[:, c].unbind(-2)  # each (B, M)
            chosen = choose(logits / temperature, uniform[:, 0])[:, None] if chosen is None else chosen
            scale = temperature * log_scales.gather(1, chosen)[:, 0].exp()
            # A uniform number of 0 or 1 is an infinite value, and that the lowest or the highest byte.
            value = means.gather(1, chosen)[:, 0] + scale * torch.logit(uniform[:, 1 + c].to(scale))
            x[:, c] = ((value.clamp(-1, 1) + 1) * 127.5).round().long()
        return x
