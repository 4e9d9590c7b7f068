"""Take in what a packed training has learned elsewhere.

    python -m experiments.unpack home
    python -m experiments.export --name painter-away --kind drafted --pictures 20000000 --trained "..."

The pieces become a checkpoint of averaged weights: of a draft, where `experiments.painter` and `experiments.pack` find
it; of a painter, with the text tower and the draft that it stood on, where `experiments.export` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from danqing.errors import InvalidInput
from danqing.nets.drafted import DraftedUNet
from danqing.weights import store
from experiments.common import RUNS
from experiments.draft import trained
from experiments.latents import shipped
from experiments.parcels import unsealed, widened


def standing(runs: Path) -> dict[str, Tensor]:
    """What a painter stands on, by its names in the painter's checkpoint: the newest draft with its tower, else those
    of the model that ships."""
    drafts = trained(runs)
    tower = shipped("text") if drafts is None else drafts.tower
    draft = cast(DraftedUNet, shipped("denoiser")).draft if drafts is None else drafts.draft
    parts = {"tower.": tower, "denoiser.net.draft.": draft}
    return {first + name: t for first, part in parts.items() for name, t in part.state_dict().items()}


def unpack(home: Path, runs: Path, name: str | None = None) -> Path:
    """Write the checkpoint of the weights in a folder that `experiments.away` left; its path.

    Raises:
        InvalidFile: the folder misses a piece, or one is damaged.
        InvalidInput: there is such a checkpoint already.
    """
    said = unsealed(home)
    files = [file for file in said["files"] if file.endswith(".safetensors")]
    state = widened({key: t for file in files for key, t in store.read(home / file).items()})
    draft = said["part"] == "draft"
    folder = runs / "draft" / f"cooled-{said['samples']:09}" if draft else runs / (name or "painter-away")
    if (folder / "last.pt").exists():
        raise InvalidInput(f"{folder / 'last.pt'} is there already: remove it, or give a painter another --name")
    whole = state if draft else standing(runs) | state
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"step": 0, "ema": {"model": whole}}, folder / "last.pt")
    return folder / "last.pt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--name", help="of a painter, inside --runs: painter-away")
    args = parser.parse_args()
    print(unpack(args.home, args.runs, args.name))


if __name__ == "__main__":
    main()
