"""A LoRA file, in whichever of the published layouts, to a `LoRA` of our networks.

=====================================
===================================================================================== kohya, LyCORIS, OneTrainer
``lora_unet_<name, underscores>.lora_down.weight``, ``lora_te_``, ``lora_te1_``, … diffusers
``unet.<name>.lora_A.weight``, ``text_encoder.…``, ``transformer.…`` diffusers before 0.20
``unet.<name>.processor.to_q_lora.down.weight``, ``….lora_linear_layer.down.weight`` peft
``base_model.model.<name>.lora_A[.default].weight`` ComfyUI
``diffusion_model.<name>.lora_A.weight``, ``text_encoders.clip_l.transformer.<name>.…``
=====================================
=====================================================================================

The name is diffusers' or that of the model's single file (`danqing.adapt.names`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from ..errors import InvalidFile, InvalidInput, UnknownName, nearest
from .base import layers
from .deltas import Decomposed, Delta, Difference, Hadamard, Kind, Kronecker, LowRank, Product, Replacement, fitting
from .lora import LoRA
from .names import Map, Piece, Table, table

ROLES = ("denoiser", "text", "text_2", "text_3")
#: How the names for one network begin; None stands for any. The first that fits counts.
PREFIXES: tuple[tuple[str, str | None], ...] = (
    ("lora_unet_", "denoiser"),
    ("lora_transformer_", "denoiser"),
    ("lora_te_", "text"),
    ("lora_te1_", "text"),
    ("lora_te2_", "text_2"),
    ("lora_te3_", "text_3"),
    ("lycoris_", None),
    ("unet.", "denoiser"),
    ("transformer.", "denoiser"),
    ("model.diffusion_model.", "denoiser"),
    ("diffusion_model.", "denoiser"),
    ("text_encoder.", "text"),
    ("text_encoder_2.", "text_2"),
    ("text_encoder_3.", "text_3"),
    ("text_encoders.clip_l.transformer.", "text"),
    ("text_encoders.clip_g.transformer.", "text_2"),
    ("text_encoders.t5xxl.transformer.", "text_3"),
    ("", None),
)
PEFT = "base_model.model."
#: How a tensor's name ends, and which part of its layer's change it is; a group named "part" is the part itself.
PARTS = tuple(
    (re.compile(r"(?P<layer>.+?)" + ending), part)
    for ending, part in (
        (r"\.lora_B(?:\.[^.]+)?\.bias", "up_bias"),  # before what would take "bias" for an adapter's name
        (r"(?:[._]lora|\.lora_linear_layer)\.down\.weight", "down"),
        (r"(?:[._]lora|\.lora_linear_layer)\.up\.weight", "up"),
        (r"\.lora_(?:down|A)(?:\.[^.]+)??(?:\.weight)?", "down"),
        (r"\.lora_(?:up|B)(?:\.[^.]+)??(?:\.weight)?", "up"),
        (r"\.lora_mid\.weight", "mid"),
        (r"(?:[._]lora|\.lora_linear_layer)?\.alpha", "alpha"),
        (r"\.dora_scale", "dora_scale"),
        (r"\.lora_magnitude_vector(?:\.[^.]+)??(?:\.weight)?", "magnitude"),
        (r"\.(?P<part>hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2)(?:\.[^.]+)?", ""),
        (r"\.(?P<part>diff|diff_b|w_norm|b_norm|set_weight)", ""),
    )
)
UNSUPPORTED = re.compile(r"\.(oft_blocks|oft_diag|oft_R|boft_\w+|[ab][12]\.weight|on_input)")
#: How many names a refusal lists.
LISTED = 5
#: Under which name diffusers writes peft's config into a file.
CONFIG_KEY = "lora_adapter_metadata"

Parts = dict[str, Tensor]
Scale = Callable[[int | None], float]


def read(
    tensors: Mapping[str, Tensor],
    targets: Mapping[str, nn.Module],
    *,
    name: str = "LoRA",
    metadata: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    maps: Sequence[Map] = (),
    strict: bool = False,
) -> LoRA:
    """The changes that a file's tensors mean for the networks of a model; nothing is attached yet.

    Args:
        tensors: by name, as `danqing.weights.store.read` gives them.
        targets: the networks by role, of "denoiser", "text", "text_2", "text_3".
        name: of the file, for messages.
        metadata: the file's own strings.
        config: of a peft folder, its ``adapter_config.json``: layouts without ``alpha`` keep it there.
        maps: of the layouts of single files, by which a denoiser answers to the names in its own too:
            `danqing.weights.layouts.ldm.unet`, `danqing.weights.layouts.sd3.mmdit`.
        strict: refuse tensors that change nothing here, instead of listing them as ``unused``.

    Raises:
        UnknownName: a target's role is none.
        InvalidFile: the file is of a kind that is not read (OFT, BOFT, GLoRA, IA³), made for another model (a shape
            differs, or no name fits), incomplete, or, if strict, has tensors that nothing here uses.
    """
    for role in targets:
        if role not in ROLES:
            raise UnknownName("network", role, ROLES)
    for key in tensors:
        if found := UNSUPPORTED.search(key):
            raise InvalidFile(
                f"{name} holds {found[1]!r}, a kind of adapter that is not read here ({key}). Read are LoRA, "
                "LoCon, LoHa, LoKr, "
                "DoRA and plain differences: look for the file in one of these, or extract a LoRA from the merged model"
            )
    tables = {role: table(net, maps) for role, net in targets.items()}
    shapes = {
        role: {key: tuple(cast(Any, layer).weight.shape) for key, layer in layers(net).items()}
        for role, net in targets.items()
    }
    stated = {**(config or {}), **said(metadata or {}, name)}

    groups: dict[str, Parts] = {}
    keys: dict[str, list[str]] = {}
    unused: list[str] = []
    for key, tensor in tensors.items():
        split = part_of(key)
        if split is None:
            unused.append(key)
        else:
            groups.setdefault(split[0], {})[split[1]] = tensor
            keys.setdefault(split[0], []).append(key)

    deltas: dict[str, dict[str, Delta]] = {role: {} for role in targets}
    for group, parts in groups.items():
        found = find(group, tables)
        if found is None:
            unused += keys[group]
            continue
        role, pieces = found
        try:
            for piece in pieces:
                with fitting():
                    delta = delta_of(parts, scale_of(parts, stated, group))
                    own = delta.rows(piece.take) if piece.take else delta
                own.check(shapes[role][piece.layer])
                if piece.layer in deltas[role]:
                    raise InvalidInput(f"the layer {piece.layer} is changed under two names")
                deltas[role][piece.layer] = own
        except InvalidInput as error:
            raise InvalidFile(
                f"{name} does not fit the {role} network: {group} has {error}.{made_for(metadata)}"
            ) from None

    if not any(deltas.values()) or (strict and unused):
        raise InvalidFile(unfit(name, unused, tables, len(tensors)) + made_for(metadata))
    return LoRA(name=name, deltas=deltas, unused=tuple(unused), metadata=dict(metadata or {}))


def part_of(key: str) -> tuple[str, str] | None:
    """A tensor's name as (its layer's, the part's), or None for no part of any layer."""
    for pattern, part in PARTS:
        if found := pattern.fullmatch(key):
            return found["layer"], part or found["part"]
    return None


def find(group: str, tables: Mapping[str, Table]) -> tuple[str, tuple[Piece, ...]] | None:
    """The network, by its role, and the layer or layers that a file means, or None."""
    for prefix, role in PREFIXES:
        if not group.startswith(prefix):
            continue
        name = group.removeprefix(prefix).removeprefix(PEFT).replace(".processor.", ".")
        for candidate in (role,) if role else ROLES:
            if pieces := tables.get(candidate, {}).get(name):
                return candidate, pieces
    return None


# ---- one layer -----------------------------------------------------------------------------------------------------


def delta_of(parts: Parts, scale: Scale) -> Delta:
    """The change that the parts of a layer make together.

    Args:
        parts: by the names of `PARTS`.
        scale: the factor of a product of a rank, and of one without any.

    Raises:
        InvalidInput: parts are missing or no weights, or there are those of two kinds.
    """

    def need(*names: str) -> list[Tensor]:
        if absent := [part for part in names if part not in parts]:
            raise InvalidInput(f"no {' and no '.join(absent)}, only {', '.join(sorted(parts))}")
        return [parts[part] for part in names]

    def product(stem: str, core: str) -> Product:
        a, b = need(f"{stem}_a", f"{stem}_b")
        return Product(a, b, parts.get(core))

    for part, tensor in parts.items():
        if part != "alpha" and not (tensor.ndim and tensor.is_floating_point()):
            raise InvalidInput(
                f"{part} of the shape {list(tensor.shape)} and the type {tensor.dtype}, which are no weights"
            )
    kinds: list[Kind] = []
    bias = parts.get("diff_b", parts.get("b_norm"))
    if "up" in parts or "down" in parts:
        up, down = need("up", "down")
        kinds.append(LowRank(up, down, parts.get("mid"), scale(len(down))))
        if "up_bias" in parts:
            bias = parts["up_bias"] * scale(len(down)) + (0 if bias is None else bias)
    if any(part.startswith("hada_") for part in parts):
        first, second = product("hada_w1", "hada_t1"), product("hada_w2", "hada_t2")
        kinds.append(Hadamard(first, second, scale(len(first.b))))
    if any(part.startswith("lokr_") for part in parts):
        pair = [parts[w] if w in parts else product(w, core) for w, core in (("lokr_w1", ""), ("lokr_w2", "lokr_t2"))]
        ranks = [len(factor.b) for factor in pair if isinstance(factor, Product)]
        kinds.append(Kronecker(pair[0], pair[1], scale(ranks[-1] if ranks else None)))
    kinds += [Difference(parts[part]) for part in ("diff", "w_norm") if part in parts]
    kinds += [Replacement(parts["set_weight"])] if "set_weight" in parts else []
    if len(kinds) > 1:
        raise InvalidInput(f"changes of {len(kinds)} kinds for one layer: {', '.join(sorted(parts))}")
    weight = kinds[0] if kinds else None
    if "magnitude" in parts or "dora_scale" in parts:
        if weight is None:
            raise InvalidInput("DoRA magnitudes without a change of the direction")
        weight = decomposed(weight, parts)
    if weight is None and bias is None:
        raise InvalidInput(f"only {', '.join(sorted(parts))}, which change nothing")
    return Delta(weight, bias)


def decomposed(weight: Kind, parts: Parts) -> Decomposed:
    """DoRA: peft's magnitudes are of the outputs; LyCORIS's say by their shape, (out, 1, …) or (1, in, …)."""
    if "magnitude" in parts:
        return Decomposed(weight, parts["magnitude"].reshape(-1), 0)
    magnitude = parts["dora_scale"]
    return Decomposed(
        weight, magnitude.reshape(-1), 1 if magnitude.ndim > 1 and magnitude.shape[0] == 1 < magnitude.shape[1] else 0
    )


def scale_of(parts: Parts, stated: Mapping[str, Any], group: str) -> Scale:
    """alpha / rank of a layer: by the file's own alpha, else by what peft's config states, else 1.

    A product without a rank (LoKr's of two full matrices) has the scale 1, but in peft that of the rank stated.
    With peft's ``use_rslora`` it is alpha / √rank. Source: Kalajdzievski 2023, section 3.
    """
    if "alpha" in parts:
        alpha = float(parts["alpha"].float().reshape(-1)[0])
        return lambda rank: alpha / rank if rank else 1.0
    network = group.partition(".")[0] + "."
    own = {key.removeprefix(network): value for key, value in stated.items() if key.startswith(network)}
    own = own or {key: value for key, value in stated.items() if "." not in key}

    def field(name: str, patterns: str) -> float | None:
        value = own.get(name)
        exceptions = own.get(patterns)
        for pattern, other in (
            exceptions.items() if isinstance(exceptions, Mapping) else ()
        ):  # as written, ends of names
            if f".{group}".endswith("." + pattern.removeprefix("^")):
                value = other
        return float(value) if isinstance(value, int | float) else None

    usual = field("lora_alpha" if "lora_alpha" in own else "alpha", "alpha_pattern")
    rank_stated, root = field("r", "rank_pattern"), bool(own.get("use_rslora"))

    def scale(rank: int | None) -> float:
        over = rank or rank_stated
        return 1.0 if usual is None or not over else usual / (math.sqrt(over) if root else over)

    return scale


def said(metadata: Mapping[str, str], name: str) -> dict[str, Any]:
    """peft's config as diffusers writes it into a file: "<network>.<field>" -> value; {} where there is none."""
    try:
        config = json.loads(metadata.get(CONFIG_KEY, "{}"))
    except (ValueError, RecursionError) as error:
        raise InvalidFile(f"{name} has no JSON in its metadata {CONFIG_KEY!r}: {error}") from None
    return config if isinstance(config, dict) else {}


# ---- refusals ------------------------------------------------------------------------------------------------------


def unfit(name: str, unused: list[str], tables: Mapping[str, Table], count: int) -> str:
    """What a refusal says of the tensors that nothing uses, with the nearest names."""
    known = [key for names in tables.values() for key in names]
    lines = [f"{name}: {len(unused)} of its {count} tensors change no layer of {', '.join(tables)}:"]
    for key in unused[:LISTED]:
        group = (part_of(key) or (key,))[0]
        rest = next((group.removeprefix(prefix) for prefix, _ in PREFIXES if group.startswith(prefix)), group)
        near = nearest(rest, known)
        lines.append(f"{key}" + (f" (nearest: {near[0]})" if near else ""))
    lines += [f"and {len(unused) - LISTED} more"] if len(unused) > LISTED else []
    lines.append("It was made for another model, or for networks that were not given: use it with its own model")
    return "\n  ".join(lines)


def made_for(metadata: Mapping[str, str] | None) -> str:
    """What the file says of the model that it was made for."""
    for key in ("modelspec.architecture", "ss_base_model_version", "ss_sd_model_name"):
        if value := (metadata or {}).get(key):
            return f" The file says {key} = {value[:80]}."
    return ""
