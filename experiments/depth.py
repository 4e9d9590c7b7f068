"""Train danqing-depth: how near each pixel of a picture is, from rendered shapes whose depth is exact.

    danqing learn experiments/depth.py --minutes 15
    danqing learn experiments/depth.py --export zoo/mini/danqing_models/danqing-depth    a folder that is not there yet

No data is needed: `rendered` draws ellipsoids, boxes and cylinders, before nothing or before a wall and on a floor,
shaded or flat, as a key says. A row of the sheet shows twice a picture, ours and the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from danqing.hint.names import SHIPPED
from danqing.learn.data.order import Order
from danqing.learn.training.experiment import Count, Experiment
from danqing.learn.training.loop import Training
from danqing.learn.training.optim import muon_groups
from danqing.nets.depth_unet import DepthUNet, DepthUNetConfig
from danqing.noise import keyed, number
from danqing.run.device import find_device, send
from danqing.run.precision import autocast
from experiments import cards
from experiments.common import averaged, by_muon, grid

Array = NDArray[np.floating[Any]]
MEASURED, SHOWN = 128, 12
DATA = """Rendered ellipsoids, boxes and cylinders alone, 96 px, drawn by `experiments/depth.py` from keys, so that
their depth is exact: no photograph and no drawing. What is measured is the nearness, 1 / depth between 0, the farthest
of a picture, and 1, the nearest, on 128 such renders that are in no training; beside it stand the mean of their
nearnesses and the best line through brightness. Right order is of pairs of pixels that differ by more than 0.05."""
WORDS = cards.Words(
    summary="how near each pixel is",
    about="""Says how near each pixel of a picture is, for `danqing hint depth` and `danqing hint normal`: a U-shaped
network that reads 128 px.""",
    limits="""It knows solids before plain grounds. Of a drawing it mostly finds the body before the ground and some of
its roundness; white bodies on white, fine parts and whole scenes it gets wrong. For photographs name a file of Depth
Anything V2.""",
)


# ---- what it learns from -------------------------------------------------------------------------------------------


def rendered(key: int, side: int = 128) -> tuple[Array, Array]:
    """A scene: colours (S, S, 3) in [0, 1], and nearness (S, S), 1 / depth between 0 and 1."""
    draw = np.random.default_rng(key)
    steep = draw.uniform(0.25, 0.7)
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    across, down = np.meshgrid(axis * steep, axis * steep)
    rays = np.stack([across, down, np.ones((side, side))], -1).astype(np.float32)  # a ray's length is the depth
    solids = [solid(draw, steep) for _ in range(draw.integers(1, 7))]
    floor, wall = (draw.uniform(0.6, 1.6), (0, -1, draw.uniform(-0.25, 0.1))), (draw.uniform(6, 12), (0, 0, -1))
    planes = [(np.array(outward, np.float32), off) for off, outward in (floor, wall) if draw.random() < 0.6]
    depth, normal, which = traced(np.zeros(3, np.float32), rays, solids, planes)
    light = np.array([draw.uniform(-1, 1), draw.uniform(-1.5, -0.3), draw.uniform(-1.5, 0.2)], np.float32)
    light /= np.linalg.norm(light)
    albedo = (draw.uniform(0.05, 1, (len(solids) + len(planes) + 1, 3)) ** draw.uniform(0.4, 1.5)).astype(np.float32)
    if draw.random() < 0.6:
        albedo[-1] = 1.0  # before white
    colour = albedo[which]
    sky = ~np.isfinite(depth)
    points = np.where(sky, 0, depth)[..., None] * rays
    if draw.random() < 0.4:  # cells on what is seen, or stripes over all, which say nothing of depth
        on = np.sin(points * draw.uniform(2, 12, 3).astype(np.float32)).prod(-1)
        over = np.sin(rays[..., :2] @ draw.normal(0, 25, 2).astype(np.float32))
        where = (on if draw.random() < 0.5 else over) > 0
        colour = np.where(where[..., None], colour, colour * draw.uniform(0.3, 1.0, 3).astype(np.float32))
    if draw.random() < 0.85:
        bright = np.clip(normal @ light, 0, 1)
        if draw.random() < 0.5:
            off = points + 1e-2 * normal
            hidden = np.isfinite(traced(off, np.broadcast_to(light, off.shape), solids, [])[0])
            bright = np.where(hidden, 0, bright)
        ambient = draw.uniform(0.25, 0.7)
        shade = ambient + (1 - ambient) * bright
        mirrored = np.clip((2 * (normal @ light)[..., None] * normal - light) @ np.array([0, 0, -1], np.float32), 0, 1)
        colour = colour * shade[..., None] + draw.uniform(0, 0.6) * (mirrored ** draw.uniform(5, 60))[..., None]
    colour = np.where(sky[..., None], albedo[-1], colour)
    near = np.where(sky, 0, 1 / np.where(sky, 1, depth))
    low, high = (0.0 if sky.any() else near.min()), near.max()
    colour = np.clip(colour + draw.normal(0, draw.choice([0, 0.01, 0.04]), colour.shape), 0, 1)
    return colour, (near - low) / max(high - low, 1e-6)


def solid(draw: np.random.Generator, steep: float) -> tuple[str, Array, Array]:
    """A unit ball, box or cylinder: its kind, where it is, and the map from the world to its own axes (3, 3)."""
    far = draw.uniform(2.5, 6)
    turn = np.linalg.qr(draw.normal(size=(3, 3)))[0]
    if draw.random() < 0.4:  # upright
        angle = draw.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    size = far * steep * draw.uniform(0.12, 0.5) * draw.uniform(0.5, 1.3, 3)
    where = np.array([*draw.uniform(-0.6, 0.6, 2) * far * steep, far])
    kind = str(draw.choice(["ball", "ball", "box", "cylinder"]))
    return kind, where.astype(np.float32), (turn / size[:, None]).astype(np.float32)


def traced(
    origin: Array, rays: Array, solids: list[tuple[str, Array, Array]], planes: list[tuple[Array, float]]
) -> tuple[Array, Array, NDArray[np.intp]]:
    """How far along each ray (S, S, 3) the first thing is, infinity where none is; its normal; and which it is."""
    shape = rays.shape[:2]
    best, normal = np.full(shape, np.inf, np.float32), np.zeros((*shape, 3), np.float32)
    which = np.full(shape, len(solids) + len(planes))
    with np.errstate(all="ignore"):
        for n, (kind, where, to) in enumerate(solids):
            o, d = (origin - where) @ to.T, rays @ to.T
            length, own = HIT[kind](np.broadcast_to(o, d.shape), d)
            hit = (length > 1e-3) & (length < best)
            outside = own @ to
            outside /= np.linalg.norm(outside, axis=-1, keepdims=True)
            best, which = np.where(hit, length, best), np.where(hit, n, which)
            normal = np.where(hit[..., None], outside, normal)
        for n, (outward, off) in enumerate(planes, len(solids)):
            length = off / -(rays @ outward)  # what the wall and the floor are seen from lies in the origin
            hit = (length > 1e-3) & (length < best) & (length < 60)
            best, which = np.where(hit, length, best), np.where(hit, n, which)
            normal = np.where(hit[..., None], outward / np.linalg.norm(outward), normal)
    return best, normal, which


def ball(o: Array, d: Array) -> tuple[Array, Array]:
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
    root = b * b - a * c
    length = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    return length, o + np.where(np.isfinite(length), length, 0)[..., None] * d


def box(o: Array, d: Array) -> tuple[Array, Array]:
    first, second = (-1 - o) / d, (1 - o) / d
    enter, leave = np.minimum(first, second), np.maximum(first, second)
    axis = enter.argmax(-1)
    length = enter.max(-1)
    length = np.where(length < leave.min(-1), length, np.inf)
    return length, -np.sign(d) * (np.arange(3) == axis[..., None])


def cylinder(o: Array, d: Array) -> tuple[Array, Array]:
    """Round about y, and flat above and below."""
    o2, d2 = o[..., ::2], d[..., ::2]
    a, b, c = (d2 * d2).sum(-1), (o2 * d2).sum(-1), (o2 * o2).sum(-1) - 1
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    caps = np.sort(np.stack([(-1 - o[..., 1]) / d[..., 1], (1 - o[..., 1]) / d[..., 1]]), 0)
    round_in, round_out = (-b - root) / a, (-b + root) / a
    length = np.maximum(round_in, caps[0])
    length = np.where((length < np.minimum(round_out, caps[1])) & (b * b > a * c), length, np.inf)
    at = o + np.where(np.isfinite(length), length, 0)[..., None] * d
    flat = (round_in < caps[0])[..., None]
    return length, np.where(flat, -np.sign(d) * np.array([0, 1, 0]), at * np.array([1, 0, 1]))


HIT = {"ball": ball, "box": box, "cylinder": cylinder}


# ---- the training --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Nearness:
    """``|y - t| + edge · (|∂x (y - t)| + |∂y (y - t)|)``, means over the pixels, at the scales 1, 2 and 4.

    The batch is (pictures (B, 3, S, S) in [-1, 1], nearness t (B, 1, S, S)). Source: Ranftl et al. 2020, section 5.
    """

    edge: float = 0.5

    def __call__(self, model: nn.Module, batch: tuple[Tensor, Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        picture, truth = batch
        d = model(picture).float() - truth
        pixels, edges = d.abs().mean(), d.new_zeros(())
        for step in (1, 2, 4):
            edges = (
                edges
                + (d[..., step:] - d[..., :-step]).abs().mean()
                + (d[..., step:, :] - d[..., :-step, :]).abs().mean()
            )
        return {"loss": pixels + self.edge * edges / 3, "pixels": pixels, "edges": edges / 3}


@dataclass(frozen=True, kw_only=True)
class Depths(Experiment):
    """Rendered pictures to nearness.

    Args:
        rendered: how many scenes; each is seen several times, mirrored or not, its three colours in any order.
        batch: pictures a step.
        rate: Muon's; that of the first and the last layer, by Adam, is a tenth. It falls to zero over the last third.
        average: decay of the averaged network.
        net: the network.
    """

    steps: Count = 2200
    rendered: Count = 6000
    batch: Count = 16
    rate: float = 0.01
    average: float = 0.995
    net: DepthUNetConfig = field(default_factory=DepthUNetConfig)

    def scenes(self, what: str, count: int) -> tuple[Tensor, Tensor]:
        """Pictures (count, 3, S, S) in [-1, 1] and their nearness (count, 1, S, S)."""
        found = [rendered(number("depth", what, i), self.net.resolution) for i in range(count)]
        colours, near = (torch.from_numpy(np.stack(part)).float() for part in zip(*found, strict=True))
        return 2 * colours.permute(0, 3, 1, 2) - 1, near[:, None]

    def training(self) -> Training:
        torch.manual_seed(0)
        where = find_device()
        model = DepthUNet(self.net).to(where)
        pictures, near = self.scenes("trained", self.rendered)
        order = Order(self.rendered, self.batch, "depth")

        def batch(index: int) -> tuple[Tensor, Tensor]:
            noise, some = keyed("depth", "turned", index), order(index)
            mirrored = (torch.rand(self.batch, generator=noise) < 0.5)[:, None, None, None]
            x, y = (torch.where(mirrored, part[some].flip(3), part[some]) for part in (pictures, near))
            return send(x[:, torch.randperm(3, generator=noise)].contiguous(), where), send(y, where)

        groups = muon_groups(model, lr=self.rate, adam_lr=self.rate / 10, edges=["conv_in.", "conv_depth."])
        return by_muon(model, Nearness(), batch, groups, steps=self.steps, decay=self.steps // 3, average=self.average)

    @torch.no_grad()
    def apart(self, run: Training, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Scenes that are in no training: pictures, ours, and the truth."""
        pictures, truth = self.scenes("apart", count)
        where = find_device()
        with autocast(where):
            ours = torch.cat([averaged(run, DepthUNet)(part.to(where)).float() for part in pictures.split(16)])
        return pictures, ours.clamp(0, 1).cpu(), truth

    def evaluate(self, run: Training) -> Mapping[str, float]:
        """The mean error of the nearness, and how many pairs of pixels stand in the right order, of those that differ
        by more than 0.05: of ours, of the mean picture, and of brightness."""
        pictures, ours, truth = self.apart(run, MEASURED)
        grey = pictures.mean(1, keepdim=True)
        factors = np.polyfit(grey.flatten().numpy(), truth.flatten().numpy(), 1)
        answers = {
            "ours": ours,
            "the mean picture": truth.mean(0, keepdim=True).expand_as(truth),
            "brightness": float(factors[0]) * grey + float(factors[1]),
        }
        pairs = torch.randint(truth[0].numel(), (2, 4096), generator=torch.Generator().manual_seed(0))
        found: dict[str, float] = {}
        for name, answer in answers.items():
            one, other = (answer.flatten(1)[:, side] for side in pairs)
            true = truth.flatten(1)[:, pairs[0]] - truth.flatten(1)[:, pairs[1]]
            apart = true.abs() > 0.05
            found[f"error, {name}"] = float((answer - truth).abs().mean())
            found[f"right order, {name}"] = float((((one - other) * true) > 0)[apart].float().mean())
        return found

    def samples(self, run: Training) -> Image.Image:
        pictures, ours, truth = self.apart(run, SHOWN)
        rows = torch.stack([(pictures + 1) / 2, *(part.expand(-1, 3, -1, -1) for part in (ours, truth))], 1).flatten(
            0, 1
        )
        return grid((rows * 255).round().byte().permute(0, 2, 3, 1).numpy(), 6)

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        """The averaged network, under the name by which `danqing.painting.adapters.hinting` finds it, and a card."""
        cards.write_network(
            folder,
            run,
            core_hours,
            name="danqing-depth",
            file=SHIPPED["danqing-depth"],
            net=averaged(run, DepthUNet),
            words=WORDS,
            rows=[],
            batch=self.batch,
            metrics=self.evaluate(run),
            data=DATA,
        )
