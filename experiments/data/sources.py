"""The art sets: package, licence and author of each, the style it teaches, and what a user would call that style."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Source:
    """One art set. `en` and `zh` name its style; the first of each is the canonical name.

    `margin` is blank border in pixels of 128;
    `detail` renders so many times larger and shrinks, for sets whose filters leave hard edges."""

    style: str
    package: str
    licence: str
    author: str
    en: tuple[str, ...]
    zh: tuple[str, ...]
    margin: int = 0
    detail: int = 1


ART = (
    Source(
        style="3d", package="@lobehub/fluent-emoji-3d", licence="MIT",
        author="Microsoft Corporation (Fluent Emoji), packaged by LobeHub",
        en=("3d style", "3d", "3d render", "glossy 3d style"), zh=("3D风格", "3D", "三维风格", "立体风格"),
    ),
    Source(
        style="gradient", package="@iconify-json/fluent-emoji", licence="MIT", author="Microsoft Corporation",
        en=("gradient style", "soft gradient style", "gradient"), zh=("渐变风格", "柔和渐变风格", "渐变"), detail=3,
    ),
    Source(
        style="flat", package="@iconify-json/fluent-emoji-flat", licence="MIT", author="Microsoft Corporation",
        en=("flat style", "flat design", "flat"), zh=("扁平风格", "扁平化", "扁平"),
    ),
    Source(
        style="noto", package="@iconify-json/noto", licence="Apache-2.0", author="Google Inc",
        en=("noto style", "noto"), zh=("noto风格", "Noto风格"), margin=2,
    ),
    Source(
        style="blob", package="@iconify-json/noto-v1", licence="Apache-2.0", author="Google Inc",
        en=("blob style", "blob"), zh=("软糖风格", "软糖"), margin=4,
    ),
    Source(
        style="twemoji", package="@iconify-json/twemoji", licence="CC-BY-4.0",
        author="Twitter, Inc and other contributors",
        en=("twemoji style", "twemoji"), zh=("twemoji风格", "推特风格"), margin=5,
    ),
    Source(
        style="emojione", package="@iconify-json/emojione", licence="CC-BY-4.0", author="Emoji One",
        en=("emojione style", "emojione"), zh=("emojione风格", "EmojiOne风格"), margin=2,
    ),
    Source(
        style="firefox", package="@iconify-json/fxemoji", licence="Apache-2.0", author="Mozilla",
        en=("firefox style", "fxemoji style"), zh=("火狐风格", "firefox风格"), margin=4,
    ),
)  # fmt: skip
SHARE_ALIKE = (
    "@iconify-json/openmoji",
    "@iconify-json/emojione-v1",
)  # never read: their licence would bind the weights

PORTRAITS = (
    Source(style="lorelei", package="@dicebear/lorelei", licence="CC0-1.0", author="Lisa Wischofsky",
    en=("lorelei style",), zh=("lorelei风格",)),
    Source(style="notionists", package="@dicebear/notionists", licence="CC0-1.0", author="Zoish",
    en=("notionists style",), zh=("notionists风格",)),
    Source(style="open-peeps", package="@dicebear/open-peeps", licence="CC0-1.0", author="Pablo Stanley",
    en=("open peeps style",), zh=("open peeps风格",)),
    Source(style="adventurer", package="@dicebear/adventurer", licence="CC-BY-4.0", author="Lisa Wischofsky",
    en=("adventurer style",), zh=("adventurer风格",)),
    Source(style="micah", package="@dicebear/micah", licence="CC-BY-4.0", author="Micah Lanier", en=("micah style",),
    zh=("micah风格",)),
    Source(style="personas", package="@dicebear/personas", licence="CC-BY-4.0", author="Draftbit",
    en=("personas style",), zh=("personas风格",)),
    Source(style="toon-head", package="@dicebear/toon-head", licence="CC-BY-4.0", author="Johan Melin",
    en=("toon head style",), zh=("toon head风格",)),
    Source(style="big-smile", package="@dicebear/big-smile", licence="CC-BY-4.0", author="Ashley Seo",
    en=("big smile style",), zh=("big smile风格",)),
    Source(style="dylan", package="@dicebear/dylan", licence="CC-BY-4.0", author="Natalia Spivak", en=("dylan style",),
    zh=("dylan风格",)),
    Source(style="croodles", package="@dicebear/croodles", licence="CC-BY-4.0", author="Vijay Verma",
    en=("croodles style",), zh=("croodles风格",)),
)  # fmt: skip


def styles() -> list[dict[str, object]]:
    """Everything about the styles as plain JSON, the art sets first."""
    kinds = [("art", source) for source in ART] + [("portrait", source) for source in PORTRAITS]
    return [{"kind": kind, **asdict(source)} for kind, source in kinds]
