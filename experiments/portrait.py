"""What has danqing-mini keep a drawn person: an encoder that knows who it is, and the adapter that reads it.

    python -m experiments.identity encoder
    python -m experiments.identity adapter

The encoder reads what the judge of `danqing evaluate` sees. It learns by contrast, while what the painter drafts is to
come near another drawing of the same person. Then the adapter learns against the painter, which stands still: it is
shown one drawing and paints the other one, with words for what that alone has. It goes on from what it had become where
whole.safetensors is put in the place of begun.safetensors.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danqing.denoise import Denoiser
from danqing.learn.objectives.contrastive import contrastive
from danqing.learn.objectives.denoising import Denoising
from danqing.levels import levels_of
from danqing.measure import judge as judging
from danqing.measure import tower as towers
from danqing.nets.clip import CLIPText
from danqing.nets.drafted import DraftedUNet, Drawn, share_names
from danqing.nets.image_projections import Portrait
from danqing.nets.ip_adapter import IPAdapter, IPAdapterConfig
from danqing.noise import keyed
from danqing.request.kept_face import KeptFace
from danqing.teach.adapters.shown import begun as beginning
from danqing.teach.adapters.shown import keys_of
from danqing.types import Conditioning
from danqing.weights import store
from danqing.weights.load import load, save
from experiments import people
from experiments.clip import cut, encode_texts
from experiments.common import fast
from experiments.contrast import CPU, SHARPEST, jittered, learned
from experiments.controls import ship
from experiments.image_prompt import attend
from experiments.latents import shipped
from experiments.painter import SCHEDULE, TIMES
from experiments.redrawn import FILE as REDRAWN
from experiments.redrawn import WIDTHS, asked

#: How many numbers say who it is, and the hidden layer of what they add to the text's summary.
NUMBERS, INNER = 256, 1024
#: The weight at which a face is kept where none is stated: it is learned at that.
USUAL = float(KeptFace.model_fields["weight"].default)
#: How often what is asked for of a drawing is drawn.
SAID = 2
NAME, BEGUN, ADAPTER = "portrait", "begun.safetensors", "danqing-mini-portrait.safetensors"


def begun(net: nn.Module, grid: int, texture: int) -> IPAdapter:
    """At its beginning, for a network that drafts: keys are those of the text, nothing is added, and a portrait is
    drawn anew as it is."""
    torch.manual_seed(0)
    keys, shape = keys_of(net), cast(DraftedUNet, net).config
    config = IPAdapterConfig(
        kind="portrait",
        tokens=4,
        width=keys[0].shape[1],
        seen=grid,
        texture=texture,
        hidden=NUMBERS,
        face=NUMBERS,
        summary=shape.pooled_channels,
        inner=INNER,
        drawn=shape.out_channels,
        redrawn=WIDTHS,
        layers=tuple(len(key) for key in keys),
    )
    made = beginning(config, keys)
    nn.init.zeros_(made.image_proj.get_submodule("down").get_parameter("weight"))
    return made


def seen(home: Path) -> tuple[Tensor, Tensor]:
    """What the judge of pictures sees of every drawing as it is and, of one of each person's, jittered: (N, 3, G) and
    (N, 3, T)."""
    kept = home / "seen.safetensors"
    if not kept.is_file():
        pictures, net, parts = (
            np.load(home / "train.npy", mmap_mode="r"),
            judging.load().net,
            list[tuple[Tensor, Tensor]](),
        )
        with torch.inference_mode(), fast(CPU):
            for i in range(0, len(pictures), 32):
                draw = keyed("identity", "seen", i)
                shown = levels_of(torch.from_numpy(pictures[i : i + 32]).movedim(-1, 2))
                which = torch.randint(2, (len(shown),), generator=draw)
                third = jittered(shown[torch.arange(len(shown)), which], draw)[:, None]
                grid, texture = net.features(torch.cat([shown, third], 1).flatten(0, 1))
                parts.append((grid.flatten(1).half().unflatten(0, (-1, 3)), texture.unflatten(0, (-1, 3))))
        grids, textures = (torch.cat(each) for each in zip(*parts, strict=True))
        store.write(kept, {"grid": grids, "texture": textures})
    found = store.read(kept)
    return found["grid"], found["texture"]


class Texts:
    """What the painter is told by texts."""

    def __init__(self) -> None:
        self.tower, self.text = towers.load(), cast(CLIPText, shipped("text"))

    def __call__(self, texts: Sequence[str]) -> Conditioning:
        with torch.no_grad():
            said = self.text(cut(encode_texts(self.tower.tokenizer, list(texts)), self.tower.tokenizer))
        return Conditioning(tokens=said.tokens.float(), pooled=said.pooled.float())


@dataclass(frozen=True)
class People:
    """Whom all learns from: what is seen of their drawings, those as latents, and the ledger's lines of them."""

    grids: Tensor
    textures: Tensor
    latents: Tensor
    lines: list[list[dict[str, Any]]]

    @classmethod
    def of(cls, home: Path) -> People:
        """Those that were drawn."""
        lines = json.loads((home / "train.json").read_text(encoding="utf-8"))
        return cls(*seen(home), torch.from_numpy(np.load(home / "train-latents.npy")), lines)

    def some(self, step: int, stage: str, batch: int) -> tuple[Tensor, Tensor, torch.Generator]:
        """Some people, and which drawing of each is to be painted."""
        draw = keyed("identity", stage, step)
        who = torch.randperm(len(self.latents), generator=draw)[:batch]
        return who, torch.randint(2, (len(who),), generator=draw), draw

    def told(self, who: Tensor, painted: Tensor, key: str) -> list[str]:
        """What is said of painted people."""
        words = random.Random(key)
        return [people.told(self.lines[p][w], words) for w, p in zip(who.tolist(), painted.tolist(), strict=True)]

    def asked(self, who: Tensor, painted: Tensor, key: str) -> list[str]:
        """What is asked for so that the other drawing of each becomes the painted one."""
        words, pairs = random.Random(key), zip(who.tolist(), painted.tolist(), strict=True)
        return [asked(self.lines[1 - p][w], self.lines[p][w], words) for w, p in pairs]


def encoder(home: Path, steps: int) -> None:
    """Who is shown, by contrast, while what is drafted is to come near the other drawing."""
    net, those, texts = painter(), People.of(home), Texts()
    adapter = begun(net, those.grids.shape[-1], those.textures.shape[-1])
    told = cast(Portrait, adapter.image_proj)

    def loss(step: int) -> Tensor:
        who, painted, draw = those.some(step, "draft", 768)
        some, looks = slice(256), [1 - painted, torch.where(torch.rand(len(who), generator=draw) < 0.5, painted, 2)]
        said = those.told(who[some], painted[some], f"draft {step}")
        with fast(CPU):
            shown = [(those.grids[who, look].float(), those.textures[who, look]) for look in looks]
            one, other = (told.person(F.dropout(grid, 0.2), F.dropout(texture, 0.2)) for grid, texture in shown)
            summary = texts(said).pooled
            assert summary is not None
            drafted = net.draft(summary + USUAL * told.added(one[some], summary)).float()
            away = (drafted - those.latents[who, painted][some].float()).square().mean()
        return contrastive(one.float(), other.float(), told.person.logit_scale.exp().clamp(max=SHARPEST)) + 10 * away

    learned(nn.ModuleList([told.person, told.told, told.down]), loss, steps, 1e-3, "encoder")
    save(adapter, home / BEGUN, dtype=torch.float32)


def adapter(home: Path, first: int, second: int) -> None:
    """The adapter, the encoder standing still: at first what it adds to the summary, by what is drafted, which costs
    little; then all of it, by the painter's own loss about what is drawn anew beside."""
    net, those, texts = painter(), People.of(home), Texts()
    made = load(home / BEGUN, dtype=torch.float32)
    assert isinstance(made, IPAdapter)
    told, denoiser = cast(Portrait, made.image_proj), Denoiser(net, SCHEDULE, "flow")
    assert told.redrawn is not None
    told.redrawn.load_state_dict(store.read(home / REDRAWN))
    net.get_submodule("shares").add_module(NAME, Drawn(NAME))
    made.requires_grad_(True)
    told.person.requires_grad_(False)
    told.redrawn.requires_grad_(False)
    with torch.no_grad():
        parts = zip(those.grids.split(500), those.textures.split(500), strict=True)
        found = [told.person(grid.flatten(0, 1).float(), texture.flatten(0, 1)) for grid, texture in parts]
    numbers, summaries = torch.cat(found).unflatten(0, (-1, 3)), said(home, those, texts)

    def looked(painted: Tensor, draw: torch.Generator) -> Tensor:
        """By which drawing they are shown: the other one, or a jittered one."""
        return torch.where(torch.rand(len(painted), generator=draw) < 0.3, 2, 1 - painted)

    def drafting(step: int, stage: str = "only draft", batch: int = 384) -> Tensor:
        who, painted, draw = those.some(step, stage, batch)
        summary = summaries[who, painted, torch.randint(SAID, (len(who),), generator=draw)]
        with fast(CPU):
            added = told.added(numbers[who, looked(painted, draw)], summary)
            drafted = net.draft(summary + USUAL * added).float()
        return (drafted - those.latents[who, painted].float()).square().mean()

    def painting(step: int) -> Tensor:
        who, painted, draw = those.some(step, "paint", 24)
        said, x0 = texts(those.asked(who, painted, f"paint {step}")), those.latents[who, painted].float()
        with fast(CPU):
            cond = kept(made, net, said, numbers[who, looked(painted, draw)], those.latents[who, 1 - painted].float())
            loss = Denoising(times=TIMES)(denoiser, (x0, cond), draw)["loss"]
        return loss + drafting(step, "draft beside", 128)

    if first:
        learned(nn.ModuleList([told.told, told.down]), drafting, first, 4e-3, "draft")
    learned(made, painting, second, 2e-3, "adapter")
    print(ship(save(made, home / "whole.safetensors", dtype=torch.float32), home / ADAPTER), flush=True)


def said(home: Path, those: People, texts: Texts) -> Tensor:
    """The summaries of what is asked for of every drawing, `SAID` times: (N, 2, SAID, P)."""
    kept = home / "said.safetensors"
    if not kept.is_file():
        draw = random.Random(1)
        asked = [people.told(line, draw) for lines in those.lines for line in lines for _ in range(SAID)]
        with fast(CPU):
            found = [texts(asked[i : i + 256]).pooled for i in range(0, len(asked), 256)]
        whole = torch.cat([each for each in found if each is not None]).unflatten(0, (2, -1, SAID))
        store.write(kept, {"said": whole.transpose(0, 1).contiguous()})
    return store.read(kept)["said"]


def painter() -> DraftedUNet:
    """The default model's network, which stands still."""
    return cast(DraftedUNet, shipped("denoiser")).eval().requires_grad_(False)


def kept(adapter: IPAdapter, net: nn.Module, said: Conditioning, numbers: Tensor, latents: Tensor) -> Conditioning:
    """Have every attention read people (B, F), and the draft be their portraits' latents drawn anew: what is said, with
    them."""
    attend(net, adapter, NAME, adapter(None, numbers), USUAL)
    told = cast(Portrait, adapter.image_proj)
    assert said.pooled is not None and told.redrawn is not None
    draft = told.redrawn(latents, said.pooled).float()
    share = dict(zip(share_names(NAME), (torch.ones_like(draft[:, :1]), draft), strict=True))
    pooled = said.pooled + USUAL * told.added(numbers, said.pooled)
    return Conditioning(tokens=said.tokens, pooled=pooled, extra={NAME: torch.arange(len(numbers)), **share})
