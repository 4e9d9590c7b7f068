"""What somebody states of a model by hand, which goes before all that its files say."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...errors import InvalidInput, UnknownName
from ...request.names import PREDICTIONS
from ...weights import registry, store
from ..model import Component, Model
from .habits import BETAS, SIGMAS, XL_CODEC

#: By the names that people know; "zero-snr" keeps the curve, and ends it in pure noise.
SCHEDULES = {
    "scaled-linear": BETAS,
    "linear": {"kind": "linear"},
    "cosine": {"kind": "cosine"},
    "flow": {"kind": "flow"},
    "edm": SIGMAS,
    "zero-snr": {"zero_snr": True},
}


class ByHand(NamedTuple):
    """What is stated of a model; nothing, unless something is.

    Args:
        prediction: one of `PREDICTIONS`.
        vae: the file of an autoencoder, instead of the model's or where it has none.
        schedule: one of `SCHEDULES`.
    """

    prediction: str = ""
    vae: str = ""
    schedule: str = ""

    def of(self, model: Model) -> Model:
        """The model as it is with what is stated.

        Raises:
            UnknownName: no such prediction or schedule. InvalidInput: the model has no use for one. InvalidFile: the
                file holds no autoencoder.
        """
        if any(self) and "denoiser" not in model.components:
            raise InvalidInput(f"{model.name} paints without denoising: it has no prediction, schedule or autoencoder")
        return self._codec(self._schedule(self._prediction(model)))

    def _prediction(self, model: Model) -> Model:
        if not self.prediction:
            return model
        if self.prediction not in PREDICTIONS:
            raise UnknownName("prediction", self.prediction, PREDICTIONS)
        edm, was = (name.startswith("edm") for name in (self.prediction, model.prediction))
        schedule = model.schedule if edm == was else SIGMAS if edm else BETAS
        return replace(model, prediction=self.prediction, schedule=schedule)

    def _schedule(self, model: Model) -> Model:
        if not self.schedule:
            return model
        if self.schedule not in SCHEDULES:
            raise UnknownName("noise schedule", self.schedule, SCHEDULES)
        if self.schedule != "zero-snr":
            return replace(model, schedule=SCHEDULES[self.schedule])
        if model.schedule.get("kind") not in ("scaled-linear", "linear", "cosine"):
            given = f"{model.name} has the schedule {dict(model.schedule)}"
            raise InvalidInput(f"{given}, which is no table of betas that could end in pure noise")
        return replace(model, schedule={**model.schedule, **SCHEDULES["zero-snr"]})

    def _codec(self, model: Model) -> Model:
        if not self.vae:
            return model
        path = Path(os.path.abspath(os.path.expanduser(self.vae)))
        family = registry.find(store.header(path), "autoencoder-kl")
        config = XL_CODEC if model.text.get("kind", "").startswith("sdxl") else {}
        codec = Component(family=family.name, file=path.name, part=family.part, config=config)
        return replace(model, components={**model.components, "codec": codec}, given={**model.given, "codec": path})


NOTHING = ByHand()
