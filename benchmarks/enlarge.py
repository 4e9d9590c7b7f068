"""How long a picture takes to enlarge, ours beside the same network run plainly, in the same run.

    python benchmarks/enlarge.py                         x4 of a photograph of 512×512 by Real-ESRGAN's network of 23
    blocks python benchmarks/enlarge.py --size 32 --blocks 1    a small one python benchmarks/enlarge.py --size 1440
    --blocks 1 --one "danqing, fp32, channels last"      memory alone, to as many pixels as 8K has

Ours is `danqing.finish.enlarge.Enlarger`, from picture to picture: in fp32 and in the machine's fast precision, with
channels-last weights and without. The peer is the same network with the same random weights called as a user would, on
the whole picture, in the same
precisions and layouts: spandrel's where it can be imported (tests/parity/record_spandrel.py says how), else our own
module. All take turns, so that a busy moment of the machine hits each. Memory is how far one call lifts the peak of a
process of its own.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.parity, where the peer's stand-ins are


def photograph(size: int) -> Image.Image:
    """scikit-image's astronaut, or noise of her size where that is not installed: the time is the same."""
    try:
        from skimage import data  # pyright: ignore[reportMissingImports]

        image = Image.fromarray(data.astronaut())
    except ImportError:
        image = Image.fromarray(np.random.RandomState(0).randint(0, 256, (512, 512, 3)).astype(np.uint8))
    return image if size == 512 else image.resize((size, size))


def network(blocks: int) -> Any:
    """Real-ESRGAN's, with random weights."""
    from danqing.nets.rrdb import X4, RRDBNet

    torch.manual_seed(0)
    return RRDBNet(replace(X4, blocks=blocks))


@functools.cache
def peers() -> str:
    """Whose network runs plainly."""
    try:
        from tests.parity.record_spandrel import spandrel

        spandrel()
    except (ImportError, SystemExit):
        return "the same module"
    return "spandrel"


def plain(blocks: int) -> nn.Module:
    """The peer's network with the same weights."""
    net = network(blocks)
    if peers() != "spandrel":
        return net
    from tests.parity.record_spandrel import spandrel

    return spandrel().ModelLoader(device="cpu").load_from_state_dict(net.state_dict()).model


def ours(image: Image.Image, blocks: int, precision: str | None, channels_last: bool) -> Callable[[], object]:
    from danqing.finish.enlarge import Enlarger

    enlarger = Enlarger(network(blocks), precision=precision, channels_last=channels_last)
    return lambda: enlarger(image)


def theirs(image: Image.Image, blocks: int, dtype: torch.dtype, layout: torch.memory_format) -> Callable[[], object]:
    from danqing.run.device import find_device

    where = find_device()
    net = plain(blocks).eval().to(where, dtype)
    net = net.to(memory_format=layout)  # pyright: ignore[reportCallIssue]  # torch's stub lacks it alone

    @torch.no_grad()
    def enlarge() -> Image.Image:
        x = torch.from_numpy(np.array(image)).to(where).permute(2, 0, 1)[None].to(dtype, memory_format=layout) / 255
        y = (net(x)[0].float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
        return Image.fromarray(y.cpu().numpy())

    return enlarge


def works(image: Image.Image, blocks: int) -> dict[str, Callable[[], Callable[[], object]]]:
    """Name -> what builds the work."""
    from danqing.run.precision import NAMES, find_precision, precision_name

    layouts = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
    found: dict[str, Callable[[], Callable[[], object]]] = {}
    for short in dict.fromkeys(
        ("fp32", precision_name(find_precision()))
    ):  # what is slow on this machine would take hours
        for layout, form in layouts.items():
            found[f"danqing, {short}, {layout}"] = functools.partial(
                ours, image, blocks, short, layout == "channels last"
            )
            found[f"{peers()}, whole, {short}, {layout}"] = functools.partial(theirs, image, blocks, NAMES[short], form)
    return found


def peak() -> float:
    """The process's largest memory so far, in MB; on CUDA the device's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def lifted(work: str, size: int, blocks: int) -> float:
    """MB by which one call lifts the peak, in a process of its own."""
    command = [sys.executable, __file__, "--one", work, "--size", str(size), "--blocks", str(blocks)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--blocks", type=int, default=23)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help="print the MB that one call of this row lifts the peak by, and no more")
    args = parser.parse_args()
    image = photograph(args.size)
    kinds = works(image, args.blocks)
    if args.one:
        work = kinds[args.one]()
        before = peak()
        work()
        print(json.dumps(peak() - before))
        return
    from danqing.run.record import describe

    machine = describe()
    made = {name: make() for name, make in kinds.items()}
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for i in range(args.rounds + 1):  # the first round does not count
        for name, work in made.items():
            begin = time.perf_counter()
            work()
            if i:
                seconds[name].append(time.perf_counter() - begin)
    print(
        f"Measured by `python benchmarks/enlarge.py` on {machine.get('gpu', machine['cpu'])} "
        f"({machine['instructions']}, "
        f"{machine['threads']} threads, torch {machine['torch']}): {args.size}×{args.size} to four times "
        f"each side, {args.blocks} blocks.\n"
    )
    print("| | seconds | memory above what was held before |\n|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {statistics.median(values):.2f} | {lifted(name, args.size, args.blocks):,.0f} MB |")


if __name__ == "__main__":
    main()
