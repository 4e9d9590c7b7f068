"""Teach the text tower to draft: its summary alone, through an MLP, says what the latent of the picture is on average.

    python -m experiments.draft

The loss is that of denoising at pure noise, |x0 - draft(text)|^2, whose minimum is E[x0 | text], a blurred picture of
the subject in its style. It costs a text tower's step where the painter's costs a UNet's, so the words that name two
thousand subjects are learned here, and the painter (`experiments.painter`) paints the residual about it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from danqing.learn.training.loop import EMA, Training
from danqing.learn.training.optim import Muon, muon_groups
from danqing.nets import clip
from danqing.nets.drafted import MLP_MINI, Draft, DraftedUNet
from danqing.prompt.tokenize import bilingual_tokenizer
from danqing.run.device import find_device, send
from danqing.run.precision import scaler, training_precision
from experiments.captioned import Batches
from experiments.common import RUNS, fast, set_up
from experiments.completed import completed
from experiments.epochs import Epochs
from experiments.latents import averaged, committed, shipped
from experiments.least_squares import fit_draft
from experiments.milestones import Trial, course, follow, parser
from experiments.open_variance import open_variance, pairs


def text_tower(runs: Path = RUNS) -> clip.CLIPText:
    """The trained text tower alone, of the checkpoint or else of the zoo."""
    if not (runs / "clip" / "last.pt").exists():
        return cast(clip.CLIPText, shipped("text"))
    whole = clip.CLIP(clip.MINI)
    averaged(runs / "clip" / "last.pt", whole)
    tower = clip.CLIPText(clip.MINI_TEXT)
    tower.load_state_dict({k: v for k, v in whole.state_dict().items() if k.startswith("text_")})
    return tower


class Drafting(nn.Module):
    """Token ids (B, L) to the mean latent, (B, 8, 16, 16)."""

    def __init__(self, tower: clip.CLIPText):
        super().__init__()
        config, width = MLP_MINI, tower.config.hidden_size
        self.tower = tower
        self.draft = Draft(width, config.out_channels, config.draft_size, config.draft_hidden, config.draft_blocks)

    def forward(self, ids: Tensor) -> Tensor:
        return self.draft(self.tower(ids).pooled)


def drafting(model: nn.Module, batch: tuple[Tensor, Tensor], noise: torch.Generator) -> dict[str, Tensor]:
    """Mean squared error of the draft; the latents' variance is 1, so this is the part of it that the words leave
    open."""
    x0, ids = batch
    return {"loss": (model(ids).float() - x0).square().mean()}


def begun(
    runs: Path, resume: bool, batches: Callable[[int], tuple[Tensor, Tensor]], count: int = 100
) -> tuple[Drafting, int]:
    """Where a training begins, and how many samples its weights have seen: a draft that was trained elsewhere, or the
    committed tower and its draft, if that is an MLP of the same shape; else, on the tower of the text's own training, a
    draft of random features that is fitted to ``count`` batches, which spares it its first 100,000 samples."""
    net = shipped("denoiser")
    alike = resume and isinstance(net, DraftedUNet) and net.config.draft_hidden == MLP_MINI.draft_hidden
    if resume and (known := trained(runs)) is not None:
        return known, committed() if alike else 0
    model = Drafting(text_tower(runs))
    if alike:
        model.draft.load_state_dict(cast(DraftedUNet, net).draft.state_dict())
        return model, committed()
    with torch.inference_mode():
        seen = [(x0.cpu(), model.tower(ids.cpu()).pooled) for x0, ids in map(batches, range(count))]
    fit_draft(model.draft, seen)
    return model, 0


def trained(runs: Path) -> Drafting | None:
    """The draft of the branch that cooled down last, else of the long run, else none."""
    cooled, long = list((runs / "draft").glob("cooled-*/last.pt")), runs / "draft" / "last.pt"
    if not cooled and not long.exists():
        return None
    model = Drafting(clip.CLIPText(clip.MINI_TEXT))
    averaged(max(cooled, key=lambda path: path.stat().st_mtime) if cooled else long, model)
    return model


def groups(model: Drafting) -> list[dict]:
    """The draft by AdamW, since Newton-Schulz on matrices so large costs more than the step; the tower, which knows its
    words already, at a fifth of a rate."""
    draft = muon_groups(model.draft, lr=0.005, adam_lr=4e-4, edges=["body", "linear"])
    return [*draft, *muon_groups(model.tower, lr=0.001, adam_lr=2e-4)]


def main() -> None:
    options = parser(__doc__, batch=256)
    options.add_argument("--still", action="store_true", help="the tower stands still: who reads its tokens still can")
    args = options.parse_args()
    set_up(args.threads)
    device = find_device()
    torch.manual_seed(0)
    measured = pairs(args.data, bilingual_tokenizer(args.data / "tokenizer.json"), 256)
    batches = completed(
        Batches(Epochs(data=args.data, runs=args.runs, ahead=args.ahead), args.batch, device), args.data
    )
    model, before = begun(args.runs, args.resume, batches)
    model = model.requires_grad_(True).to(device)
    model.tower.requires_grad_(not args.still)

    def training(rate: Callable[[int], float]) -> Training:
        own = copy.deepcopy(model)
        return Training(
            model=own,
            objective=drafting,
            batches=batches,
            optimisers={"loss": Muon(groups(own), dtype=training_precision(device))},
            rate=rate,
            ema=EMA(own, 0.99),
            autocast=lambda: fast(device),
            scaler=scaler(device),
            settings=batches.settings,
        )

    def measure(run: Training) -> dict[str, float]:
        assert run.ema is not None
        drafts = run.ema.model
        return open_variance(lambda x, sigma, ids: drafts(send(ids, device)).float().cpu(), measured, sigmas=[1.0])

    follow(Trial(training=training, measure=measure), course(args, "draft", before))


if __name__ == "__main__":
    main()
