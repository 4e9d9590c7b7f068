"""Paint the pictures at the top of the README, or the seeds that they are chosen from.

python -m experiments.door                  docs/pictures/door.png
python -m experiments.door --candidates 4   runs/door.png: a row a prompt, a column a seed from 0
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from danqing.painting.load import load
from danqing.request.request import Request
from experiments.common import RUNS, grid

#: Pixels of each on the sheet.
SIDE = 192
#: What is shown, and the seed chosen by eye.
SHOWN = (
    ("a fox, 3d style", 1),
    ("a whale, gradient style", 1),
    ("a palm tree, flat style", 0),
    ("草莓，3D风格", 0),
    ("a red mushroom, 3d style", 0),
    ("a watermelon, flat style", 0),
    ("a lemon, 3d style", 0),
    ("an umbrella, 3d style", 1),
    ("a doughnut, 3d style", 0),
    ("a smiling woman with red hair and glasses", 1),
    ("a green apple, 3d style", 0),
    ("小鸡，3D风格", 0),
    ("a cactus, gradient style", 1),
    ("a penguin, 3d style", 1),
    ("一朵向日葵，noto风格", 1),
    ("grinning face, 3d style", 0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=0, help="how many seeds of each prompt to paint")
    args = parser.parse_args()
    painter = load()
    asked = [
        (prompt, seed) for prompt, chosen in SHOWN for seed in (range(args.candidates) if args.candidates else [chosen])
    ]
    painted = (painter.paint(Request(prompt=prompt, seed=seed)).image for prompt, seed in asked)
    pictures = [np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)) for image in painted]
    out = RUNS / "door.png" if args.candidates else Path(__file__).parents[1] / "docs" / "pictures" / "door.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    grid(pictures, args.candidates or 8).save(out)
    print(out)


if __name__ == "__main__":
    main()
