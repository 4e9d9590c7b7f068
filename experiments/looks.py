"""Tell by its look which style a picture is in: of the eight sets of single subjects, the two that hold the same
drawings as one.

    python -m experiments.looks          five minutes on one core: how many of the real held-out pictures it tells

It is read from the means and deviations of all levels' features of the network that ships (`danqing.nets.features`), at
128 and at 64 px, by a small network that learns on the real art which is trained on. Read so, noise that no one sees,
or a pass through the autoencoder, changes little; the counts of even pixels would tell more of the real pictures apart,
by the way their files were made.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danqing.levels import from_arrays
from danqing.measure import features
from danqing.nets.features import Features, deviation
from experiments.common import DATA, set_up
from experiments.judge import Labels

#: Fluent's 3D pictures are rendered from the drawings of its gradient ones.
SAME = {"gradient": "3d"}
HIDDEN, STEPS, BATCH, NOISE = 128, 1000, 256, 0.1


def look(style: str) -> str:
    """The look of a style."""
    return SAME.get(style, style)


@torch.inference_mode()
def texture(trunk: Features, pictures: np.ndarray) -> Tensor:
    """Bytes (N, 128, 128, 3) to (N, 4 · the sum of the trunk's widths): means and deviations of each level, seen near
    and from afar."""
    rows = []
    for first in range(0, len(pictures), 64):
        near = from_arrays(pictures[first : first + 64])
        grids = [grid for x in (near, F.avg_pool2d(near, 2)) for grid in trunk.grids(x)]
        rows.append(torch.cat([moment for grid in grids for moment in (grid.mean((2, 3)), deviation(grid))], 1))
    return torch.cat(rows)


class Looks:
    """Pictures to looks.

    Args:
        pictures: real ones, bytes (N, 128, 128, 3).
        styles: theirs.
    """

    def __init__(self, pictures: np.ndarray, styles: Sequence[str]):
        torch.manual_seed(0)
        self.trunk, self.names = features.load(), sorted({look(style) for style in styles})
        x, labels = texture(self.trunk, pictures).clone(), self.labels(styles)
        self.mean, self.spread = x.mean(0), x.std(0) + 1e-6
        x = self._scaled(x)
        self.head = nn.Sequential(
            nn.Linear(x.shape[1], HIDDEN), nn.SiLU(), nn.Dropout(0.5), nn.Linear(HIDDEN, len(self.names))
        )
        adam = torch.optim.AdamW(self.head.parameters(), lr=1e-3, weight_decay=0.1)
        for _ in range(STEPS):
            some = torch.randint(len(x), (BATCH,))
            noisy = x[some] + NOISE * torch.randn(BATCH, x.shape[1])
            loss = F.cross_entropy(self.head(noisy), labels[some], label_smoothing=0.1)
            adam.zero_grad()
            loss.backward()
            adam.step()
        self.head.eval()

    def labels(self, styles: Sequence[str]) -> Tensor:
        """The numbers of styles' looks, (N,)."""
        return torch.tensor([self.names.index(look(style)) for style in styles])

    @torch.inference_mode()
    def of(self, pictures: np.ndarray) -> Tensor:
        """The look of each picture, (N,)."""
        return self.head(self._scaled(texture(self.trunk, pictures))).argmax(1)

    def told(self, pictures: np.ndarray, styles: Sequence[str]) -> float:
        """How many are told, in percent."""
        return round(100 * float((self.of(pictures) == self.labels(styles)).float().mean()), 1)

    def _scaled(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.spread).clamp(-4, 4)

    @classmethod
    def learned(cls, lines: Sequence[Mapping], pictures: np.ndarray) -> Looks:
        """Of all art that may be trained on: the ledger's lines of single subjects, and the array that they count
        in."""
        rows = [row for row in lines if row["split"] == "train"]
        return cls(pictures[[row["index"] for row in rows]], [row["style"] for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_up(args.threads)
    lines, pictures = Labels(args.data).rows, np.load(args.data / "singles.npy", mmap_mode="r")
    looks = Looks.learned(lines, pictures)
    for split in ("heldout_pair", "heldout_subject"):
        rows = [row for row in lines if row["split"] == split]
        real = pictures[[row["index"] for row in rows]]
        print(
            f"{split} ({len(rows)}): {looks.told(real, [row['style'] for row in rows])} % of the real pictures",
            flush=True,
        )


if __name__ == "__main__":
    main()
