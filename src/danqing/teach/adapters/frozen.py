"""A model that stands still while an adapter of it learns: its networks, what it is told by texts, and what it
paints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ...codec import Codec
from ...denoise import Denoiser
from ...errors import InvalidInput
from ...guide import compose
from ...learn.training.recompute import checkpointed
from ...nets.clip import CLIPText
from ...nets.drafted import DraftedUNet
from ...noise import Noise
from ...painting.load import dtypes_of, networks_of
from ...painting.networks import codec_of, denoiser_of
from ...painting.text import text_of
from ...painting.vocabulary import Vocabulary
from ...prompt.grammar import Piece, Plan, Run, Term
from ...prompt.towers import Text
from ...run.device import find_device, send
from ...run.precision import find_precision
from ...schedule import spacing
from ...solve.core import points, sample
from ...solve.solvers import solver
from ...store.find import find
from ...store.model import Model
from ...types import Conditioning

#: What paints samples where a model does not say: seconds matter more there than the last detail.
USUAL: Mapping[str, Any] = {"steps": 20, "solver": "dpmpp-2m", "spacing": "sgm-uniform", "scale": 5.0, "width": 512}
#: The lists of layers whose members are computed again in the backward pass.
RECOMPUTED = ("resnets", "attentions", "transformer_blocks", "layers")


@dataclass(frozen=True)
class Frozen:
    """The networks of a model, apart from those that paint elsewhere.

    Args:
        model: the description.
        denoiser, codec, text: as a painter has them.
        nets: those that adapters change, by role: "denoiser", "text", "text_2", …
    """

    model: Model
    denoiser: Denoiser
    codec: Codec
    text: Text
    nets: Mapping[str, nn.Module]

    @classmethod
    def of(cls, name: str, *, precision: str | None = None, recompute: bool = False) -> Frozen:
        """A model by name, folder or file, on the machine's device.

        Args:
            precision: of the denoiser and the codec; the machine's fast one where not given.
            recompute: keep of each block its input alone for the backward pass, for memory.

        Raises:
            UnknownName, InvalidFile: there is no such model, or it cannot be read.
            InvalidInput: it reads no text, or more than a noisy latent.
        """
        model, where = find(name), find_device()
        if model.core != "denoiser" or model.task:
            what = f"a model for {model.task}" if model.task else "no model that denoises"
            raise InvalidInput(f"{model.name} is {what}: adapters are learned for models that paint from text alone")
        dtype = find_precision(where, precision)
        nets = networks_of(model, where, dtypes_of(model, dtype))
        if not any(isinstance(net, CLIPText) for net in nets.values()):
            raise InvalidInput(f"{model.name} reads no words: adapters are learned for models with a CLIP text encoder")
        text, net = text_of(model, nets)
        frozen = cls(
            model=model,
            denoiser=denoiser_of(model, net).eval().requires_grad_(False),
            codec=codec_of(model, nets),
            text=text,
            nets={role: net.eval().requires_grad_(False) for role, net in nets.items() if role != "codec"},
        )
        if recompute:
            for net in frozen.nets.values():
                checkpointed(net, _outermost(net))
        return frozen

    @property
    def towers(self) -> dict[str, CLIPText]:
        """Role -> CLIP text tower."""
        return {role: net for role, net in self.nets.items() if isinstance(net, CLIPText)}

    @property
    def side(self) -> int:
        """Of the square that the model is at home in, in pixels."""
        return round((self._usual["width"] * self._usual.get("height", self._usual["width"])) ** 0.5)

    @property
    def square(self) -> bool:
        """Whether it has learned squares alone."""
        return isinstance(self.nets["denoiser"], DraftedUNet)

    @property
    def where(self) -> torch.device:
        """The device."""
        return next(self.denoiser.parameters()).device

    @property
    def _usual(self) -> dict[str, Any]:
        return {**USUAL, **self.model.defaults}

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary.of(self.model)

    def reading(self, words: Mapping[str, tuple[int, ...]]) -> Frozen:
        """The same model that knows learned words, name -> ids."""
        return replace(self, text=self.text.with_words(words))

    def said(self, texts: Sequence[str]) -> list[Conditioning]:
        """What each text says, as it stands, of one picture each; gradients flow through the text towers where they are
        wanted."""
        plans = [_literal(self._vocabulary.spelled(text)[0]) for text in texts]
        skip = self._usual.get("clip_skip", 1) - 1
        encoded = self.text.condition(plans, skip=skip, weighting="original")
        return [each.at(1)[0][0] for each in encoded]

    @torch.no_grad()
    def latents(self, levels: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] as the codec's most probable latents, in float32 on the CPU."""
        return self.codec.encode(send(levels, self.where)).float().cpu()

    @torch.no_grad()
    def painted(self, said: Sequence[Conditioning], unsaid: Conditioning, size: tuple[int, int], seed: int) -> Tensor:
        """Latents of what is said, one each, as the model paints by default: like `latents`.

        Args:
            unsaid: what guidance counts from.
            size: (width, height).
            seed: each picture draws by (seed, its place) alone.
        """
        usual, schedule, factor = self._usual, self.denoiser.schedule, self.codec.factor
        way = points(schedule, spacing(usual["spacing"])(schedule, usual["steps"]))
        noise = Noise.of(seed, range(len(said)))
        blank = torch.zeros(len(said), self.codec.channels, size[1] // factor, size[0] // factor, device=self.where)
        x = noise(blank) * way[0].sigma
        guided = compose(self.denoiser, [(said[0].cat(*said[1:]), float(usual["scale"]))], unsaid)
        for state in sample(guided, solver(usual["solver"]), way, x, noise):
            x = state.x
        return x.float().cpu()

    @torch.no_grad()
    def decoded(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), about [-1, 1], on the CPU."""
        return torch.cat([self.codec.decode(send(one, self.where)).float().cpu() for one in latents.split(1)])


def _literal(text: str) -> Plan:
    """A plan that says a text as it stands, brackets and all."""
    return Plan(steps=1, runs=(Run(1, 1, (Term(((Piece(text, 1.0),),), 1.0),)),))


def _outermost(net: nn.Module) -> list[str]:
    """The lists of layers to compute again that lie in no other one."""
    names = [
        name
        for name, module in net.named_modules()
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in RECOMPUTED
    ]
    return [name for name in names if not any(name.startswith(f"{other}.") for other in names)]
