"""The prompts of a request as they are painted: choices in them are drawn once, by its own seed and index."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from ..errors import UnknownName
from ..prompt.templates import Choice, Draws, Nodes, has_choices, parse
from ..prompt.templates import drawn as drawn_from
from ..request.request import Request
from ..store.own import styles as kept
from ..store.own import wildcards
from .styles import NONE, Styles

#: The fields of the prompts, by those that hold them as typed.
PROMPTS = {"template": "prompt", "negative_template": "negative"}


def drawn(request: Request) -> Request:
    """The request with what comes of its prompts, and beside it what was typed; one that states that, or has nothing to
    choose from, as it is.

    Raises:
        InvalidInput: a list of words is not there, is empty or holds itself.
    """
    stated = request.stated()
    if PROMPTS.keys() & stated.keys() or not any(has_choices(stated.get(name, "")) for name in PROMPTS.values()):
        return request
    seed = secrets.randbelow(2**32) if request.seed is None else request.seed
    said: dict[str, str] = {"template": ""}  # which also says that all is drawn
    for field, name in PROMPTS.items():
        if has_choices(typed := stated.get(name, "")):
            said |= {field: typed, name: drawn_from(typed, Draws(seed, request.index, name), wildcards.lines)}
    return request.but(seed=seed, **said)


def styled(request: Request, styles: Styles) -> Request:
    """The request whose prompts are in the styles of one's own that it states, one or several between commas, which its
    record then needs no longer; one that states none of them, or one that the model names itself, as it is.

    Raises:
        UnknownName: neither the model nor the user's list names a style.
    """
    stated = request.style
    if "style" not in request.stated() or styles.knows(stated):
        return request
    own = kept.read()
    wanted = [stated] if stated in own else [name.strip() for name in stated.split(",")]
    prompt, negative = request.prompt, request.negative
    for name in wanted:
        if name not in own:
            raise UnknownName("style", name, {NONE, *styles.words, *own})
        prompt, negative = own[name].of(prompt, negative)
    return request.but(prompt=prompt, negative=negative, style=NONE)


def remarks(request: Request) -> Iterator[str]:
    """A sentence on choices of one, which another program means otherwise."""
    for text in (request.typed.template, request.typed.negative_template):
        if text and (alone := next(_alone(parse(text)), None)) is not None:
            yield f"{{{alone}}} has nothing else to choose from: {{red|blue}} chooses, (words:1.05) weighs."


def _alone(nodes: Nodes) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Choice):
            if len(node.options) == 1 and all(isinstance(part, str) for part in node.options[0]):
                yield "".join(map(str, node.options[0]))
            for option in node.options:
                yield from _alone(option)
