"""The families that paint without denoising, and what each can do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InvalidFile, InvalidInput, UnknownName
from ...levels import levels_of
from ...nets import pixelcnn
from ...nets.biggan import BigGAN, truncated_normal
from ...nets.cyclegan import HALVINGS
from ...nets.pixelcnn import PixelCNN
from ...nets.stylegan2 import StyleGAN2, mixed
from ...nets.vae import VAE, prior, slerp
from ...noise import keyed
from ...pictures.picture import Picture
from ...request.request import Request, Resolved
from ...types import State
from ..loaded import LoadedModel, Recipe, from_nothing
from .base import INTERPOLATE, RECONSTRUCT, SEEDED, TEXT2IMAGE, Generator, LatentGenerator


class VAEPainter(LatentGenerator):
    """A VAE. ``truncation`` scales what its prior draws, ``decode(truncation · z)``; a picture's latent is its
    posterior's mean, and the way between two goes along the arc."""

    recipes = MappingProxyType(
        {
            "text2image": TEXT2IMAGE,
            "reconstruct": RECONSTRUCT,
            "interpolate": INTERPOLATE,
        }
    )
    net: VAE

    @property
    def side(self) -> int:
        return self.net.config.image_size

    def drawn(self, request: Resolved) -> Tensor:
        draw = keyed("latent", request.seed, request.index)
        return request.generating.truncation * prior([draw], self.net.config.latent_dim)  # (1, D)

    def latent(self, source: str, request: Resolved) -> tuple[Tensor, tuple[str, ...]]:
        levels, notes = self.fitted(source, request)
        return self.finite("the picture's encoding", self.net.encode(levels.to(self.dtype)).mean.float()), notes

    def painted(self, latent: Tensor) -> Tensor:
        return self.net.decode(latent.to(self.device, self.dtype))

    def between(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        return slerp(a, b, torch.tensor([t]))[0]


class StyleGAN2Painter(LatentGenerator):
    """A StyleGAN2. ``truncation`` is its psi; from the layer ``mix_from`` on, in the middle where not given, the styles
    are those of the first picture of the seed ``mix``. A latent is the styles of all layers, (1, L, w_dim)."""

    recipes = MappingProxyType({"text2image": TEXT2IMAGE, "interpolate": INTERPOLATE})
    net: StyleGAN2

    @property
    def side(self) -> int:
        return self.net.config.resolution

    @property
    def defaults(self) -> Mapping[str, Any]:
        return {"mix_from": self.net.config.layers // 2, **super().defaults}

    def fields_used(self, request: Request) -> Collection[str]:
        styled = {"mix"} if request.generating.mix is None else {"mix", "mix_from"}
        return frozenset(super().fields_used(request)) | (styled if request.recipe == "text2image" else set())

    def check(self, request: Resolved) -> None:
        super().check(request)
        if request.generating.mix is not None and request.generating.mix_from > self.net.config.layers:
            given = f"mix_from: {request.generating.mix_from} was given"
            raise InvalidInput(f"{given}; possible is 0 to {self.net.config.layers}, the number of this model's layers")

    def drawn(self, request: Resolved) -> Tensor:
        label, psi = self.label(request), request.generating.truncation
        labels = None if label is None else F.one_hot(label, self.count).to(self.dtype)

        def styles(seed: int, index: int) -> Tensor:
            z = prior([keyed("latent", seed, index)], self.net.config.z_dim)
            return self.net.styles(z.to(self.device, self.dtype), labels, psi=psi)

        own = styles(request.seed, request.index)
        return (
            own
            if request.generating.mix is None
            else mixed(own, styles(request.generating.mix, 0), request.generating.mix_from)
        )

    def latent(self, source: str, request: Resolved) -> tuple[Tensor, tuple[str, ...]]:
        return self.latent_of_record(source), ()

    def painted(self, latent: Tensor) -> Tensor:
        return self.net.synthesis(latent.to(self.dtype))


class BigGANPainter(LatentGenerator):
    """A BigGAN. ``truncation`` is the threshold of its latent's numbers, and 0 the mean latent. A latent is followed by
    its class's embedding, (1, z_dim + shared_dim), so that the way between two pictures also leads from class to
    class."""

    recipes = MappingProxyType({"text2image": TEXT2IMAGE, "interpolate": INTERPOLATE})
    net: BigGAN

    @property
    def side(self) -> int:
        return self.net.config.resolution

    def drawn(self, request: Resolved) -> Tensor:
        threshold, shape = request.generating.truncation, (1, self.net.config.z_dim)
        draw = keyed("latent", request.seed, request.index)
        z = truncated_normal(shape, threshold, draw) if threshold else torch.zeros(shape)
        return torch.cat([z.to(self.device), self.net.shared(self.label(request)).float()], 1)

    def latent(self, source: str, request: Resolved) -> tuple[Tensor, tuple[str, ...]]:
        return self.latent_of_record(source), ()

    def painted(self, latent: Tensor) -> Tensor:
        z, classes = latent.to(self.dtype).split((self.net.config.z_dim, self.net.config.shared_dim), 1)
        return self.net.painted(z, classes)


@torch.inference_mode()
def rows(painter: PixelCNNPainter, request: Resolved) -> Iterator[State | Picture]:
    """Row after row; what is not painted yet is white."""
    width, height = request.width, request.height
    noise = keyed("pixels", request.seed, request.index)
    temperature = request.generating.truncation
    picture = torch.ones(1, 3, height, width)
    walk = pixelcnn.sample(painter.net, [noise], height, width, painter.label(request), temperature=temperature)
    for y, row in enumerate(walk):  # (1, W, C)
        picture = picture.clone()
        picture[:, :, y] = levels_of(painter.net.head.picture(row[:, None]))[:, :, 0].cpu()  # (1, 3, W)
        yield State(step=y + 1, steps=height, t=1 - (y + 1) / height, x=picture, x0=picture)
    yield painter.finish(request, [painter.image(picture)])


class PixelCNNPainter(Generator):
    """A PixelCNN. ``truncation`` is its temperature; each row is a step."""

    recipes = MappingProxyType({"text2image": Recipe(run=rows, uses=SEEDED, inputs=from_nothing)})
    net: PixelCNN

    def check(self, request: Resolved) -> None:
        super().check(request)
        if not request.generating.truncation > 0:
            possible = f"that of {self.model.name} is a temperature, possible above 0 to 2 and usual from 0.7 to 1"
            raise InvalidInput(f"truncation: 0 was given; {possible}")


@torch.inference_mode()
def translate(painter: CycleGANPainter, request: Resolved) -> Iterator[State | Picture]:
    """A picture redrawn in another style."""
    levels, notes = painter.fitted(request.image, request)
    net = painter.nets[painter.styles[request.translation.to]]
    yield from painter.at_once(request, net(levels.to(painter.dtype)), notes)


class CycleGANPainter(Generator):
    """A CycleGAN: a translator into each style that the description names in the order of its components,
    ``"text": {"kind": "styles", "names": ["fluent", "noto"]}`` where "generator" translates into fluent and "back" into
    noto; without names, a style is called as its component. It paints pictures of any shape."""

    recipes = MappingProxyType({"translate": Recipe(run=translate, uses=frozenset({"to"}))})
    fit, check_size = LoadedModel.fit, LoadedModel.check_size  # of any size, unlike the others

    def __init__(self, **parts: Any):
        super().__init__(**parts)
        names = self.model.text.get("names", list(self.nets))
        if (
            not isinstance(names, list)
            or len(names) != len(self.nets)
            or not all(isinstance(name, str) for name in names)
        ):
            raise InvalidFile(
                f"{self.model.source}: its text should name {len(self.nets)} styles, one for each network, not "
                f"{names!r:.80}"
            )
        #: Style -> the role of its translator.
        self.styles = dict(zip(names, self.nets, strict=True))

    @property
    def multiple(self) -> int:
        return 1 << HALVINGS

    @property
    def defaults(self) -> Mapping[str, Any]:
        return {"to": next(iter(self.styles)), **super().defaults}

    def check(self, request: Resolved) -> None:
        if request.translation.to not in self.styles:
            raise UnknownName("style", request.translation.to, self.styles)
