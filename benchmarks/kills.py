"""Commands that are killed at every call that changes a file, one after the other: is anything lost, or half?

    python benchmarks/kills.py                  all commands
    python benchmarks/kills.py --only convert   those whose name holds a word
    python benchmarks/kills.py --pairs 10       pairs of pulls of one file at once, too

Each kill happens in a fresh folder (`knife`). Then the next command comes, `danqing models`, and everything that a
person sees in the folder is either as it was before or as it is after a command that nobody kills. Then the killed
command is given again, and either does its work or says that it is done. Runs where there is fork and SIGKILL.

Exit code 1: something was lost or half.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.knife import Knife, command, forked, place
from benchmarks.pulls import DATA, PULL, SUM, pair, serving

RECORDS = Path(__file__).parents[1] / "tests" / "records"
MODELS, LIBRARY = RECORDS / "models", RECORDS / "library"
#: The training of `learn`: a network of one layer, which exports itself.
EXPERIMENT = """
from dataclasses import dataclass
import torch
from danqing.learn.training.experiment import Experiment
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.noise import keyed
from danqing.weights import store

@dataclass(frozen=True, kw_only=True)
class Line(Experiment):
    steps: int = 2
    save_every: float = 0.0
    log_every: int = 1
    sample_every: int = 1000
    def training(self):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 4)
        def objective(model, batch, noise):
            return {"loss": (model(batch) - batch).square().mean()}
        def batches(index):
            return torch.randn(2, 4, generator=keyed(index))
        return Training(model=model, objective=objective, batches=batches,
                        optimisers={"loss": torch.optim.SGD(model.parameters(), lr=0.1)}, rate=Trapezoid(3),
                        ema=EMA(model, 0.9), seed=0)
    def export(self, run, folder, core_hours):
        store.write(folder / "line.safetensors", run.model.state_dict())
        (folder / "model.json").write_text('{"danqing": 1}')
"""

#: What a folder of diffusers calls a UNet's file.
WEIGHTS = "diffusion_pytorch_model.safetensors"

Snapshot = dict[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, and what it finds.

    Args:
        name: of the case.
        args: of the command, given in the folder; ``{url}`` is the server's.
        before: makes what lies there.
        facts: of a file what must be as before or as after; its bytes where not said.
    """

    name: str
    args: Sequence[str]
    before: Callable[[Path], object] = lambda work: None
    facts: Callable[[Path], str] = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()


def _old_model(work: Path) -> None:
    shutil.copytree(MODELS / "vae", work / "made")


def _old_file(work: Path) -> None:
    shutil.copy(LIBRARY / "loras" / "odd.safetensors", work / "x.safetensors")


def _half_of_another(work: Path) -> None:
    """Half of a file of the same name from another address."""
    (work / "x.safetensors.part").write_bytes(DATA[::-1][:100_000])
    (work / "x.safetensors.part.json").write_text('{"of": "another", "mark": "1"}')


def _experiment(work: Path) -> None:
    (work / "line.py").write_text(EXPERIMENT)


def _trained(work: Path) -> None:
    _experiment(work)
    command(["learn", "line.py", "--out", "run"])


def _trained_over(work: Path) -> None:
    _trained(work)
    _old_model(work)


def _state(path: Path) -> str:
    """Of the files of a training what does not depend on the clock; all of them are read."""
    import torch
    from PIL import Image

    from danqing.learn.training import checkpoint, journal

    if path.suffix == ".pt":
        state = checkpoint.read(path)
        weights = [tensor.tolist() for tensor in _tensors(state) if isinstance(tensor, torch.Tensor)]
        return hashlib.sha256(repr(weights).encode()).hexdigest()
    if path.suffix == ".jsonl":
        return str([row["step"] for row in journal.rows(path)])
    if path.suffix == ".png":
        Image.open(path).load()
        return "a picture"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _tensors(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in _tensors(value[key])]
    return [leaf for each in value for leaf in _tensors(each)] if isinstance(value, list | tuple) else [value]


PAINT = ("paint", "a red fox", "--model", str(MODELS / "tiny"), "--seed", "1", "--steps", "1")
FOLDER = ("--layout", "danqing")
CASES = (
    Case(name="paint", args=(*PAINT, "-o", "out/")),
    Case(name="paint, a JPEG beside another", args=(*PAINT, "-o", "fox.jpg"),
         before=lambda work: (work / "fox.jpg").touch()),
    Case(name="enlarge", args=("enlarge", str(RECORDS / "given" / "picture.png"), "--model",
                               str(LIBRARY / "upscale_models" / "two.safetensors"), "-o", "large.png")),
    Case(name="convert, a file", args=("convert", str(LIBRARY / "loras" / "ink.safetensors"), "x.safetensors")),
    Case(name="convert, a file over a file", before=_old_file,
         args=("convert", str(LIBRARY / "loras" / "ink.safetensors"), "x.safetensors", "--force")),
    Case(name="convert, a folder", args=("convert", str(MODELS / "tiny"), "made", *FOLDER)),
    Case(name="convert, a folder over a folder", before=_old_model,
         args=("convert", str(MODELS / "tiny"), "made", *FOLDER, "--force")),
    Case(name="convert, to diffusers", args=("convert", str(MODELS / "sd15"), "made")),
    Case(name="merge", args=("merge", str(MODELS / "sd15" / "unet" / WEIGHTS), str(MODELS / "sd15" / "unet" / WEIGHTS),
                             "-o", "x.safetensors", "--weight", "0.3")),
    Case(name="pull", args=PULL),
    Case(name="pull, with its hash", args=(*PULL, "--sha256", SUM)),
    Case(name="pull, over a file", args=(*PULL, "--force"), before=_old_file),
    Case(name="pull, beside half of another", args=PULL, before=_half_of_another),
    Case(name="models", args=("models", "--hash"), before=lambda work: shutil.copytree(LIBRARY, work / "library")),
    Case(name="learn", args=("learn", "line.py", "--out", "run"), before=_experiment, facts=_state),
    Case(name="learn, exported", args=("learn", "line.py", "--out", "run", "--export", "made"), before=_trained,
         facts=_state),
    Case(name="learn, exported over a model", args=("learn", "line.py", "--out", "run", "--export", "made"),
         before=_trained_over, facts=_state),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- the places


def snapshot(work: Path, facts: Callable[[Path], str]) -> Snapshot:
    """Everything that a person sees in a folder; a folder in it is one thing, but a run's files are each one."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(path for path in work.rglob("*") if path.is_file()):
        name = path.relative_to(work)
        if name.parts[0] == "tensorboard" or "tensorboard" in name.parts or "__pycache__" in name.parts:
            continue
        if not any(part.startswith(".") for part in name.parts) and not re.search(r"\.part(\.json)?$", name.name):
            unit = name.parts[0] if name.parts[0] in ("made", "library") else name.as_posix()
            found.setdefault(unit, []).append((name.as_posix(), facts(path)))
    return {unit: tuple(files) for unit, files in found.items()}


# ------------------------------------------------------------------------------------------------------------ the kills


@dataclass
class Result:
    """How a case went: kills, what was wrong, and the hidden files left after the command was given again."""

    kills: int
    wrong: list[str]
    left: set[str]


def sweep(case: Case, url: str, root: Path, *, every: int = 1) -> Result:
    """Kill a command at every call, or at every so-manieth."""
    args = [arg.format(url=url) for arg in case.args]
    log = root.with_suffix(".log")
    with place(root, case.before), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        for warm in (args, ["models"]):  # what is imported and loaded here is there in every child
            command(warm)
    with place(root, case.before) as work:
        before = snapshot(work, case.facts)
        code, calls = forked(lambda: command(args), log, Knife(root, 0))
        if code:
            raise SystemExit(f"{case.name} ended with {code}: {log.read_text()[-2000:]}")
        after = snapshot(work, case.facts)
    result = Result(0, [], set())
    for at in range(1, len(calls) + 1, every):
        with place(root, case.before) as work:
            code, _ = forked(lambda: command(args), log, Knife(root, at))
            result.kills += code == -9
            told = [f"{case.name}, killed at call {at} ({calls[at - 1]}): {wrong}"
                    for wrong in _wrong(case, args, work, log, before, after)]  # fmt: skip
            result.wrong += told
            hidden = (path.name for path in work.rglob(".*") if path.name != ".filelock")
            result.left |= {re.sub(r"[0-9a-f]{12}", "*", name) for name in hidden}
    return result


def _wrong(case: Case, args: list[str], work: Path, log: Path, before: Snapshot, after: Snapshot) -> Iterator[str]:
    """What is not as it should be after a kill, at the next start and when the command is given again."""
    if (code := forked(lambda: command(["models"]), log)[0]) != 0:
        yield f"danqing models ended with {code}"
    try:
        now = snapshot(work, case.facts)
    except Exception as error:
        yield f"half: {error}"
        return
    for unit in {*before, *after, *now}:
        steps = unit.startswith("run/") and unit in after  # a run's files, which were read, may be of any of its steps
        if now.get(unit) not in (before.get(unit), after.get(unit)) and not steps:
            yield f"{unit} is {'lost' if unit not in now else 'half'}"
    code, _ = forked(lambda: command(args), log)
    final = snapshot(work, case.facts)
    if code != 0 and now != after:
        yield f"given again it ended with {code}"
    wanted = {files[0][1] for files in after.values()}
    for unit in {*after, *final}:
        if final.get(unit) != after.get(unit, final.get(unit)) or final[unit][0][1] not in wanted:
            yield f"given again, {unit} is {'lost' if unit not in final else 'another'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name holds this word")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of pulls at once")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import matplotlib.pyplot  # noqa: F401
    import tensorboardX  # noqa: F401
    import torch

    from danqing.learn.training import drive, export  # noqa: F401

    torch.set_num_threads(1)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, serving() as url:
        for case in (case for case in CASES if options.only in case.name):
            began = time.monotonic()
            result = sweep(case, url, Path(folder) / "place")
            wrong += result.wrong
            left = f"; hidden files left: {', '.join(sorted(result.left))}" if result.left else ""
            took = time.monotonic() - began
            print(f"{case.name}: {result.kills} kills, {len(result.wrong)} wrong, {took:.0f} s{left}", flush=True)
    with tempfile.TemporaryDirectory() as folder, serving(pause=0.05) as url:
        found = []
        for n in range(options.pairs):
            found += pair(url, Path(folder) / "place", ("--sha256", SUM) if n % 2 else (), 0.04 * n)
        print(f"{options.pairs} pairs of pulls at once: {options.pairs - len(found)} right")
    print(
        json.dumps([*wrong, *found], indent=2, ensure_ascii=False) if wrong or found else "nothing lost, nothing half"
    )
    return int(bool(wrong or found))


if __name__ == "__main__":
    sys.exit(main())
