"""A LoRA of one's own pictures, with DoRA as a setting: a style or a subject, as small changes of a model's layers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ... import atomic
from ...adapt import written
from ...adapt.base import Detach
from ...adapt.learned import Changes, changeable
from ...errors import InvalidInput
from ...learn.training.experiment import Count, Free
from ...learn.training.loop import Training
from ...nets.drafted import DraftedUNet
from ...painting.vocabulary import Vocabulary
from ...weights import store
from ..base import Above
from .base import OwnAdapter
from .batches import Batch
from .elsewhere import Told, distances, drafted, elsewhere, summaries

#: What ``targets`` may be -> the pattern of the layers' names; anything else is a pattern itself.
TARGETS: Mapping[str, str] = {
    "all": "",
    "attention": r"(^|\.)(attn\w*|self_attn)\.",
    "transformers": r"(^|\.)(attentions|transformer_blocks)\.",
}
#: The changed layers of text towers, whatever those of the denoiser are.
TEXT = r"\.(self_attn|mlp)\."
#: The folders of peft, as diffusers calls the networks.
FOLDERS = {"denoiser": "unet", "text": "text_encoder", "text_2": "text_encoder_2", "text_3": "text_encoder_3"}


@dataclass(frozen=True, kw_only=True)
class OwnLoRA(OwnAdapter):
    """Small changes of layers.

    Args:
        rank: r of the changes.
        alpha: they count alpha / r times; r where it is 0.
        targets: which layers of the denoiser: all (linear ones and convolutions), transformers, attention, or a pattern
            that is looked for in their names.
        text: whether the text towers learn too.
        text_rate: AdamW's, of those.
        dora: magnitudes apart from directions (Liu et al. 2024).
        elsewhere: weight of the squared error of what a model drafts of the subject, in the styles of the pictures as
            they are, in others as in the nearest of those; nothing where captions name no style of the model.
        peft: also write folders of peft, one a network.
    """

    KIND: ClassVar[str] = "lora"

    rank: Count = 8
    alpha: Annotated[float, Field(ge=0)] = 0.0
    targets: str = "all"
    text: bool = False
    text_rate: Above = 1e-4
    dora: bool = False
    elsewhere: Annotated[float, Field(ge=0)] = 1.0
    peft: Free[bool] = False

    @property
    def texts_learn(self) -> bool:
        return self.text

    def made(self) -> Changes:
        nets, names = self.frozen.nets, {"denoiser": self._targets()}
        if self.text:
            names |= {
                role: [n for n in changeable(net) if re.search(TEXT, n)] for role, net in self.frozen.towers.items()
            }
        return Changes(nets, names, rank=self.rank, alpha=self.alpha or self.rank, decomposed=self.dora)

    def _targets(self) -> list[str]:
        every = changeable(self.frozen.nets["denoiser"])
        try:
            found = [name for name in every if re.search(TARGETS.get(self.targets, self.targets), name)]
        except re.error as error:
            raise InvalidInput(f"targets: {self.targets!r} is no pattern: {error}") from None
        if not found:
            usual, some = ", ".join(TARGETS), ", ".join(every[:: max(1, len(every) // 5)][:5])
            raise InvalidInput(
                f"targets: no layer's name has {self.targets!r}; possible are {usual}, or a part of a name: {some}"
            )
        return found

    def parameters(self, learned: nn.Module) -> Iterable[dict[str, Any]]:
        changes = cast(Changes, learned)
        rates = {role: self.rate if role == "denoiser" else self.text_rate for role in changes.terms}
        return [{"params": list(changes.terms[role].parameters()), "lr": rate} for role, rate in rates.items()]

    def training(self) -> Training:
        with self.wearing(None):
            _ = self._drafted  # of the model as it is
        return super().training()

    def loss(self, model: nn.Module, batch: Batch, noise: torch.Generator) -> dict[str, Tensor]:
        """Beside the usual one, of a model that drafts, that of the drafts in all styles."""
        found = super().loss(model, batch, noise)
        if not self._told:
            return found
        net, (pooled, targets) = self.frozen.nets["denoiser"], self._drafted
        assert isinstance(net, DraftedUNet)
        said = self._summaries() if self.texts_learn else pooled
        found["draft"] = (drafted(net, said) - targets).square().mean()
        return {**found, "loss": found["loss"] + self.elsewhere * found["draft"]}

    @cached_property
    def _told(self) -> list[Told]:
        """What is drafted: the pictures in the styles that they show and in others."""
        if not (self.elsewhere and isinstance(self.frozen.nets["denoiser"], DraftedUNet)):
            return []
        styles = Vocabulary.of(self.frozen.model).styles
        others = elsewhere(self.own.captions, styles, distances(self.frozen))
        return [*(Told(text, i) for i, text in enumerate(self.own.captions)), *others] if others else []

    def _summaries(self) -> Tensor:
        return summaries(self.frozen, [text for text, _ in self._told])

    @cached_property
    def _drafted(self) -> tuple[Tensor, Tensor]:
        """Of `_told` the summaries (N, P), and what shall be drafted (N, C, S, S)."""
        if not self._told:
            return torch.empty(0), torch.empty(0)
        net = cast(DraftedUNet, self.frozen.nets["denoiser"])
        with torch.no_grad():
            pooled = self._summaries()
        x0 = torch.stack([self.batches.latents[i, False] for _, i in self._told])
        side = net.config.draft_size
        return pooled, F.interpolate(x0, (side, side), mode="area").to(pooled.device)

    def put_on(self, learned: nn.Module) -> Detach:
        return cast(Changes, learned).attach(self.frozen.nets)

    def write(self, learned: nn.Module, folder: Path, said: Mapping[str, str]) -> Path:
        deltas, path = cast(Changes, learned).deltas, folder / f"{self.name}.safetensors"
        of_ours = {"ss_network_module": "networks.lora", "ss_network_dim": self.rank}
        of_ours |= {"ss_network_alpha": self.alpha or self.rank}
        store.write(path, written.kohya(deltas), {**{name: str(value) for name, value in of_ours.items()}, **said})
        for role, changes in deltas.items() if self.peft else ():
            tensors, config = written.peft(changes, self.model)
            with atomic.folder(folder / f"{self.name}-peft" / FOLDERS[role], parents=True) as into:
                store.write(into / "adapter_model.safetensors", tensors, {"format": "pt"})
                (into / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        return path
