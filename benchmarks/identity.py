"""The right person among 1,000 drawn portraits: real ones, and what danqing-mini paints with `--face`.

    (cd experiments && npm ci)
    python -m experiments.identity draw && python -m experiments.identity judge
    taskset -c 0 python benchmarks/identity.py [--people 1000] [--queries 1000] [--painted 300] [--looked 200] [--write]

A person is a drawing's options, drawn by a seed of its own, so that none is of the art that anything here learned from.
A query is the same person with another expression, clothes and ground. Numbers are the recogniser's of zoo/identity,
once with the face where its finder sees it, a query that shows it none being wrong, and once with the whole picture
taken for the face, for the finder knows photographs; and the image tower's beside the judge. The finder's share is
counted on fewer pictures, since it looks five times.

Painted is from the query, with words for its expression, clothes and ground alone, at the defaults but for the finish,
one seed each; looked for is the right one among the people as they were first drawn, which the painter is not shown.
Who is the nearest there says a network that conditions nothing: of another architecture and seed than the encoder that
does (`experiments.identity`). Neither was trained on any of these people. So that no copy of the portrait does, they
are also painted with the words of the drawing that is looked for, which has another expression, clothes and ground.
Whether the expression is as asked says the judge of `danqing evaluate`, which sees it in few of the real ones; the
ground is as asked where no other ground is nearer to the upper corners, clothes where a twelfth of the picture's lowest
part, its sides apart, is nearly of their colour.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

import danqing
from danqing import installed
from danqing.codec import VAECodec
from danqing.finish.faces import Face
from danqing.identity import analysis
from danqing.levels import bytes_of
from danqing.measure import judge as judging
from danqing.measure import tower
from danqing.measure.evaluation import scores
from danqing.measure.identity import retrieved
from danqing.nets.image_projections import Portrait
from danqing.nets.ip_adapter import IPAdapter
from danqing.pictures.sheet import contact
from danqing.vision import tower as looks
from danqing.weights.load import load
from marks import put

sys.path.insert(0, str(Path(__file__).parents[1]))
from experiments.captions import canonical
from experiments.contrast import judged
from experiments.data.attributes import CLOTHES_COLOURS, GROUNDS
from experiments.identity import HOME
from experiments.latents import autoencoder, encoded
from experiments.portrait import ADAPTER

from experiments import people as drawn

#: What the people are drawn by, and the others whose expression and clothes they get.
SEED, OTHERS = 41, 42


def whole(picture: np.ndarray) -> Tensor:
    """The recogniser's numbers of a picture that is a face, (1, 128)."""
    box = (0.0, 0.0, float(picture.shape[1]), float(picture.shape[0]))
    return analysis.shipped().numbers(picture, Face(box, np.zeros((5, 2))))


def found(picture: np.ndarray) -> Tensor | None:
    """The same of the largest face that is found."""
    faces = analysis.largest_first(analysis.shipped().detect(picture))
    return analysis.shipped().numbers(picture, faces[0]) if faces else None


@torch.inference_mode()
def encodes(pictures: np.ndarray) -> Tensor:
    """Who is shown, (N, F), by the adapter's own encoder."""
    net = load(installed.require("portraits", ADAPTER), dtype=torch.float32)
    assert isinstance(net, IPAdapter) and isinstance(net.image_proj, Portrait)
    judge, _ = looks.recogniser(installed.require(looks.FOLDER, looks.JUDGE))
    grid, texture = looks.features(judge, stacked(pictures))
    return net.image_proj.person(grid.flatten(1), texture)


@torch.inference_mode()
def read(queries: np.ndarray, gallery: np.ndarray, most: int) -> list[str]:
    """What networks that ship say of real portraits: a table."""
    whose, sees = range(len(queries)), tower.load()
    towers = [sees.pictures(stacked(part)) for part in (queries, gallery)]
    numbers = [torch.cat([whole(picture) for picture in part]) for part in (queries, gallery)]
    looked = {i: it for i, picture in enumerate(queries[:most]) if (it := found(picture)) is not None}
    everyone = numbers[1].clone()  # a picture of the gallery without a face is taken whole
    for i in looked:
        everyone[i] = numbers[1][i] if (own := found(gallery[i])) is None else own[0]
    seen, of = list(looked), min(most, len(queries))
    right = retrieved(torch.cat([looked[i] for i in seen]), everyone, seen) * len(seen) / of if seen else 0.0
    return [
        f"| of {len(queries)} drawn queries, the right one of {len(gallery)} people is the nearest | |",
        "|---|---|",
        f"| recogniser, the face where it is found ({100 * len(seen) / of:.0f} % of {of}) | {100 * right:.1f} % |",
        f"| recogniser, the whole picture taken for one | {100 * retrieved(numbers[0], numbers[1], whose):.1f} % |",
        f"| image tower beside the judge | {100 * retrieved(towers[0], towers[1], whose):.1f} % |",
        f"| encoder of the adapter of portraits | {100 * retrieved(encodes(queries), encodes(gallery), whose):.1f} % |",
        f"| by chance | {100 / len(gallery):.1f} % |",
    ]


def stacked(pictures: Sequence[np.ndarray] | np.ndarray) -> Tensor:
    """Bytes (N, 3, H, W)."""
    return torch.from_numpy(np.stack(list(pictures))).movedim(-1, 1)


@torch.inference_mode()
def through(pictures: np.ndarray) -> Tensor:
    """The same as the autoencoder has them."""
    codec = VAECodec(autoencoder(Path("nowhere")))
    latents = torch.from_numpy(encoded(codec, pictures)).float()
    return bytes_of(torch.cat([codec.decode(part) for part in latents.split(25)]))


def words(line: dict[str, Any]) -> str:
    """What is said of a query that its person does not say."""
    said = {name: line["attributes"][name] for name in ("person", *drawn.FREE) if name in line["attributes"]}
    return canonical({**line, "attributes": said, "style": ""})


def painted(lines: Sequence[dict[str, Any]], portraits: np.ndarray | None = None) -> Tensor:
    """What the default model paints of people: with portraits of them and words for the rest, or of whole captions."""
    pictures = list[np.ndarray]()
    with TemporaryDirectory() as folder:
        for seed, line in enumerate(lines):
            file = Path(folder) / f"{seed}.png"
            if portraits is None:
                made = danqing.paint(canonical(line), seed=seed, style="none", finish=())
            else:
                Image.fromarray(portraits[seed]).save(file)
                made = danqing.paint(words(line), seed=seed, finish=(), faces=[str(file)])
            pictures.append(np.asarray(made.image.convert("RGB")))
    return stacked(pictures)


def colour(code: str) -> np.ndarray:
    """A colour as it stands in tables, in levels."""
    return np.array(ImageColor.getrgb(f"#{code}"), float)


def grounded(picture: np.ndarray, line: dict[str, Any]) -> bool:
    """Whether a picture (H, W, 3) has the ground that a line asks for."""
    corners = np.median(np.concatenate([picture[:6, :6], picture[:6, -6:]]).reshape(-1, 3), 0)
    away = {name: np.square(colour(code) - corners).sum() for name, (_, code) in GROUNDS.items()}
    return min(away, key=lambda name: away[name]) == line["attributes"]["background"]["en"]


def clothed(picture: np.ndarray, line: dict[str, Any]) -> bool:
    """Whether it has clothes of the colour that a line asks for, "a light blue shirt"."""
    name = " ".join(line["attributes"]["clothes"]["en"].split()[1:-1])
    away = np.linalg.norm(picture[100:, 20:108].astype(float) - colour(CLOTHES_COLOURS[name][1]), axis=-1)
    return bool((away < 60).mean() > 1 / 12)


def kept(
    people: list[dict[str, Any]],
    lines: list[dict[str, Any]],
    queries: np.ndarray,
    gallery: np.ndarray,
    args: argparse.Namespace,
) -> list[str]:
    """What the networks that judge say of real portraits and of painted ones: a table."""
    judge, sees, count = judged(args.judge), judging.load(), min(args.painted, len(lines))
    everyone = judge.people(stacked(gallery))
    some, portraits, others = lines[:count], queries[:count], people[:count]

    def row(name: str, pictures: Tensor, asked: list[dict[str, Any]]) -> str:
        right = 100 * retrieved(judge.people(pictures), everyone, range(len(pictures)))
        seen = pictures.movedim(1, -1).numpy()
        dressed = [i for i, line in enumerate(asked) if "clothes" in line["attributes"]]
        followed = (
            float(scores.portraits(sees, pictures, asked)["expression"].float().mean()),
            np.mean([clothed(seen[i], asked[i]) for i in dressed]),
            np.mean([grounded(*each) for each in zip(seen, asked, strict=True)]),
        )
        return f"| {name} | {right:.1f} % | {' | '.join(f'{100 * each:.0f} %' for each in followed)} |"

    shown = {
        "real, another expression, clothes and ground": (stacked(portraits), some),
        "the same through the autoencoder": (through(portraits), some),
        "painted, `--face` and words for the portrait's expression, clothes and ground": (
            painted(some, portraits),
            some,
        ),
        "painted, `--face` and words for another expression, other clothes, another ground": (
            painted(others, portraits),
            others,
        ),
        "painted, the whole caption and no face": (painted(some), some),
    }
    if args.sheet:
        rows = (each[:16].movedim(1, -1).numpy() for each in (stacked(gallery), *(one for one, _ in shown.values())))
        contact([Image.fromarray(picture) for row in rows for picture in row], 16).save(args.sheet)
    return [
        f"| of {count} queries | right of {len(gallery)} people | expression | clothes | ground |",
        "|---|---|---|---|---|",
        *(row(name, *each) for name, each in shown.items()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--painted", type=int, default=300, help="of how many queries pictures are painted")
    parser.add_argument("--looked", type=int, default=200, help="on how many queries faces are looked for")
    parser.add_argument("--judge", type=Path, default=HOME, help="the folder of the network that judges")
    parser.add_argument("--sheet", type=Path, help="where some of what was painted is shown")
    parser.add_argument("--only", choices=["read", "kept"], help="one of the tables")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/identity.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    people, others = drawn.twice(args.people, SEED, OTHERS)
    asked, gallery = others[: args.queries], drawn.pictures(people)
    queries = drawn.pictures(asked)
    tables = {
        "read": lambda: read(queries, gallery, args.looked),
        "kept": lambda: kept(people, asked, queries, gallery, args),
    }
    for name, table in tables.items():
        if args.only in (None, name):
            lines = "\n".join(table())
            print(lines, flush=True)
            if args.write:
                put("docs/identity.md", {"read": "drawn", "kept": "painted"}[name], lines)


if __name__ == "__main__":
    main()
