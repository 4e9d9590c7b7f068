"""Networks at full size by danqing's engines and by diffusers, in turns in one run: seconds, memory, and how far apart.

    python benchmarks/engines.py            prints the table
    python benchmarks/engines.py --write    keeps it in benchmarks/results/ and puts it into docs/engines.md
    python benchmarks/engines.py --only "one call"

Weights are random but for the default model's. The seconds are of the process, the least of all rounds, so that other
work on the machine counts less; with more than one thread they add up over the threads. The memory is the peak of a
process that loads the network by one of the two ways and calls it once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from danqing.run.engine.engines import find_engine
from danqing.run.precision import find_precision
from danqing.run.record import describe

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- engines {} -->", "<!-- /engines {} -->"
CPU = torch.device("cpu")
Work = Callable[[], Any]


class Case(NamedTuple):
    """Something to compute by danqing and by a peer.

    Args:
        name: what it is.
        ours: an engine's name -> the work.
        peer: diffusers, its weights channels-last or as loaded -> the work.
        target: the ratio of ours to the peer's best that is aimed at.
    """

    name: str
    ours: Callable[[str], Work]
    peer: Callable[[bool], Work]
    target: float


def made(net: nn.Module, engine: str) -> nn.Module:
    """A network in the machine's precision, by an engine."""
    from danqing.run.engine.engines import ENGINES

    net = net.to(find_precision(CPU)).eval().requires_grad_(False)
    ENGINES[engine].attach(net)
    return net


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(find_precision(CPU))


def last(net: Any, wanted: bool) -> Any:
    net = net.to(find_precision(CPU)).eval()
    return net.to(memory_format=torch.channels_last) if wanted else net


def unet(engine: str) -> Work:
    from danqing.nets.unet import SD1, UNet

    net, x, tokens = made(UNet(SD1), engine), numbers(2, 4, 64, 64), numbers(2, 77, 768)
    return lambda: net(x, torch.full((2,), 500.0), tokens)


def their_unet(channels_last: bool) -> Work:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from danqing.nets.unet import SD1, diffusers_config

    config = diffusers_config(SD1)
    net, x, tokens = last(UNet2DConditionModel(**config), channels_last), numbers(2, 4, 64, 64), numbers(2, 77, 768)
    return lambda: net(x, torch.full((2,), 500.0), encoder_hidden_states=tokens).sample


def decoder(engine: str) -> Work:
    from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig

    net, z = cast(Any, made(AutoencoderKL(AutoencoderKLConfig()), engine)), numbers(1, 4, 64, 64)
    return lambda: net.decode(z)


def their_decoder(channels_last: bool) -> Work:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from danqing.nets.autoencoder_kl import AutoencoderKLConfig, diffusers_config

    net, z = last(AutoencoderKL(**diffusers_config(AutoencoderKLConfig())), channels_last), numbers(1, 4, 64, 64)
    return lambda: net.decode(z).sample


def pictures(count: int) -> Callable[[str], Work]:
    def ours(engine: str) -> Work:
        from benchmarks.paint import PROMPT, SCALE, STEPS

        import danqing
        from danqing.request.request import Request

        shared: Any = {"prompt": PROMPT, "steps": STEPS, "scale": SCALE, "finish": (), "engine": engine}
        requests = [Request(**shared, seed=seed) for seed in range(1, count + 1)]
        return lambda: list(danqing.paint_all(requests, device="cpu"))

    return ours


def their_pictures(count: int) -> Callable[[bool], Work]:
    def peer(channels_last: bool) -> Work:
        from benchmarks.paint import peer

        one = peer(find_precision(CPU), channels_last)
        return lambda: [one() for _ in range(count)]

    return peer


CASES = (
    Case("danqing-mini, 128 px, 20 steps", pictures(1), their_pictures(1), 0.5),
    Case("the same, four pictures", pictures(4), their_pictures(4), 0.5),
    Case("SD 1.5's UNet at 512 px, both halves of the guidance, one call", unet, their_unet, 0.7),
    Case("SD 1.5's autoencoder, 512 px decoded", decoder, their_decoder, 0.9),
)


def ways(case: Case) -> dict[str, Callable[[], Work]]:
    """The ways to compute a case, by their names."""
    own = dict.fromkeys(("torch", find_engine(CPU)))
    made: dict[str, Callable[[], Work]] = {f"danqing {engine}": lambda e=engine: case.ours(e) for engine in own}
    made["diffusers"] = lambda: case.peer(False)
    made["diffusers channels-last"] = lambda: case.peer(True)
    return made


@torch.inference_mode()
def seconds(case: Case, rounds: int) -> dict[str, float]:
    """Of each way, in turns, after one round that does not count."""
    works = {name: make() for name, make in ways(case).items()}
    found: dict[str, list[float]] = {name: [] for name in works}
    for i in range(rounds + 1):
        for name, work in works.items():
            begin = time.process_time()
            work()
            if i:
                found[name].append(time.process_time() - begin)
    return {name: min(values) for name, values in found.items()}


def peak(case: Case, way: str) -> int:
    """MB, of a process of its own."""
    given = [sys.executable, __file__, "--memory", case.name, way]
    return int(subprocess.check_output(given, text=True).split()[-1])


def measured(case: Case, rounds: int) -> list[dict[str, Any]]:
    """A row for each way of the peer, of the fastest of ours."""
    took = seconds(case, rounds)
    ours = f"danqing {find_engine(CPU)}"
    return [
        {
            "case": case.name,
            "ours_s": round(took[ours], 3),
            "peer": way,
            "peer_s": round(took[way], 3),
            "ratio": round(took[ours] / took[way], 3),
            "target": case.target,
            "memory_mb": peak(case, ours),
            "peer_memory_mb": peak(case, way),
        }
        for way in took
        if way != ours
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="", help="the cases whose names hold this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        case = next(case for case in CASES if case.name == args.memory[0])
        with torch.inference_mode():
            ways(case)[args.memory[1]]()()
        status = Path("/proc/self/status").read_text()  # getrusage counts what the process was before it began
        print(int(status.split("VmHWM:")[1].split()[0]) // 1000)
        return
    machine = describe(CPU)
    kept = ROOT / "benchmarks" / "results" / f"{machine['instructions']}.json"
    known: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    rows: list[dict[str, Any]] = []
    for case in CASES:
        if args.only in case.name:
            rows += measured(case, args.rounds)
            print(*rows[-3:], sep="\n", flush=True)
        else:  # as it was measured before
            rows += [row for row in known if row["case"] == case.name]
    computed = (
        f"{machine['instructions']}, {machine['precision']}, {machine['threads']} thread, torch {machine['torch']}"
    )
    lines = [
        f"Measured by `python benchmarks/engines.py` on {machine['cpu']} ({computed}): seconds of the process, the "
        f"least of {args.rounds} in turns, and the peak of memory.",
        "",
        "| | danqing | the other | ratio | aimed at |",
        "|---|---|---|---|---|",
        *(
            f"| {r['case']} | {r['ours_s']:.2f} s, {r['memory_mb']} MB | {r['peer']}: {r['peer_s']:.2f} s, "
            f"{r['peer_memory_mb']} MB | {r['ratio']:.2f} | {r['target'] if 'diffusers' in r['peer'] else ''} |"
            for r in rows
        ),
    ]
    print("\n".join(lines))
    if args.write:
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        page = ROOT / "docs" / "engines.md"
        text = page.read_text(encoding="utf-8")
        begin, end = (mark.format(machine["instructions"]) for mark in (BEGIN, END))
        before, _, rest = text.partition(begin)
        page.write_text(f"{before}{begin}\n" + "\n".join(lines) + f"\n{end}{rest.partition(end)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
