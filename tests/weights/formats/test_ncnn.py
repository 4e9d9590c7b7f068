"""Laws of ncnn files: the same weights are the same network, and whatever else a file holds is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from danqing.errors import InvalidFile
from danqing.nets.rrdb import X4, RRDBNet
from danqing.nets.srvgg import VIDEO, SRVGGNetCompact
from danqing.weights import store
from danqing.weights.identify import identify
from danqing.weights.load import load

KINDS = pytest.mark.parametrize("kind", ["rrdb", "rrdb-x2", "srvgg"])
HALVES = pytest.mark.parametrize("half", [True, False], ids=["fp16", "fp32"])


def network(kind: str) -> RRDBNet | SRVGGNetCompact:
    torch.manual_seed(0)
    if kind == "srvgg":
        return SRVGGNetCompact(replace(VIDEO, channels=5, convolutions=2, scale=2))
    return RRDBNet(replace(X4, channels=6, growth=3, blocks=2, ups=1 if kind == "rrdb-x2" else 2))


class Writer:
    """Writes a network as ncnn's converters do: layers in the order in which they run, a Split where a blob is read
    twice."""

    def __init__(self, half: bool):
        self.half, self.lines, self.numbers = half, list[tuple[str, list[str], str, str]](), bytearray()

    def layer(self, kind: str, inputs: list[str], parameters: str = "") -> str:
        blob = f"blob{len(self.lines)}"
        self.lines.append((kind, inputs, blob, parameters))
        return blob

    def convolution(self, module: nn.Module, blob: str, leaky: bool = False) -> str:
        assert isinstance(module, nn.Conv2d) and module.bias is not None
        weights = module.weight.detach().half() if self.half else module.weight.detach()
        data = weights.numpy().tobytes()
        self.numbers += struct.pack("<I", 0x01306B47 if self.half else 0) + data + bytes(-len(data) % 4)
        self.numbers += module.bias.detach().numpy().tobytes()
        activation = " 9=2 -23310=1,2.000000e-01" if leaky else ""
        size = f"0={module.out_channels} 1=3 4=1 5=1 6={module.weight.numel()}"
        return self.layer("Convolution", [blob], size + activation)

    def rrdb(self, net: RRDBNet) -> None:
        h = first = self.convolution(net.conv_first, self.layer("Input", []))
        weak = "0=1 -23301=2,2.000000e-01,1.000000e+00"
        for block in net.body:
            start = h
            for dense in block.children():
                seen = [h]
                for k, module in enumerate(dense.children()):
                    joined = self.layer("Concat", list(seen)) if k else h
                    seen.append(self.convolution(module, joined, leaky=k < 4))
                h = self.layer("Eltwise", [seen[-1], h], weak)
            h = self.layer("Eltwise", [h, start], weak)
        h = self.layer("BinaryOp", [first, self.convolution(net.conv_body, h)])
        for k in range(net.config.ups):
            h = self.layer("Interp", [h], "0=1 1=2.000000e+00 2=2.000000e+00")
            h = self.convolution(net.get_submodule(f"conv_up{k + 1}"), h, leaky=True)
        self.convolution(net.conv_last, self.convolution(net.conv_hr, h, leaky=True))

    def srvgg(self, net: SRVGGNetCompact) -> None:
        h = x = self.layer("Input", [])
        for module in net.body:
            if isinstance(module, nn.PReLU):
                self.numbers += module.weight.detach().numpy().tobytes()
                h = self.layer("PReLU", [h], f"0={module.num_parameters}")
            else:
                h = self.convolution(module, h)
        scale = net.config.scale
        h = self.layer("PixelShuffle", [h], f"0={scale}")
        self.layer("BinaryOp", [h, self.layer("Interp", [x], f"0=1 1={scale}.000000e+00 2={scale}.000000e+00")])

    def write(self, path: Path) -> Path:
        rows: list[str] = []
        readers = [(blob, i) for i, (_, inputs, _, _) in enumerate(self.lines) for blob in inputs]
        for i, (kind, inputs, blob, parameters) in enumerate(self.lines):
            named = [f"{b}_{i}" if sum(x == b for x, _ in readers) > 1 else b for b in inputs]
            rows.append(" ".join([kind, f"layer{i}", str(len(named)), "1", *named, blob, parameters]))
            if len(copies := [f"{blob}_{j}" for b, j in readers if b == blob]) > 1:
                rows.append(" ".join(["Split", f"split{i}", "1", str(len(copies)), blob, *copies]))
        path.write_text("\n".join(["7767517", f"{len(rows)} 999", *rows]) + "\n")
        path.with_suffix(".bin").write_bytes(self.numbers)
        return path


def written(folder: Path, kind: str, half: bool = True) -> Path:
    writer, net = Writer(half), network(kind)
    writer.rrdb(net) if isinstance(net, RRDBNet) else writer.srvgg(net)
    return writer.write(folder / "x.param")


@KINDS
@HALVES
def test_the_same_weights_are_the_same_network(tmp_path: Path, kind: str, half: bool):
    path, net = written(tmp_path, kind, half), network(kind)
    if half:
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data = layer.weight.data.half().float()
    found = load(path)
    assert type(found) is type(net) and found.config == net.config
    want = net.state_dict()
    assert all(torch.equal(tensor, want[name]) for name, tensor in found.state_dict().items())
    x = torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found(x), net(x))


@KINDS
def test_both_files_of_the_pair_name_it_and_it_is_told_what_it_is(tmp_path: Path, kind: str):
    path = written(tmp_path, kind)
    one, other = (store.read(file) for file in (path, path.with_suffix(".bin")))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    report = identify(path)
    assert report.loadable and report.family == kind.removesuffix("-x2")
    assert report.parameters == sum(p.numel() for p in network(kind).parameters())


@KINDS
@HALVES
def test_numbers_of_any_other_length_are_refused(tmp_path: Path, kind: str, half: bool):
    path = written(tmp_path, kind, half)
    numbers = path.with_suffix(".bin")
    whole = numbers.read_bytes()
    for cut in (1, 2, 3, 7, 100, len(whole) // 2, len(whole) - 3, len(whole) - 4, len(whole) - 40):
        numbers.write_bytes(whole[:cut])
        with pytest.raises(InvalidFile):
            load(path)
    numbers.write_bytes(whole + b"\0\0\0\0")
    with pytest.raises(InvalidFile, match="get both of one network"):
        load(path)


def swapped(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    "change",
    [
        swapped("PReLU", "Sigmoid"),
        swapped("0=5 1=3", "0=5 1=5"),
        swapped("1=3 4=1", "1=3 3=2 4=1"),
        swapped("6=135", "6=99999999999999999999"),
        swapped("6=135", "6=-135"),
        swapped("6=135", "6=136"),
        swapped("6=135", "6=0"),
        swapped("6=135", "6=many"),
        swapped("0=5 ", "0=0 "),
        swapped("0=5 ", "0=1000000000 "),
        swapped("0=2\n", "0=3\n"),
        swapped("PReLU layer2 1 1 blob1", "PReLU layer2 1 1 blob0_1"),
        swapped("PReLU layer2 1 1 blob1", "PReLU layer2 1 1 nowhere"),
        swapped("PReLU layer2 1 1", "PReLU layer2 -1 1"),
        swapped("PReLU layer2 1 1", "PReLU layer2 999999999 1"),
        lambda text: "\n".join(text.splitlines()[:-1]),
        lambda text: "7767517\n",
        lambda text: "7767517\n0 0\n",
        lambda text: text + "\0\xff",
    ],
)
def test_a_graph_of_no_network_of_ours_is_refused_before_memory_is_spent(tmp_path: Path, change: Callable[[str], str]):
    path = written(tmp_path, "srvgg")
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text), encoding="latin-1")
    with pytest.raises(InvalidFile):
        load(path)


def test_weights_of_whole_numbers_are_refused(tmp_path: Path):
    path = written(tmp_path, "rrdb")
    numbers = path.with_suffix(".bin")
    numbers.write_bytes(struct.pack("<I", 0x000D4B38) + numbers.read_bytes()[4:])
    with pytest.raises(InvalidFile, match="float16 and float32 are read"):
        load(path)


def test_a_file_without_its_other_half_is_refused(tmp_path: Path):
    path = written(tmp_path, "rrdb")
    path.with_suffix(".bin").unlink()
    with pytest.raises(InvalidFile, match="side by side"):
        load(path)


def test_a_file_that_makes_its_answer_smaller_says_which_to_take(tmp_path: Path):
    path = written(tmp_path, "srvgg")
    lines = path.read_text().splitlines()
    last = lines[-1].split()[-1]
    lines[1] = f"{int(lines[1].split()[0]) + 1} 999"
    path.write_text("\n".join([*lines, f"Interp end 1 1 {last} out 0=3 1=0.5 2=0.5"]))
    with pytest.raises(InvalidFile, match="state the scale"):
        load(path)
