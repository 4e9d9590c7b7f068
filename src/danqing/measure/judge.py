"""The judge: what a picture shows, as a network tells it that has seen real art alone.

judge = load()
found = judge.answers(pictures)        bytes (N, 3, H, W)
found.first("subject")                 of each picture the likeliest word
found.right("style", ["3d", "flat"])   which of them are so
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import installed
from ..errors import InvalidFile, UnknownName
from ..nets.recogniser import Recogniser
from ..vision import tower
from ..weights import store

#: Where it lies among the installed models, being none itself, and the name of its file.
NAME, WEIGHTS = tower.FOLDER, tower.JUDGE
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What is told of N pictures.

    Args:
        words: those that answer each question.
        logits: of them, question -> (N, words).
    """

    words: Mapping[str, Sequence[str]]
    logits: Mapping[str, Tensor]

    def at(self, chosen: Sequence[int]) -> Answers:
        """The same of some pictures."""
        return Answers(words=self.words, logits={question: each[chosen] for question, each in self.logits.items()})

    def first(self, question: str) -> list[str]:
        """The likeliest word of each picture."""
        words = self.words[question]
        return [str(words[i]) for i in self.logits[question].argmax(1).tolist()]

    def right(self, question: str, answers: Sequence[str], among: int = 1) -> Tensor:
        """Whether each picture's answer is among its likeliest words, (N,) of bool.

        Raises:
            UnknownName: an answer that the judge has no word for.
        """
        place = {word: i for i, word in enumerate(self.words[question])}
        for answer in answers:
            if answer not in place:
                raise UnknownName(question, answer, place)
        wanted = torch.tensor([place[answer] for answer in answers], dtype=torch.long)
        likeliest = self.logits[question].topk(min(among, len(place)), dim=1).indices
        return (likeliest == wanted[:, None]).any(1)

    def probability(self, question: str) -> Tensor:
        """Of each word, (N, words); rows add up to 1."""
        return self.logits[question].softmax(1)


class Judge:
    """A recogniser with the words of its questions.

    Args:
        net: on its device, in evaluation.
        words: question -> its words, in the order of the network's logits.
        labels: of a subject, what people call it in each language, {"1F98A": {"en": "fox", "zh": "狐狸"}}.
    """

    def __init__(self, net: Recogniser, words: Mapping[str, Sequence[str]], labels: Mapping[str, Mapping[str, str]]):
        self.net, self.words, self.labels = net, words, labels

    @torch.inference_mode()
    def answers(self, pictures: Tensor) -> Answers:
        """What bytes (N, 3, H, W) show, N at least 1."""
        where = next(self.net.parameters()).device
        logits = torch.cat([self.net(tower.sized(self.net, part).to(where)).cpu() for part in pictures.split(BATCH)])
        parts = logits.split([*map(len, self.words.values())], 1)
        return Answers(words=self.words, logits=dict(zip(self.words, parts, strict=True)))

    def features(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """What the network makes of bytes (N, 3, H, W), as `danqing.vision.tower.features`."""
        return tower.features(self.net, pictures)


def load(folder: Path | None = None, device: torch.device | str = "cpu") -> Judge:
    """The judge among the models, or another in a folder; in fp32 on every machine, so that all judge alike.

    Raises:
        InvalidFile: it is missing or damaged.
    """
    path = folder / WEIGHTS if folder else installed.path(NAME, WEIGHTS)
    if path is None or not path.is_file():
        raise InvalidFile(
            f"the judge is missing: {path or 'no model of this name is installed'}. Train one, `danqing learn "
            f"experiments/judge.py`, then `danqing learn experiments/judge.py --export zoo/mini/danqing_models/{NAME}`"
        )
    net, said = tower.recogniser(path)
    try:
        words, labels = json.loads(said["words"]), json.loads(said["labels"])
    except (KeyError, ValueError) as error:
        raise InvalidFile(
            f"{path} does not say what it is asked, and in which words: install it again ({error})"
        ) from None
    return Judge(net.to(device), words, labels)


def save(path: Path, judge: Judge) -> None:
    """Write a judge in bf16, as `load` reads it."""
    from dataclasses import asdict

    weights = {name: tensor.detach().cpu().bfloat16() for name, tensor in judge.net.state_dict().items()}
    said = {"config": asdict(judge.net.config), "words": judge.words, "labels": judge.labels}
    store.write(path, weights, {name: json.dumps(value, ensure_ascii=False) for name, value in said.items()})
