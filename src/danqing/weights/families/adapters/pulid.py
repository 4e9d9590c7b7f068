"""PuLID's files, versions 1 and 1.1 for Stable Diffusion XL: ``id_adapter.…``, the projection, and
``id_adapter_attn_layers.N.…``, of every attention to the words; an IP-Adapter by other names.

Source: the names in ToTheBeginning/PuLID, pulid/encoders.py, encoders_transformer.py and attention_processor.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...facts import Facts, Shapes, count
from ...family import Family, fixed, has
from .ip_adapter import IP_ADAPTER, attentions

RULES = (
    ("id_adapter_attn_layers.{i}.id_to_k.weight", "ip_adapter.{i}.to_k_ip.weight"),
    ("id_adapter_attn_layers.{i}.id_to_v.weight", "ip_adapter.{i}.to_v_ip.weight"),
    ("id_adapter.{key*}", "image_proj.{key*}"),
)
LAYER = "id_adapter_attn_layers.1.id_to_k.weight"


def first(shapes: Shapes) -> Mapping[str, Any]:
    """Of version 1: so many tokens as the tower has states join the face's own."""
    inner, face = shapes["image_proj.body.0.weight"]
    hidden, seen = shapes["image_proj.mapping_0.0.weight"]
    states = count(shapes, "image_proj.mapping_{}.0.weight")
    width = shapes["image_proj.mapping_0.6.weight"][0]
    tokens = shapes["image_proj.body.6.weight"][0] // width + states
    fed = shapes["image_proj.body.3.weight"][0]
    return {"face": face, "seen": seen, "inner": inner, "fed": fed, "hidden": hidden, "tokens": tokens}


def second(shapes: Shapes) -> Mapping[str, Any]:
    """Of version 1.1."""
    _, tokens, hidden = shapes["image_proj.latents"]
    inner, face = shapes["image_proj.id_embedding_mapping.0.weight"]
    return {
        "face": face,
        "seen": shapes["image_proj.mapping_0.0.weight"][1],
        "inner": inner,
        "tokens": tokens,
        "hidden": hidden,
        "depth": count(shapes, "image_proj.layers.{}.0.to_q.weight"),
        "attended": shapes["image_proj.layers.0.0.to_q.weight"][0],
        "fed": shapes["image_proj.layers.0.1.1.weight"][0],
    }


def _version(number: str, mark: str, kind: str, told: Callable[[Shapes], Mapping[str, Any]]) -> Family:
    def infer(shapes: Shapes) -> Facts:
        return Facts(inferred={"kind": kind, **attentions(shapes), **told(shapes)})

    return IP_ADAPTER._replace(layout=f"PuLID {number}", detect=has(mark, LAYER), infer=infer, keymap=fixed(RULES))


PULID = _version("1", "id_adapter.body.0.weight", "pulid", first)
PULID_RESAMPLER = _version("1.1", "id_adapter.id_embedding_mapping.0.weight", "pulid-resampler", second)
