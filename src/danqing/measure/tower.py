"""The image tower: pictures and words in one space, that of the text tower which the default model hears by.

tower = load()
tower.pictures(pixels) @ tower.words(texts).mT      how well each picture fits each text, in [-1, 1]
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import installed
from ..errors import InvalidFile
from ..nets.clip import CLIPText
from ..nets.tower import ImageTower
from ..painting.text import tokenizer_of
from ..prompt.tokenize import Tokenizer, framed
from ..store.find import AnyModel, find
from ..store.shipped import DEFAULT
from ..vision import tower
from ..weights import store
from ..weights.load import load as load_network
from . import judge as judging
from .judge import Judge

WEIGHTS = tower.TOWER
BATCH = 256


class Tower:
    """Embeds pictures and words.

    Args:
        judge: whose grids the pictures' tower reads.
        net: that tower.
        text, tokenizer: of the model whose words they are.
    """

    def __init__(self, judge: Judge, net: ImageTower, text: CLIPText, tokenizer: Tokenizer):
        self.judge, self.net, self.text, self.tokenizer = judge, net, text, tokenizer

    def pictures(self, pictures: Tensor) -> Tensor:
        """Bytes (N, 3, H, W) to unit vectors (N, D) on the CPU."""
        return tower.embedded(self.judge.net, self.net, pictures)

    def words(self, texts: Sequence[str]) -> Tensor:
        """Texts, each cut to the window, to unit vectors (N, D) on the CPU."""
        return words(self.text, self.tokenizer, texts)


@torch.inference_mode()
def words(text: CLIPText, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """The summaries of texts, (N, D), of unit length."""
    ids = torch.tensor([framed(tokenizer, tokenizer.encode(each)[: tokenizer.window - 2]) for each in texts])
    # The tower is causal: what follows the last end reaches no summary.
    ids = ids[:, : int((ids != tokenizer.pad).sum(1).max())]
    return torch.cat([F.normalize(text(part).pooled.float(), dim=1) for part in ids.split(BATCH)])


def speaker(model: AnyModel = DEFAULT) -> tuple[CLIPText, Tokenizer, str]:
    """The text tower of a model in fp32, its tokenizer, and the SHA-256 of its file.

    Raises:
        InvalidFile: it has none of this kind.
    """
    described = find(model)
    part = described.components.get("text")
    if part is None or part.family != "clip-text":
        raise InvalidFile(f"{described.name} has no text tower that pictures could be matched to")
    net = load_network(
        described.path(part.file), family=part.family, config=part.config or None, device="cpu", dtype=torch.float32
    )
    assert isinstance(net, CLIPText)
    return net.eval().requires_grad_(False), tokenizer_of(described), part.sha256


def load(folder: Path | None = None, model: AnyModel = DEFAULT) -> Tower:
    """The tower that ships beside the judge, or another in a folder that holds both.

    Raises:
        InvalidFile: a file is missing or damaged, or the tower was matched to another text tower than the model has.
    """
    path = folder / WEIGHTS if folder else installed.path(judging.NAME, WEIGHTS)
    if path is None or not path.is_file():
        raise InvalidFile(
            f"the image tower is missing: {path or 'none is installed'}. Train one with `python -m experiments.tower`"
        )
    text, tokenizer, sha256 = speaker(model)
    net, said = tower.image_tower(path)
    try:
        matched = json.loads(said["text"])
    except (KeyError, ValueError) as error:
        raise InvalidFile(
            f"{path} does not say which text tower it was matched to: install it again ({error})"
        ) from None
    if matched != sha256:
        raise InvalidFile(
            f"{path} was matched to the text tower {str(matched)[:12]}…, and the model has {sha256[:12]}…: match it "
            "anew with `python -m experiments.tower`"
        )
    return Tower(judging.load(folder), net, text, tokenizer)


def save(path: Path, net: ImageTower, text: str) -> None:
    """Write a tower in bf16, as `load` reads it.

    Args:
        text: the SHA-256 of the text tower that it is matched to.
    """
    weights = {name: tensor.detach().cpu().bfloat16() for name, tensor in net.state_dict().items()}
    store.write(path, weights, {"config": json.dumps(asdict(net.config)), "text": json.dumps(text)})
