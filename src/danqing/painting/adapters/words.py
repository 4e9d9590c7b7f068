"""Learned words (textual inversion), by their names anywhere in a prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from ...adapt import embedding
from ...errors import InvalidFile
from ...nets.clip import CLIPText
from ...request.request import Resolved
from ...store import library
from ...weights import store
from .attachment import Asked, Attached, Attachment, Target, Warn


def find(request: Resolved, warn: Warn) -> Iterator[Asked]:
    """The words of the user's folders that stand in the texts."""
    texts = "\n".join(text for pair in request.texts for text in pair)
    for name, path in library.embeddings().items():
        if "/" not in name and re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", texts, re.IGNORECASE):
            yield Asked(path, name)


def read(asked: Asked, target: Target, strict: bool) -> embedding.LearnedWord | InvalidFile:
    """The vectors of a word, or why there are none: its name may stand in a prompt by chance.

    Raises:
        InvalidFile: there are none, where ``strict``.
    """
    try:
        return embedding.read(store.read(asked.path), asked.name)
    except InvalidFile as error:
        if strict:
            raise
        return error


def attach(
    attached: Attached, found: Iterable[tuple[Asked, embedding.LearnedWord | InvalidFile]], target: Target, warn: Warn
) -> Attached:
    """One vocabulary of the words that were learned for this model; of others it warns.

    Raises:
        InvalidInput: two words of one name.
    """
    widths = {role: net.config.hidden_size for role, net in target.nets.items() if isinstance(net, CLIPText)}
    words = list[embedding.LearnedWord]()
    for asked, word in found:
        if isinstance(word, InvalidFile):
            warn(f"the learned word {asked.name!r} was read as plain text: {word}.")
            continue
        if {role: vectors.shape[1] for role, vectors in word.vectors.items()} != widths:
            warn(f"the learned word {asked.name!r} was made for another model, and was read as plain text.")
            continue
        attached = attached.add(asked.path)
        words.append(word)
    vocabulary = embedding.Vocabulary(tuple(words))
    on = [partial(vocabulary.on(role).attach, target.nets[role]) for role in widths] if words else []
    text = attached.text.with_words(vocabulary.ids) if words else attached.text
    return replace(attached, text=text, on=(*attached.on, *on))


WORDS = Attachment(
    find=find,
    read=read,
    attach=attach,
    does="Learned words (textual inversion), by their names in a prompt.",
    hashes=("TI hashes", library.digest),
)
