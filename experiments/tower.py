"""Match an image tower to the text tower of the default model: pictures lie where their captions do.

    python -m experiments.tower            ten minutes on one core, after every training of the text tower

The text tower stays as it is, and so does the judge, whose grids are read: what is learned is the step between, by the
symmetric InfoNCE of pictures and captions in both languages. Pictures and captions are embedded once.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from danqing.learn.data.order import Order
from danqing.learn.objectives.contrastive import contrastive
from danqing.measure import judge as judging
from danqing.measure import tower as towers
from danqing.measure.judge import Judge
from danqing.nets.tower import ImageTower, ImageTowerConfig
from danqing.noise import keyed
from experiments.art import ledger
from experiments.captions import LANGUAGES, canonical, caption
from experiments.common import DATA, set_up
from experiments.judge import ARRAYS as OF_JUDGE
from experiments.judge import kept

JUDGE = Path("zoo/mini/danqing_models/judge")
ARRAYS = (*OF_JUDGE, "composites")
#: Captions a picture and language; pictures a step; of the rate.
CAPTIONS, BATCH, RATE = 3, 512, 1e-3
#: How many pictures of each array are embedded at most, and how many are kept apart to measure.
MOST, APART = 12_000, 500


def embedded(data: Path, judge: Judge, rows: list[dict]) -> tuple[Tensor, Tensor]:
    """What the judge sees of pictures: grids (N, C · h · w) in half precision, and textures (N, T)."""
    arrays = {name: np.load(data / f"{name}.npy", mmap_mode="r") for name in {row["array"] for row in rows}}
    parts = []
    for first in range(0, len(rows), 256):
        some = np.stack([arrays[row["array"]][row["index"]] for row in rows[first : first + 256]])
        grid, texture = judge.features(torch.from_numpy(some).movedim(-1, 1))
        parts.append((grid.flatten(1).half(), texture))
    grids, textures = zip(*parts, strict=True)
    return torch.cat(grids), torch.cat(textures)


def recalled(pictures: Tensor, texts: Tensor) -> dict[str, float]:
    """Of (N, D) pictures and their captions: how often the own one of N is the first, or among five, both ways, in
    percent."""
    fits, found = pictures @ texts.mT, {}
    own = torch.arange(len(fits))[:, None]
    for way, scores in (("picture to words", fits), ("words to picture", fits.mT)):
        order = scores.topk(min(5, len(fits)), dim=1).indices
        found[f"{way}, first"] = round(100 * float((order[:, :1] == own).any(1).float().mean()), 1)
        found[f"{way}, in five"] = round(100 * float((order == own).any(1).float().mean()), 1)
    return found


def matched(seen: Tensor, texture: Tensor, said: dict[str, Tensor], steps: int) -> ImageTower:
    """A tower that has learned.

    Args:
        seen, texture: of N pictures.
        said: language -> the embeddings of their captions, (N, captions, D).
    """
    torch.manual_seed(0)
    net = ImageTower(ImageTowerConfig(grid=seen.shape[1], texture=texture.shape[1], width=said["en"].shape[-1]))
    adam = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.1)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, steps, pct_start=0.1)
    order = Order(len(seen), min(BATCH, len(seen)), "tower")
    for step in range(steps):
        items, noise = order(step), keyed("tower", step)
        spoken = torch.randint(said["en"].shape[1], (len(items),), generator=noise)
        grid = seen[items].float()
        grid = F.dropout(grid, 0.1)
        pictures, scale = net(grid, texture[items]), net.logit_scale.exp().clamp(max=100.0)
        losses = [contrastive(pictures, each[items, spoken], scale) for each in said.values()]
        loss = torch.stack(losses).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()
        if step % 100 == 0:
            print(step, f"{float(loss):.3f}", flush=True)
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--judge", type=Path, default=JUDGE, help="the folder of the judge, and of the tower")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    set_up(args.threads)
    judge, (text, tokenizer, sha256) = judging.load(args.judge), towers.speaker()
    draw = random.Random(0)
    every = [[row for row in ledger(args.data, (name,)) if not kept(row)] for name in ARRAYS]
    rows = [row for some in every for row in draw.sample(some, min(MOST, len(some)))]
    seen, texture = embedded(args.data, judge, rows)
    said = {
        lang: torch.stack(
            [towers.words(text, tokenizer, [caption(row, draw, lang) for row in rows]) for _ in range(CAPTIONS)], 1
        )
        for lang in LANGUAGES
    }
    net = matched(seen, texture, said, args.steps)
    for split in ("heldout_pair", "train"):
        some = [row for row in ledger(args.data, ("singles",)) if row["split"] == split]
        some = draw.sample(some, min(APART, len(some)))
        with torch.inference_mode():
            pictures = net(*(each.float() for each in embedded(args.data, judge, some)))
        for lang in LANGUAGES:
            texts = towers.words(text, tokenizer, [canonical(row, lang) for row in some])
            print(f"{split} ({len(some)}), {lang}: {recalled(pictures, texts)}", flush=True)
    towers.save(args.judge / towers.WEIGHTS, net, sha256)


if __name__ == "__main__":
    main()
