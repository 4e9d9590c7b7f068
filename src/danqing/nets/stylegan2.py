"""StyleGAN2: styles that scale a convolution's weights, and the residual network that tells its pictures from real
ones.

The names are those of the published PyTorch weights. Source: Karras et al. 2020, "Analyzing and improving the image
quality of StyleGAN"; for labels Karras et al. 2020, "Training generative adversarial networks with limited data".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .upfirdn import downsample, low_pass, upfirdn, upsample

#: Standard normal numbers like a tensor, for the so-manieth layer; that of a batch may be one generator's a picture.
Draw = Callable[[Tensor, int], Tensor]
#: The slope below zero; the gain that gives back the power which it takes; where activations are cut, so that fp16 can
#: hold them.
SLOPE, GAIN, CLAMP = 0.2, math.sqrt(2), 256.0
#: How much of the mean of w stays at each step of a training.
STAYS = 0.995


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """What both networks share: their resolutions and channels.

    Args:
        resolution: of the pictures, a power of two from 8 pixels.
        classes: of labels; 0 leaves them out.
        mapping_layers: from z to w, and from a label to the vector that the discriminator compares.
        channel_base, channel_max: a layer at resolution r has ``min(channel_base // r, channel_max)`` channels.
        img_channels: of the picture.
    """

    resolution: int = 1024
    classes: int = 0
    mapping_layers: int = 8
    channel_base: int = 32768
    channel_max: int = 512
    img_channels: int = 3

    @property
    def resolutions(self) -> list[int]:
        """Of the blocks, from 4 to that of the picture.

        Raises:
            InvalidInput: ``resolution`` is none of 8, 16, 32, ...
        """
        doublings = self.resolution.bit_length() - 3
        if doublings < 1 or self.resolution != 4 << doublings:
            raise InvalidInput(f"resolution {self.resolution} was given; possible is a power of two from 8")
        return [4 << k for k in range(doublings + 1)]

    def channels(self, resolution: int) -> int:
        """Of a layer."""
        return min(self.channel_base // resolution, self.channel_max)


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Config(Pyramid):
    """The shape of a `StyleGAN2`.

    Args:
        z_dim, w_dim: of a latent and of a style.
    """

    z_dim: int = 512
    w_dim: int = 512

    @property
    def layers(self) -> int:
        """How many styles a picture has: one for each convolution, one for the last colours."""
        return 2 * len(self.resolutions)


@dataclass(frozen=True, kw_only=True)
class StyleGAN2DiscriminatorConfig(Pyramid):
    """The shape of a `StyleGAN2Discriminator`.

    Args:
        group: over how many pictures the deviation is taken.
    """

    group: int = 4


FFHQ = StyleGAN2Config()
FFHQ_DISCRIMINATOR = StyleGAN2DiscriminatorConfig()
#: For pictures of 64 px on a CPU: most weights lie at the low resolutions, where they cost little.
MINI = StyleGAN2Config(resolution=64, z_dim=128, w_dim=128, mapping_layers=4, channel_base=2048, channel_max=192)
MINI_DISCRIMINATOR = StyleGAN2DiscriminatorConfig(resolution=64, mapping_layers=4, channel_base=2048, channel_max=192)


def leaky(x: Tensor) -> Tensor:
    """``√2 max(x, 0.2 x)``, which keeps the power of white noise nearly."""
    return F.leaky_relu(x, SLOPE) * GAIN


def activated(x: Tensor, gain: float = 1.0) -> Tensor:
    """``gain clamp(leaky(x))``, given ``GAIN gain x``: what is linear before takes the gains at no cost."""
    return F.hardtanh_(F.leaky_relu(x, SLOPE), -CLAMP * gain, CLAMP * gain)


def unit(x: Tensor) -> Tensor:
    """``x / sqrt(mean x^2)`` of each row: "pixel norm"."""
    return x * (x.square().mean(-1, keepdim=True) + 1e-8).rsqrt()


class Linear(nn.Module):
    """A linear layer whose weights are N(0, 1) and scaled as they are used, so that Adam moves all layers equally fast.

    ``y = (r / sqrt(D_in)) W x + r b``. Source: Karras et al. 2018, section 4.1.

    Args:
        inputs, outputs: D_in and D_out.
        rate: r, the layer's learning rate relative to others; W begins as N(0, 1 / r^2).
        bias: what b begins with.
        active: whether a leaky ReLU follows.
    """

    def __init__(self, inputs: int, outputs: int, *, rate: float = 1.0, bias: float = 0.0, active: bool = False):
        super().__init__()
        self.rate, self.active = rate, active
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D_in) -> (B, D_out)."""
        y = F.linear(x, self.weight * (self.rate / math.sqrt(self.weight.shape[1])), self.bias * self.rate)
        return leaky(y) if self.active else y


class Mapping(nn.Module):
    """From a latent, and a label, to a style; and the mean of all styles.

    ``w = fc(..fc([unit(z), unit(E label)]))``, the layers learning a hundred times slower than others. The mean w̄
    moves whenever styles are made in training, ``w̄ <- 0.995 w̄ + 0.005 mean_batch w``.

    Args:
        z_dim, w_dim: of z and w; without z the label alone is read.
        classes: of labels; 0 for none.
        layers: fully connected ones.
        rate: their learning rate relative to others'.
        tracked: whether the mean is kept.
    """

    def __init__(self, z_dim: int, w_dim: int, classes: int, layers: int, *, rate: float = 0.01, tracked: bool = True):
        super().__init__()
        self.classes, self.tracked = classes, tracked
        if classes:
            self.embed = Linear(classes, w_dim)
        widths = [z_dim + w_dim * bool(classes)] + [w_dim] * layers
        for k in range(layers):  # the published names are fc0, fc1, ..
            self.add_module(f"fc{k}", Linear(widths[k], widths[k + 1], rate=rate, active=True))
        self.fc = [f"fc{k}" for k in range(layers)]
        if tracked:
            self.register_buffer("w_avg", torch.zeros(w_dim))
        self.w_avg: Tensor

    def forward(self, z: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """(B, z_dim), (B, classes) of weights that sum to 1 -> (B, w_dim).

        Raises:
            InvalidInput: labels are missing, or of another number of classes.
        """
        parts = [] if z is None else [unit(z)]
        if self.classes:
            if labels is None or labels.shape[-1] != self.classes:
                given = "none were given" if labels is None else f"a vector of {labels.shape[-1]} numbers was given"
                raise InvalidInput(f"a label is a vector of {self.classes} numbers here, one a class; {given}")
            parts.append(unit(self.embed(labels)))
        w = torch.cat(parts, 1)
        for name in self.fc:
            w = self.get_submodule(name)(w)
        if self.tracked and self.training:
            self.w_avg.lerp_(w.detach().to(self.w_avg).mean(0), 1 - STAYS)
        return w

    def truncated(self, w: Tensor, psi: float) -> Tensor:
        """``w̄ + psi (w - w̄)``: nearer to the mean, pictures vary less and fail less (Karras et al. 2019, section
        B)."""
        return w if psi == 1 else self.w_avg + psi * (w - self.w_avg)


def mixed(coarse: Tensor, fine: Tensor, crossover: int) -> Tensor:
    """Styles (B, L, W): ``coarse`` in the first ``crossover`` layers and ``fine`` from there on."""
    return torch.cat([coarse[:, :crossover], fine[:, crossover:]], 1)


def replicated(near: Tensor, w: Tensor, layers: int, cutoff: int | None) -> Tensor:
    """(B, W) and (B, W) -> (B, L, W): the first in ``cutoff`` layers, or in all, the second in those that are left."""
    first = layers if cutoff is None else min(cutoff, layers)
    return torch.cat([near[:, None].expand(-1, first, -1), w[:, None].expand(-1, layers - first, -1)], 1)


def modulated(
    x: Tensor, weight: Tensor, style: Tensor, *, up: bool = False, demodulated: bool = True, gain: float = 1.0
) -> Tensor:
    """A convolution whose weights each picture's style scales, and which are then scaled to unit norm.

    ``w'_oik = s_i w_oik;  w''_oik = w'_oik / sqrt(sum_ik w'^2_oik)``, so that white noise of variance 1 stays so.
    Computed with one weight for all pictures, by scaling what goes in by s and what comes out by the norm. Source:
    section 2.2, eqs. 1 and 3.

    Args:
        x: (B, C_in, H, W).
        weight: (C_out, C_in, K, K), K odd.
        style: s, (B, C_in).
        up: whether one zero is put behind each pixel first; then weights are turned around, and (B, C_out, 2H + K - 2,
            ..) comes out, still to be filtered.
        gain: of what is scaled to unit norm.

    Returns:
        (B, C_out, H, W).
    """
    x = x * style.to(x.dtype)[:, :, None, None]
    y = (
        F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        if up
        else F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    )
    if not demodulated:
        return y
    power = style.to(weight).square() @ weight.square().sum((2, 3)).T  # (B, C_out)
    return y * (gain * (power + 1e-8).rsqrt()).to(y.dtype)[:, :, None, None]


class SynthesisLayer(nn.Module):
    """A modulated convolution, noise, bias, activation: ``y = activated(conv(x; A w) + strength · noise + b)``.

    Args:
        channels, out_channels: C_in and C_out.
        w_dim: of the style.
        resolution: R of what comes out.
        up: whether what goes in has half of it.
    """

    def __init__(self, channels: int, out_channels: int, w_dim: int, resolution: int, *, up: bool = False):
        super().__init__()
        self.up = up
        self.affine = Linear(w_dim, channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", low_pass())
        self.noise_const: Tensor
        self.resample_filter: Tensor

    def forward(self, x: Tensor, w: Tensor, noise: Draw | None, k: int) -> Tensor:
        """(B, C_in, H, W), (B, w_dim) -> (B, C_out, R, R); the layer is the k-th."""
        y = modulated(x, self.weight, self.affine(w), up=self.up, gain=GAIN)
        if self.up:
            y = upfirdn(y, 4 * self.resample_filter, before=1, after=1)  # 2H + 1 -> 2H
        rain = self.noise_const if noise is None else noise(y[:, :1], k)
        return activated(
            y.add_((GAIN * self.noise_strength * rain).to(y.dtype)).add_((GAIN * self.bias).to(y.dtype)[:, None, None])
        )


class ToRGB(nn.Module):
    """Colours: a modulated 1×1 convolution without demodulation.

    Args:
        channels, out_channels: C_in and C_out.
        w_dim: of the style.
    """

    def __init__(self, channels: int, out_channels: int, w_dim: int):
        super().__init__()
        self.affine = Linear(w_dim, channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, C_in, H, W), (B, w_dim) -> (B, C_out, H, W), in the precision of the weights, for colours are sums over
        all resolutions."""
        style = self.affine(w) / math.sqrt(x.shape[1])
        y = modulated(x, self.weight, style, demodulated=False).to(self.bias) + self.bias[:, None, None]
        return y.clamp(-CLAMP, CLAMP)


class SynthesisBlock(nn.Module):
    """One resolution: the constant or two convolutions, and what it adds to the picture.

    Args:
        config: of the generator.
        resolution: R.
    """

    def __init__(self, config: StyleGAN2Config, resolution: int):
        super().__init__()
        channels, w_dim = config.channels(resolution), config.w_dim
        if resolution == 4:
            self.const = nn.Parameter(torch.randn(channels, 4, 4))
        else:
            self.conv0 = SynthesisLayer(config.channels(resolution // 2), channels, w_dim, resolution, up=True)
        self.conv1 = SynthesisLayer(channels, channels, w_dim, resolution)
        self.torgb = ToRGB(channels, config.img_channels, w_dim)
        self.register_buffer("resample_filter", low_pass())
        self.resample_filter: Tensor

    def forward(
        self, x: Tensor | None, picture: Tensor | None, ws: Tensor, noise: Draw | None, k: int
    ) -> tuple[Tensor, Tensor]:
        """What is behind the resolution before this one, (B, C, R/2, R/2) and (B, 3, R/2, R/2), or nothing; the k-th
        layer is conv1 -> the same of this resolution."""
        start = self.const.expand(len(ws), -1, -1, -1) if x is None else self.conv0(x, ws[:, k - 1], noise, k - 1)
        y = self.conv1(start, ws[:, k], noise, k)
        colours = self.torgb(y, ws[:, k + 1])  # whose style is also that of the next resolution's conv0
        return y, colours if picture is None else upsample(picture, self.resample_filter) + colours


class Synthesis(nn.Module):
    """From styles to the picture, which is the sum of what all resolutions say, each enlarged to the next.

    Args:
        config: of the generator.
    """

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        for resolution in config.resolutions:  # the published names are b4, b8, ..
            self.add_module(f"b{resolution}", SynthesisBlock(config, resolution))

    def forward(self, ws: Tensor, noise: Draw | None = None) -> Tensor:
        """(B, L, w_dim), L = ``config.layers`` -> (B, 3, R, R), about [-1, 1].

        Args:
            noise: draws the noise of each layer; None is the constant noise of the weights.

        Raises:
            InvalidInput: another number of styles.
        """
        if ws.shape[1] != self.config.layers:
            raise InvalidInput(
                f"{ws.shape[1]} styles were given; a picture of {self.config.resolution} px has {self.config.layers}"
            )
        x, picture = None, None
        for k, resolution in enumerate(self.config.resolutions):
            x, picture = self.get_submodule(f"b{resolution}")(x, picture, ws, noise, 2 * k)
        assert picture is not None
        return picture


class StyleGAN2(nn.Module):
    """A latent becomes a style, and styles a picture.

    Args:
        config: the network's shape.
    """

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        self.mapping = Mapping(config.z_dim, config.w_dim, config.classes, config.mapping_layers)
        self.synthesis = Synthesis(config)

    def styles(self, z: Tensor, labels: Tensor | None = None, *, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """(B, z_dim) -> (B, L, w_dim), the same in all layers, but that only the first ``cutoff`` are truncated by
        ``psi``."""
        w = self.mapping(z, labels)
        return replicated(self.mapping.truncated(w, psi), w, self.config.layers, cutoff)

    def forward(
        self, z: Tensor, labels: Tensor | None = None, *, psi: float = 1.0, noise: Draw | None = None
    ) -> Tensor:
        """(B, z_dim) of N(0, 1) -> (B, 3, R, R), about [-1, 1]; ``psi`` in [0, 1] truncates."""
        return self.synthesis(self.styles(z, labels, psi=psi), noise)


# ---- the discriminator ---------------------------------------------------------------------------------------------


class Conv2d(nn.Module):
    """An equalised convolution, ``y = conv(x; W / sqrt(C_in K^2)) + b``, which may halve the picture and be activated.

    Args:
        channels, out_channels: C_in and C_out.
        kernel: K, odd.
        bias: whether there is b.
        down: whether the picture is halved.
        active: whether a leaky ReLU follows.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int,
        *,
        bias: bool = True,
        down: bool = False,
        active: bool = True,
    ):
        super().__init__()
        self.down, self.active = down, active
        self.weight = nn.Parameter(torch.randn(out_channels, channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", low_pass())
        self.resample_filter: Tensor

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H, W), or half of both; times ``gain``."""
        total, pad = GAIN * gain if self.active else gain, self.weight.shape[-1] // 2
        weight = self.weight * (total / math.sqrt(self.weight[0].numel()))
        bias = None if self.bias is None else total * self.bias
        if not self.down:
            y = F.conv2d(x, weight, bias, padding=pad)
        elif pad:
            y = F.conv2d(upfirdn(x, self.resample_filter, before=1 + pad, after=1 + pad), weight, bias, stride=2)
        else:
            y = F.conv2d(downsample(x, self.resample_filter), weight, bias)
        return activated(y, gain) if self.active else y


class DiscriminatorBlock(nn.Module):
    """Two convolutions around a skip, ``y = (conv1(conv0(x)) + skip(x)) / √2``, at half the resolution.

    Args:
        config: of the discriminator.
        resolution: of what goes in; at the highest the picture does.
    """

    def __init__(self, config: StyleGAN2DiscriminatorConfig, resolution: int):
        super().__init__()
        channels, out_channels = config.channels(resolution), config.channels(resolution // 2)
        self.fromrgb = Conv2d(config.img_channels, channels, 1) if resolution == config.resolution else nn.Identity()
        self.conv0 = Conv2d(channels, channels, 3)
        self.conv1 = Conv2d(channels, out_channels, 3, down=True)
        self.skip = Conv2d(channels, out_channels, 1, bias=False, down=True, active=False)
        self.register_buffer("resample_filter", low_pass())  # unread, but in the published files

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C_out, H/2, W/2)."""
        x = self.fromrgb(x)
        half = math.sqrt(0.5)
        return self.skip(x, half) + self.conv1(self.conv0(x), half)


def deviation(x: Tensor, group: int) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W): the standard deviation over groups of pictures, averaged over channels and pixels,
    which shows whether pictures are too alike (Karras et al. 2018, section 3).

    A group has at most ``group`` pictures, and so many that groups are equal.
    """
    size = next(n for n in range(min(group, len(x)), 0, -1) if len(x) % n == 0)
    groups = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(0, (size, -1))  # (size, B / size, C, H, W)
    spread = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))  # (B / size,)
    return spread.to(x.dtype).repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])


class Epilogue(nn.Module):
    """The last resolution, 4×4, to a number or to a vector that is compared with the label's.

    Args:
        config: of the discriminator.
    """

    def __init__(self, config: StyleGAN2DiscriminatorConfig):
        super().__init__()
        channels = config.channels(4)
        self.group = config.group
        self.conv = Conv2d(channels + 1, channels, 3)
        self.fc = Linear(16 * channels, channels, active=True)
        self.out = Linear(channels, channels if config.classes else 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, 4, 4) -> (B, 1), or (B, C) with labels."""
        x = self.conv(torch.cat([x, deviation(x, self.group)], 1))
        return self.out(self.fc(x.flatten(1)))


class StyleGAN2Discriminator(nn.Module):
    """The logit of a picture being real; with labels, ``<out(x), mapping(label)> / sqrt(C)`` (Miyato & Koyama 2018).

    Args:
        config: the network's shape.
    """

    def __init__(self, config: StyleGAN2DiscriminatorConfig):
        super().__init__()
        self.config = config
        self.resolutions = config.resolutions[:0:-1]
        for resolution in self.resolutions:  # the published names are b64, b32, ..
            self.add_module(f"b{resolution}", DiscriminatorBlock(config, resolution))
        self.b4 = Epilogue(config)
        if config.classes:
            self.mapping = Mapping(0, config.channels(4), config.classes, config.mapping_layers, tracked=False)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, 3, R, R) in [-1, 1], (B, classes) -> (B, 1)."""
        for resolution in self.resolutions:
            x = self.get_submodule(f"b{resolution}")(x)
        out = self.b4(x)
        if not self.config.classes:
            return out
        label = self.mapping(None, labels)
        return (out * label).sum(1, keepdim=True) / math.sqrt(out.shape[1])
