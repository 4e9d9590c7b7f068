"""IP-Adapters, as they are published: ``image_proj.…``, the projection, and ``ip_adapter.N.…``, of every attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...facts import Facts, Shapes, count
from ...family import Family, fixed, has, network

#: By kind, the tensor of the projection that only this kind has, of those that are asked in this order.
MARKS: Mapping[str, str] = {
    "summary": "image_proj.skip.weight",
    "portrait": "image_proj.told.weight",
    "base": "image_proj.proj.weight",
    "full-face": "image_proj.proj.3.weight",
    "plus": "image_proj.latents",
    "face-id-plus": "image_proj.perceiver_resampler.proj_in.weight",
    "face-id": "image_proj.norm.weight",
}
#: How many numbers recognisers say of a face, ArcFace and the one that ships, and no image tower of a token: a
#: resampler of so many is InstantID's.
FACES = (512, 128)


def ip_adapter_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.ip_adapter.IPAdapterConfig`, all of it."""
    kind = next(kind for kind, mark in MARKS.items() if mark in shapes)
    down = shapes.get("ip_adapter.0.to_q_lora.down.weight", (0,))
    told = {"kind": kind, **attentions(shapes), "rank": down[0]}
    return Facts(inferred={**told, **READ[kind](shapes, told["width"])})


def attentions(shapes: Shapes) -> dict[str, Any]:
    """The width of the words, and that of every attention to them."""
    keys = "ip_adapter.{}.to_k_ip.weight"
    layers = sum(key.endswith(".to_k_ip.weight") for key in shapes)
    widths = tuple(shapes[keys.format(i)][0] for i in range(1, 2 * layers, 2))
    return {"width": shapes[keys.format(1)][1], "layers": widths}


def _base(shapes: Shapes, width: int) -> dict[str, Any]:
    out, seen = shapes["image_proj.proj.weight"]
    return {"tokens": out // width, "seen": seen}


def _summary(shapes: Shapes, width: int) -> dict[str, Any]:
    summary, inner = shapes["image_proj.down.weight"]
    drawn = shapes.get("image_proj.drawn.bias", (0,))[0]
    return {**_base(shapes, width), "summary": summary, "inner": inner, "drawn": drawn}


def _portrait(shapes: Shapes, width: int) -> dict[str, Any]:
    (out, face), (summary, inner) = (shapes[f"image_proj.{name}.weight"] for name in ("proj", "down"))
    person = "image_proj.person."
    return {
        "tokens": out // width,
        "seen": shapes[f"{person}norm_grid.weight"][0],
        "texture": shapes[f"{person}norm_texture.weight"][0],
        "hidden": shapes[f"{person}fc1.weight"][0],
        "face": face,
        "summary": summary,
        "inner": inner,
        **_redrawn(shapes),
    }


def _redrawn(shapes: Shapes) -> dict[str, Any]:
    """Of the network that draws a portrait anew, where a file holds it."""
    start = "image_proj.redrawn.net."
    widths = "down_blocks.{}.resnets.0.conv1.weight"
    levels = range(count(shapes, start + widths))
    return {
        "drawn": shapes.get(f"{start}conv_out.bias", (0,))[0],
        "redrawn": tuple(shapes[start + widths.format(i)][0] for i in levels),
    }


def _full(shapes: Shapes, width: int) -> dict[str, Any]:
    inner, seen = shapes["image_proj.proj.0.weight"]
    return {"tokens": 0, "seen": seen, "inner": inner}


def _resampler(shapes: Shapes, start: str) -> dict[str, Any]:
    layers = count(shapes, start + "layers.{}.0.to_q.weight")
    return {
        "seen": shapes[start + "proj_in.weight"][1],
        "depth": layers,
        "attended": shapes[start + "layers.0.0.to_q.weight"][0],
        "fed": shapes[start + "layers.0.1.1.weight"][0],
    }


def _plus(shapes: Shapes, width: int) -> dict[str, Any]:
    _, tokens, hidden = shapes["image_proj.latents"]
    told = _resampler(shapes, "image_proj.")
    return {"tokens": tokens, "hidden": hidden, **told, "face": told["seen"] if told["seen"] in FACES else 0}


def _face(shapes: Shapes, width: int) -> dict[str, Any]:
    inner, face = shapes["image_proj.proj.0.weight"]
    return {"tokens": shapes["image_proj.proj.2.weight"][0] // width, "seen": 0, "face": face, "inner": inner}


def _face_plus(shapes: Shapes, width: int) -> dict[str, Any]:
    return {**_face(shapes, width), **_resampler(shapes, "image_proj.perceiver_resampler.")}


READ: Mapping[str, Callable[[Shapes, int], dict[str, Any]]] = {
    "base": _base,
    "summary": _summary,
    "portrait": _portrait,
    "full-face": _full,
    "plus": _plus,
    "face-id": _face,
    "face-id-plus": _face_plus,
}

IP_ADAPTER = Family(
    "ip-adapter",
    "published",
    lambda keys: (
        has("ip_adapter.1.to_k_ip.weight", "ip_adapter.1.to_v_ip.weight")(keys)
        and any(mark in keys for mark in MARKS.values())
    ),
    ip_adapter_facts,
    network("ip_adapter.IPAdapter"),
    fixed(),
)
