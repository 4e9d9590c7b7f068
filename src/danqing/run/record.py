"""The record of what computes, which a picture carries."""

from __future__ import annotations

import platform
from typing import Any

import torch

from .device import find_device
from .engine.engines import ENGINES, find_engine
from .precision import find_precision, precision_name
from .processor import cpu


def describe(
    on: str | torch.device | None = None, dtype: torch.dtype | None = None, engine: str | None = None
) -> dict[str, Any]:
    """A small JSON-able record of what computes, for a picture's provenance.

    Two machines with the same record are expected to paint the same bytes. Where a replay differs, comparing records
    tells another kind of machine from a changed result.

    Args:
        on, dtype, engine: as chosen; None for what `find_device`, `find_precision` and `find_engine` choose.
    """
    where = find_device(on)
    record: dict[str, Any] = {
        "device": where.type,
        "cpu": cpu().model,
        "instructions": cpu().kind,
        "precision": precision_name(dtype or find_precision(where)),
        "engine": engine or find_engine(where),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}".strip(),
    }
    record |= ENGINES[record["engine"]].record()
    if where.type == "cuda":
        record["gpu"] = torch.cuda.get_device_name(where)
    return record
