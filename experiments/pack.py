"""Pack a training to go on elsewhere: one folder of at most 60 MiB that trains wherever torch is, without network.

    python -m experiments.pack packed --model zoo/mini/danqing_models/danqing-mini
    cd packed && python -m experiments.away painter --minutes 9 --out home --batch 1024     # there
    python -m experiments.unpack packed/home                                                # here again

It holds the code, the single pictures and some of the portraits as WebP, their ledger, and the weights of the model and
of the newest draft in 8 bits; recoloured copies, composites and latents are made there. The best quality of pictures
that fits is taken: 60 moves latents by 0.001 of their variance, 25 by 0.0024, the autoencoder's 8 bits by 0.00004.
"""

from __future__ import annotations

import argparse
import itertools
import json
import lzma
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import danqing
import experiments
from danqing.errors import InvalidFile, InvalidInput
from danqing.store.model import Model, read_model
from danqing.store.shipped import DEFAULT, folders
from danqing.weights import store
from experiments.common import DATA, RUNS
from experiments.data.ledger import read_records
from experiments.draft import trained
from experiments.parcels import MIB, narrowed, seal, webp, write_pictures

QUALITIES = (90, 80, 70, 60, 50, 40, 30, 20)
#: What the trainings have no use for: compiled and built files, other programs' vocabularies, messages in Chinese.
LEFT_OUT = shutil.ignore_patterns("__pycache__", "built", "node_modules", "*.so", "*.gz", "*.mo", "*.po", "*lock.json")
ROLES = ("denoiser", "codec", "text")
ENTRY = 120  # bytes that a zip file takes for each of its files
RESERVE = MIB // 2  # for the manifest, and for what `expected` does not know
#: Beside its weights a model is these.
BESIDE = ("model.json", "tokenizer.json", "styles.json")


def weights(model: Model, runs: Path) -> dict[str, Tensor]:
    """What travels of a model's networks and of the newest draft, as "role.name"."""
    found: dict[str, Tensor] = {}
    for role in ROLES:
        found |= {f"{role}.{name}": t for name, t in store.read(model.path(model.components[role].file)).items()}
    if (drafts := trained(runs)) is not None:
        found = {name: t for name, t in found.items() if not name.startswith("text.")}
        found |= {f"text.{name}": t for name, t in drafts.tower.state_dict().items()}
        found |= {f"draft.{name}": t for name, t in drafts.draft.state_dict().items()}
    return narrowed(found)


def opaque(data: Path) -> Iterator[np.ndarray]:
    """The single pictures on white with their opacity as a fourth channel."""
    colours, opacity = (np.load(data / f"{name}.npy", mmap_mode="r") for name in ("singles", "singles_alpha"))
    return (np.dstack(both) for both in zip(colours, opacity, strict=True))


def expected(pictures: Iterable[np.ndarray], quality: int) -> int:
    """About how many bytes pictures take as WebP in a zip file, told by every 20th of them."""
    return 20 * sum(len(webp(picture, quality)) + ENTRY for picture in itertools.islice(pictures, 0, None, 20))


def size(folder: Path) -> int:
    """The bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def pack(out: Path, model: Model, data: Path, runs: Path, portraits: int, limit: int) -> int:
    """Make the folder; the quality of its pictures.

    Raises:
        InvalidInput: it exists, or no quality fits into ``limit`` bytes.
        InvalidFile: the data are missing.
    """
    if out.exists():
        raise InvalidInput(f"{out} is there already: name a new folder, or remove it")
    if not (data / "ledger.jsonl").is_file():
        raise InvalidFile(f"{data} holds no ledger.jsonl: run `python -m experiments.data` first")
    for package in (danqing, experiments):
        here = Path(str(package.__file__)).parent
        shutil.copytree(here, out / here.name, ignore=LEFT_OUT)
    there = out / "danqing_models" / DEFAULT
    there.mkdir(parents=True)
    for name in BESIDE:
        shutil.copy(model.folder / name, there / name)
    samples = model.folder / "evaluation.json"
    seen = json.loads(samples.read_text(encoding="utf-8")).get("samples", 0) if samples.is_file() else 0
    (there / "evaluation.json").write_text(json.dumps({"samples": seen}), encoding="utf-8")
    store.write(out / "weights.safetensors", weights(model, runs))

    art = out / "art"
    art.mkdir()
    for array, count in (("singles", None), ("portraits", portraits)):
        lines = (json.dumps(row, ensure_ascii=False) for row in read_records(data / f"ledger_{array}.jsonl")[:count])
        (art / f"ledger_{array}.jsonl.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    drawn = np.load(data / "portraits.npy", mmap_mode="r")[:portraits]
    room = limit - size(out) - RESERVE
    quality = next((q for q in QUALITIES if expected(opaque(data), q) + expected(drawn, q) <= room), None)
    if quality is not None:
        write_pictures(art / "singles.zip", opaque(data), quality)
        write_pictures(art / "portraits.zip", drawn, quality)
        heads = {role: dict(store.header(model.path(model.components[role].file)).metadata) for role in ROLES}
        seal(out, {"quality": quality, "portraits": len(drawn), "heads": heads})
        return quality
    shutil.rmtree(out)
    raise InvalidInput(f"nothing fits into {limit} bytes: allow more, or fewer than {portraits} portraits")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, help="the folder to go on from, as experiments.export writes it")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS, help="where the newest draft is, if there is one")
    parser.add_argument("--portraits", type=int, default=3000, help="how many travel")
    parser.add_argument("--limit", type=int, default=60, help="MiB")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = read_model(args.model or folders()[DEFAULT])
    quality = pack(args.out, model, args.data, args.runs, args.portraits, args.limit * MIB)
    print(f"{args.out}: {size(args.out) / MIB:.1f} MiB, pictures at quality {quality}")


if __name__ == "__main__":
    main()
