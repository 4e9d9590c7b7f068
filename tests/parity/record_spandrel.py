"""Record what spandrel makes of upscalers' files for test_upscalers.py: writes fixtures/spandrel.npz.

spandrel wants torchvision at import, so it is no dependency of the tests. To record again, in an environment of its own
that has torch:

    pip install --no-deps spandrel==0.4.2
    pip install numpy einops safetensors typing_extensions
    python tests/parity/record_spandrel.py

Recorded for each layout: the names and shapes of a small file, the scale that spandrel reads from it, and its network's
answer. Weights and picture are drawn by NumPy's RandomState, whose streams never change: `weights` and `picture` draw
them again.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import math
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

PACKAGES = {"spandrel": "0.4.2"}
Shapes = dict[str, tuple[int, ...]]

#: The dense blocks' growth is spandrel's own, which it does not read from the file.
CHANNELS, GROWTH = 4, 32


def weights(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Of unit gain, in the order of the names."""
    draw = np.random.RandomState(0)
    return {
        name: torch.from_numpy(draw.standard_normal(shape) / math.sqrt(math.prod(shape[1:]) or 1)).float()
        for name, shape in shapes.items()
    }


def picture(channels: int) -> torch.Tensor:
    """(1, C, 4, 8) in [0, 1]."""
    return torch.from_numpy(np.random.RandomState(1).random_sample((1, channels, 4, 8))).float()


def convolution(name: str, read: int, written: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (written, read, 3, 3)
    yield f"{name}.bias", (written,)


def blocks(pattern: str, number: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The dense blocks; the pattern has a place for the block, for the dense block and for the convolution in it."""
    for i in range(number):
        for j in (1, 2, 3):
            for k in range(1, 6):
                yield from convolution(
                    pattern.format(i, j, k), CHANNELS + (k - 1) * GROWTH, GROWTH if k < 5 else CHANNELS
                )


def rrdb(layout: str, *, ups: int, fold: int = 1, number: int = 1, channels: int = 3) -> Shapes:
    """A file of ESRGAN's network: in the first layout, in BSRGAN's or in Real-ESRGAN's."""
    old = {
        "first": "model.0",
        "block": "model.1.sub.{}.RDB{}.conv{}.0",
        "trunk": f"model.1.sub.{number}",
        "up": "model.{}",
    }
    bsrgan = {"first": "conv_first", "block": "RRDB_trunk.{}.RDB{}.conv{}", "trunk": "trunk_conv", "up": "upconv{}"}
    new = {"first": "conv_first", "block": "body.{}.rdb{}.conv{}", "trunk": "conv_body", "up": "conv_up{}"}
    names = {"old": old, "bsrgan": bsrgan, "new": new}[layout]
    high = {"old": f"model.{3 * ups + 2}", "bsrgan": "HRconv", "new": "conv_hr"}[layout]
    last = f"model.{3 * ups + 4}" if layout == "old" else "conv_last"
    shapes = dict(convolution(names["first"], channels * fold**2, CHANNELS))
    shapes |= blocks(names["block"], number)
    shapes |= convolution(names["trunk"], CHANNELS, CHANNELS)
    for k in range(1, ups + 1):
        shapes |= convolution(names["up"].format(3 * k if layout == "old" else k), CHANNELS, CHANNELS)
    return shapes | dict(convolution(high, CHANNELS, CHANNELS)) | dict(convolution(last, CHANNELS, channels))


def compact(scale: int, number: int) -> Shapes:
    """A file of Real-ESRGAN's small network."""
    shapes: Shapes = dict(convolution("body.0", 3, 8)) | {"body.1.weight": (8,)}
    for i in range(1, number + 1):
        shapes |= dict(convolution(f"body.{2 * i}", 8, 8)) | {f"body.{2 * i + 1}.weight": (8,)}
    return shapes | dict(convolution(f"body.{2 * number + 2}", 8, 3 * scale**2))


FILES = {
    "old x1": rrdb("old", ups=0),
    "old x2": rrdb("old", ups=1),
    "old x4": rrdb("old", ups=2, number=2),
    "old x8": rrdb("old", ups=3),
    "old x2, folded": rrdb("old", ups=2, fold=2),
    "old x4, grey": rrdb("old", ups=2, channels=1),
    "bsrgan x4": rrdb("bsrgan", ups=2, number=2),
    "bsrgan x2": rrdb("bsrgan", ups=1),
    "new x4": rrdb("new", ups=2, number=2),
    "new x2": rrdb("new", ups=2, fold=2),
    "new x1": rrdb("new", ups=2, fold=4),
    "compact x1": compact(1, 2),
    "compact x2": compact(2, 3),
    "compact x4": compact(4, 4),
}


def spandrel() -> Any:
    """spandrel, with empty modules for torchvision."""
    if importlib.util.find_spec("spandrel") is None:
        raise SystemExit("spandrel is not installed: see the top of this file")

    class Standin(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    for name in (
        "torchvision",
        *(f"torchvision.{part}" for part in ("ops", "transforms", "transforms.functional", "models")),
    ):
        sys.modules[name] = Standin(name)
        sys.modules[name].__path__ = []
    return importlib.import_module("spandrel")


def main() -> None:
    for package, version in PACKAGES.items():
        if importlib.metadata.version(package) != version:
            raise SystemExit(f"{package} is {importlib.metadata.version(package)}, this records {version}")
    loader = spandrel().ModelLoader(device="cpu")
    torch.set_num_threads(1)
    record: dict[str, Any] = {}
    for name, shapes in FILES.items():
        found = loader.load_from_state_dict(weights(shapes))
        with torch.no_grad():
            record[name] = found.model.float().eval()(picture(found.input_channels)).numpy()
        record[f"{name} / file"] = json.dumps({"shapes": shapes, "scale": found.scale})
    path = Path(__file__).parent / "fixtures" / "spandrel.npz"
    np.savez_compressed(path, **record)
    print(f"{path}: {len(FILES)} files, {path.stat().st_size} bytes, {PACKAGES}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
