"""Prompts: the grammar (`grammar`), token ids (`tokenize`), conditionings (`encode`).

The grammar needs no torch; what does is imported when first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .grammar import Piece, Plan, Prompt, Run, Switch, Tag, Term, Turn, Weighted, parse, plan, weigh

if TYPE_CHECKING:
    from .encode import WEIGHTINGS, Chunk, ClipEncoder, Encoded, EncodedRun, Encoder, chunked, condition
    from .tokenize import BytePairTokenizer, Tokenizer, bilingual_tokenizer, clip_tokenizer, framed

_LAZY = {
    **dict.fromkeys(
        ("WEIGHTINGS", "Chunk", "ClipEncoder", "Encoded", "EncodedRun", "Encoder", "chunked", "condition"), ".encode"
    ),
    **dict.fromkeys(("BytePairTokenizer", "Tokenizer", "bilingual_tokenizer", "clip_tokenizer", "framed"), ".tokenize"),
}

__all__ = [
    "WEIGHTINGS",
    "BytePairTokenizer",
    "Chunk",
    "ClipEncoder",
    "Encoded",
    "EncodedRun",
    "Encoder",
    "Piece",
    "Plan",
    "Prompt",
    "Run",
    "Switch",
    "Tag",
    "Term",
    "Tokenizer",
    "Turn",
    "Weighted",
    "bilingual_tokenizer",
    "chunked",
    "clip_tokenizer",
    "condition",
    "framed",
    "parse",
    "plan",
    "weigh",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
