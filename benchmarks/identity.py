"""The right person among 1,000 drawn portraits, found by the numbers of networks that ship.

    (cd experiments && npm ci)
    taskset -c 0 python benchmarks/identity.py [--people 1000] [--queries 1000] [--looked 200] [--write]

A person is a drawing's options, drawn by a seed of its own, so that none is of the art that anything here learned from.
A query is the same person with another expression, clothes and ground. Numbers are the recogniser's of zoo/identity,
once with the face where its finder sees it, a query that shows it none being wrong, and once with the whole picture
taken for the face, for the finder knows photographs; and the image tower's beside the judge. The finder's share is
counted on fewer pictures, since it looks five times.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danqing.finish.faces import Face
from danqing.identity import analysis
from danqing.measure import tower
from danqing.measure.identity import retrieved
from marks import put

sys.path.insert(0, str(Path(__file__).parents[1]))
from experiments.data.attributes import SETS
from experiments.data.portraits import drawn, person, plan, render

MODULES = Path(__file__).parents[1] / "experiments" / "node_modules"
#: What the people are drawn by, and the others whose expression and clothes they get.
SEED, OTHERS = 41, 42


def otherwise(line: Mapping[str, Any], draw: random.Random) -> dict[str, Any]:
    """The same person with the expression, the clothes and the ground of another of the same set and sex."""
    table, sex = SETS[line["style"]], line["attributes"]["person"]["en"]
    free = {table["mouth"], f"{table['mouth']}Probability", "backgroundColor"}
    free |= {name for pins in table.get("face_pins", {}).values() for name in pins}
    free |= {table["brows"][0]} if "brows" in table else set()
    free |= {table["clothes"][0]} if "clothes" in table else set()
    while True:
        options, said, _ = person(line["style"], draw)
        same = said.get("expression") == line["attributes"].get("expression")
        if said["person"]["en"] == sex and not same:
            break
    kept = {name: value for name, value in line["options"].items() if name not in free}
    made = copy.deepcopy(dict(line))
    made["options"] = {**kept, **{name: value for name, value in options.items() if name in free}}
    return made


def whole(picture: np.ndarray) -> Tensor:
    """The recogniser's numbers of a picture that is a face, (1, 128)."""
    box = (0.0, 0.0, float(picture.shape[1]), float(picture.shape[0]))
    return analysis.shipped().numbers(picture, Face(box, np.zeros((5, 2))))


def found(picture: np.ndarray) -> Tensor | None:
    """The same of the largest face that is found."""
    faces = analysis.largest_first(analysis.shipped().detect(picture))
    return analysis.shipped().numbers(picture, faces[0]) if faces else None


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--looked", type=int, default=200, help="on how many queries faces are looked for")
    parser.add_argument("--write", action="store_true", help="put the table into docs/identity.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    people, draw = plan(MODULES, args.people, SEED), random.Random(OTHERS)
    asked = people[: args.queries]
    gallery = [render(job) for job in drawn(MODULES, people)]
    queries = [render(job) for job in drawn(MODULES, [otherwise(line, draw) for line in asked])]
    whose = range(len(queries))

    sees = tower.load()
    every = [torch.from_numpy(np.stack(part)).movedim(-1, 1) for part in (queries, gallery)]
    towers = [torch.cat([sees.pictures(some) for some in part.split(50)]) for part in every]
    numbers = [torch.cat([whole(picture) for picture in part]) for part in (queries, gallery)]
    looked = {i: it for i, picture in enumerate(queries[: args.looked]) if (it := found(picture)) is not None}
    everyone = numbers[1].clone()  # a picture of the gallery without a face is taken whole
    for i in looked:
        everyone[i] = numbers[1][i] if (own := found(gallery[i])) is None else own[0]
    seen, of = list(looked), min(args.looked, len(queries))
    right = retrieved(torch.cat([looked[i] for i in seen]), everyone, seen) * len(seen) / of if seen else 0.0
    alike = retrieved(numbers[0], numbers[1], whose)
    lines = [
        f"| of {len(queries)} drawn queries, the right one of {len(people)} people is the nearest | |",
        "|---|---|",
        f"| recogniser, the face where it is found ({100 * len(seen) / of:.0f} % of {of}) | {100 * right:.1f} % |",
        f"| recogniser, the whole picture taken for the face | {100 * alike:.1f} % |",
        f"| image tower beside the judge | {100 * retrieved(towers[0], towers[1], whose):.1f} % |",
        f"| by chance | {100 / len(people):.1f} % |",
    ]
    print("\n".join(lines))
    if args.write:
        put("docs/identity.md", "drawn", "\n".join(lines))


if __name__ == "__main__":
    main()
