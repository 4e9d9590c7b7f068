"""What painting takes, stated before anything is allocated: parameters, bytes, products, and the peak of memory.

The networks are built on the meta device from their files' headers and asked as in painting, so no family of networks
has formulas of its own here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ... import tiles
from ...errors import InvalidInput
from ...painting.load import dtypes_of, parameters
from ...painting.networks import Outline, codec_of, denoiser_of, outlines
from ...painting.painter import Painter
from ...painting.recipes.tasks import beside
from ...painting.text import text_of
from ...request.names import RECIPES
from ...request.request import Request
from ...run import offload
from ...run.cost import Cost, counted
from ...run.device import find_device, free
from ...run.engine.engines import find_engine
from ...run.looked import heavy, large
from ...run.precision import find_precision
from ...store.find import AnyModel, find
from ...store.model import Model
from ...weights import store
from ...weights.formats.few import Few
from ...weights.formats.format import TORCH_NAMES

#: Where the networks are while they are counted.
META = torch.device("meta")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One network of a model.

    Args:
        parameters: how many numbers it has.
        bytes: of them in the precision that it computes in.
        resident: bytes of its weights in memory while it computes: packed, without what stays in its file alone.
        waiting: bytes of them while another does, all networks being in memory.
    """

    parameters: int
    bytes: int
    resident: int
    waiting: int


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What painting takes.

    Args:
        parts: the networks by their roles.
        process: bytes of this process as it is, with torch and without a model; 0 for a device of its own memory.
        text, denoiser, decode, tiled: what encoding the prompts makes, one call of the denoiser with its guidance, and
            decoding whole and in the fewest tiles.
        room: bytes that the device has beside; infinity where it does not say.
        offload: "none" or "sequential", what is chosen for this machine at this moment where nobody says.
    """

    parts: Mapping[str, Part]
    process: int
    text: Cost
    denoiser: Cost
    decode: Cost
    tiled: Cost
    room: float
    offload: str

    @property
    def tiles(self) -> bool:
        """Whether decoding whole has no room then."""
        others = [part.waiting for role, part in self.parts.items() if self.offload == "none" and role != "codec"]
        own = self.parts["codec"].resident if "codec" in self.parts else 0
        return self.decode.peak > self.room - own - sum(others)

    def peak(self, offload: str, tiles: bool = False) -> int:
        """Bytes at the peak of painting: the process, the weights that are there, and what is made beside them.

        process + max over the networks of (its weights + what it makes + the others' that wait), where sequential has
        none that wait.
        """
        made = dict.fromkeys(self.parts, self.text.peak)
        made |= {"denoiser": self.denoiser.peak, "codec": (self.tiled if tiles else self.decode).peak}
        waiting = {role: part.waiting if offload == "none" else 0 for role, part in self.parts.items()}
        others = sum(waiting.values())
        return self.process + max(p.resident + made[role] + others - waiting[role] for role, p in self.parts.items())

    def data(self) -> dict[str, Any]:
        """All of it as JSON, in bytes and in products; null for what the system does not say."""
        made = {"text": self.text, "denoiser": self.denoiser, "decode": self.decode, "decode in tiles": self.tiled}
        return {
            "networks": {role: asdict(part) for role, part in self.parts.items()},
            "computed": {name: cost._asdict() for name, cost in made.items()},
            "peak": {how: self.peak(how) for how in ("none", "sequential")},
            "process": self.process,
            "free": None if math.isinf(self.room) else self.room,
            "chosen": {"offload": self.offload, "tiles": self.tiles, "peak": self.peak(self.offload, self.tiles)},
        }


class Outlined(Painter):
    """A painter without numbers: nobody can look whether they are finite, and the time alone, by which guidance
    chooses, is one."""

    def __init__(self, **parts: Any):
        super().__init__(**parts)
        self.sees = lambda denoiser: lambda x, t, cond: denoiser(x, t.to(x.device), cond)

    def finite(self, stage: str, value: Tensor) -> Tensor:
        return value


def stated(
    model: AnyModel,
    width: int,
    height: int,
    *,
    device: str | None = None,
    precision: str | None = None,
    engine: str | None = None,
) -> Stated:
    """What painting a picture of a size with a model takes on a device, in a precision, by an engine; those of the
    machine where not given.

    Raises:
        UnknownName, InvalidFile, InvalidInput: as `danqing.painting.load.load` does; the model does not denoise, or
            paints no such size.
    """
    described, where = find(model), find_device(device)
    if described.core != "denoiser":
        raise InvalidInput(f"{described.name} paints without denoising; possible here is a model that denoises")
    dtype, engine = find_precision(where, precision), find_engine(where, engine)
    dtypes = dtypes_of(described, dtype)
    found = outlines(described, dtypes, engine)
    process, room = _resident() if where.type == "cpu" else 0, free(where)
    called = {role: _called(each.net) for role, each in found.items()}
    painter = _painter(described, found, dtype, engine)
    request = painter.resolve(Request(model=described.source, prompt="a fox", width=width, height=height))
    _, text = counted(lambda: painter.encode(request))
    points = painter.points(request)
    x, t = painter.blank(request), torch.full((1,), points[0].t)
    shown = beside(painter, request)
    _, denoiser = counted(lambda: painter.assemble(request, points, shown)(x, t))
    _, decode = counted(lambda: painter.codec.decode(x))
    windows = tiles.fitting(x.shape[-2:], lambda h, w: (h, w) != tuple(x.shape[-2:]))
    _, tiled = counted(lambda: tiles.Tiled(painter.codec, windows).decode(x))
    files = parameters(described)
    parts = {
        role: _part(
            role,
            each,
            called[role],
            where.type == "cpu" and files[role].keys() == {_name(dtypes[role])},
            few_of(described.file_of(role)) if described.quantise else {},
        )
        for role, each in found.items()
    }
    whole = sum(part.bytes for part in parts.values())
    chosen = "none" if described.quantise else offload.found("auto", where, whole)  # which asks for plain weights
    return Stated(
        parts=parts,
        process=process,
        text=text,
        denoiser=denoiser,
        decode=decode,
        tiled=tiled,
        room=room,
        offload=chosen,
    )


def _painter(model: Model, found: Mapping[str, Outline], dtype: torch.dtype, engine: str) -> Painter:
    nets = {role: each.net for role, each in found.items()}
    text, net = text_of(model, nets)
    return Outlined(
        model=model,
        denoiser=denoiser_of(model, net, "eps"),
        codec=codec_of(model, nets),
        text=text,
        nets={role: net for role, net in nets.items() if role != "codec"},
        device=META,
        dtype=dtype,
        engine=engine,
        recipes=RECIPES,
        sibling=_none,
    )


def _none(*_: object) -> Any:
    raise InvalidInput("no other model is counted")


def _called(net: nn.Module) -> set[nn.Module]:
    """The layers of a network that are called from now on."""
    found = set[nn.Module]()
    for layer in net.modules():
        layer.register_forward_pre_hook(lambda layer, _: found.add(layer))
    return found


def few_of(file: Path) -> dict[str, int]:
    """Bytes of the weights that a file keeps in few bits, by name."""
    specs = {name: spec for name, spec in store.header(file).tensors.items() if isinstance(spec, Few)}
    return {name: sum(part.stop - part.start for part in spec.parts.values()) for name, spec in specs.items()}


def _part(role: str, outline: Outline, called: set[nn.Module], mapped: bool, few: Mapping[str, int]) -> Part:
    """A network after it was asked. Where its weights are mapped, for its file has the precision that is computed in,
    what nobody looks at stays there, and so does a plain weight in whose stead there is another; a large table, of
    which a few rows are looked up, always does, and a layer that computes once a picture while it waits, as do
    weights that are kept in few bits.

    Args:
        few: bytes of those of its weights that are kept in few bits, by name.
    """
    layers = dict(outline.net.named_modules())
    own = {
        layer: sum(few.get(f"{name}.{p}", _bytes(number)) for p, number in layer.named_parameters(recurse=False))
        for name, layer in layers.items()
    }
    stead, kept = dict(outline.stead()), {layers[name.rpartition(".")[0]] for name in few}
    for layer in kept:  # which no engine packs
        stead.pop(layer, None)
    resident = {
        layer: stead.get(layer, 0) + (size if not mapped or (layer in called and layer not in stead) else 0)
        for layer, size in own.items()
        if not large(layer)
    }
    return Part(
        parameters=sum(p.numel() for p in outline.net.parameters()),
        bytes=sum(own.values()),
        resident=sum(resident.values()),
        waiting=sum(size for layer, size in resident.items() if layer not in kept and not heavy(role, layer)),
    )


def _name(dtype: torch.dtype) -> str:
    """Of a type, as the headers of files have it."""
    return TORCH_NAMES[str(dtype).removeprefix("torch.")]


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def told(found: Stated) -> Iterator[tuple[str, str]]:
    """The same for people, line by line, and last what is chosen."""
    for role, part in found.parts.items():
        numbers, size, kept = part.parameters / 1e6, part.bytes / 1e6, part.resident / 1e6
        yield role, f"{numbers:.1f} million parameters of {size:.0f} MB, {kept:.0f} MB in memory while it computes"
    for name, cost in (
        ("encoding the prompts", found.text),
        ("a step of the denoiser", found.denoiser),
        ("decoding whole", found.decode),
        ("decoding in tiles", found.tiled),
    ):
        yield name, f"{cost.peak / 1e6:.0f} MB beside the weights, {cost.flops / 1e9:.0f} GFLOP"
    yield "attention scores", f"{found.denoiser.scores / 1e6:.0f} MB, where no kernel spares them"
    yield "all networks in memory", f"{found.peak('none') / 1e9:.2f} GB at the peak (offload none)"
    yield "one after another", f"{found.peak('sequential') / 1e9:.2f} GB at the peak (offload sequential)"
    free = "not known" if math.isinf(found.room) else f"{found.room / 1e9:.2f} GB"
    yield "free here", f"{free}, beside the {found.process / 1e9:.2f} GB that this process has without a model"
    peak = found.peak(found.offload, found.tiles) / 1e9
    whole = f"offload {found.offload}, decoding whole: {peak:.2f} GB"
    tiled = f"offload {found.offload}, decoding in tiles: {peak:.2f} GB"
    yield "chosen here", tiled if found.tiles else whole
