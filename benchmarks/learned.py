"""Put sheets before and after learning side by side, for `docs/adapters.md`.

    python -m experiments.adapters style lorelei --portraits
    python -m experiments.adapters subject koala --draw 1
    python benchmarks/learned.py SHEET SHEET

A sheet is a samples-000200.png of a run's folder.
"""

from __future__ import annotations

import sys

from PIL import Image

from steering import PICTURES

GAP = 16


def beside(sheets: list[Image.Image]) -> Image.Image:
    """Sheets from left to right on white, their bottoms in one line."""
    height, width = max(each.height for each in sheets), sum(each.width + GAP for each in sheets) - GAP
    whole, left = Image.new("RGB", (width, height), "white"), 0
    for each in sheets:
        whole.paste(each, (left, height - each.height))
        left += each.width + GAP
    return whole


def main() -> None:
    sheets = [Image.open(file).convert("RGB") for file in sys.argv[1:]]
    if not sheets:
        raise SystemExit(__doc__)
    beside(sheets).save(PICTURES / "adapters.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
