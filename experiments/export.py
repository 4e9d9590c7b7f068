"""Write danqing-mini into the zoo from the trainings' checkpoints: averaged weights in bf16, tokenizer, description and card.

python -m experiments.export --trained "on 2 cores (Zen 4): autoencoder 1,500 steps, CLIP 230, painter 5,600; 3 hours"
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path

import torch
from torch import nn

from danqing.denoise import Denoiser
from danqing.easel import zoo
from danqing.nets import clip
from danqing.nets.drafted import MINI, DraftedUNet
from danqing.weights.load import save
from experiments.common import DATA, RUNS
from experiments.latents import autoencoder, averaged
from experiments.painter import SCHEDULES, Spoken

DEFAULTS = {"width": 128, "height": 128, "steps": 20, "solver": "dpmpp-2m", "spacing": "sgm-uniform", "scale": 4.0, "clip_skip": 1}

CARD = """\
# danqing-mini

Paints 128 x 128 px pictures from English and Chinese words. {parameters:.1f}M parameters, {megabytes:.1f} MB in bf16: a UNet
({unet:.1f}M) on 16 x 16 x 8 latents of an autoencoder ({vae:.1f}M), guided by the tokens of the text tower ({text:.1f}M) of a
small bilingual CLIP, which learned along with the painter. Rectified flow. Trained by this project alone: `experiments/` holds every step.

Trained {trained}.

## Data

Only openly licensed art, fetched by package name and pinned version; the ledger that `python -m experiments.data` writes has a line
for every picture with its subject, style, package, version, licence and author.

| source | version | licence | author | pictures trained on |
|---|---|---|---|---|
{sources}

{composites} composites are put together from the singles above; 5 % of the (subject, style) pairs and three styles of each of 20
subjects were never trained on. The Creative Commons Attribution sets are named above with their authors, as their licence asks.

## Measured

{metrics}

## Limits

It knows about 1,900 subjects drawn as emoji in eight styles, and drawn portraits; nothing else. It does not write text, and
photographs are beyond it. The pictures are drawings by licence: no photograph of a person was used.

## Files

| file | sha256 |
|---|---|
{files}
"""


def millions(module: nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--out", type=Path, default=zoo.zoo() / zoo.DEFAULT)
    parser.add_argument("--trained", required=True, help="where and how long, for the card")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    spoken = Spoken(Denoiser(DraftedUNet(MINI), SCHEDULES["flow"], "flow"), clip.CLIPText(clip.MINI_TEXT))
    averaged(args.runs / "painter" / "last.pt", spoken)
    painter, text, codec = spoken.denoiser, spoken.tower, autoencoder(args.runs)

    parts = {
        "denoiser": ("drafted-unet", "unet.safetensors", painter.net),
        "codec": ("autoencoder-kl", "vae.safetensors", codec),
        "text": ("clip-text", "text.safetensors", text),
    }
    for _, file, module in parts.values():
        save(module.to(torch.bfloat16), args.out / file)
    tokenizer = json.loads((args.data / "tokenizer.json").read_text(encoding="utf-8"))
    (args.out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    model = zoo.write_model(
        args.out,
        name=zoo.DEFAULT,
        components={role: (family, file, dataclasses.asdict(module.config)) for role, (family, file, module) in parts.items()},
        tokenizer={"kind": "bilingual", "file": "tokenizer.json"},
        schedule={"kind": "flow", "shift": SCHEDULES["flow"].shift},
        prediction="flow",
        multiple=16,
        summary="128 px pictures from English and Chinese words, trained on licensed art alone",
        licence="Apache-2.0; trained on MIT, Apache-2.0, CC-BY-4.0 and CC0 art",
        defaults=DEFAULTS,
    )

    ledger = [json.loads(line) for line in (args.data / "ledger.jsonl").open()]
    drawn = [row for row in ledger if row["split"] == "train" and row["kind"] != "composite"]
    counts = Counter((row["package"], row["version"], row["licence"], row["author"]) for row in drawn)
    metrics = args.runs / "evaluation.md"
    card = CARD.format(
        parameters=sum(millions(module) for _, _, module in parts.values()),
        megabytes=sum(f.stat().st_size for f in args.out.iterdir() if f.suffix != ".md") / 1e6,
        unet=millions(painter.net), vae=millions(codec), text=millions(text), trained=args.trained,
        composites=len(ledger) - len(drawn) - sum(row["split"] != "train" for row in ledger),
        sources="\n".join(f"| {' | '.join(source)} | {n} |" for source, n in sorted(counts.items())),
        metrics=metrics.read_text().strip() if metrics.exists() else "Not measured yet: `python -m experiments.evaluate`.",
        files="\n".join(f"| {part.file} | `{part.sha256}` |" for part in model.components.values()),
    )  # fmt: skip
    (args.out / "CARD.md").write_text(card, encoding="utf-8")
    shutil.copy(args.data / "styles.json", args.out / "styles.json")
    print(card)


if __name__ == "__main__":
    main()
