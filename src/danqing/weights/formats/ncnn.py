"""ncnn files of networks that enlarge: a graph in text, ``x.param``, and its numbers in ``x.bin`` beside it.

The graph is the number 7767517, how many layers and blobs there are, then a line for each layer: its kind, its name,
how many blobs it reads and makes, their names, and parameters ``key=value``. The numbers stand without names, in the
order of the layers: of a convolution a tag of 32 bits and its weights, then its bias; of a PReLU its slopes. So what a
file holds is known by its graph alone, and only the two graphs of our own networks are read, whose numbers get the
names of Real-ESRGAN's .pth files. Source: Tencent/ncnn, docs/developer-guide/param-and-model-file-structure.md and
operation-param-weight-table.md.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from ...errors import InvalidFile
from .format import MAX_TENSORS, Format, Header, Spec, along, flat, mapped, private, sound

if TYPE_CHECKING:
    from torch import Tensor

MAGIC = b"7767517"
#: The largest graph that is read. That of 23 blocks has 120 kB.
MAX_GRAPH = 4 * 2**20
#: Tags of weights: float16, padded to 4 bytes, and float32.
HALF, FULL = 0x01306B47, (0, 0x0002C056)
#: Parameters by ncnn's numbers: of a convolution how many channels it makes, its kernel, padding, bias, how many
#: weights, activation.
CONVOLUTION: Mapping[str, str] = {"1": "3", "4": "1", "5": "1"}
LEAKY: Mapping[str, str] = {**CONVOLUTION, "9": "2", "-23310": "1,0.2"}
MADE, WEIGHTS = "0", "6"


class Layer(NamedTuple):
    """One line of a graph.

    Args:
        kind: ncnn's name of it.
        inputs: the places in the graph of the layers that it reads.
        parameters: key -> value, but those that the network's width decides.
        made, weights: how many channels it makes and how many weights it has, in a file; else 0.
        name: of its numbers in our network, in a graph of ours; else "".
    """

    kind: str
    inputs: tuple[int, ...] = ()
    parameters: Mapping[str, str] = {}
    made: int = 0
    weights: int = 0
    name: str = ""

    def like(self, other: Layer) -> bool:
        """Whether both compute the same, but for the width and the numbers. A sum without weights has no order."""
        unordered = self.kind == "BinaryOp"
        mine, theirs = (sorted(layer.inputs) if unordered else list(layer.inputs) for layer in (self, other))
        return (self.kind, mine, self.parameters) == (other.kind, theirs, other.parameters)


@dataclass(frozen=True, kw_only=True)
class Tagged(Spec):
    """A tensor that is read as float32.

    Args:
        half: it is stored as float16.
    """

    half: bool


# The graphs of ours
# ---------------------------------------------------------------------------------------------------------


class Graph(list[Layer]):
    """Layers that are added one after another; each is known by its place."""

    def add(self, kind: str, *inputs: int, name: str = "", **parameters: str) -> int:
        """The place of a new layer; keys of parameters are written k0, k1, ..."""
        self.append(Layer(kind, inputs, {key[1:]: value for key, value in parameters.items()}, name=name))
        return len(self) - 1

    def convolution(self, x: int, name: str, *, leaky: bool = False) -> int:
        """The place of a new convolution."""
        self.append(Layer("Convolution", (x,), LEAKY if leaky else CONVOLUTION, name=name))
        return len(self) - 1

    def weakened(self, x: int, skip: int) -> int:
        """0.2 x + skip."""
        self.append(Layer("Eltwise", (x, skip), {"0": "1", "-23301": "2,0.2,1"}))
        return len(self) - 1


def rrdb(blocks: int, ups: int) -> Graph:
    """The graph of `danqing.nets.rrdb.RRDBNet`."""
    graph = Graph()
    first = trunk = graph.convolution(graph.add("Input"), "conv_first")
    for i in range(blocks):
        start = trunk
        for j in (1, 2, 3):
            parts = [trunk]
            for k in range(1, 6):
                joined = graph.add("Concat", *parts) if len(parts) > 1 else trunk
                parts.append(graph.convolution(joined, f"body.{i}.rdb{j}.conv{k}", leaky=k < 5))
            trunk = graph.weakened(parts[-1], trunk)
        trunk = graph.weakened(trunk, start)
    h = graph.add("BinaryOp", first, graph.convolution(trunk, "conv_body"))
    for k in range(1, ups + 1):
        h = graph.convolution(graph.add("Interp", h, k0="1", k1="2", k2="2"), f"conv_up{k}", leaky=True)
    graph.convolution(graph.convolution(h, "conv_hr", leaky=True), "conv_last")
    return graph


def srvgg(convolutions: int, scale: str) -> Graph:
    """The graph of `danqing.nets.srvgg.SRVGGNetCompact`."""
    graph = Graph()
    x = h = graph.add("Input")
    for i in range(convolutions - 1):
        h = graph.add("PReLU", graph.convolution(h, f"body.{2 * i}"), name=f"body.{2 * i + 1}")
    h = graph.add("PixelShuffle", graph.convolution(h, f"body.{2 * convolutions - 2}"), k0=scale)
    graph.add("BinaryOp", h, graph.add("Interp", x, k0="1", k1=scale, k2=scale))
    return graph


# The graph of a file
# --------------------------------------------------------------------------------------------------------


def parsed(text: str) -> Graph:
    """The layers of a file, without those that only copy.

    Raises:
        ValueError, IndexError, KeyError: it is no graph.
    """
    lines = [line.split() for line in text.splitlines()[1:] if line.strip()]
    count = int(lines[0][0])
    if len(lines) - 1 != count:
        raise ValueError(f"it has {len(lines) - 1} layers and says {count}")
    graph, places = Graph(), dict[str, int]()
    for kind, _, read, made, *rest in lines[1:]:
        reads, makes = int(read), int(made)
        if min(reads, makes) < 0 or reads + makes > len(rest):
            raise ValueError(f"a {kind:.40} reads {reads} and makes {makes} blobs, but {len(rest)} words follow")
        inputs = tuple(places[name] for name in rest[:reads])
        place = len(graph)
        if kind == "Split":
            place = inputs[0]
        else:
            values = {key: value for key, _, value in (word.partition("=") for word in rest[reads + makes :])}
            sized = kind in ("Convolution", "PReLU")
            channels, weights = (int(values.pop(key, "0")) if sized else 0 for key in (MADE, WEIGHTS))
            settings = {} if kind == "Input" else {key: plain(value) for key, value in values.items()}
            graph.append(Layer(kind, inputs, settings, channels, weights))
        places |= dict.fromkeys(rest[reads : reads + makes], place)
    return graph


def plain(value: str) -> str:
    """Numbers, with commas between them, in their shortest form: "2.000000e-01" is "0.2"."""
    return ",".join(f"{float(number):g}" for number in value.split(","))


def recognised(graph: Graph, path: Path) -> Graph:
    """The graph of ours that a file's is.

    Raises:
        InvalidFile: it is of no network of ours; the message names the first layer that differs.
    """
    count = {kind: sum(layer.kind == kind for layer in graph) for kind in ("Convolution", "PixelShuffle", "Interp")}
    if count["PixelShuffle"]:
        shuffle = next(layer for layer in graph if layer.kind == "PixelShuffle")
        ours = srvgg(count["Convolution"], shuffle.parameters.get("0", "1"))
    else:
        ours = rrdb(max(1, (count["Convolution"] - 4 - count["Interp"]) // 15), count["Interp"])
    if len(graph) == len(ours) + 1 and graph[-1].kind == "Interp":
        raise InvalidFile(
            f"{path} ends by making its own answer smaller: use the file of the larger scale, and state the "
            "scale you want"
        )
    for i, (found, wanted) in enumerate(zip(graph, ours, strict=False)):
        if not found.like(wanted):
            differs = (
                f"layer {i} is a {found.kind:.40} {dict(found.parameters)!s:.80}, not a {wanted.kind} "
                f"{dict(wanted.parameters)}"
            )
            raise InvalidFile(
                f"{path} is no graph of RRDBNet or SRVGGNetCompact, the two that are read of ncnn: {differs}"
            )
    if len(graph) != len(ours):
        raise InvalidFile(
            f"{path} is no graph of RRDBNet or SRVGGNetCompact: it has {len(graph)} layers instead of {len(ours)}"
        )
    return ours


# The numbers
# ----------------------------------------------------------------------------------------------------------------


def header(path: Path) -> Header:
    """Read and check both files, and how large every tensor is.

    Raises:
        InvalidFile: one of the two is missing, the graph is of no network of ours, or the numbers are more or fewer
            than it says.
    """
    text, numbers = path.with_suffix(".param"), path.with_suffix(".bin")
    for file in (text, numbers):
        if not file.is_file():
            raise InvalidFile(f"there is no file {file}: a network of ncnn is a .param and a .bin, side by side")
    if text.stat().st_size > MAX_GRAPH:
        raise InvalidFile(f"{text} has {text.stat().st_size:,} bytes: a graph stays under {MAX_GRAPH:,}")
    with sound(text):
        graph = parsed(text.read_text("ascii"))
    ours = recognised(graph, text)
    if len(graph) > MAX_TENSORS:
        raise InvalidFile(f"{text} has {len(graph):,} layers: possible are {MAX_TENSORS:,}")
    with sound(numbers), mapped(numbers) as data:
        tensors: dict[str, Tagged] = {}
        at = 0
        for layer, name in ((a, b.name) for a, b in zip(graph, ours, strict=True) if b.name):
            for end, spec in specs(layer, data, at).items():
                tensors[f"{name}.{end}"], at = spec, spec.stop
                if at > len(data):
                    raise InvalidFile(
                        f"{numbers} is truncated: {name} ends at byte {at:,} of {len(data):,}. Copy or download "
                        "it again"
                    )
            at += -at % 4
        if at != len(data):
            raise InvalidFile(
                f"{numbers} has {len(data):,} bytes, but the graph beside it asks for {at:,}: get both of one network"
            )
        return Header(path=numbers, tensors=tensors, metadata={}, size=len(data))


def specs(layer: Layer, data: mmap.mmap, at: int) -> dict[str, Tagged]:
    """The tensors of a layer whose numbers begin at a byte: of a convolution (out, in, 3, 3) and (out,), of a PReLU
    (channels,)."""
    made = layer.made
    if made < 1 or layer.weights < 0:
        raise ValueError(f"a {layer.kind} of {made} channels")
    if layer.kind == "PReLU":
        return {"weight": Tagged(dtype="F32", shape=(made,), start=at, stop=at + 4 * made, half=False)}
    read, rest = divmod(layer.weights, 9 * made)
    if rest or not read:
        raise ValueError(f"{layer.weights} weights of 3×3 make no {made} channels")
    tag = struct.unpack_from("<I", data, at)[0]
    if tag != HALF and tag not in FULL:
        raise ValueError(f"weights of the kind {tag:#x}; float16 and float32 are read")
    half = tag == HALF
    start, stop = at + 4, at + 4 + layer.weights * (2 if half else 4)
    bias = stop + -stop % 4
    return {
        "weight": Tagged(dtype="F32", shape=(made, read, 3, 3), start=start, stop=stop, half=half),
        "bias": Tagged(dtype="F32", shape=(made,), start=bias, stop=bias + 4 * made, half=False),
    }


def tensors(head: Header, names: Sequence[str], device: str) -> Iterator[tuple[str, Tensor]]:
    """Each tensor, as float32."""
    import torch

    data = private(head)
    for name, found in along(data, head, names):
        spec = cast(Tagged, found)
        values = flat(data, spec.start, spec.count, torch.float16 if spec.half else torch.float32)
        yield name, values.float().reshape(spec.shape).to(device)


def known(path: Path, start: bytes) -> bool:
    """A graph, or the numbers beside one."""
    if path.suffix == ".bin":
        beside = path.with_suffix(".param")
        return beside.is_file() and known(beside, beside.open("rb").read(len(MAGIC)))
    return path.suffix == ".param" and start.startswith(MAGIC)


NCNN = Format("ncnn", known, header, tensors)
