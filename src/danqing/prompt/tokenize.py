"""Text to token ids: the published CLIP vocabulary, and the bilingual one of the default model.

Source of CLIP's byte-pair encoding: Radford et al. 2021, "Learning transferable visual models from natural language
supervision"; the
merges are OpenAI's published data (see ``data/NOTICE``).
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from ..errors import InvalidInput
from . import vetted
from .vetted import understood

CLIP_BOS, CLIP_EOS = 49406, 49407


class Tokenizer(Protocol):
    """What an encoder of prompts needs to know about a vocabulary.

    ``bos``, ``eos`` and ``pad`` are ids; ``bos`` is None where nothing opens a text (T5). ``window`` is the number of
    ids that a text tower reads at once, bos and eos included.
    """

    @property
    def bos(self) -> int | None: ...
    @property
    def eos(self) -> int: ...
    @property
    def pad(self) -> int: ...
    @property
    def window(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """The ids of a text of any length, without bos, eos and padding."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, normalised as the vocabulary sees it."""
        ...


def room_of(tokenizer: Tokenizer) -> int:
    """How many ids of a text fit one window, beside its marks."""
    return tokenizer.window - 1 - (tokenizer.bos is not None)


def framed(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """One window: bos where there is one, as many ids as there is room for, eos, padding.

    Raises:
        InvalidInput: more ids than fit.
    """
    most = room_of(tokenizer)
    if len(ids) > most:
        raise InvalidInput(f"{len(ids)} ids do not fit a window of {tokenizer.window}: give at most {most} at a time")
    opening = [] if tokenizer.bos is None else [tokenizer.bos]
    return [*opening, *ids, tokenizer.eos, *[tokenizer.pad] * (most - len(ids))]


def _whole(text: str) -> str:
    """The text as valid Unicode: a lone surrogate, which no UTF-8 can hold, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, kw_only=True)
class BytePairTokenizer:
    """A byte-level BPE vocabulary of the ``tokenizers`` library: no text is unknown to it.

    Args:
        bpe: the vocabulary with its rules.
        bos, eos, pad: ids that open, close and fill a window.
        window: ids that a text tower reads at once, bos and eos included; at least 3.
        end: what ends a word in the vocabulary's own spelling; a space in decoded text.
    """

    bpe: tokenizers.Tokenizer = field(repr=False)
    bos: int
    eos: int
    pad: int
    window: int
    end: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.window, int) or self.window < 3:
            raise InvalidInput(f"a window of {self.window} ids holds no text: it must be at least 3 (bos, one id, eos)")

    def normalise(self, text: str) -> str:
        """The text as the vocabulary sees it (case, spaces, Unicode form), without space at either end."""
        rule = self.bpe.normalizer
        return (_whole(text) if rule is None else rule.normalize_str(_whole(text))).strip(" ")

    def encode(self, text: str) -> list[int]:
        """The ids of a text of any length, without bos, eos and padding."""
        with understood("the tokenizer", "vocabulary that can be used"):
            return self.bpe.encode(_whole(text), add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without bos, eos and padding; part of a character shows as U+FFFD."""
        special = {self.bos, self.eos, self.pad} - ({0} if self.end else set())  # CLIP's id 0 pads, but is also "!"
        text = self.bpe.decode([i for i in ids if i not in special], skip_special_tokens=False)
        return (text.replace(self.end, " ") if self.end else text).strip(" ")


# ---- CLIP ----------------------------------------------------------------------------------------------------------


def _byte_letters() -> list[str]:
    """The letter for each byte, in the order of CLIP's ids: printable bytes stand for themselves and come first."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]


def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """CLIP's 49,408 tokens with their ids, and its 48,894 merges in order of precedence, from the shipped data."""
    packed = files("danqing.prompt").joinpath("data", "bpe_simple_vocab_16e6.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").split("\n")
    lines = lines[1 : 49152 - 256 - 2 + 1]  # the published file has a heading, and more merges than CLIP uses
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    letters = _byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *(left + right for left, right in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}, merges


@cache
def _clip_bpe() -> tokenizers.Tokenizer:
    vocabulary, merges = clip_vocabulary()
    bpe = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
    bpe.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    bpe.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    return bpe


def clip_tokenizer(*, pad: int = CLIP_EOS, window: int = 77) -> BytePairTokenizer:
    """The published CLIP vocabulary: lower case, 49,408 ids, bos 49406, eos 49407.

    Args:
        pad: 49407 for Stable Diffusion 1 and every ViT-L/14; 0 for the OpenCLIP towers (Stable Diffusion 2, bigG in XL
            and 3).
        window: ids read at once.
    """
    return BytePairTokenizer(bpe=_clip_bpe(), bos=CLIP_BOS, eos=CLIP_EOS, pad=pad, window=window, end="</w>")


# ---- learned words -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WordTokenizer:
    """A vocabulary and some words more, each of one or more ids of its own (textual inversion).

    A word stands for itself wherever no ASCII letter, digit or underscore continues it, in either case; of words that
    fit the same place the longest counts. See `with_words`.
    """

    inner: Tokenizer
    words: Mapping[str, tuple[int, ...]]

    @property
    def bos(self) -> int | None:
        return self.inner.bos

    @property
    def eos(self) -> int:
        return self.inner.eos

    @property
    def pad(self) -> int:
        return self.inner.pad

    @property
    def window(self) -> int:
        return self.inner.window

    @cached_property
    def continuing(self) -> frozenset[int]:
        """Ids that go on with a word: no chunk may start with one."""
        return frozenset(i for ids in self.words.values() for i in ids[1:])

    @cached_property
    def ordered(self) -> list[str]:
        """The words, the longest first."""
        return sorted(self.words, key=lambda word: (-len(word), word))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """A group for each of the ordered words."""
        edged = []
        for word in self.ordered:
            before, after = (re.match("[A-Za-z0-9_]", end) is not None for end in (word[0], word[-1]))
            edged.append("(?<![A-Za-z0-9_])" * before + f"({re.escape(word)})" + "(?![A-Za-z0-9_])" * after)
        return re.compile("|".join(edged), re.IGNORECASE)

    def encode(self, text: str) -> list[int]:
        """The ids of a text of any length, without bos, eos and padding."""
        ids: list[int] = []
        end = 0
        for found in self.pattern.finditer(text):
            ids += self.inner.encode(text[end : found.start()])
            ids += self.words[self.ordered[(found.lastindex or 1) - 1]]
            end = found.end()
        return ids + self.inner.encode(text[end:])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; a word shows as it is spelt, its part as nothing."""
        spelt = {own[0]: word for word, own in reversed(list(self.words.items()))}
        texts: list[str] = []
        plain: list[int] = []
        for i in (*ids, None):
            if i is not None and i not in spelt and i not in self.continuing:
                plain.append(i)
                continue
            texts.append(self.inner.decode(plain))
            plain.clear()
            texts.append(spelt.get(i, "") if i is not None else "")
        return " ".join(filter(None, texts))


def with_words(tokenizer: Tokenizer, words: Mapping[str, tuple[int, ...]]) -> Tokenizer:
    """The tokenizer that also knows some learned words; the given one stays as it is.

    Args:
        words: name -> ids, such as `danqing.adapt.embedding.Vocabulary.ids`; without any the tokenizer itself is
            returned.

    Raises:
        InvalidInput: a word without a name or ids, or with more ids than a window has room for.
    """
    room = room_of(tokenizer)
    for word, ids in words.items():
        if not word or not 1 <= len(ids) <= room:
            raise InvalidInput(
                f"the learned word {word!r} has {len(ids)} vectors: it needs a name and 1 to {room}, the room of "
                "a window"
            )
    if isinstance(tokenizer, WordTokenizer):
        tokenizer, words = tokenizer.inner, {**tokenizer.words, **words}
    return WordTokenizer(tokenizer, words) if words else tokenizer


# ---- the default model ---------------------------------------------------------------------------------------------


def bilingual_tokenizer(path: str | Path, *, window: int = 32) -> BytePairTokenizer:
    """The vocabulary of the default model from its ``tokenizer.json``, which names <pad>, <bos> and <eos>.

    Raises:
        InvalidFile: the file is missing, damaged or of another kind.
    """
    with understood(path, "tokenizer.json of a danqing model"):
        bpe = vetted.tokenizer(Path(path).read_text(encoding="utf-8"))
        bpe.encode("a ½ 狐")
        marks = [bpe.token_to_id(name) for name in ("<bos>", "<eos>", "<pad>")]
        ids = [mark for mark in marks if mark is not None]
        if len(ids) < len(marks):
            raise ValueError("it has no <bos>, <eos> or <pad>")
    return BytePairTokenizer(bpe=bpe, bos=ids[0], eos=ids[1], pad=ids[2], window=window)
