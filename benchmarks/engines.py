"""Networks at full size by danqing's engines and by their peers, in turns: seconds, and memory.

    python benchmarks/engines.py            prints the table
    python benchmarks/engines.py --write    keeps it in benchmarks/results/ and puts it into docs/engines.md
                                            and README.md
    python benchmarks/engines.py --only "one call" --ways "danqing packed" "openvino bf16"

The peers are diffusers, eager and compiled, and OpenVINO, which converts diffusers' networks. Weights are random but
for the default model's. Each way is a process of its own, danqing's with freed pages kept as its command line has them,
and they compute in turns. The seconds are of the process, the least of all rounds, so that other work on the machine
counts less; with more than one thread they add up over the threads. The memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from marks import put

sys.path.insert(0, str(Path(__file__).parents[1]))
from danqing.run.engine.engines import ENGINES, find_engine
from danqing.run.engine.whole import mapped, tensors_of
from danqing.run.pages import keep
from danqing.run.precision import find_precision
from danqing.run.quantise.quantisers import QUANTISERS
from danqing.run.record import describe

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
Work = Callable[[], Any]


class Peer(NamedTuple):
    """How diffusers' networks are computed.

    Args:
        dtype: of their weights; the machine's where None.
        channels_last: how their weights lie.
        kept: the process keeps freed pages, as danqing's command line has it.
        prepare: is shown each network.
    """

    dtype: torch.dtype | None = None
    channels_last: bool = False
    kept: bool = False
    prepare: Callable[[Any], object] = lambda net: None

    def made(self, net: Any, *parts: str) -> Any:
        """A network, or parts of it, computed so."""
        net = net.to(self.dtype or find_precision(CPU)).eval().requires_grad_(False)
        net = net.to(memory_format=torch.channels_last) if self.channels_last else net
        for part in parts or ("",):
            self.prepare(net.get_submodule(part))
        return net

    def numbers(self, *shape: int) -> Tensor:
        return numbers(*shape).to(self.dtype or find_precision(CPU))


def compile(net: Any) -> None:
    net.compile(dynamic=False)


def in_int8(model: Any, given: list[Any]) -> Any:
    """A network of OpenVINO with weights and what they are multiplied with in 8 bits, by NNCF (`pip install nncf`).

    It is calibrated on one call and its biases stay as they are, for neither changes how long it takes.
    """
    nncf: Any = import_module("nncf")
    plain = nncf.AdvancedQuantizationParameters(
        disable_bias_correction=True, smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=-1, convolution=-1)
    )
    calibration = nncf.Dataset([given])
    kind = nncf.ModelType.TRANSFORMER
    return nncf.quantize(model, calibration, subset_size=1, model_type=kind, advanced_parameters=plain)


def by_openvino(precision: str, net: Any) -> None:
    """Have OpenVINO compute a network of diffusers once it is called: in f32, in bf16, or in int8 with bf16 beside."""
    requests = dict[Any, Any]()

    def forward(*args: Any, **kwargs: Any) -> Any:
        os.environ["CI"] = "true"  # where the converter tells its makers nothing
        import openvino
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        kwargs.pop("return_dict", None)
        given = [tensor.to(torch.float32) for tensor in tensors_of((args, kwargs)) if tensor.numel()]

        def flat(*tensors: Tensor) -> Tensor:
            others = iter(tensors)
            again = mapped((args, kwargs), lambda one: next(others).to(one.dtype) if one.numel() else one)
            answer = type(net).forward(net, *again[0], **again[1])
            return (answer if isinstance(answer, Tensor) else answer.sample).float()

        if not requests:
            whole = nn.Module()
            whole.net, whole.forward = net, flat  # pyright: ignore[reportAttributeAccessIssue]
            # traced twice, a graph may name its inputs otherwise, which the check takes for another graph
            traced = TorchScriptPythonDecoder(whole, example_input=tuple(given), trace_kwargs={"check_trace": False})
            requests[None] = openvino.convert_model(traced)
        model, shapes = requests[None], tuple(tensor.shape for tensor in given)
        if shapes not in requests:
            model.reshape({i: list(shape) for i, shape in enumerate(shapes)})
            if precision == "int8":
                model = in_int8(model, [tensor.numpy() for tensor in given])
            hint = "f32" if precision == "f32" else "bf16"
            how = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
            requests[shapes] = openvino.compile_model(model, "CPU", how).create_infer_request()
        answer = requests[shapes].infer([tensor.numpy() for tensor in given])[0]
        found = torch.from_numpy(answer.copy()).to(args[0].dtype if args else torch.float32)
        return SimpleNamespace(sample=found) if hasattr(net, "config") else found

    net.forward = forward


PEERS = {
    "diffusers": Peer(),
    "diffusers channels-last": Peer(channels_last=True),
    "diffusers channels-last, pages kept": Peer(channels_last=True, kept=True),
    "diffusers compiled": Peer(channels_last=True, prepare=compile),
    "openvino bf16": Peer(dtype=torch.float32, prepare=partial(by_openvino, "bf16")),
    "openvino int8": Peer(dtype=torch.float32, prepare=partial(by_openvino, "int8")),
    "openvino f32": Peer(dtype=torch.float32, prepare=partial(by_openvino, "f32")),
}


class Case(NamedTuple):
    """Something to compute by danqing and by a peer.

    Args:
        name: what it is.
        ours: an engine's name -> the work.
        peer: how diffusers' networks are computed -> the work.
        bf16: the ratios of ours to others that are aimed at where a machine computes in bf16.
        f32: the same where it computes in fp32.
    """

    name: str
    ours: Callable[[str], Work]
    peer: Callable[[Peer], Work]
    bf16: Mapping[str, float]
    f32: Mapping[str, float]

    def aimed(self, way: str) -> float | None:
        """The ratio to a way that is aimed at."""
        aims = self.f32 if find_precision(CPU) == torch.float32 else self.bf16
        return aims.get("diffusers" if "diffusers" in way else way)


def made(net: nn.Module, engine: str) -> nn.Module:
    """A network in the machine's precision, by an engine."""
    net = net.to(find_precision(CPU)).eval().requires_grad_(False)
    ENGINES[engine].attach(net)
    return net


def drawn(make: Callable[[], Any]) -> Any:
    """A network of random weights in the machine's precision, which is never there in fp32."""
    with torch.device("meta"):
        net = make().to(find_precision(CPU)).requires_grad_(False)
    net = net.to_empty(device="cpu")
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.normal_(0, 0.02) if tensor.ndim > 1 else tensor.fill_(0.5)
    return net


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(find_precision(CPU))


def unet(engine: str, quantiser: str = "none") -> Work:
    from danqing.nets.unet import SD1, UNet

    net = drawn(lambda: UNet(SD1))
    QUANTISERS[quantiser].attach("denoiser", net)
    net, x, tokens = made(net, engine), numbers(2, 4, 64, 64), numbers(2, 77, 768)
    return lambda: net(x, torch.full((2,), 500.0), tokens)


def their_unet(peer: Peer) -> Work:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from danqing.nets.unet import SD1, diffusers_config

    config = diffusers_config(SD1)
    net = peer.made(drawn(lambda: UNet2DConditionModel(**config)))
    x, tokens = peer.numbers(2, 4, 64, 64), peer.numbers(2, 77, 768)
    return lambda: net(x, torch.full((2,), 500.0), encoder_hidden_states=tokens).sample


def decoder(engine: str) -> Work:
    from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig

    net, z = cast(Any, made(drawn(lambda: AutoencoderKL(AutoencoderKLConfig())), engine)), numbers(1, 4, 64, 64)
    return lambda: net.decode(z)


def their_decoder(peer: Peer) -> Work:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from danqing.nets.autoencoder_kl import AutoencoderKLConfig, diffusers_config

    net = peer.made(drawn(lambda: AutoencoderKL(**diffusers_config(AutoencoderKLConfig()))), "decoder")
    z = peer.numbers(1, 4, 64, 64)
    return lambda: net.decode(z).sample


def xl(engine: str) -> Work:
    from danqing.nets.unet import SDXL, UNet

    net, x, tokens = made(drawn(lambda: UNet(SDXL)), engine), numbers(2, 4, 128, 128), numbers(2, 77, 2048)
    pooled = numbers(2, SDXL.pooled_channels)
    return lambda: net(x, torch.full((2,), 500.0), tokens, pooled=pooled)


def their_xl(peer: Peer) -> Work:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from danqing.nets.unet import SDXL, diffusers_config

    net = peer.made(drawn(lambda: UNet2DConditionModel(**diffusers_config(SDXL))))
    x, tokens = peer.numbers(2, 4, 128, 128), peer.numbers(2, 77, 2048)
    added = {"text_embeds": peer.numbers(2, 1280), "time_ids": peer.numbers(2, 6)}
    time = torch.full((2,), 500.0)
    return lambda: net(x, time, encoder_hidden_states=tokens, added_cond_kwargs=added).sample


def sd3(engine: str) -> Work:
    from danqing.nets.mmdit import SD3_MEDIUM, MMDiT

    net, x, tokens = made(drawn(lambda: MMDiT(SD3_MEDIUM)), engine), numbers(2, 16, 128, 128), numbers(2, 154, 4096)
    pooled = numbers(2, SD3_MEDIUM.pooled_projection_dim)
    return lambda: net(x, torch.full((2,), 500.0), tokens, pooled=pooled)


def their_sd3(peer: Peer) -> Work:
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

    from danqing.nets.mmdit import SD3_MEDIUM, diffusers_config

    net = peer.made(drawn(lambda: SD3Transformer2DModel(**diffusers_config(SD3_MEDIUM))))
    x, tokens, pooled = peer.numbers(2, 16, 128, 128), peer.numbers(2, 154, 4096), peer.numbers(2, 2048)
    return lambda: net(x, tokens, pooled, torch.full((2,), 500.0)).sample


def enlarger(engine: str) -> Work:
    from danqing.nets.rrdb import X4, RRDBNet

    net, x = made(drawn(lambda: RRDBNet(X4)), engine), numbers(1, 3, 512, 512)
    return lambda: net(x)


def their_enlarger(peer: Peer) -> Work:
    """The same module, for diffusers has none."""
    from danqing.nets.rrdb import X4, RRDBNet

    net, x = peer.made(drawn(lambda: RRDBNet(X4))), peer.numbers(1, 3, 512, 512)
    net(x[..., :64, :64])  # OpenVINO's converter computes once by torch, which takes minutes of the whole
    return lambda: net(x)


def pictures(count: int) -> Callable[[str], Work]:
    def ours(engine: str) -> Work:
        from benchmarks.paint import PROMPT, SCALE, STEPS

        import danqing
        from danqing.request.request import Request

        shared: Any = {"prompt": PROMPT, "steps": STEPS, "scale": SCALE, "finish": (), "engine": engine}
        requests = [Request(**shared, seed=seed) for seed in range(1, count + 1)]
        return lambda: list(danqing.paint_all(requests, device="cpu"))

    return ours


def their_pictures(count: int) -> Callable[[Peer], Work]:
    def theirs(how: Peer) -> Work:
        from benchmarks.paint import peer

        one = peer(how.dtype or find_precision(CPU), how.channels_last, how.prepare)
        return lambda: [one() for _ in range(count)]

    return theirs


CASES = (
    Case("danqing-mini, 128 px, 20 steps", pictures(1), their_pictures(1), {"diffusers": 0.5}, {"diffusers": 0.6}),
    Case("the same, four pictures", pictures(4), their_pictures(4), {"diffusers": 0.5}, {"diffusers": 0.6}),
    Case(
        "SD 1.5's UNet at 512 px, both halves of the guidance, one call",
        unet,
        their_unet,
        {"diffusers": 0.7, "openvino bf16": 0.85},
        {"diffusers": 0.55, "openvino f32": 0.7},
    ),
    Case(
        "SD 1.5's UNet at 512 px in int8, both halves of the guidance, one call",
        partial(unet, quantiser="int8"),
        their_unet,
        {"openvino int8": 1.0},
        {"openvino int8": 1.0},
    ),
    Case(
        "SD 1.5's autoencoder, 512 px decoded",
        decoder,
        their_decoder,
        {"diffusers": 0.9, "openvino bf16": 0.9},
        {"diffusers": 0.6},
    ),
    Case(
        "SDXL's UNet at 1024 px, both halves of the guidance, one call",
        xl,
        their_xl,
        {"diffusers": 0.75},
        {"diffusers": 0.7},
    ),
    Case(
        "SD 3 medium's network at 1024 px, both halves of the guidance, one call",
        sd3,
        their_sd3,
        {"diffusers": 0.75},
        {"diffusers": 0.7},
    ),
    Case(
        "x4plus, 512 px to 2048; the other is the same module",
        enlarger,
        their_enlarger,
        {"diffusers": 0.85, "openvino bf16": 1.0},
        {"diffusers": 0.7},
    ),
)


def ways(case: Case) -> dict[str, Callable[[], Work]]:
    """The ways to compute a case, by their names: the machine's own engine first."""
    able = [name for name, engine in ENGINES.usable().items() if not engine.reason(CPU)]
    own = dict.fromkeys((find_engine(CPU), *able))
    made: dict[str, Callable[[], Work]] = {f"danqing {engine}": lambda e=engine: case.ours(e) for engine in own}
    return made | {name: lambda peer=peer: case.peer(peer) for name, peer in PEERS.items()}


@torch.inference_mode()
def serve(case: Case, way: str) -> None:
    """Compute once for each line that is read, and answer with the seconds and the MB of the peak so far."""
    if way not in PEERS or PEERS[way].kept:
        keep()
    work = ways(case)[way]()
    for _ in sys.stdin:
        begin = time.process_time()
        work()
        took = time.process_time() - begin
        status = Path("/proc/self/status").read_text()  # getrusage counts what the process was before it began
        print(took, int(status.split("VmHWM:")[1].split()[0]) // 1000, flush=True)


def asked(process: subprocess.Popen[str]) -> tuple[float, int]:
    """Seconds and MB of one more round of a process; infinity where it failed."""
    assert process.stdin and process.stdout
    with suppress(BrokenPipeError):
        process.stdin.write("\n")
        process.stdin.flush()
    line = process.stdout.readline().split()
    while line and not line[0][0].isdecimal():  # what foreign packages print
        line = process.stdout.readline().split()
    return (float(line[0]), int(line[1])) if line else (math.inf, 0)


def measured(case: Case, rounds: int, warm: int, chosen: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each way beside the machine's own, which all ran in turns, after some rounds that do not count."""
    names = [name for name in ways(case) if not chosen or name in chosen]
    given = [sys.executable, __file__, "--serve", case.name]
    pipe = subprocess.PIPE
    every = {name: subprocess.Popen([*given, name], stdin=pipe, stdout=pipe, text=True) for name in names}
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in names}
    for _ in range(rounds + warm):
        for name, process in every.items():
            found[name].append(asked(process))
    for process in every.values():
        process.communicate()
    took = {name: min(seconds for seconds, _ in found[name][warm:]) for name in names}
    peak = {name: max(mb for _, mb in found[name]) for name in names}
    ours = names[0]
    return [
        {
            "case": case.name,
            "ours_s": round(took[ours], 3),
            "peer": way,
            "peer_s": round(took[way], 3),
            "ratio": round(took[ours] / took[way], 3),
            "target": case.aimed(way),
            "memory_mb": peak[ours],
            "peer_memory_mb": peak[way],
            "rounds": rounds,
            "day": date.today().isoformat(),
        }
        for way in names[1:]
        if took[way] < math.inf
    ]


def summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A table of each case beside what of other makers came nearest to danqing, or was faster, on the latest day."""
    others = [row for row in rows if not row["peer"].startswith("danqing ")]
    nearest = {row["case"]: row for row in sorted(others, key=lambda row: (row["day"], row["ratio"]))}
    return [
        "| | danqing | nearest other | ratio |",
        "|---|---|---|---|",
        *(
            f"| {r['case']} | {r['ours_s']:.2f} s | {r['peer']}: {r['peer_s']:.2f} s | {r['ratio']:.2f} |"
            for r in (nearest[case] for case in dict.fromkeys(row["case"] for row in others))
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="", help="the cases whose names hold this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", type=int, default=2, help="rounds before these, which do not count")
    parser.add_argument("--ways", nargs="*", default=(), help="these ways alone; the machine's own has to be one")
    parser.add_argument("--serve", nargs=2, metavar=("CASE", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(next(case for case in CASES if case.name == args.serve[0]), args.serve[1])
        return
    machine = describe(CPU)
    kept = ROOT / "benchmarks" / "results" / f"{machine['instructions']}.json"
    known: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    rows: list[dict[str, Any]] = []
    for case in CASES:
        if args.only in case.name:
            rows += (new := measured(case, args.rounds, args.warm, args.ways))
            print(*new, sep="\n", flush=True)
        measured_now = {row["peer"] for row in rows if row["case"] == case.name}
        rows += [row for row in known if row["case"] == case.name and row["peer"] not in measured_now]
    computed = (
        f"{machine['instructions']}, {machine['precision']}, {machine['threads']} thread, torch {machine['torch']}"
    )
    said = (
        f"Measured by `python benchmarks/engines.py` on {machine['cpu']} ({computed}): seconds of the process, the "
        "least of some rounds in turns."
    )
    lines = [
        f"{said} The memory is the peak.",
        "",
        "| | danqing | the other | ratio | aimed at | rounds, day |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r['case']} | {r['ours_s']:.2f} s, {r['memory_mb']} MB | {r['peer']}: {r['peer_s']:.2f} s, "
            f"{r['peer_memory_mb']} MB | {r['ratio']:.2f} | {r['target'] or ''} | "
            f"{r['rounds']}, {r['day']} |"
            for r in rows
        ),
    ]
    print("\n".join(lines))
    if args.write:
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        put("docs/engines.md", f"engines {machine['instructions']}", "\n".join(lines))
        put("README.md", f"engines {machine['instructions']}", "\n".join([said, "", *summary(rows)]))


if __name__ == "__main__":
    main()
