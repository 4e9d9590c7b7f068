"""What a picture shows, in words, and how certain that is: by the judge and the image tower together, which know
drawings alone.

The judge gives each subject and each style a probability, the tower says how well each caption fits; that of a subject
in a style is ``p(subject) p(style) exp(s cos(picture, caption))``, made to sum to 1, s being the tower's own scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..painting.vocabulary import Vocabulary
from ..pictures.read import over_white
from ..store.find import find
from ..store.shipped import DEFAULT
from . import colours, pieces
from . import tower as towers
from .evaluation.art import noun
from .judge import Answers
from .tower import Tower

#: Of how many subjects and styles, the judge's likeliest, the captions are held against the picture.
BEST = {"subject": 32, "style": 6}
#: How many guesses of a kind are told, and how certain all but the first are at least.
TOLD, LEAST = 5, 0.01
#: The sets that show people alone, of whom other things are told than a subject.
PORTRAITS = frozenset((
    *("adventurer", "big-smile", "croodles", "dylan", "lorelei"),
    *("micah", "notionists", "open-peeps", "personas", "toon-head"),
))  # fmt: skip
HAIR = {**colours.NAMES, "blond": "金色", "ginger": "姜黄色"}
#: Question -> the judge's word -> what it is called; a word that is not here says nothing.
PEOPLE: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "person": {"man": ("man", "男人"), "woman": ("woman", "女人")},
    "hair": {"bald": ("a bald head", "光头"), **{en: (f"{en} hair", f"{zh}头发") for en, zh in HAIR.items()}},
    "beard": {
        "a beard": ("a beard", "络腮胡子"),
        "a goatee": ("a goatee", "山羊胡"),
        "a long beard": ("a long beard", "长胡子"),
        "a mustache": ("a mustache", "小胡子"),
        "stubble": ("stubble", "胡茬"),
    },
    "glasses": {
        "an eye patch": ("an eye patch", "眼罩"),
        "glasses": ("glasses", "眼镜"),
        "round glasses": ("round glasses", "圆眼镜"),
        "square glasses": ("square glasses", "方眼镜"),
        "sunglasses": ("sunglasses", "墨镜"),
    },
}


class Guess(NamedTuple):
    """A word in English and in Chinese ("" for none), and its certainty, or of a colour its share, in [0, 1]."""

    en: str
    zh: str
    certainty: float


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is told of a picture.

    Args:
        captions: by language, "en" and "zh".
        guesses: kind -> what it may be, the likeliest first: "subject", "style", "colours", of a portrait "hair", ....
    """

    captions: Mapping[str, str]
    guesses: Mapping[str, Sequence[Guess]]


class Teller(Protocol):
    """Whoever tells what a picture shows."""

    def tell(self, image: Image.Image) -> Told: ...


class Drawings:
    """Tells of drawings.

    Args:
        tower: with its judge. vocabulary: of the model whose words are told.
    """

    def __init__(self, tower: Tower, vocabulary: Vocabulary):
        self.tower, self.judge, self.styles = tower, tower.judge, vocabulary.styles.words
        self.known = dict[str, Tensor]()

    def tell(self, image: Image.Image) -> Told:
        """What a picture of any size and mode shows."""
        picture = self._square(image)
        found = self.judge.answers(picture)
        subject, style = self._both(picture, found)
        guesses = {"style": style, "colours": _colours(picture[0])}
        if found.first("style")[0] in PORTRAITS:
            people = {question: _people(found, question) for question in PEOPLE}
            (who, *_), has = people["person"], [each[0] for each in list(people.values())[1:] if each]
            more = f" with {' and '.join(g.en for g in has)}" if has else ""
            said = (f"{noun(who.en)}{more}", "，".join([f"一个{who.zh}", *(g.zh for g in has)]))
            guesses = {kind: each for kind, each in people.items() if each} | guesses
        else:
            said = (noun(subject[0].en), subject[0].zh)
            guesses = {"subject": subject} | guesses
        return Told(captions={"en": f"{said[0]}, {style[0].en}", "zh": f"{said[1]}，{style[0].zh}"}, guesses=guesses)

    def _square(self, image: Image.Image) -> Tensor:
        """A picture as the judge sees it, (1, 3, S, S) of bytes: whole, and around it the colour of its corner."""
        side, plain = self.judge.net.config.trunk.image_size, over_white(image)
        corner = plain.resize((1, 1), box=(0, 0, 1, 1)).tobytes()
        padded = ImageOps.pad(plain, (side, side), Image.Resampling.LANCZOS, color=tuple(corner))
        return torch.from_numpy(np.array(padded)).movedim(-1, 0)[None]

    def _both(self, picture: Tensor, found: Answers) -> tuple[list[Guess], list[Guess]]:
        """The likeliest subjects and styles."""
        subjects, styles = (found.logits[kind][0].log_softmax(0).topk(n) for kind, n in BEST.items())
        names = [self.judge.labels[str(found.words["subject"][i])] for i in subjects.indices.tolist()]
        words = [self.styles[str(found.words["style"][i])] for i in styles.indices.tolist()]
        captions = self._words([f"{noun(name['en'])}, {style.en[0]}" for name in names for style in words])
        fits = (self.tower.pictures(picture)[0] @ captions.mT).view(len(names), -1) * self.tower.net.logit_scale.exp()
        joint = fits + subjects.values[:, None] + styles.values
        joint = joint.flatten().softmax(0).view_as(joint)
        return (
            _first([Guess(name["en"], name["zh"], p) for name, p in zip(names, joint.sum(1).tolist(), strict=True)]),
            _first([Guess(style.en[0], style.zh[0], p) for style, p in zip(words, joint.sum(0).tolist(), strict=True)]),
        )

    def _words(self, texts: Sequence[str]) -> Tensor:
        """The summaries of texts, (N, D), each made once."""
        if new := [text for text in dict.fromkeys(texts) if text not in self.known]:
            self.known |= zip(new, self.tower.words(new), strict=True)
        return torch.stack([self.known[text] for text in texts])


def load() -> Drawings:
    """The judge and the tower that ship, and the words of the model that they ship with.

    Raises:
        InvalidFile: one of them is missing or damaged.
    """
    return Drawings(towers.load(), Vocabulary.of(find(DEFAULT)))


def _people(found: Answers, question: str) -> list[Guess]:
    """What the judge answers of a portrait; nothing where that is likeliest."""
    names, answers = PEOPLE[question], found.words[question]
    parts = found.probability(question)[0].tolist()
    if found.first(question)[0] not in names:
        return []
    return _first([Guess(*names[word], p) for word, p in zip(answers, parts, strict=True) if word in names])


def _colours(picture: Tensor) -> list[Guess]:
    """The colours of what stands before the background, or of the whole where nothing does, by their shares."""
    drawn = np.asarray(pieces.things(picture))
    parts = colours.shares(picture.movedim(0, -1).numpy(), drawn if drawn.any() else np.ones_like(drawn))
    return [
        Guess(name, colours.NAMES[name], float(parts[list(colours.NAMES).index(name)])) for name in colours.first(parts)
    ]


def _first(guesses: Sequence[Guess]) -> list[Guess]:
    first, *others = sorted(guesses, key=lambda guess: -guess.certainty)[:TOLD]
    return [first, *(guess for guess in others if guess.certainty >= LEAST)]
