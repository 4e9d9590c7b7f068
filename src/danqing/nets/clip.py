"""CLIP: a text tower and an image tower that meet in one space.

Module names are those of transformers' CLIPTextModelWithProjection, CLIPVisionModelWithProjection and CLIPModel.
Source: Radford et al. 2021, "Learning transferable visual models from natural language supervision".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput, UnknownName

#: Mean and deviation, a channel, of the pictures in [0, 1] that the published image towers were trained on.
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class CLIPTextConfig:
    """The shape of a `CLIPText`; the defaults are ViT-L/14's.

    Args:
        vocab_size: ids are 0 .. vocab_size - 1.
        hidden_size: D, a multiple of num_attention_heads.
        intermediate_size: width of the hidden layer of each MLP.
        num_hidden_layers, num_attention_heads: of the transformer.
        max_position_embeddings: the window, the longest L.
        hidden_act: "quick_gelu" (OpenAI's weights) or "gelu" (OpenCLIP's).
        layer_norm_eps: of all layer norms.
        projection_dim: P of the shared space; 0 for a tower without projection (Stable Diffusion 1 and 2).
        eos_token_id: the id that ends a prompt; the summary is read where it first stands. Published configs that say
            2 here mean the highest id, 49407.
    """

    vocab_size: int = 49408
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int = 768
    eos_token_id: int = 49407


@dataclass(frozen=True, kw_only=True)
class CLIPVisionConfig:
    """The shape of a `CLIPVision`; the defaults are ViT-L/14's.

    Args:
        hidden_size: D, a multiple of num_attention_heads.
        intermediate_size: width of the hidden layer of each MLP.
        num_hidden_layers, num_attention_heads: of the transformer.
        num_channels: of the picture.
        image_size: side of the picture in pixels, a multiple of patch_size.
        patch_size: side of a patch in pixels.
        hidden_act: "quick_gelu" (OpenAI's weights) or "gelu" (OpenCLIP's).
        layer_norm_eps: of all layer norms.
        projection_dim: P of the shared space; 0 for a tower without projection.
    """

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 14
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int = 768


@dataclass(frozen=True, kw_only=True)
class CLIPConfig:
    """The shape of a `CLIP`: two towers with the same projection_dim > 0."""

    text: CLIPTextConfig = field(default_factory=CLIPTextConfig)
    vision: CLIPVisionConfig = field(default_factory=CLIPVisionConfig)


VIT_L_14_TEXT = CLIPTextConfig()
VIT_L_14_VISION = CLIPVisionConfig()
VIT_L_14 = CLIPConfig(text=VIT_L_14_TEXT, vision=VIT_L_14_VISION)

VIT_H_14_TEXT = CLIPTextConfig(
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=24,
    num_attention_heads=16,
    hidden_act="gelu",
    projection_dim=1024,
)
VIT_H_14_VISION = CLIPVisionConfig(
    hidden_size=1280,
    intermediate_size=5120,
    num_hidden_layers=32,
    num_attention_heads=16,
    hidden_act="gelu",
    projection_dim=1024,
)
VIT_H_14 = CLIPConfig(text=VIT_H_14_TEXT, vision=VIT_H_14_VISION)

VIT_BIGG_14_TEXT = CLIPTextConfig(
    hidden_size=1280,
    intermediate_size=5120,
    num_hidden_layers=32,
    num_attention_heads=20,
    hidden_act="gelu",
    projection_dim=1280,
)
VIT_BIGG_14_VISION = CLIPVisionConfig(
    hidden_size=1664,
    intermediate_size=8192,
    num_hidden_layers=48,
    num_attention_heads=16,
    hidden_act="gelu",
    projection_dim=1280,
)
VIT_BIGG_14 = CLIPConfig(text=VIT_BIGG_14_TEXT, vision=VIT_BIGG_14_VISION)

#: Stable Diffusion 1 reads ViT-L/14 without its projection.
SD1_TEXT = replace(VIT_L_14_TEXT, projection_dim=0)
#: Stable Diffusion 2 ships ViT-H/14 without the last layer that it never reads: skip=1, normed, of the whole tower.
SD2_TEXT = replace(VIT_H_14_TEXT, projection_dim=0, num_hidden_layers=23)

#: The default model's own towers, English and Chinese; their pictures are in [-1, 1], mean and deviation 1/2.
MINI_TEXT = CLIPTextConfig(
    vocab_size=8192,
    hidden_size=256,
    intermediate_size=1024,
    num_hidden_layers=4,
    num_attention_heads=4,
    max_position_embeddings=32,
    hidden_act="gelu",
    projection_dim=256,
    eos_token_id=8191,
)
MINI_VISION = CLIPVisionConfig(
    hidden_size=192,
    intermediate_size=768,
    num_hidden_layers=6,
    num_attention_heads=3,
    image_size=128,
    patch_size=16,
    hidden_act="gelu",
    projection_dim=256,
)
MINI = CLIPConfig(text=MINI_TEXT, vision=MINI_VISION)


def quick_gelu(x: Tensor) -> Tensor:
    """``x · sigmoid(1.702 x)``, the approximation of GELU in OpenAI's weights. Hendrycks & Gimpel 2016, section 2."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"quick_gelu": quick_gelu, "gelu": F.gelu}


@dataclass(frozen=True, kw_only=True)
class Features:
    """What a tower says of one input.

    Args:
        tokens: (B, L, D), the chosen hidden state.
        hidden: every hidden state, (B, L, D) each: the input of the first layer, then each layer's output, none normed.
        pooled: (B, D), the normed summary: of a text at its first end token, of a picture at its class token.
        projected: (B, P), the summary in the shared space, or None for a tower without projection.
    """

    tokens: Tensor
    hidden: tuple[Tensor, ...]
    pooled: Tensor
    projected: Tensor | None = None

    def project(self, projection: nn.Linear | None) -> Features:
        """The same with ``projected`` filled in."""
        return self if projection is None else replace(self, projected=projection(self.pooled))


class TextFeatures(Features):
    """`Features` of a text: L is the number of ids."""


class ImageFeatures(Features):
    """`Features` of a picture: L is 1 + the number of patches, the class token first."""


def draw(weight: Tensor, variance: float) -> None:
    """Fill with N(0, variance), in place. On the meta device there is nothing to fill, and trying costs a second."""
    if not weight.is_meta:
        nn.init.normal_(weight, std=variance**0.5)


def table(rows: int, width: int, std: float) -> nn.Embedding:
    """An embedding drawn from N(0, std²)."""
    embedding = nn.Embedding(rows, width, _weight=torch.empty(rows, width))
    draw(embedding.weight, std**2)
    return embedding


class Attention(nn.Module):
    """``W_o softmax(q kᵀ / √d) v`` over ``heads`` heads of width d = D / heads; causal: position i sees j <= i."""

    def __init__(self, width: int, heads: int, *, causal: bool):
        super().__init__()
        if width % heads:
            raise InvalidInput(f"a width of {width} does not divide into {heads} heads: choose a multiple of {heads}")
        self.heads, self.causal = heads, causal
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        split = (p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k, v = split  # (B, heads, L, d) each
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """``W_2 act(W_1 x)``."""

    def __init__(self, width: int, inner: int, act: str):
        super().__init__()
        if act not in ACTIVATIONS:
            raise UnknownName("activation", act, ACTIVATIONS)
        self.act = ACTIVATIONS[act]
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        return self.fc2(self.act(self.fc1(x)))


class Layer(nn.Module):
    """One pre-norm transformer layer: ``x += attention(norm1(x)); x += mlp(norm2(x))``."""

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig, *, causal: bool):
        super().__init__()
        width = config.hidden_size
        self.self_attn = Attention(width, config.num_attention_heads, causal=causal)
        self.layer_norm1 = nn.LayerNorm(width, config.layer_norm_eps)
        self.mlp = MLP(width, config.intermediate_size, config.hidden_act)
        self.layer_norm2 = nn.LayerNorm(width, config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """A stack of layers that keeps every state on the way."""

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig, *, causal: bool):
        super().__init__()
        self.layers = nn.ModuleList(Layer(config, causal=causal) for _ in range(config.num_hidden_layers))
        # Radford et al. 2021, section 2.5, and their published code: the deviation of what is added to the stream
        # falls with the depth, so that the sum over the layers does not grow with it.
        width, depth = config.hidden_size, config.num_hidden_layers
        variance = {"out_proj": 0.5 / depth, "fc1": 0.5, "fc2": 0.5 / depth}
        for name, linear in self.named_modules():
            if isinstance(linear, nn.Linear):
                draw(linear.weight, variance.get(name.rpartition(".")[-1], 1.0) / width)
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, L, D) -> the input and each layer's output, (B, L, D) each."""
        hidden = [x]
        for layer in self.layers:
            hidden.append(layer(hidden[-1]))
        return tuple(hidden)


def pick(hidden: tuple[Tensor, ...], skip: int) -> Tensor:
    """The hidden state ``skip`` layers before the last; refuses a skip outside 0 .. layers."""
    if not 0 <= skip < len(hidden):
        raise InvalidInput(f"cannot skip {skip} layers of a tower of {len(hidden) - 1}: give 0 to {len(hidden) - 1}")
    return hidden[len(hidden) - 1 - skip]


class TextEmbeddings(nn.Module):
    """``token_embedding[ids] + position_embedding[0 .. L-1]``."""

    def __init__(self, config: CLIPTextConfig):
        super().__init__()
        self.token_embedding = table(config.vocab_size, config.hidden_size, 0.02)
        self.position_embedding = table(config.max_position_embeddings, config.hidden_size, 0.01)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, D); refuses L longer than the window."""
        positions = self.position_embedding.weight
        if ids.shape[-1] > len(positions):
            raise InvalidInput(
                f"{ids.shape[-1]} tokens do not fit a window of {len(positions)}: cut the text, or encode it in chunks"
            )
        return self.token_embedding(ids) + positions[: ids.shape[-1]]


class TextTower(nn.Module):
    """The text tower without its projection; see `CLIPText`."""

    def __init__(self, config: CLIPTextConfig):
        super().__init__()
        self.eos_token_id = config.eos_token_id
        self.embeddings = TextEmbeddings(config)
        self.encoder = Encoder(config, causal=True)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, ids: Tensor, *, skip: int = 0, normed: bool = True) -> TextFeatures:
        """(B, L) -> `TextFeatures`; arguments as for `CLIPText`."""
        hidden = self.encoder(self.embeddings(ids))
        chosen, last = pick(hidden, skip), self.final_layer_norm(hidden[-1])
        tokens = chosen if not normed else last if skip == 0 else self.final_layer_norm(chosen)
        ends = ids == self.eos_token_id  # (B, L)
        # The first end token; a text without one is read at its last position, the only one that has seen it all.
        end = torch.where(ends.any(-1), ends.int().argmax(-1), ids.shape[-1] - 1)  # (B,)
        pooled = last[torch.arange(len(ids), device=ids.device), end]  # (B, D)
        return TextFeatures(tokens=tokens, hidden=hidden, pooled=pooled)


class VisionEmbeddings(nn.Module):
    """``[class, W · patch_1, ..., W · patch_n] + position_embedding``."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        width, patch, self.size = config.hidden_size, config.patch_size, config.image_size
        if config.image_size % patch:
            raise InvalidInput(f"pictures of {config.image_size} px do not divide into patches of {patch} px")
        self.class_embedding = nn.Parameter(torch.empty(width))
        draw(self.class_embedding, 1 / width)
        self.patch_embedding = nn.Conv2d(config.num_channels, width, patch, stride=patch, bias=False)
        self.position_embedding = table((config.image_size // patch) ** 2 + 1, width, width**-0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1 + n, D); refuses another size than the tower's."""
        if pixels.shape[-2:] != (self.size, self.size):
            raise InvalidInput(
                f"a picture of {pixels.shape[-2]} × {pixels.shape[-1]} px does not fit this image tower: "
                f"resize it to {self.size} × {self.size} px"
            )
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)  # (B, n, D)
        first = self.class_embedding.expand(len(pixels), 1, -1)  # (B, 1, D)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class VisionTower(nn.Module):
    """The image tower without its projection; see `CLIPVision`."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.embeddings = VisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)  # spelt so where it was published
        self.encoder = Encoder(config, causal=False)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, pixels: Tensor, *, skip: int = 0) -> ImageFeatures:
        """(B, C, H, W) -> `ImageFeatures`; arguments as for `CLIPVision`."""
        hidden = self.encoder(self.pre_layrnorm(self.embeddings(pixels)))
        return ImageFeatures(tokens=pick(hidden, skip), hidden=hidden, pooled=self.post_layernorm(hidden[-1][:, 0]))


def projection(width: int, projection_dim: int) -> nn.Linear | None:
    """The map into the shared space, or None for 0 dimensions."""
    if projection_dim == 0:
        return None
    linear = nn.Linear(width, projection_dim, bias=False)
    draw(linear.weight, 1 / width)
    return linear


class CLIPText(nn.Module):
    """A causal transformer over the ids of a text.

    ``h_0 = E[ids] + P;  h_i = layer_i(h_{i-1});  pooled = norm(h_n)[first end token];  projected = W pooled``.
    No padding mask, as published: causality keeps what stands after the end token out of all before it.
    Source: Radford et al. 2021, section 2.4.

    Args:
        config: the shape.
    """

    def __init__(self, config: CLIPTextConfig):
        super().__init__()
        self.config = config
        self.text_model = TextTower(config)
        self.text_projection = projection(config.hidden_size, config.projection_dim)

    def forward(self, ids: Tensor, *, skip: int = 0, normed: bool = True) -> TextFeatures:
        """Encode texts.

        Args:
            ids: (B, L), integers in 0 .. vocab_size - 1, L <= max_position_embeddings.
            skip: which state ``tokens`` is: that of so many layers before the last, 0 .. num_hidden_layers
                (a "CLIP skip" of n in other programs is n - 1 here). The summary is always the last layer's.
            normed: whether ``tokens`` pass the final norm (Stable Diffusion 1 and 2: yes; XL and 3: no, with skip=1).

        Raises:
            InvalidInput: more ids than the window holds, or a skip outside its range.
        """
        return self.text_model(ids, skip=skip, normed=normed).project(self.text_projection)


class CLIPVision(nn.Module):
    """A transformer over the patches of a picture and a class token that becomes its summary.

    ``h_0 = norm([class, W_p patches] + P);  h_i = layer_i(h_{i-1});  pooled = norm(h_n[0]);  projected = W pooled``.
    Source: Dosovitskiy et al. 2020, section 3.1; Radford et al. 2021, section 2.4.

    Args:
        config: the shape.
    """

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.config = config
        self.vision_model = VisionTower(config)
        self.visual_projection = projection(config.hidden_size, config.projection_dim)

    def forward(self, pixels: Tensor, *, skip: int = 0) -> ImageFeatures:
        """Encode pictures.

        Args:
            pixels: (B, C, image_size, image_size), normalised as the weights were trained: `IMAGE_MEAN` and `IMAGE_STD`
                for the published ones.
            skip: which state ``tokens`` is: that of so many layers before the last, 0 .. num_hidden_layers; never
                normed (IP-Adapter Plus reads skip=1).

        Raises:
            InvalidInput: a picture of another size, or a skip outside its range.
        """
        return self.vision_model(pixels, skip=skip).project(self.visual_projection)


class CLIP(nn.Module):
    """Both towers and the temperature of their contrast.

    ``s_ij = exp(logit_scale) · cos(text_i, image_j)``.  Source: Radford et al. 2021, figure 3.
    The state of one tower alone is that of the keys that start with ``text_``, or with ``vis``.

    Args:
        config: the shape of both towers.
    """

    def __init__(self, config: CLIPConfig):
        super().__init__()
        if not config.text.projection_dim == config.vision.projection_dim > 0:
            raise InvalidInput(
                f"a text tower projecting to {config.text.projection_dim} and an image tower projecting to "
                f"{config.vision.projection_dim} dimensions share no space: give both the same projection_dim above 0"
            )
        self.config = config
        self.text_model = TextTower(config.text)
        self.vision_model = VisionTower(config.vision)
        self.text_projection = projection(config.text.hidden_size, config.text.projection_dim)
        self.visual_projection = projection(config.vision.hidden_size, config.vision.projection_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, L) -> unit vectors in the shared space, (B, P)."""
        features = self.text_model(ids)
        return unit(features.project(self.text_projection).projected)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> unit vectors in the shared space, (B, P)."""
        features = self.vision_model(pixels)
        return unit(features.project(self.visual_projection).projected)

    def contrastive(self, text: Tensor, image: Tensor) -> Tensor:
        """Logits s of unit vectors (N, P) and (M, P): (N, M), texts down, pictures across."""
        return self.logit_scale.exp() * text @ image.mT

    def forward(self, ids: Tensor, pixels: Tensor) -> Tensor:
        """(N, L), (M, C, H, W) -> logits (N, M)."""
        return self.contrastive(self.encode_text(ids), self.encode_image(pixels))


def unit(x: Tensor) -> Tensor:
    """``x / |x|`` over the last axis."""
    return F.normalize(x, dim=-1)
