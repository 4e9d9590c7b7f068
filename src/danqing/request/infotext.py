"""The A1111 `parameters` text: written so that its readers understand it, and read as they read it.

::

    a red fox
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ 2M, CFG scale: 4, Seed: 42, Size: 128x128, Model: danqing-mini, Version: danqing 0.1.0

The format cannot tell a prompt's own line "Negative prompt: x" from the marker. Where reading back would give other
texts, the exact ones follow as the settings ``Danqing prompt`` and ``Danqing negative``, JSON-quoted, which our reader
prefers. Source: the text format of stable-diffusion-webui (its parameters parser), re-implemented from its documented
behaviour.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..solve.solvers import SOLVERS
from .names import ENLARGERS, SPACINGS
from .spellings import sampler_of, spacing_of

if TYPE_CHECKING:
    from .request import Request

#: A key begins the line or follows a comma, and has a bounded length: so it is not looked for at every letter.
SETTING = re.compile(r'(?:^|(?<=,))\s{0,9}(\w[\w \-/]{1,60}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
NEGATIVE = "Negative prompt:"
#: Texts that are fields as they stand; the templates are those of the extension Dynamic Prompts.
OWN = {"Style": "style", "Template": "template", "Negative Template": "negative_template"}


@dataclass(frozen=True, kw_only=True)
class Infotext:
    """A parsed text: the two prompts and the settings in their order, ``Size`` left whole."""

    prompt: str = ""
    negative: str = ""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


def read(text: str) -> Infotext:
    """Parse an A1111 text. Never fails: what is no setting is prompt."""
    *lines, last = text.strip().split("\n")
    found = SETTING.findall(last)
    if len(found) < 3:
        lines, found = [*lines, last], []
    settings = {key: _unquote(value) for key, value in found}
    parts: tuple[list[str], list[str]] = ([], [])
    side = 0
    for line in lines:
        line = line.strip()
        if line.startswith(NEGATIVE):
            side, line = 1, line[len(NEGATIVE) :].strip()
        parts[side].append(line)
    prompt, negative = ("\n".join(p) for p in parts)
    return Infotext(
        prompt=settings.pop("Danqing prompt", prompt),
        negative=settings.pop("Danqing negative", negative),
        settings=settings,
    )


def write(request: Request, record: Mapping[str, Any] | None = None) -> str:
    """The text of a resolved request; `read` gives both prompts back exactly.

    Args:
        record: of the picture: version and hash of the model, where known.
    """
    record, stated = record or {}, request.stated()
    settings: dict[str, Any] = {
        "Steps": stated.get("steps"),
        "Sampler": _titles().get(stated.get("solver", "")),
        "Schedule type": SPACINGS.get(stated.get("spacing", "")),
        "CFG scale": _number(stated.get("scale")),
        "Seed": stated.get("seed"),
        "Style": request.style if request.style != "none" else None,
        "Size": f"{request.width}x{request.height}" if "width" in stated else None,
        "Model hash": str(record.get("sha256", ""))[:10] or None,
        "Model": _stem(request.model),
        "Denoising strength": _number(stated.get("strength")) if request.recipe != "text2image" else None,
        **_hires(request),
        "Clip skip": request.text.clip_skip if request.text.clip_skip > 1 else None,
        "Mask blur": request.edit.blur or None,
        "Refiner": _stem(request.refiner.model) or None,
        "Refiner switch at": _number(request.refiner.at) if request.refiner.model else None,
        "Index": request.index or None,
        "RNG": "CPU",
        **{key: ", ".join(f"{n}: {h}" for n, h in named.items()) for key, named in record.get("hashes", {}).items()},
        "Variation seed": request.variation.seed if request.variation.strength else None,
        "Variation seed strength": _number(request.variation.strength or None),
        "Template": request.typed.template or None,
        "Negative Template": request.typed.negative_template or None,
        "Version": f"danqing {record.get('danqing', '')}".strip(),
    }
    return compose(request.prompt, request.negative, settings)


def _stem(model: str) -> str:
    """The name of a model that is given by its path, as other programs show it."""
    name = re.split(r"[/\\]", model.rstrip("/\\"))[-1]
    return re.sub(r"\.(safetensors|ckpt|pt|pth|bin|gguf)$", "", name)


def _titles() -> dict[str, str]:
    """What A1111 calls the solvers."""
    return {name: row.title for name, row in SOLVERS.usable().items()}


def _hires(request: Request) -> dict[str, Any]:
    """The second pass, where there is one. The strength is the second pass's unless the first one has its own, which
    A1111 knows not."""
    hires = request.hires
    if hires.factor == 1:
        return {}
    strength = "Denoising strength" if request.recipe == "text2image" else "Hires denoising strength"
    return {
        strength: _number(hires.strength),
        "Hires upscale": _number(hires.factor),
        "Hires steps": hires.steps or None,
        "Hires upscaler": ENLARGERS.get(hires.by, hires.by),
    }


def compose(prompt: str, negative: str, settings: Mapping[str, Any]) -> str:
    """Prompts and settings as one text; None is left out."""
    plain = _join(prompt, negative, settings)
    back = read(plain)
    exact = {"Danqing prompt": prompt, "Danqing negative": negative}
    if (back.prompt, back.negative) == (prompt, negative) and not CONTROL.search(prompt + negative):
        return plain
    # An empty quoted value is no value to the readers of this format, so only a text that has letters is repeated;
    # an empty one reads back as empty when the exact other one takes the whole line.
    texts = {key: json.dumps(value, ensure_ascii=True) for key, value in exact.items()}
    shown = _join(_one_line(prompt), _one_line(negative), settings)
    return shown + "".join(f", {key}: {value}" for key, value in texts.items() if value != '""')


def _one_line(text: str) -> str:
    """A prompt as every reader takes it for a prompt: one line, without the negative's marker at its start."""
    flat = " ".join(CONTROL.sub(" ", text).split())
    return flat.replace(NEGATIVE, "Negative prompt -")


def _join(prompt: str, negative: str, settings: Mapping[str, Any]) -> str:
    lines = [prompt] + ([f"{NEGATIVE} {negative}"] if negative else [])
    lines.append(", ".join(f"{key}: {_quote(value)}" for key, value in settings.items() if value is not None))
    return "\n".join(lines).strip()


def _quote(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ',\n:"') else text


def _unquote(value: str) -> str:
    if not (value.startswith('"') and value.endswith('"') and len(value) > 1):
        return value.strip()
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"


def request_of(found: Infotext) -> tuple[dict[str, Any], list[str]]:
    """The options of `Request` that a text states, and the settings that have no place here.

    Old texts join the spacing to the sampler ("DPM++ 2M Karras"); the two are parted.
    """
    options: dict[str, Any] = {"prompt": found.prompt, "negative": found.negative, "template": ""}
    plain = {
        "Steps": ("steps", int),
        "CFG scale": ("scale", float),
        "Seed": ("seed", int),
        "Clip skip": ("clip_skip", int),
        "Variation seed": ("variation_seed", int),
        "Variation seed strength": ("variation_strength", float),
    }
    plain |= {"Denoising strength": ("strength", float), "Mask blur": ("mask_blur", int), "Index": ("index", int)}
    plain |= {
        "Refiner switch at": ("refiner_at", float),
        "Hires upscale": ("hires", float),
        "Hires steps": ("hires_steps", int),
    }
    plain |= {"Hires denoising strength": ("hires_strength", float)}
    if "Hires upscale" in found.settings and "Hires denoising strength" not in found.settings:
        plain["Denoising strength"] = ("hires_strength", float)
    ignored = list[str]()
    for key, value in found.settings.items():
        if key in plain and re.fullmatch(r"-?\d{1,20}(\.\d{1,20})?", value):
            name, kind = plain[key]
            options[name] = kind(float(value)) if kind is int and "." in value else kind(value)
        elif key == "Size" and (size := re.fullmatch(r"(\d{1,6})x(\d{1,6})", value)):
            options |= {"width": int(size[1]), "height": int(size[2])}
        elif key == "Sampler" and (sampler := sampler_of(value))[0]:
            options |= {name: said for name, said in zip(("solver", "spacing"), sampler, strict=True) if said}
        elif key in OWN:
            options[OWN[key]] = value
        elif key == "Hires upscaler":  # of the latent there is one way here
            options["hires_by"] = "latent" if value.startswith("Latent") else _named(ENLARGERS, value) or value
        elif key == "Refiner":
            options["refiner"] = re.sub(r" \[[0-9a-f]{8,64}\]$", "", value)  # its title ends with a hash
        elif key == "Schedule type" and (spacing := spacing_of(value)) != "":
            options["spacing"] = spacing
        elif key not in ("Model", "Model hash", "Version", "RNG"):
            ignored.append(f"{key}: {value}")
    return options, ignored


def _named(table: Mapping[str, str], label: str) -> str | None:
    return next((name for name, text in table.items() if text.lower() == label.strip().lower()), None)
