"""Train the painter of danqing-mini: a small Stable-Diffusion-shaped UNet on the autoencoder's latents, guided by the
small CLIP's tokens, that paints the residual about the draft.

    python -m experiments.painter --resume

The text tower and the draft are those of `experiments.draft` and stand still. Condition dropout (10 %) makes
classifier-free guidance possible; each picture's caption is drawn anew in every epoch, in either language. The UNet
begins with the committed weights (``--resume``); those of one that predicts the flow itself keep all but the last
layer, which is fitted to the residual by least squares.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from torch import Tensor, nn

from danqing.denoise import Denoiser
from danqing.errors import InvalidFile
from danqing.guide import compose
from danqing.learn.objectives.denoising import Denoising
from danqing.learn.objectives.draws import uniform
from danqing.learn.training.loop import EMA, Training
from danqing.learn.training.optim import Muon, muon_groups
from danqing.levels import to_arrays
from danqing.nets import clip
from danqing.nets.drafted import MLP_MINI, DraftedUNet, Drawn, ResidualUNet, Scene, Share, share_names
from danqing.noise import Noise
from danqing.prompt.tokenize import Tokenizer, bilingual_tokenizer
from danqing.run.device import find_device, send
from danqing.run.precision import autocast, scaler, training_precision
from danqing.schedule import Flow, sgm_uniform
from danqing.solve.core import points, sample
from danqing.solve.solvers import solver
from danqing.types import Conditioning
from experiments.captioned import Batches, Placed, PlacedBatches
from experiments.clip import encode_texts
from experiments.common import fast, grid, quick, set_up
from experiments.completed import TOLD, Told
from experiments.draft import trained
from experiments.epochs import Epochs
from experiments.latents import autoencoder, committed, committed_tokenizer, shipped
from experiments.least_squares import fit_residual
from experiments.milestones import Trial, course, follow, parser
from experiments.open_variance import open_variance, pairs

SCHEDULE = Flow(shift=3.0)
#: Both read the draft; the first paints what it leaves open, the second everything.
KINDS: dict[str, type[DraftedUNet]] = {"residual": ResidualUNet, "drafted": DraftedUNet}
#: Evenly over the time that the schedule shifts, as a picture's steps visit it: half above sigma 0.75, where words
#: decide, and a quarter below 0.5, where details are made; logit-normal times left a seventh there, and details
#: smeared.
TIMES = uniform
#: The name of a draft by the subject's other pictures.
OTHERS = "others"
SHOWN = (
    "a fox, 3d style",
    "狐狸，3D风格",
    "a dog, flat style",
    "a red apple, noto style",
    "a house, twemoji style",
    "火箭，扁平风格",
    "a cat to the left of a tree, 3d style, on a light blue background",
    "a rose, gradient style",
    "a car, emojione style",
    "一个微笑的女人，红色头发，戴眼镜",
    "a smiling man with a beard and glasses",
    "a pizza, blob style",
    "grinning face, 3d style",
    "flag of Japan, twemoji style",
    "两朵花，绿色背景",
    "",
)


class Spoken(nn.Module):
    """A denoiser and the text tower that conditions it."""

    def __init__(self, denoiser: Denoiser, tower: clip.CLIPText):
        super().__init__()
        self.denoiser, self.tower = denoiser, tower

    def condition(self, ids: Tensor, placed: Placed | None = None, told: Share | None = None) -> Conditioning:
        """Token ids (B, L) to what the denoiser is conditioned on."""
        said, extra = self.tower(ids), dict[str, Tensor]()
        if placed is not None:
            there = placed.places[..., 2] > 0
            things = said.pooled.new_zeros(*there.shape, said.pooled.shape[-1], dtype=torch.float32)
            things[there] = self.tower(placed.things[there]).pooled.float()
            extra |= Scene(things, placed.places)._asdict()
        if told is not None:
            extra |= zip(share_names(OTHERS), told, strict=True)
        return Conditioning(tokens=said.tokens.float(), pooled=said.pooled.float(), extra=extra)

    @torch.inference_mode()
    def estimate(self, x: Tensor, sigma: Tensor, ids: Tensor) -> Tensor:
        """E[x_0 | x_t, text] of x (B, C, H, W) at sigma (B,), on the CPU."""
        device = next(self.parameters()).device
        t = self.denoiser.schedule.time(2 * ((1 - sigma) / sigma).log())
        with autocast(device):
            return self.denoiser(send(x, device), send(t, device), self.condition(send(ids, device))).x0.float().cpu()


def denoising(
    model: nn.Module, batch: tuple[Tensor, Tensor, Placed, Share], noise: torch.Generator
) -> dict[str, Tensor]:
    """The denoising loss of (latents (B, 8, 16, 16), token ids (B, L), what they place, what others draft)."""
    assert isinstance(model, Spoken)
    x0, ids, placed, told = batch
    return Denoising(times=TIMES)(model.denoiser, (x0, model.condition(ids, placed, told)), noise)


def warm(net: DraftedUNet, old: DraftedUNet) -> None:
    """Take over the weights of another UNet: all of them, or all but the draft where its shape is another."""
    mine, theirs = net.state_dict(), old.state_dict()
    same = all(
        name in theirs and value.shape == theirs[name].shape
        for name, value in net.draft.state_dict(prefix="draft.").items()
    )
    net.load_state_dict({**mine, **{name: v for name, v in theirs.items() if same or not name.startswith("draft.")}})


def begun(
    kind: type[DraftedUNet],
    runs: Path,
    data: Path,
    batches: Callable[[int], tuple[Tensor, Tensor]],
    resume: bool,
) -> tuple[Spoken, int]:
    """Where a training begins, and how many samples its UNet has seen.

    Raises:
        InvalidFile: the committed weights know other tokens than the data, or there is no draft to paint about.
    """
    net, drafts, old = kind(MLP_MINI), trained(runs), cast(DraftedUNet, shipped("denoiser"))
    if resume and json.loads((data / "tokenizer.json").read_text(encoding="utf-8")) != committed_tokenizer():
        raise InvalidFile(
            f"{data / 'tokenizer.json'} is not the tokenizer of the committed weights: copy theirs into the data and "
            "make the captions anew, or begin without --resume"
        )
    if drafts is None and old.config.draft_hidden != MLP_MINI.draft_hidden:
        raise InvalidFile(f"{runs / 'draft'} holds no draft to paint about: run `python -m experiments.draft` first")
    if resume:
        warm(net, old)
    net.draft.load_state_dict((drafts or old).draft.state_dict())
    model = Spoken(Denoiser(net, SCHEDULE, "flow"), drafts.tower if drafts else cast(clip.CLIPText, shipped("text")))
    if isinstance(net, ResidualUNet) and not (resume and isinstance(old, ResidualUNet)):
        fit_residual(model, batches)
    return model, committed() if resume else 0


def sheet(model: Spoken, tokenizer: Tokenizer, codec: nn.Module, texts: tuple[str, ...] = SHOWN) -> Image.Image:
    """What a model paints of some texts in 20 steps at guidance 4, eight in a row."""
    device, noise = next(model.parameters()).device, Noise.of(7, range(len(texts)))
    visited = points(SCHEDULE, sgm_uniform(SCHEDULE, 20))
    x = noise(torch.empty(len(texts), 8, 16, 16, device=device)) * visited[0].sigma
    with torch.inference_mode(), autocast(device):
        said, unsaid = (model.condition(send(encode_texts(tokenizer, some), device)) for some in (texts, [""]))
        guided = compose(model.denoiser, [(said, 4.0)], unsaid)
        for state in sample(guided, solver("dpmpp-2m"), visited, x, noise):
            x = state.x
        return grid(to_arrays(codec.decode(x / codec.config.scaling_factor + codec.config.shift_factor)), 8)  # type: ignore


def main() -> None:
    options = parser(__doc__, batch=128)
    options.add_argument("--kind", choices=KINDS, default="residual", help="what the UNet paints")
    options.add_argument("--rate", type=float, default=0.004)
    options.add_argument("--told", type=float, default=TOLD, help="the part of single pictures drafted by other styles")
    options.add_argument("--compile", action="store_true", help="compile the UNet on a CPU too, minutes beforehand")
    args = options.parse_args()
    set_up(args.threads)
    device = find_device()
    torch.manual_seed(0)
    tokenizer = bilingual_tokenizer(args.data / "tokenizer.json")
    batches = Batches(
        Epochs(data=args.data, runs=args.runs, ahead=args.ahead), args.batch, device, multiple=tokenizer.window
    )
    model, before = begun(KINDS[args.kind], args.runs, args.data, batches, args.resume)
    model.requires_grad_(False).denoiser.net.requires_grad_(True).draft.requires_grad_(False)
    cast(DraftedUNet, model.denoiser.net).shares[OTHERS] = Drawn(OTHERS)
    model.to(device)
    told = Told(PlacedBatches(batches), args.data, args.told)
    measured = pairs(args.data, tokenizer)
    codec = autoencoder(args.runs).to(device)

    def training(rate: Callable[[int], float]) -> Training:
        own = copy.deepcopy(model)
        quick(own.denoiser.net, device, args.compile)
        edges = ["net.conv_in", "net.conv_out", "net.time_embedding"]
        return Training(
            model=own,
            objective=denoising,
            batches=told,
            optimisers={
                "loss": Muon(
                    muon_groups(own.denoiser, lr=args.rate, adam_lr=args.rate / 10, edges=edges),
                    dtype=training_precision(device),
                )
            },
            rate=rate,
            ema=EMA(own, 0.998),
            autocast=lambda: fast(device),
            scaler=scaler(device),
            settings=told.settings,
        )

    def averages(run: Training) -> Spoken:
        assert run.ema is not None and isinstance(run.ema.model, Spoken)
        return run.ema.model

    follow(
        Trial(
            training=training,
            measure=lambda run: open_variance(averages(run).estimate, measured),
            sheet=lambda run: sheet(averages(run), tokenizer, codec),
        ),
        course(args, "painter", before),
    )


if __name__ == "__main__":
    main()
