"""Depth Anything: how near each pixel of a photograph is, by a DINOv2 transformer and a head that fuses its layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .operations import Attend


@dataclass(frozen=True, kw_only=True)
class DepthAnythingConfig:
    """The shape of a `DepthAnything`; the defaults are those of Depth Anything V2 Small.

    Args:
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: of the transformer.
        patch_size, image_size: pixels along a patch, and along the picture whose places were learned.
        out_indices: after which layers the head reads, counted from 1; of version 1 (9, 10, 11, 12).
        neck_hidden_sizes, fusion_hidden_size, head_hidden_size: channels of the head.
        layer_norm_eps: of the norms.
    """

    hidden_size: int = 384
    num_hidden_layers: int = 12
    num_attention_heads: int = 6
    intermediate_size: int = 1536
    patch_size: int = 14
    image_size: int = 518
    out_indices: tuple[int, ...] = (3, 6, 9, 12)
    neck_hidden_sizes: tuple[int, ...] = (48, 96, 192, 384)
    fusion_hidden_size: int = 64
    head_hidden_size: int = 32
    layer_norm_eps: float = 1e-6


class Scale(nn.Module):
    """``y = λ x``, a factor a channel."""

    def __init__(self, width: int):
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.lambda1 * x


class Layer(nn.Module):
    """``x + λ₁ attention(norm₁(x))``, then ``x + λ₂ mlp(norm₂(x))``. Source: Oquab et al. 2023 (DINOv2)."""

    def __init__(self, config: DepthAnythingConfig):
        super().__init__()
        width, inner, eps = config.hidden_size, config.intermediate_size, config.layer_norm_eps
        self.heads = config.num_attention_heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        parts = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict(
            {"attention": nn.ModuleDict(parts), "output": nn.ModuleDict({"dense": nn.Linear(width, width)})}
        )
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})
        self.attend = Attend()
        self.layer_scale1, self.layer_scale2 = Scale(width), Scale(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, C) -> (B, L, C)."""
        h = self.norm1(x)
        heads = (self.attention.get_submodule(f"attention.{name}")(h) for name in ("query", "key", "value"))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in heads)  # (B, N, L, C/N)
        h = self.attend(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.layer_scale1(self.attention.get_submodule("output.dense")(h))
        return x + self.layer_scale2(self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x)))))


class Embeddings(nn.Module):
    """``[class, W · patch_1, ..., W · patch_n] + place``; of other sizes the places are interpolated."""

    def __init__(self, config: DepthAnythingConfig):
        super().__init__()
        width, side = config.hidden_size, config.image_size // config.patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, side**2 + 1, width))
        patches = nn.Conv2d(3, width, config.patch_size, config.patch_size)
        self.patch_embeddings = nn.ModuleDict({"projection": patches})
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1 + h w, C)."""
        patches = self.patch_embeddings["projection"](x)
        grid, first, places = patches.shape[2:], self.position_embeddings[:, :1], self.position_embeddings[:, 1:]
        if grid != (self.side, self.side):
            square = places.mT.unflatten(2, (self.side, self.side))
            places = F.interpolate(square, size=grid, mode="bicubic", align_corners=False).flatten(2).mT
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches.flatten(2).mT], 1)
        return tokens + torch.cat([first, places], 1)


class Residual(nn.Module):
    """``x + conv(relu(conv(relu(x))))``."""

    def __init__(self, width: int):
        super().__init__()
        self.convolution1, self.convolution2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolution2(F.relu(self.convolution1(F.relu(x))))


class Fusion(nn.Module):
    """What is known so far and a finer map (B, C, h, w) -> both, at the next map's size."""

    def __init__(self, width: int):
        super().__init__()
        self.projection = nn.Conv2d(width, width, 1)
        self.residual_layer1, self.residual_layer2 = Residual(width), Residual(width)

    def forward(self, known: Tensor | None, finer: Tensor, size: tuple[int, int]) -> Tensor:
        both = finer if known is None else known + self.residual_layer1(finer)
        grown = F.interpolate(self.residual_layer2(both), size=size, mode="bilinear", align_corners=True)
        return self.projection(grown)


def resizing(width: int, place: int) -> nn.Module:
    """To 4, 2, 1 and 1/2 times the grid of the patches, by the place of the map."""
    if place < 2:
        return nn.ConvTranspose2d(width, width, 4 >> place, 4 >> place)
    return nn.Identity() if place == 2 else nn.Conv2d(width, width, 3, 2, 1)


class DepthAnything(nn.Module):
    """How near each pixel is: 1 / depth, up to a factor and a shift.

    Source: Yang et al. 2024, "Depth Anything V2"; Ranftl et al. 2021 as to the head (DPT). Names are those of
    transformers.

    Args:
        config: the network's shape.
    """

    def __init__(self, config: DepthAnythingConfig):
        super().__init__()
        self.config = config
        layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.backbone = nn.ModuleDict(
            {"embeddings": Embeddings(config), "encoder": nn.ModuleDict({"layer": layers}), "layernorm": norm}
        )
        sizes, width, last = config.neck_hidden_sizes, config.fusion_hidden_size, config.head_hidden_size
        maps = (
            nn.ModuleDict({"projection": nn.Conv2d(config.hidden_size, size, 1), "resize": resizing(size, place)})
            for place, size in enumerate(sizes)
        )
        self.neck = nn.ModuleDict(
            {
                "reassemble_stage": nn.ModuleDict({"layers": nn.ModuleList(maps)}),
                "convs": nn.ModuleList(nn.Conv2d(size, width, 3, padding=1, bias=False) for size in sizes),
                "fusion_stage": nn.ModuleDict({"layers": nn.ModuleList(Fusion(width) for _ in sizes)}),
            }
        )
        self.head = nn.ModuleDict(
            {
                "conv1": nn.Conv2d(width, width // 2, 3, padding=1),
                "conv2": nn.Conv2d(width // 2, last, 3, padding=1),
                "conv3": nn.Conv2d(last, 1, 1),
            }
        )

    def sides(self, height: int, width: int, shorter: int) -> tuple[int, int]:
        """The size (height, width) that it reads of a picture: whole patches in its ratio, about ``shorter`` pixels
        along the shorter side, and at most four times as many along the longer one."""
        patch, ratio = self.config.patch_size, shorter / min(height, width)
        longest = 4 * shorter
        return (
            max(patch, round(min(height * ratio, longest) / patch) * patch),
            max(patch, round(min(width * ratio, longest) / patch) * patch),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), normalised by ImageNet's mean and deviation, sides multiples of the patch -> (B, H, W), 0 or
        more."""
        grid = (x.shape[2] // self.config.patch_size, x.shape[3] // self.config.patch_size)
        h, kept = self.backbone["embeddings"](x), list[Tensor]()
        for number, layer in enumerate(self.backbone.get_submodule("encoder.layer").children(), 1):
            h = layer(h)
            if number in self.config.out_indices:
                kept.append(self.backbone["layernorm"](h)[:, 1:].mT.unflatten(2, grid))
        maps: list[Tensor] = []
        stages = self.neck.get_submodule("reassemble_stage.layers").children()
        convolutions = self.neck.get_submodule("convs").children()
        for h, stage, conv in zip(kept, stages, convolutions, strict=True):
            maps.append(conv(stage.get_submodule("resize")(stage.get_submodule("projection")(h))))
        known: Tensor | None = None
        for place, fusion in enumerate(self.neck.get_submodule("fusion_stage.layers").children()):
            finer, *others = maps[: len(maps) - place][::-1]
            size = others[0].shape[2:] if others else (2 * finer.shape[2], 2 * finer.shape[3])
            known = fusion(known, finer, size)
        y = F.interpolate(self.head["conv1"](known), size=x.shape[2:], mode="bilinear", align_corners=True)
        return F.relu(self.head["conv3"](F.relu(self.head["conv2"](y))))[:, 0]
