"""What a merged file says of where it comes from: by ModelSpec's keys, and by those of A1111's merger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..inputs.parse import json_of
from ..store.foreign.single import CONFIGS_KEY
from ..weights.family import CONFIG_KEY, FAMILY_KEY
from .given import Given
from .job import Job, Plan
from .methods import Method

#: What is said of networks, and so of those of a merged file too.
NETWORKS = (
    *(CONFIGS_KEY, FAMILY_KEY, CONFIG_KEY, "modelspec.architecture", "modelspec.implementation"),
    *("modelspec.prediction_type", "modelspec.resolution", "modelspec.encoder_layer"),
)
#: A1111's words for the files in their order; others have numbers.
ORDER = ("primary", "secondary", "tertiary")
LICENCE, MODELS, RECIPE = "modelspec.license", "sd_merge_models", "sd_merge_recipe"


def said(method: Method, weights: list[str], job: Job, plan: Plan, target: Path) -> tuple[dict[str, str], list[str]]:
    """The metadata of a merged file, and what is to be said of them."""
    kept = {key: plan.lead.metadata[key] for key in NETWORKS if key in plan.lead.metadata} if plan.lead else {}
    hashes = {f"{ORDER[i] if i < 3 else i + 1}_model_hash": one.sha256 for i, one in enumerate(job.given)}
    recipe = {
        "type": "danqing",
        "method": method.name,
        **method.model_dump(),
        "weights": weights,
        **hashes,
    }
    models: dict[str, Any] = {}
    for one in job.given:
        models |= _json(one, MODELS)
        models[one.sha256] = {"name": one.name, "legacy_hash": None, RECIPE: _json(one, RECIPE) or None}
    licences = list(dict.fromkeys(one.metadata.get(LICENCE, "") for one in job.given))
    silent = [one.name for one in job.given if not one.metadata.get(LICENCE)]
    notes = (
        [f"no licence is stated in {', '.join(silent)}: ask for it before the result is passed on"] if silent else []
    )
    made = {
        "format": "pt",
        **kept,
        **plan.metadata,
        "modelspec.title": target.stem,
        "modelspec.merged_from": ", ".join(one.name for one in job.given),
        LICENCE: " AND ".join(filter(None, licences)),
        RECIPE: json.dumps(recipe),
        MODELS: json.dumps(models),
    }
    return {key: text for key, text in made.items() if text}, notes


def _json(one: Given, key: str) -> dict[str, Any]:
    """What a file says of its own parents; nothing where that cannot be read."""
    try:
        found = json_of(one.metadata.get(key, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
