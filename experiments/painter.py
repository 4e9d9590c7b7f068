"""Train the painter of danqing-mini: a small Stable-Diffusion-shaped UNet on the autoencoder's latents, guided by the
small CLIP's tokens.

    python -m experiments.painter --minutes 120

It begins with the text tower and the draft of `experiments.draft`, which learn along: frozen, after a CLIP training as
short as a CPU allows, the tower left the subject nearly unheard. Condition dropout (10 %) makes classifier-free
guidance possible; each picture's caption is drawn anew at every step, in either language. ``--prediction v`` trains
v-prediction on the cosine schedule instead of rectified flow.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from danqing.denoise import Denoiser
from danqing.guide import compose
from danqing.learn.objectives.denoising import Denoising
from danqing.learn.objectives.draws import uniform
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.learn.training.optim import Muon, muon_groups
from danqing.levels import to_arrays
from danqing.nets import clip
from danqing.nets.drafted import MINI, DraftedUNet
from danqing.noise import Noise
from danqing.prompt.tokenize import bilingual_tokenizer
from danqing.run.device import find_device, send
from danqing.run.precision import autocast, find_precision, scaler
from danqing.schedule import Cosine, Flow, sgm_uniform
from danqing.solve.core import points, sample
from danqing.solve.solvers import solver
from danqing.types import Conditioning
from experiments.clip import encode_texts
from experiments.common import DATA, RUNS, drive, fast, grid, set_up
from experiments.draft import Drafting, Latents
from experiments.latents import autoencoder, averaged, shipped

SCHEDULES = {"flow": Flow(shift=3.0), "v": Cosine()}
#: Evenly over the time that the schedule shifts, as a picture's steps visit it: half above sigma 0.75, where words
#: decide, and a quarter below 0.5, where details are made; logit-normal times left a seventh there, and details
#: smeared.
TIMES = uniform
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
    """A denoiser and the text tower that it hears by, which learn together."""

    def __init__(self, denoiser: Denoiser, tower: clip.CLIPText):
        super().__init__()
        self.denoiser, self.tower = denoiser, tower

    def hear(self, ids: Tensor) -> Conditioning:
        """Token ids (B, L) to what the denoiser is conditioned on."""
        heard = self.tower(ids)
        return Conditioning(tokens=heard.tokens.float(), pooled=heard.pooled.float())


def denoising(model: nn.Module, batch: tuple[Tensor, Tensor], noise: torch.Generator) -> dict[str, Tensor]:
    """The denoising loss of (latents (B, 8, 16, 16), token ids (B, L))."""
    assert isinstance(model, Spoken)
    x0, ids = batch
    return Denoising(times=TIMES)(model.denoiser, (x0, model.hear(ids)), noise)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--name", default="painter", help="the folder of this run inside --runs")
    parser.add_argument("--prediction", choices=sorted(SCHEDULES), default="flow")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--decay", type=int, default=0, help="cool down over the last so many steps")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument(
        "--from-zoo", action="store_true", help="begin with the shipped painter's weights, not with random ones"
    )
    parser.add_argument("--sample-every", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_up(args.threads)
    device = find_device()

    torch.manual_seed(0)
    tokenizer = bilingual_tokenizer(args.data / "tokenizer.json")
    net, tower = DraftedUNet(MINI), clip.CLIPText(clip.MINI_TEXT)
    if args.from_zoo:
        net.load_state_dict(shipped("denoiser").state_dict())
        tower.load_state_dict(shipped("text").state_dict())
    else:
        drafting = Drafting(tower)
        averaged(args.runs / "draft" / "last.pt", drafting)
        net.draft.load_state_dict(drafting.draft.state_dict())
    model = Spoken(Denoiser(net, SCHEDULES[args.prediction], args.prediction), tower).requires_grad_(True).to(device)
    heard = muon_groups(model.tower, lr=args.rate / 5, adam_lr=2e-4)  # it knows its words already
    edges = ["net.draft", "net.conv_in", "net.conv_out", "net.time_embedding"]
    painted = muon_groups(model.denoiser, lr=args.rate, adam_lr=1e-3, edges=edges)
    run = Training(
        model=model,
        objective=denoising,
        batches=Latents(args.data, tokenizer, args.batch, device),
        optimisers={"loss": Muon([*painted, *heard], dtype=find_precision(device))},
        rate=Trapezoid(200, args.steps, args.decay),
        ema=EMA(model, 0.998),
        autocast=lambda: fast(device),
        scaler=scaler(device),
    )
    codec = autoencoder(args.runs).to(device)

    @torch.inference_mode()
    def sheet():
        assert run.ema is not None
        model, count = run.ema.model, len(SHOWN)
        assert isinstance(model, Spoken)
        noise = Noise.of(7, range(count))
        visited = points(model.denoiser.schedule, sgm_uniform(model.denoiser.schedule, 20))
        x = noise(torch.empty(count, 8, 16, 16, device=device)) * visited[0].sigma
        with autocast(device):
            said, unsaid = (model.hear(send(encode_texts(tokenizer, texts), device)) for texts in (SHOWN, [""]))
            guided = compose(model.denoiser, [(said, 4.0)], unsaid)
            for state in sample(guided, solver("dpmpp-2m"), visited, x, noise):
                x = state.x
            return grid(to_arrays(codec.decode(x / codec.config.scaling_factor + codec.config.shift_factor)), 8)

    drive(run, args.runs / args.name, args.steps, minutes=args.minutes, sample=sheet, sample_every=args.sample_every)


if __name__ == "__main__":
    main()
