"""Paint the pictures at the top of the README: the 64 fixed prompts, one seed, one try each, none left out.

python -m experiments.door      docs/pictures/door.webp
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from danqing.measure.evaluation.prompts import PROMPTS, SEED
from danqing.painting.load import load
from danqing.request.request import Request
from experiments.common import grid

#: Pixels of each on the sheet, and how many are in a row.
SIDE, ROW = 128, 8
DOOR = Path(__file__).parents[1] / "docs" / "pictures" / "door.webp"


def main() -> None:
    painter = load()
    painted = (painter.paint(Request(prompt=prompt, seed=SEED)).image for prompt in PROMPTS)
    grid([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)) for image in painted], ROW).save(
        DOOR, quality=85, method=6
    )
    print(DOOR)


if __name__ == "__main__":
    main()
