"""What of a prompt is written in another program's grammar, or is not closed: the text model reads it as plain words,
and whoever wrote it meant more.

Every pattern takes time linear in the prompt. This module imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: How much of a prompt a sentence quotes, in characters.
QUOTED = 60
#: Midjourney's.
OPTIONS = "ar|aspect|v|version|niji|no|s|stylize|style|sref|cref|chaos|q|quality|seed|iw|tile|raw|weird|stop"
_NUMBER = r"[+-]?[0-9０-９.．]{1,20}"
#: What looks like a grammar that is not read here, by a pattern, and how it is written instead.
FOREIGN = tuple(
    (re.compile(pattern, re.MULTILINE), advice)
    for pattern, advice in (
        (
            r"^\s{0,9}Negative prompt:|\bSteps: ?[0-9]{1,9}, ?[A-Z][\w ]{1,60}: ?",
            "a picture's whole text is no prompt: give the negative prompt and the settings as options",
        ),
        (r"[{}][^{}]{0,60}", "a choice is written {red|blue}, and closed"),
        (rf"[:：]\s{{0,9}}{_NUMBER},{_NUMBER}\s{{0,9}}[)）]", "a weight is written with a point, (words:1.3)"),
        (
            rf"：\s{{0,9}}{_NUMBER}\s{{0,9}}[)）]|:\s{{0,9}}{_NUMBER}\s{{0,9}}）|"
            r":\s{0,9}[0-9.]{0,20}[０-９．][0-9０-９.．]{0,20}\s{0,9}[)）]",
            "a weight is written with ASCII's signs, (words:1.2)",
        ),
        (r"\bembedding:[\w.-]{1,99}", "a learned word is its name alone"),
        (
            r"(?<!\w)[^\W\d]\w{0,40}(?:\+\+|--)+(?=[\s,.;]|$)|\)(?:\+|-)+(?=[\s,.;]|$)",
            "a weight is written (words:1.2)",
        ),
        (r"\)[0-9]{1,9}\.[0-9]{1,9}(?=[\s,.;]|$)", "a weight stands within its brackets, (words:1.2)"),
        (r"""["')]\)?\.(?:and|blend|swap)\(""", "prompts are composed by AND, and changed by [before:after:0.5]"),
        (rf"(?<!\S)--(?:{OPTIONS})(?![\w-])", "options stand outside the prompt"),
        (r"[0-9]::[^:\[\]]{1,999}::", "a weight is written (words:1.2)"),
        (r"<(?:lora|lyco|hypernet|embedding):[^<>]*(?=<|\Z)", "a tag ends with >"),
        (
            r"\[[^\[\]:]*:[^\[\]:]*:(?![\d\s.+eE-]*\])[^\[\]:]*\]",
            "[before:after:when] needs a number for when, such as 0.5",
        ),
    )
)
_BRACKETS = re.compile(r"\\.|[()\[\]]", re.DOTALL)
_OPENING = {")": "(", "]": "["}


def unread(prompt: str) -> Iterator[str]:
    """A sentence for each of `FOREIGN` that stands in a prompt, and for brackets that do not pair."""
    for pattern, advice in FOREIGN:
        if found := pattern.search(prompt):
            yield f"{_quote(found[0])} was read as plain words: {advice}."
    open_at: dict[str, list[int]] = {"(": [], "[": []}
    for found in _BRACKETS.finditer(prompt):
        if (sign := found[0]) in open_at:
            open_at[sign].append(found.start())
        elif (opening := _OPENING.get(sign)) and not (open_at[opening] and open_at[opening].pop() >= 0):
            said = f"{_quote(prompt[: found.end()], last=True)} closes what nothing opens"
            yield f"{said}; the sign itself is written \\{sign}."
            break
    for sign, places in open_at.items():
        if places:
            said = f"{_quote(prompt[places[0] :])} is not closed, and reaches to the end"
            yield f"{said}; the sign itself is written \\{sign}."


def _quote(text: str, *, last: bool = False) -> str:
    short = text if len(text) <= QUOTED else f"…{text[-QUOTED:]}" if last else f"{text[:QUOTED]}…"
    return repr(" ".join(short.split()))
