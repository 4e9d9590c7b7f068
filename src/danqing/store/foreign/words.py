"""The words of a folder of diffusers: CLIP's, and those that were added to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..cache import stamp
from .fields import TOKENIZER

TOKENIZERS = ("tokenizer", "tokenizer_2")
#: What is read of each.
FILES = ("tokenizer_config.json", "tokenizer.json", "vocab.json", "added_tokens.json")
#: How many words CLIP has; what is added comes behind.
COUNT = 49408
#: Longer files of added words are none.
MAX_BYTES = 2**24
#: Some of CLIP's words and their ids, by which its vocabulary is known without reading it all.
KNOWN = {"!": 0, "a</w>": 320, "the</w>": 518, "<|startoftext|>": COUNT - 2, "<|endoftext|>": COUNT - 1}
#: Words that fill a window, and their ids.
PADS = {"!": 0, "<|endoftext|>": COUNT - 1}
SPECIAL = ("<|startoftext|>", "<|endoftext|>")


class Words(NamedTuple):
    """What a folder says of its words.

    Args:
        added: word -> its ids.
        pad: the word that fills the window of the first tokenizer; "" where it does not say.
    """

    added: Mapping[str, tuple[int, ...]]
    pad: str


def words_of(path: Path) -> tuple[Words, tuple[str, ...]]:
    """The words of a model's folder, and what of them is not read, a sentence each."""
    return _read(path, tuple(tuple(stamp(path / name / file)) for name in TOKENIZERS for file in FILES))


@lru_cache(maxsize=8)  # a vocabulary takes a tenth of a second, and a folder is found again for every picture
def _read(path: Path, _: tuple[tuple[int, ...], ...]) -> tuple[Words, tuple[str, ...]]:
    added: dict[str, tuple[int, ...]] = {}
    pad, warnings = "", list[str]()
    for name in TOKENIZERS:
        folder = path / name
        config = _object(folder / "tokenizer_config.json")
        warnings += TOKENIZER.unread(f"{name}/tokenizer_config.json", config)
        whole = _object(folder / "tokenizer.json")
        inner = whole.get("model")
        vocabulary = _object(folder / "vocab.json") or (inner.get("vocab") if isinstance(inner, dict) else None)
        if (
            isinstance(vocabulary, dict)
            and vocabulary
            and (len(vocabulary) < COUNT or any(vocabulary.get(word) != n for word, n in KNOWN.items()))
        ):
            warnings.append(f"{name} has another vocabulary than CLIP's, and prompts are read by CLIP's.")
        for word, number in _added(folder, config, whole).items():
            if added.setdefault(word, (number,)) != (number,):
                warnings.append(
                    f"the word {word!r} has other numbers in the two tokenizers: that of the first is used."
                )
        pad = pad or _content(config.get("pad_token"))
    return Words(added, pad), tuple(warnings)


def _added(folder: Path, config: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, int]:
    """The words that stand behind CLIP's, by any of the places that tell them."""
    decoder = config.get("added_tokens_decoder")
    entries = decoder.items() if isinstance(decoder, dict) else ()
    found = {_content(word): int(n) for n, word in entries if str(n).isdecimal() and len(str(n)) < 10}
    listed = whole.get("added_tokens")
    words = [word for word in listed if isinstance(word, dict)] if isinstance(listed, list) else []
    found |= {_content(word): word["id"] for word in words if type(word.get("id")) is int}
    found |= {word: n for word, n in _object(folder / "added_tokens.json").items() if type(n) is int}
    return {word: n for word, n in found.items() if word and n >= COUNT and word not in SPECIAL}


def _content(word: Any) -> str:
    """A word as it is written: itself, or an object around it."""
    found = word.get("content") if isinstance(word, dict) else word
    return found if isinstance(found, str) else ""


def _object(path: Path) -> dict[str, Any]:
    """What a file of a tokenizer says; {} where it is not there or says nothing: CLIP's words are at hand."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
