"""A stranger's ``tokenizer.json``, of which only what cannot harm reaches the library that runs it.

That library panics, aborts the process or runs for ever on what it did not foresee: so kinds of parts are those of a
table, numbers and ids lie within bounds, and a regular expression takes time linear in the text. What frames and cuts
texts is left out, for that is done here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tokenizers

from ..errors import DanqingError, InvalidFile
from ..inputs.parse import json_of

#: Ids, and pieces of a vocabulary: the largest hold a quarter of a million.
MOST = 1 << 20
#: What of it frames and cuts texts.
FRAMES = ("truncation", "padding", "post_processor")
#: The kinds of parts, by where they stand.
KINDS: Mapping[str, Collection[str]] = {
    "normalizer": (
        *("Sequence", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "BertNormalizer", "Replace", "Strip"),
        *("StripAccents", "Prepend", "Precompiled"),
    ),
    "pre_tokenizer": (
        *("Sequence", "Split", "ByteLevel", "Metaspace", "WhitespaceSplit", "Whitespace", "Digits", "Punctuation"),
        "BertPreTokenizer",
    ),
    "decoder": ("Sequence", "ByteLevel", "Metaspace", "Replace", "Fuse", "BPEDecoder"),
}
#: Characters of a regular expression at most, and places in one of its alternatives where there is
#: something to choose, and groups within each other.
LONG, CHOICES, LEVELS = 8192, 2, 4
#: A regular expression in tokens: an escape, what opens or closes, a quantifier, or a character.
_TOKEN = re.compile(
    r"\\[pPx]\{[^{}]{0,40}\}|\\.|\(\?[=:!]|[()\[\]|]|[*+?][+?]?|\{\d{0,3}(?:,(\d{0,3}))?\}|.", re.DOTALL
)


def tokenizer(text: str) -> tokenizers.Tokenizer:
    """The vocabulary with its rules.

    Raises:
        ValueError: something in it that is not known to be harmless, or the library's own refusal.
    """
    said = json_of(text)
    if not isinstance(said, dict):
        raise ValueError("it holds no object of JSON")
    _model(said.get("model"))
    for place in KINDS:
        _part(place, said.get(place))
    for token in said.get("added_tokens") or ():
        if not isinstance(token.get("content"), str) or not token["content"].strip() or not _count(token.get("id")):
            raise ValueError(f"{str(token)[:80]} is no added token")
    return tokenizers.Tokenizer.from_str(json.dumps({**said, **dict.fromkeys(FRAMES)}))


@contextmanager
def understood(what: object, kind: str) -> Iterator[None]:
    """Whatever goes wrong within makes an `InvalidFile` that names it.

    Args:
        kind: what the file should be, such as "a vocabulary of T5".
    """
    try:
        yield
    except DanqingError:
        raise
    except OSError as error:
        raise InvalidFile(f"cannot read the tokenizer {what}: {error.strerror or error}") from error
    except BaseException as error:
        # what the library did not foresee in a damaged file it raises as no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InvalidFile(f"{what} is no {kind} ({error}): restore it from where the model came from") from None


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < MOST


def _model(model: Any) -> None:
    kind, vocabulary = model.get("type"), model.get("vocab")
    if kind == "BPE":
        ids = list(vocabulary.values())
        whole = len(set(ids)) == len(ids) and all(map(_count, ids)) and all(vocabulary)
        pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model.get("merges", ()))
        whole = whole and all(len(pair) == 2 and {*pair, "".join(pair)} <= vocabulary.keys() for pair in pairs)
        if model.get("continuing_subword_prefix") or model.get("dropout"):
            raise ValueError("its pieces are drawn, or continue by a prefix")
    elif kind == "Unigram":
        whole = 0 < len(vocabulary) <= MOST and 0 <= (model.get("unk_id") or 0) < len(vocabulary)
        whole = whole and all(isinstance(text, str) and math.isfinite(score) for text, score in vocabulary)
    else:
        raise ValueError(f"it is of the kind {kind!r:.40}, and neither BPE nor Unigram")
    if not whole:
        raise ValueError("its vocabulary holds a piece twice, without an id, or merged of what is none")


def _part(place: str, part: Any) -> None:
    """Refuse a part that may harm, and look into those that it is made of."""
    if part is None:
        return
    if part.get("type") not in KINDS[place]:
        raise ValueError(f"its {place} is of the kind {str(part.get('type'))[:40]!r}, which is not known here")
    for value in part.values():
        if isinstance(value, int | float) and not abs(value) <= MOST:
            raise ValueError(f"a number in its {place} is {str(value)[:40]}")
    for inner in (*part.get("normalizers", ()), *part.get("pretokenizers", ()), *part.get("decoders", ())):
        _part(place, inner)
    if "pattern" in part:
        pattern = part["pattern"]
        given = pattern.get("Regex") or pattern.get("String")
        if not given or not isinstance(given, str) or not ("String" in pattern or linear(given)):
            raise ValueError(f"a pattern in its {place}, {str(given)[:60]!r}, may take for ever")


def linear(pattern: str) -> bool:
    """Whether a regular expression surely takes time linear in the text: what repeats without a bound is one character
    or class, in no group, and last in its alternative, so nothing is tried again; and little else is there to choose.
    """
    depth, classes, choices, ended = 0, 0, 0, False
    for found in _TOKEN.finditer(pattern):
        token = found[0]
        if token == "|" and not depth and not classes:
            choices, ended = 0, False
            continue
        if ended or len(pattern) > LONG:
            return False
        if classes or token == "[":
            classes += {"[": 1, "]": -1}.get(token, 0)
        elif token[0] in "*+?{":
            if pattern[: found.start()].endswith(")"):
                return False
            ended = token[0] in "*+" or (token[0] == "{" and found[1] == "")
            choices += not ended
        elif token[0] in "()":
            depth += 1 if token[0] == "(" else -1
            choices += token in ("(", "(?:")
        if (ended and depth) or choices > CHOICES or depth not in range(LEVELS) or re.fullmatch(r"\\[1-9k]", token):
            return False
    return not classes and not depth
