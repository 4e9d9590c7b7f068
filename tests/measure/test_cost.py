"""Laws of what is stated of painting: it is what painting takes."""

import json
import subprocess
import sys

import pytest
import torch

from danqing.measure.machine.cost import stated, told
from danqing.run.engine.engines import ENGINES

#: What decoding two more pictures adds to a process at its peak; the layers have packed their weights for the first.
MEASURED = """
import resource, sys, torch
from pathlib import Path
from danqing.painting.load import load
painter = load("danqing-mini", "cpu", "fp32", engine="packed")
def decoded(count):
    with torch.inference_mode():
        painter.codec.decode(torch.zeros(count, 8, 40, 40))
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # On Linux that begins at the peak of the process that started this one.
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = decoded(1)
print(decoded(3) - before)
"""


@pytest.mark.posix
def test_a_process_grows_by_what_is_stated_and_what_its_allocator_keeps():
    found = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    told = stated("danqing-mini", 320, 320, device="cpu", precision="fp32", engine="packed")
    assert 0.9 < int(found.stdout) / (2 * told.decode.peak) < 2


@pytest.mark.parametrize("engine", [name for name in ENGINES if not ENGINES[name].reason(torch.device("cpu"))])
def test_every_number_is_counted_once_and_a_larger_picture_takes_more(engine, tiny, painter):
    one, other = (stated(tiny, side, side, device="cpu", precision="fp32", engine=engine) for side in (32, 64))
    nets = {**painter.adapters.target.nets, "codec": painter.codec.vae}
    counts = {role: sum(tensor.numel() for tensor in net.state_dict().values()) for role, net in nets.items()}
    for found in (one, other):
        assert {role: part.parameters for role, part in found.parts.items()} == counts
        assert {role: part.bytes for role, part in found.parts.items()} == {r: 4 * n for r, n in counts.items()}
        assert found.peak("sequential") < found.peak("none")
        assert found.peak("none", tiles=True) <= found.peak("none")
    assert one.text == other.text
    for name in ("denoiser", "decode"):
        assert all(a < b for a, b in zip(getattr(one, name)[:2], getattr(other, name)[:2], strict=True))


def test_half_the_precision_is_half_the_bytes_of_all_but_the_text(tiny):
    wide, half = (stated(tiny, 32, 32, device="cpu", precision=name) for name in ("fp32", "bf16"))
    for role, part in half.parts.items():
        assert part.bytes * (1 if role == "text" else 2) == wide.parts[role].bytes


def test_the_command_says_it_for_people_and_as_json(run, tiny, tmp_path):
    code, out, _ = run("inspect", str(tiny), "--cost", "64x32", "--json", "--device", "cpu")
    found = json.loads(out)
    assert code == 0 and found["chosen"]["offload"] == "none" and found["chosen"]["peak"] == found["peak"]["none"]
    code, out, _ = run("inspect", str(tiny), "--cost", "64x32", "--device", "cpu")
    lines = [line.split(": ")[0] for line in out.splitlines()]
    assert code == 0 and lines == [name for name, _ in told(stated(tiny, 64, 32, device="cpu"))]
    for text in ("64", "64x", "x", "64x30"):
        assert run("inspect", str(tiny), "--cost", text)[0] == 2
