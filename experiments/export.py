"""Write danqing-mini into zoo/mini from the trainings' checkpoints: averaged weights in bf16, tokenizer,
description and card. Where no painter was trained, its UNet is the one that is there, about the newest draft.

python -m experiments.export --pictures 900000 --trained "on 2 cores (Zen 4), 3 hours"; python -m experiments.words
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from danqing.denoise import Denoiser
from danqing.errors import InvalidInput
from danqing.measure.evaluation import page
from danqing.nets import clip
from danqing.nets.drafted import MLP_MINI, DraftedUNet
from danqing.painting import vocabulary as words
from danqing.store import shipped
from danqing.store.model import write_model
from danqing.weights.load import save
from danqing.weights.registry import of
from experiments import cards
from experiments.art import ledger
from experiments.common import DATA, RUNS
from experiments.draft import trained
from experiments.latents import autoencoder, averaged
from experiments.painter import KINDS, SCHEDULE, Spoken, begun

ZOO = Path("zoo/mini/danqing_models")
DEFAULTS = {
    "width": 128,
    "height": 128,
    "steps": 20,
    "solver": "dpmpp-2m",
    "spacing": "sgm-uniform",
    "scale": 3.0,
    "clip_skip": 1,
    "finish": "enlarge",
    "hires_strength": 0.25,
    "hires_by": "lanczos",
    "style": "3d",
    "scene": "layered",
}

ABOUT = """\
Paints 128 x 128 px pictures from English and Chinese words: a UNet ({unet:.1f}M parameters, with the draft that it
reads: what the words show on average, by an MLP) on 16 x 16 x 8 latents of an autoencoder ({vae:.1f}M), guided by the
tokens of the text tower ({text:.1f}M) of a small bilingual CLIP, which learned along with the draft. Rectified flow."""
COMPOSED = """\
{composites} composites are put together from the singles above; 5 % of the (subject, style) pairs and three styles of
each of 20 subjects were never trained on. Of pairs that no set has, those that are held out among them, the draft
learned what the subject's pictures in other styles say that theirs would be."""
LIMITS = """\
It knows about 1,900 subjects drawn as emoji in eight styles, and drawn portraits; nothing else. It does not write text,
and photographs are beyond it. The pictures are drawings by licence: no photograph of a person was used."""


def measured(folder: Path, sha256: str) -> str:
    """What an evaluation.json beside these weights says, as a table."""
    file = folder / page.FILE
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"about": {}}
    if found["about"].get("sha256") != sha256:
        return f"Not measured yet: `danqing evaluate {folder} --beside`, then this again."
    return page.markdown(found)


def painted(runs: Path, name: str, kind: str, data: Path) -> Spoken:
    """The painter that was trained last, with its tower, about the newest draft of that."""
    checkpoint = runs / name / "last.pt"
    if not checkpoint.exists():
        return begun(KINDS[kind], runs, data, _never, resume=True)[0]
    spoken = Spoken(Denoiser(KINDS[kind](MLP_MINI), SCHEDULE, "flow"), clip.CLIPText(clip.MINI_TEXT))
    averaged(checkpoint, spoken)
    newest = trained(runs)
    if newest is not None and same(newest.tower, spoken.tower):
        cast(DraftedUNet, spoken.denoiser.net).draft.load_state_dict(newest.draft.state_dict())
    return spoken


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same weights."""
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def _never(step: int) -> tuple[Tensor, Tensor]:
    raise InvalidInput(f"step {step}: weights that are there are not fitted anew: --kind names their own")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--out", type=Path, default=ZOO / shipped.DEFAULT)
    parser.add_argument("--name", default="painter", help="the painter's folder inside --runs")
    parser.add_argument("--kind", choices=KINDS, default="residual", help="what its UNet paints")
    parser.add_argument("--pictures", type=int, required=True, help="how many it has seen in all")
    parser.add_argument("--trained", required=True, help="where and how long, for the card")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    spoken = painted(args.runs, args.name, args.kind, args.data)
    painter, text, codec = spoken.denoiser, spoken.tower, autoencoder(args.runs)

    parts = {
        "denoiser": (of(painter.net).name, "unet.safetensors", painter.net),
        "codec": ("autoencoder-kl", "vae.safetensors", codec),
        "text": ("clip-text", "text.safetensors", text),
    }
    for _, file, module in parts.values():
        save(module.to(torch.bfloat16), args.out / file)
    tokenizer = json.loads((args.data / "tokenizer.json").read_text(encoding="utf-8"))
    (args.out / "tokenizer.json").write_text(
        json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
    )
    model = write_model(
        args.out,
        name=shipped.DEFAULT,
        components={
            role: (family, file, dataclasses.asdict(module.config)) for role, (family, file, module) in parts.items()
        },
        tokenizer={"kind": "bilingual", "file": "tokenizer.json"},
        text={"styles": "styles.json", **words.FILES},
        schedule={"kind": "flow", "shift": SCHEDULE.shift},
        prediction="flow",
        multiple=16,
        trained={"pictures": args.pictures},
        summary="128 px pictures from English and Chinese words, trained on licensed art alone",
        licence="Apache-2.0; trained on MIT, Apache-2.0, CC-BY-4.0 and CC0 art",
        defaults=DEFAULTS,
    )

    rows = ledger(args.data, ("singles", "portraits", "composites"), "train")
    drawn = [row for row in rows if row["array"] != "composites"]
    said = cards.card(
        args.out,
        model.name,
        cards.Words(
            summary=model.summary,
            about=ABOUT.format(unet=cards.millions(painter.net), vae=cards.millions(codec), text=cards.millions(text)),
            limits=LIMITS,
        ),
        (painter.net, codec, text),
        trained=args.trained,
        rows=drawn,
        data=COMPOSED.format(composites=len(rows) - len(drawn)),
        metrics=measured(args.out, model.components["denoiser"].sha256),
    )
    (args.out / "CARD.md").write_text(said, encoding="utf-8")
    shutil.copy(args.data / "styles.json", args.out / "styles.json")
    print(said)


if __name__ == "__main__":
    main()
