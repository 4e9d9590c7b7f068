"""Train the small bilingual CLIP of danqing-mini: pictures, English and Chinese captions in one space.

    python -m experiments.clip --minutes 12

The loss is the symmetric InfoNCE of picture and English, picture and Chinese, and English and Chinese (three pairs of
towers, two of them the same text tower), so that the painter hears both languages alike.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from danqing.learn.data.order import Mixture
from danqing.learn.objectives.contrastive import contrastive
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.learn.training.optim import Muon, muon_groups
from danqing.levels import from_arrays
from danqing.nets import clip
from danqing.prompt.tokenize import Tokenizer, bilingual_tokenizer, framed
from danqing.run.device import find_device, send
from danqing.run.precision import scaler, training_precision
from experiments.captions import captions
from experiments.common import DATA, RUNS, drive, fast, set_up


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Token ids (B, window): bos, the text cut to the window, eos, padding."""
    return torch.tensor([framed(tokenizer, tokenizer.encode(text)[: tokenizer.window - 2]) for text in texts])


def cut(ids: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Token ids (B, L) without what pads all of them: the text tower is causal, so that says nothing."""
    return ids[:, : int((ids != tokenizer.pad).sum(1).max())]


class Captioned:
    """The training pictures by source, with a caption in each language drawn for the step."""

    SOURCES = ("singles", "composites", "portraits")

    def __init__(self, data: Path):
        ledger = [json.loads(line) for line in (data / "ledger.jsonl").open()]
        self.rows = [[r for r in ledger if r["array"] == source and r["split"] == "train"] for source in self.SOURCES]

    def caption(self, source: int, item: int, draw: random.Random) -> dict[str, str]:
        """One caption a language: {"en": ..., "zh": ...}."""
        said = captions(self.rows[source][item], draw)
        return {lang: draw.choice([text for tongue, text in said if tongue == lang]) for lang in ("en", "zh")}


@dataclass(frozen=True)
class Bilingual:
    """InfoNCE over (picture, en), (picture, zh) and (en, zh)."""

    between: float = 0.5

    def __call__(self, model: nn.Module, batch: tuple[Tensor, Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        pictures, ids = batch  # (B, 3, H, W), (2 B, L): English, then Chinese
        assert isinstance(model, clip.CLIP)
        image = model.encode_image(pictures).float()
        en, zh = model.encode_text(ids).float().chunk(2)
        scale = model.logit_scale.exp().clamp(max=100.0)
        seen = (contrastive(image, en, scale) + contrastive(image, zh, scale)) / 2
        said = contrastive(en, zh, scale)
        right = ((image @ en.T).argmax(1) == torch.arange(len(image), device=image.device)).float().mean()
        return {"loss": seen + self.between * said, "seen": seen, "said": said, "right": right}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RUNS / "clip")
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_up(args.threads)
    device = find_device()

    torch.manual_seed(0)
    tokenizer = bilingual_tokenizer(args.data / "tokenizer.json")
    model = clip.CLIP(clip.MINI).to(device)
    source = Captioned(args.data)
    pictures = [np.load(args.data / f"{name}.npy", mmap_mode="r") for name in source.SOURCES]
    order = Mixture([len(rows) for rows in source.rows], [0.75, 0.15, 0.10], args.batch, "clip")

    def batch(step: int) -> tuple[Tensor, Tensor]:
        draw, shift = random.Random(step), np.random.default_rng(step)
        shown, said = [], []
        for kind, items in enumerate(order(step)):
            for item in items.tolist():
                picture = pictures[kind][source.rows[kind][item]["index"]]
                y, x = shift.integers(-6, 7, 2)  # a tower of so few pictures learns places by heart otherwise
                shown.append(np.roll(picture, (y, x), (0, 1)))
                said.append(source.caption(kind, item, draw))
        ids = encode_texts(tokenizer, [s["en"] for s in said] + [s["zh"] for s in said])
        ids = ids[
            :, : int((ids != tokenizer.pad).sum(1).max())
        ]  # the tower is causal: what follows the last eos is heard by nobody
        return send(from_arrays(np.stack(shown)), device), send(ids, device)

    edges = ["vision_model.embeddings", "text_model.embeddings", "logit_scale"]
    run = Training(
        model=model,
        objective=Bilingual(),
        batches=batch,
        optimisers={
            "loss": Muon(
                muon_groups(model, lr=0.01, adam_lr=1e-3, edges=edges, weight_decay=0.05),
                dtype=training_precision(device),
            )
        },
        rate=Trapezoid(50, args.steps, args.steps // 3),
        ema=EMA(model, 0.995),
        autocast=lambda: fast(device),
        scaler=scaler(device),
    )
    drive(run, args.out, args.steps, minutes=args.minutes)


if __name__ == "__main__":
    main()
