"""A name with its parameters as people write it: ``enlarge:scale=2``."""

from __future__ import annotations

from ..errors import InvalidInput


def named(what: str, text: str, example: str) -> tuple[str, dict[str, str]]:
    """The name and the parameters of ``name:parameter=value:...``.

    Args:
        what: is named, for the refusal. example: of such a text.

    Raises:
        InvalidInput: a parameter lacks its value.
    """
    name, *settings = text.split(":")
    pairs = [setting.partition("=")[::2] for setting in settings]
    if wrong := [key for key, value in pairs if not value.strip()]:
        raise InvalidInput(f"{what}: {text!r} was given; {wrong[0]!r} lacks its value: write for example {example}")
    return name.strip(), {key.strip(): value.strip() for key, value in pairs}
