"""What lies beside a single file and belongs to it by its name, as A1111 reads it: NAME.yaml says how it was trained,
NAME.vae.safetensors is its autoencoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .fields import YAML

#: Longer files are no configs.
MAX_BYTES = 2**14
#: More fields than any config has.
MAX_FIELDS = 2**12
PARAMETERISATIONS = {"eps": "eps", "v": "v", "x0": "x0"}
SCALINGS = {"EpsScaling": "eps", "VScaling": "v", "EDMScaling": "edm", "VScalingWithEDMcNoise": "edm-v"}
VAES = (".vae.safetensors", ".vae.pt", ".vae.ckpt")
_PARAMS, _UNET = "model.params.", "model.params.unet_config.params."
TARGET = "model.params.denoiser_config.params.scaling_config.target"


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a config beside the weights says of them.

    Args:
        source: its name, for people.
        prediction: what the denoiser's output means; "" where it does not say.
        schedule: fields of the schedule.
        codec: fields of the autoencoder's config.
        heads: (heads a level, width of a head), one of which is 0; (0, 0) where it does not say.
        warnings: what of it is not read.
    """

    source: str = ""
    prediction: str = ""
    schedule: Mapping[str, Any] = field(default_factory=dict)
    codec: Mapping[str, Any] = field(default_factory=dict)
    heads: tuple[int, int] = (0, 0)
    warnings: tuple[str, ...] = ()


NOTHING = Stated()


def config_of(path: Path) -> Stated:
    """What the .yaml beside a single file says, where there is one; what cannot be read is a warning."""
    beside = next((p for end in (".yaml", ".yml") if (p := path.with_suffix(end)).is_file()), None)
    if beside is None:
        return NOTHING
    from .plain import values  # which takes a while to import, and few models need

    try:
        with beside.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ValueError(f"it is longer than {MAX_BYTES:,} bytes")
        flat = flattened(values(text.decode("utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:120]
        return Stated(warnings=(f"{beside} cannot be read ({why}), and what it says of the weights is not known.",))
    return _said(beside.name, flat) if any(name.startswith("model.") for name in flat) else NOTHING


def flattened(said: Any) -> dict[str, Any]:
    """The leaves of nested objects, by their names joined by dots.

    Raises:
        ValueError: there are more than any config has.
    """
    flat: dict[str, Any] = {}
    pending = [("", said)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, dict):
            pending += [(f"{name}.{key}" if name else str(key), child) for key, child in value.items()]
        else:
            flat[name] = value
        if len(flat) + len(pending) > MAX_FIELDS:
            raise ValueError(f"it holds more than {MAX_FIELDS:,} fields")
    return flat


def _count(value: Any) -> int:
    """A whole number above 0; 0 for anything else."""
    return value if type(value) is int and value > 0 else 0


def _real(value: Any) -> float:
    """A number above 0; 0 for anything else."""
    return float(value) if type(value) in (int, float) and 0 < value < math.inf else 0.0


#: Where a schedule's fields stand, what they are called here, and what reads them.
SCHEDULE = {"linear_start": ("start", _real), "linear_end": ("end", _real), "timesteps": ("count", _count)}


def _said(source: str, flat: Mapping[str, Any]) -> Stated:
    """The fields that are used, each only if it is of its kind: any other is told with those that are not read."""
    scaling = str(flat.get(TARGET, "")).rpartition(".")[2]
    prediction = PARAMETERISATIONS.get(str(flat.get(_PARAMS + "parameterization", "")), SCALINGS.get(scaling, ""))
    found = {name: kind(flat.get(_PARAMS + given)) for given, (name, kind) in SCHEDULE.items()}
    scale = _real(flat.get(_PARAMS + "scale_factor"))
    odd = {_PARAMS + given for given, (name, _) in SCHEDULE.items() if not found[name]}
    odd |= {_PARAMS + "scale_factor"} if not scale else set()
    odd |= {_PARAMS + "parameterization", TARGET} if not prediction else set()
    return Stated(
        source=source,
        prediction=prediction,
        schedule={name: value for name, value in found.items() if value},
        codec={"scaling_factor": scale} if scale else {},
        heads=(_count(flat.get(_UNET + "num_heads")), _count(flat.get(_UNET + "num_head_channels"))),
        warnings=YAML._replace(used=YAML.used - odd).unread(source, flat),
    )


def autoencoder_of(path: Path) -> Path | None:
    """The autoencoder beside a single file, NAME.vae.safetensors for NAME.safetensors."""
    return next((p for end in VAES if (p := path.with_suffix(end)).is_file()), None)
