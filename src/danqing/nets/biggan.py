"""BigGAN: pictures of a class, by batch norms that class and latent modulate, from a spectrally normalised pair of
networks.

The names are those of ajbrock/BigGAN-PyTorch. Source: Brock et al. 2019, "Large scale GAN training for high fidelity
natural image synthesis", appendix B.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .blocks import doubled, halved


@dataclass(frozen=True, kw_only=True)
class BigGANConfig:
    """The shape of a `BigGAN`.

    Args:
        widths: channels at 4×4, then after each block, which doubles the grid.
        attention: the blocks, from 0, that self-attention follows.
        z_dim: of a latent, which is cut into a chunk for the grid's start and one for each block.
        shared_dim: of a class's embedding, which all blocks share.
        classes: how many there are.
        img_channels: of the picture.
    """

    widths: tuple[int, ...] = (1536, 1536, 768, 384, 192, 96)
    attention: tuple[int, ...] = (3,)
    z_dim: int = 120
    shared_dim: int = 128
    classes: int = 1000
    img_channels: int = 3

    @property
    def resolution(self) -> int:
        """Height and width of the pictures."""
        return 4 << (len(self.widths) - 1)

    @property
    def chunk(self) -> int:
        """How many numbers of the latent each block gets.

        Raises:
            InvalidInput: the latent does not divide.
        """
        if self.z_dim % len(self.widths):
            raise InvalidInput(
                f"z_dim {self.z_dim} was given; {len(self.widths) - 1} blocks need a multiple of {len(self.widths)}"
            )
        return self.z_dim // len(self.widths)


@dataclass(frozen=True, kw_only=True)
class BigGANDiscriminatorConfig:
    """The shape of a `BigGANDiscriminator`.

    Args:
        widths: channels after each block.
        halvings: how many of the blocks, the first ones, halve the grid.
        attention: the blocks, from 0, that self-attention follows.
        classes: how many there are.
        img_channels: of the picture.
    """

    widths: tuple[int, ...] = (96, 192, 384, 768, 1536, 1536)
    halvings: int = 5
    attention: tuple[int, ...] = (0,)
    classes: int = 1000
    img_channels: int = 3


IMAGENET_128 = BigGANConfig()
IMAGENET_128_DISCRIMINATOR = BigGANDiscriminatorConfig()
#: For 36 kinds of art at 32 px on a CPU.
MINI = BigGANConfig(widths=(192, 192, 128, 64), attention=(1,), z_dim=64, shared_dim=64, classes=36)
MINI_DISCRIMINATOR = BigGANDiscriminatorConfig(widths=(64, 128, 192, 192), halvings=3, attention=(0,), classes=36)


class Spectral(nn.Module):
    """A weight divided by its largest singular value, ``W / (v W^T u^T)``, which one step of power iteration follows at
    each use.

    ``v = normalize(u W);  u = normalize(v W^T)``, W being the matrix (out, the rest); u is kept in training. W begins
    orthogonal. Source: Miyato et al. 2018, algorithm 1.

    Args:
        shape: (out, ..) of the weight.
        bias: whether the layer has one.
    """

    def __init__(self, *shape: int, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.orthogonal_(self.weight)
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.register_buffer("u0", torch.randn(1, shape[0]))
        self.register_buffer("sv0", torch.ones(1))
        self.u0: Tensor
        self.sv0: Tensor

    def normalised(self) -> Tensor:
        """The weight as it is used, of norm 1 nearly."""
        matrix = self.weight.flatten(1)
        with torch.autocast(matrix.device.type, enabled=False):
            with torch.no_grad():
                v = F.normalize(self.u0 @ matrix)
                u = F.normalize(v @ matrix.T)
            norm = (v @ matrix.T @ u.T).squeeze()  # differentiable by W
        if self.training:
            with torch.no_grad():
                self.u0.copy_(u)
                self.sv0.copy_(norm[None])
        return self.weight / norm


class SpectralConv(Spectral):
    """A convolution of stride 1 that keeps the grid; K is odd."""

    def __init__(self, channels: int, out_channels: int, kernel: int = 3, *, bias: bool = True):
        super().__init__(out_channels, channels, kernel, kernel, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C_out, H, W)."""
        return F.conv2d(x, self.normalised(), self.bias, padding=self.weight.shape[-1] // 2)


class SpectralLinear(Spectral):
    """A linear layer."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True):
        super().__init__(outputs, inputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D_out)."""
        return F.linear(x, self.normalised(), self.bias)


class SpectralEmbedding(Spectral):
    """A table of vectors."""

    def __init__(self, count: int, width: int):
        super().__init__(count, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B,) of whole numbers -> (B, D)."""
        return F.embedding(x, self.normalised())


class BatchNorm(nn.Module):
    """Batch norm with the published names: ``gain (x - mean) / std + bias``.

    Args:
        channels: of the input.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))
        self.stored_mean: Tensor
        self.stored_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return F.batch_norm(x, self.stored_mean, self.stored_var, self.gain, self.bias, self.training)


class ClassBatchNorm(nn.Module):
    """Batch norm whose gain and bias class and latent say: ``(1 + G y) (x - mean) / std + B y``.

    Args:
        channels: of the input.
        inputs: of y, the class's embedding and a chunk of the latent.
    """

    def __init__(self, channels: int, inputs: int):
        super().__init__()
        self.gain = SpectralLinear(inputs, channels, bias=False)
        self.bias = SpectralLinear(inputs, channels, bias=False)
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))
        self.stored_mean: Tensor
        self.stored_var: Tensor

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, C, H, W), (B, D) -> (B, C, H, W)."""
        x = F.batch_norm(x, self.stored_mean, self.stored_var, training=self.training)
        return x * (1 + self.gain(y))[:, :, None, None] + self.bias(y)[:, :, None, None]


class GeneratorBlock(nn.Module):
    """``conv2(relu(bn2(conv1(up(relu(bn1(x))))))) + conv_sc(up(x))``, the nearest pixel repeated; bn1 and bn2 read y.

    Args:
        channels, out_channels: C and C_out.
        inputs: of y.
    """

    def __init__(self, channels: int, out_channels: int, inputs: int):
        super().__init__()
        self.conv1 = SpectralConv(channels, out_channels)
        self.conv2 = SpectralConv(out_channels, out_channels)
        self.conv_sc = SpectralConv(channels, out_channels, 1)
        self.bn1 = ClassBatchNorm(channels, inputs)
        self.bn2 = ClassBatchNorm(out_channels, inputs)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C_out, 2H, 2W)."""
        h = self.conv1(doubled(F.relu(self.bn1(x, y))))
        h = self.conv2(F.relu(self.bn2(h, y)))
        return h + self.conv_sc(doubled(x))


class DiscriminatorBlock(nn.Module):
    """``down(conv2(relu(conv1(relu x)))) + shortcut(x)``, by means of 2×2 pixels; the first block reads x as it is.

    Args:
        channels, out_channels: C and C_out.
        first: whether it reads the picture.
        down: whether it halves the grid.
    """

    def __init__(self, channels: int, out_channels: int, *, first: bool, down: bool):
        super().__init__()
        self.first, self.down = first, down
        self.conv1 = SpectralConv(channels, out_channels)
        self.conv2 = SpectralConv(out_channels, out_channels)
        self.conv_sc = SpectralConv(channels, out_channels, 1) if down or channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C_out, H/2, W/2), or (B, C_out, H, W)."""
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        y = h + self.conv_sc(x)
        return halved(y) if self.down else y  # a mean of sums; it passes through the 1×1 convolution


class Attention(nn.Module):
    """Self-attention on a grid, ``x + gamma o(g(x) softmax(theta(x)^T phi(x))^T)``; keys and values on half of the
    grid.

    gamma begins as zero, and the layer as the identity. Source: Zhang et al. 2019.

    Args:
        channels: C, a multiple of 8.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.theta = SpectralConv(channels, channels // 8, 1, bias=False)
        self.phi = SpectralConv(channels, channels // 8, 1, bias=False)
        self.g = SpectralConv(channels, channels // 2, 1, bias=False)
        self.o = SpectralConv(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> the same; y is not read."""
        query = self.theta(x).flatten(2).mT  # (B, HW, C/8)
        key = F.max_pool2d(self.phi(x), 2).flatten(2).mT  # (B, HW/4, C/8)
        value = F.max_pool2d(self.g(x), 2).flatten(2).mT  # (B, HW/4, C/2)
        found = (query @ key.mT).softmax(-1) @ value
        return x + self.gamma * self.o(found.mT.unflatten(2, x.shape[2:]))


class BigGAN(nn.Module):
    """A latent and a class become a picture. The latent's first chunk makes the 4×4 grid; block i reads the class and
    chunk i + 1.

    Args:
        config: the network's shape.
    """

    def __init__(self, config: BigGANConfig):
        super().__init__()
        self.config = config
        first, last = config.widths[0], config.widths[-1]
        self.shared = nn.Embedding(config.classes, config.shared_dim)
        nn.init.orthogonal_(self.shared.weight)
        self.linear = SpectralLinear(config.chunk, 16 * first)
        self.blocks = nn.ModuleList()
        for i, (channels, out_channels) in enumerate(pairwise(config.widths)):
            block = GeneratorBlock(channels, out_channels, config.shared_dim + config.chunk)
            self.blocks.append(nn.ModuleList([block, Attention(out_channels)] if i in config.attention else [block]))
        self.output_layer = nn.Sequential(BatchNorm(last), nn.ReLU(), SpectralConv(last, config.img_channels))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """(B, z_dim) of N(0, 1), (B,) of whole numbers in [0, classes) -> (B, 3, R, R) in [-1, 1]."""
        return self.painted(z, self.shared(labels))

    def painted(self, z: Tensor, classes: Tensor) -> Tensor:
        """(B, z_dim), (B, shared_dim) of classes' embeddings, or of points between them -> (B, 3, R, R) in [-1, 1]."""
        start, *chunks = z.split(self.config.chunk, 1)
        h = self.linear(start).unflatten(1, (-1, 4, 4))  # (B, C, 4, 4)
        for layers, chunk in zip(self.blocks, chunks, strict=True):
            y = torch.cat([classes, chunk], 1)
            for layer in layers:  # type: ignore[reportGeneralTypeIssues]
                h = layer(h, y)
        return self.output_layer(h).tanh()


class BigGANDiscriminator(nn.Module):
    """The logit of a picture being a real one of its class: ``linear(h) + <embed(label), h>``, h the sum over the last
    grid.

    Args:
        config: the network's shape.
    """

    def __init__(self, config: BigGANDiscriminatorConfig):
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList()
        for i, (channels, out_channels) in enumerate(pairwise((config.img_channels, *config.widths))):
            block = DiscriminatorBlock(channels, out_channels, first=i == 0, down=i < config.halvings)
            self.blocks.append(nn.ModuleList([block, Attention(out_channels)] if i in config.attention else [block]))
        self.linear = SpectralLinear(config.widths[-1], 1)
        self.embed = SpectralEmbedding(config.classes, config.widths[-1])

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1], (B,) of whole numbers in [0, classes) -> (B, 1)."""
        for layers in self.blocks:
            for layer in layers:  # type: ignore[reportGeneralTypeIssues]
                x = layer(x)
        h = F.relu(x).sum((2, 3))  # (B, C)
        return self.linear(h) + (self.embed(labels) * h).sum(1, keepdim=True)


def truncated_normal(shape: tuple[int, ...], threshold: float, noise: torch.Generator) -> Tensor:
    """N(0, 1) given that |z| < threshold: the smaller, the better and the more alike are the pictures (section 3.1).

    By the inverse of the distribution function, so that a number costs one draw. On the CPU.

    Raises:
        InvalidInput: the threshold is not positive.
    """
    if not threshold > 0:
        raise InvalidInput(f"a threshold of {threshold} was given; possible is one above 0, usual 0.5 to 2")
    half = torch.special.ndtr(torch.tensor(float(threshold), dtype=torch.float64)) - 0.5
    u = torch.rand(shape, generator=noise, dtype=torch.float64)
    return torch.special.ndtri(0.5 + half * (2 * u - 1)).float()
