"""Record what spandrel's GFPGAN makes of faces for test_gfpgan.py: writes fixtures/gfpgan.npz.

How to record again, and how weights are drawn, says record_spandrel.py. spandrel reads files of 512 px alone, so that
its network is built here, at the sizes of `FILES`. Recorded for each: the names and shapes of its weights, and its
answer with their constant noise.
"""

import importlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.parity.record_spandrel import PACKAGES, Shapes, spandrel, weights

#: The arguments of spandrel's network: channels that halve from 64 px on, and the same for all resolutions.
FILES = {
    "64 px": {"out_size": 64, "narrow": 1 / 64, "channel_multiplier": 1, "num_style_feat": 6, "num_mlp": 2},
    "16 px": {"out_size": 16, "narrow": 1 / 32, "channel_multiplier": 2, "num_style_feat": 12, "num_mlp": 8},
}


def faces(side: int) -> torch.Tensor:
    """(1, 3, side, side) in [-1, 1]."""
    return torch.from_numpy(np.random.RandomState(1).uniform(-1, 1, (1, 3, side, side))).float()


def main() -> None:
    for package, version in PACKAGES.items():
        if importlib.metadata.version(package) != version:
            raise SystemExit(f"{package} is {importlib.metadata.version(package)}, this records {version}")
    spandrel()
    theirs = importlib.import_module("spandrel.architectures.GFPGAN").GFPGAN
    torch.set_num_threads(1)
    record: dict[str, Any] = {}
    for name, arguments in FILES.items():
        net = theirs(**arguments).eval()
        shapes: Shapes = {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}
        net.load_state_dict(weights(shapes))
        with torch.no_grad():
            record[name] = net(faces(int(arguments["out_size"])), randomize_noise=False)[0].numpy()
        record[f"{name} / file"] = json.dumps(shapes)
    path = Path(__file__).parent / "fixtures" / "gfpgan.npz"
    np.savez_compressed(path, **record)
    print(f"{path}: {len(FILES)} files, {path.stat().st_size} bytes, {PACKAGES}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
