"""T5's vocabulary, from a checkpoint's own files, and its encoder as a `Text`.

The vocabulary is a list of pieces, each with the logarithm of its probability; a text is cut into the pieces whose
product is the most probable. A text of any length is heard in windows, each by itself and read whole, its padding too.

Source: Kudo 2018, "Subword regularization", section 3.2 (the unigram model); Raffel et al. 2019, section 2.2.2 (T5's);
the layout of a SentencePiece file is src/sentencepiece_model.proto of google/sentencepiece, that of its fields the
encoding guide of Protocol Buffers.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers
from torch import Tensor

from ..errors import InvalidFile, InvalidInput
from ..nets.t5 import T5
from . import vetted
from .batches import Batched
from .encode import Encoded, condition
from .grammar import Plan, Tag
from .tokenize import Tokenizer, _whole
from .vetted import understood

FILES = ("tokenizer.json", "spiece.model")
#: The largest vocabularies of this kind hold a quarter of a million pieces in 20 MB.
MAX_FILE, MAX_PIECES = 64 << 20, 1 << 20
#: T5 was trained with 100 marks <extra_id_99> .. <extra_id_0> behind its pieces.
MARKS = 100
#: Kinds of pieces and of models, as SentencePiece numbers them.
NORMAL, UNKNOWN, CONTROL, UNIGRAM = 1, 2, 3, 1
#: Stands for a space within a piece.
SPACE = "▁"
#: Windows that are heard of one text; over a million tokens, however its phrases fall.
WINDOWS = 8192
#: How many layers may be skipped where none are.
ANY_LAYERS = 1000


# ---- SentencePiece files -------------------------------------------------------------------------------------------


class Piece(NamedTuple):
    """A piece of the vocabulary; its id is its place."""

    text: str
    score: float
    kind: int


class Spiece(NamedTuple):
    """What a SentencePiece file holds.

    Args:
        characters: how each character is rewritten before the text is cut, in SentencePiece's compiled form; may be
            empty.
    """

    pieces: tuple[Piece, ...]
    characters: bytes


def spiece(data: bytes) -> Spiece:
    """Read a SentencePiece file of the unigram kind.

    Raises:
        ValueError: what of it cannot be right.
    """
    pieces, characters, kind = [], b"", UNIGRAM
    for number, value in fields(data):
        if number == 1:
            part = dict(fields(value))
            (score,) = struct.unpack("<f", _bytes(part.get(2, bytes(4))))
            pieces.append(Piece(_bytes(part.get(1, b"")).decode("utf-8"), score, int(part.get(3, NORMAL))))
        elif number == 2:
            kind = dict(fields(value)).get(3, UNIGRAM)
        elif number == 3:
            characters = _bytes(dict(fields(value)).get(2, b""))
        if len(pieces) > MAX_PIECES:
            raise ValueError(f"it has more than {MAX_PIECES:,} pieces")
    if kind != UNIGRAM:
        raise ValueError("it is not of the unigram kind")
    if not all(math.isfinite(piece.score) for piece in pieces):
        raise ValueError("a piece has a score that is not finite")
    if [piece.kind for piece in pieces].count(UNKNOWN) != 1:
        raise ValueError("exactly one of its pieces must stand for what is unknown")
    return Spiece(tuple(pieces), characters)


def fields(message: int | bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a Protocol Buffers message, (number, value): numbers as int, all else as its bytes.

    Raises:
        ValueError: not such a message, or truncated.
    """
    data, at = _bytes(message), 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = {1: 8, 5: 4}[wire]
        else:
            raise ValueError(f"byte {at} starts no field")
        if size > len(data) - at:
            raise ValueError("it is truncated")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, seven bits a byte and the lowest first, and the place behind it."""
    value = 0
    for k, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * k)
        if byte < 0x80:
            return value, at + k + 1
    raise ValueError("it is truncated, or a number in it is too long")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where a text should")
    return value


# ---- the vocabulary ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PieceTokenizer:
    """A unigram vocabulary of the ``tokenizers`` library. Nothing opens a text.

    Args:
        pieces: the vocabulary with its rules.
        eos, pad: ids that close and fill a window.
        window: ids that the encoder reads at once, eos included; at least 2.
    """

    pieces: tokenizers.Tokenizer = field(repr=False)
    eos: int = 1
    pad: int = 0
    window: int = 256
    bos: None = None

    def __post_init__(self) -> None:
        if self.window < 2:
            raise InvalidInput(f"a window of {self.window} ids holds no text: it must be at least 2 (one id, eos)")

    @property
    def size(self) -> int:
        """How many ids there are: 0 .. size - 1."""
        return self.pieces.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """The ids of a text of any length, without eos and padding.

        Raises:
            InvalidFile: the vocabulary's table of characters leads nowhere.
        """
        with understood("the tokenizer", "vocabulary of T5"):
            return self.pieces.encode(_whole(text), add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without eos and padding; what is unknown shows as "<unk>"."""
        return self.pieces.decode([i for i in ids if i not in (self.eos, self.pad)], skip_special_tokens=False)


def t5_tokenizer(path: str | Path, *, window: int = 256) -> PieceTokenizer:
    """The vocabulary of a T5 from its ``tokenizer.json`` or its SentencePiece file ``spiece.model``.

    Args:
        path: one of these files, or a folder that holds one.
        window: ids read at once. Stable Diffusion 3 hears 256 in diffusers, 77 in its authors' published code.

    Raises:
        InvalidFile: the file is missing, damaged or of another kind.
        InvalidInput: a window below 2.
    """
    path = Path(path)
    with understood(path, "vocabulary of T5"):
        if path.is_dir():
            found = [path / name for name in FILES if (path / name).is_file()]
            if not found:
                raise InvalidFile(f"the folder {path} holds no vocabulary of T5: {' or '.join(FILES)} must be in it")
            path = found[0]
        if path.stat().st_size > MAX_FILE:
            raise InvalidFile(
                f"{path} has {path.stat().st_size:,} bytes: no vocabulary of T5 has more than {MAX_FILE:,}"
            )
        data = path.read_bytes()
        pieces = vetted.tokenizer(data.decode("utf-8")) if data[:1] == b"{" else unigram(spiece(data))
        if not isinstance(pieces.model, models.Unigram):
            raise ValueError(f"it is of the kind {type(pieces.model).__name__}, not unigram")
        pieces.encode("a ½ 狐")  # a damaged table of characters shows when it is read
        eos, pad = pieces.token_to_id("</s>"), pieces.token_to_id("<pad>")
        if eos is None or pad is None:
            raise ValueError("it has no </s> or no <pad>")
    return PieceTokenizer(pieces=pieces, eos=eos, pad=pad, window=window)


def unigram(file: Spiece) -> tokenizers.Tokenizer:
    """The vocabulary of a SentencePiece file, with T5's marks behind its pieces.

    Space of any kind and length parts words, and each word begins with one `SPACE`.
    """
    marks = [f"<extra_id_{k}>" for k in reversed(range(MARKS))]
    scored = [(piece.text, piece.score) for piece in file.pieces] + [(mark, 0.0) for mark in marks]
    unknown = next(k for k, piece in enumerate(file.pieces) if piece.kind == UNKNOWN)
    pieces = tokenizers.Tokenizer(models.Unigram(scored, unk_id=unknown, byte_fallback=False))
    if file.characters:
        pieces.normalizer = normalizers.Precompiled(file.characters)  # pyright: ignore[reportAttributeAccessIssue]
    pieces.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=True),
        ]
    )
    pieces.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)  # pyright: ignore[reportAttributeAccessIssue]
    pieces.add_special_tokens([*(piece.text for piece in file.pieces if piece.kind in (UNKNOWN, CONTROL)), *marks])
    return pieces


# ---- the encoder ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class T5Encoder:
    """A `T5` as a `danqing.prompt.encode.Encoder`: every id of a window is read, its padding too, and there is no
    summary."""

    net: T5

    def embed(self, ids: Tensor) -> tuple[Tensor, None]:
        """Ids (B, window) to tokens (B, window, D), on the network's device."""
        return self.net(ids.to(next(self.net.parameters()).device)), None


@dataclass(frozen=True, kw_only=True)
class T5Text:
    """`Text` of a T5, as Stable Diffusion 3 hears it: windows one after the other, no mask, no summary.

    Shorter texts of a picture are filled with empty windows up to the longest, for picture and text attend to each
    other.

    Args:
        tokenizer: see `t5_tokenizer`.
        max_windows: longer texts are cut, with a warning.
        batch: windows encoded at a time.
    """

    tokenizer: Tokenizer
    net: T5
    max_windows: int = WINDOWS
    batch: int = 8

    @property
    def layers(self) -> int:
        """No limit: ``skip`` counts the layers of CLIP, and a T5 is heard at its last."""
        return ANY_LAYERS

    def condition(
        self, plans: Sequence[Plan], *, skip: int = 0, weighting: str, applied: Collection[Tag] = ()
    ) -> tuple[Encoded, ...]:
        """Encode the prompts of one picture."""
        encoder = Batched(T5Encoder(net=self.net), self.batch)
        return condition(
            plans, self.tokenizer, encoder, weighting=weighting, max_chunks=self.max_windows, applied=applied
        )

    def with_words(self, words: Mapping[str, tuple[int, ...]]) -> T5Text:
        """The same: CLIP is taught learned words, a T5 reads them as they are spelt."""
        return self
