"""Captions: what a painter's user would type for a picture, in English and Chinese, drawn anew in every epoch from the
picture's ledger line.

A record is a line of the ledger (`data/ledger.jsonl`) as a dict. Three kinds exist:

- `single`: one subject in one style, on white, in its own colours or recoloured;
- `composite`: one to three subjects placed on a coloured background;
- `portrait`: a drawn person with named attributes.

`rng` is anything with `.random()` in [0, 1): `random.Random` or `numpy.random.Generator`.
The same state gives the same captions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from experiments.data.colours import NAMES as COLOURS
from experiments.data.colours import NEUTRAL
from experiments.data.names import coloured
from experiments.data.sources import ART, PORTRAITS
from experiments.nouns import MEASURED, NUMBERS, countable, counted, noun_en, noun_zh
from experiments.nouns import NAMES as PROPER

T = TypeVar("T")
Record = Mapping[str, Any]
STYLES = {source.style: source for source in (*ART, *PORTRAITS)}
LANGUAGES = ("en", "zh")
WITHOUT_STYLE = 0.10
OTHER_NAME = 0.45  # of the captions call a subject otherwise than its label, where it has other names
COLOUR_TOLD = 0.25  # of the captions of a picture in its own colours
EMOJI = 0.03
WHITE_SAID = 0.06


class Random(Protocol):
    """Anything that draws uniform numbers in [0, 1)."""

    def random(self) -> float: ...


def pick(rng: Random, items: Sequence[T]) -> T:
    """One of the items, each as likely."""
    return items[min(int(rng.random() * len(items)), len(items) - 1)]


def style_name(style: str, lang: str, rng: Random | None = None) -> str:
    """A name of the style: the canonical one without `rng`; with it the canonical one three times in four."""
    names = getattr(STYLES[style], lang)
    return names[0] if rng is None or rng.random() < 0.75 else pick(rng, names)


# ---- subjects

OTHER_COLOURS = {
    "en": {"grey": "gray", "teal": "turquoise", "purple": "violet"},
    "zh": {"粉色": "粉红色", "棕色": "褐色", "橙色": "橘色"},
}
GREYS = re.compile(r"\b(white|grey|black)\b|[白灰黑]色")
BRIEF = {"白色": "白", "黑色": "黑", "红色": "红", "黄色": "黄", "绿色": "绿", "蓝色": "蓝", "紫色": "紫"}


def subject(record: Record, lang: str, rng: Random | None = None) -> str:
    """What a picture's subject is called: its label, or another of its names; the first of these is the likeliest."""
    label = record[f"label_{lang}"]
    others = [name for name in record.get(f"names_{lang}", ()) if name != label]
    if rng is None or not others or rng.random() > OTHER_NAME:
        return label
    return others[0] if rng.random() < 0.4 else pick(rng, others)


def told(record: Record, lang: str, rng: Random | None = None) -> str:
    """A picture's first hue in words, or its first two colours with it: "red", "red and white"."""
    colours = record["colours"]
    first = next((name for name in colours if name not in NEUTRAL), colours[0])
    both = rng is not None and rng.random() < 0.5 and first in colours[:2]
    words = [name if lang == "en" else COLOURS[name] for name in (colours[:2] if both else [first])]
    words = [OTHER_COLOURS[lang].get(w, w) if rng is not None and rng.random() < 0.15 else w for w in words]
    return (" and " if lang == "en" else "和").join(words)


def _tells_colour(record: Record, name: str, rng: Random | None) -> bool:
    """Whether a caption says the colours: of a recoloured picture always, of another now and then."""
    if not record.get("colours") or record["group"] == "flags" or coloured(name) or GREYS.search(name):
        return False
    return record["array"] == "recoloured" or (rng is not None and rng.random() < COLOUR_TOLD)


def _before(name: str, colours: str, lang: str, rng: Random | None) -> str:
    """A name with its colours before it: "red fox", 红色的狐狸, 红狐狸, 一杯红色的茶; as it is where none can stand."""
    if lang == "en":
        fits = not (PROPER.match(name) or name.startswith(("the ", "two ", "three ")) or name.count(" ") > 2)
        return f"{colours} {name}" if fits else name
    draw = 1.0 if rng is None else rng.random()
    word = BRIEF[colours] if draw < 0.2 and colours in BRIEF else colours + "的" * (draw > 0.4)
    place = 2 if MEASURED.match(name) else 0
    return name[:place] + word + name[place:]


def named(record: Record, lang: str, rng: Random | None = None, after: float = 0.0) -> tuple[str, str]:
    """A picture's subject with its colours, where they are told: (as one name, what is said after it). People are told
    to wear theirs; what can stand before a name is said after it with the probability ``after``."""
    name = subject(record, lang, rng)
    if not _tells_colour(record, name, rng):
        return name, ""
    colours = told(record, lang, rng)
    if record["subgroup"].startswith(("person", "family")):
        return f"{name} in {colours}" if lang == "en" else f"穿{colours}的{name}", ""
    if rng is not None and rng.random() < after:
        return name, colours
    whole = _before(name, colours, lang, rng)
    return whole, "" if whole != name else colours


def noun(name: str, lang: str, subgroup: str = "") -> str:
    """A name with its article or measure word."""
    return noun_en(name) if lang == "en" else noun_zh(name, subgroup)


# ---- single pictures

# {a} the noun with its article, {n} the bare name, {s} the style, {t} another word for the subject
WITH_STYLE = {
    "en": (
        "{a}, {s}", "{a}, {s}", "{a}, {s}", "{a}, {s}", "{n}, {s}", "{n}, {s}", "{n}, {s}", "{s} picture of {a}",
        "{a} in {s}", "a picture of {a}, {s}",
        "{s}, {n}", "a drawing of {a} in {s}", "{n}, {t}, {s}", "{a}, emoji, {s}", "an icon of {a}, {s}", "{s} {n}",
        "{n} {s}", "{n} emoji, {s}",
    ),
    "zh": (
        "{n}，{s}", "{n}，{s}", "{n}，{s}", "{n}，{s}", "{a}，{s}", "{a}，{s}", "{a}，{s}", "{s}的{n}", "{s}，{n}",
        "{n}的图片，{s}", "画{a}，{s}", "{n}，{t}，{s}",
        "一张{n}的图，{s}", "{n}图标，{s}", "{n}表情符号，{s}", "{s}{n}", "{n} {s}",
    ),
}  # fmt: skip
WITHOUT = {
    "en": ("{a}", "{a}", "{a}", "{n}", "{n}", "{n}", "a picture of {a}", "{n}, {t}", "a drawing of {a}"),
    "zh": ("{n}", "{n}", "{n}", "{a}", "{a}", "{n}的图片", "画{a}", "{n}，{t}"),
}
AFTER = {"en": ("{a}, {c}, {s}", "{n}, {c}, {s}"), "zh": ("{n}，{c}，{s}", "{a}，{c}，{s}")}
AFTER_ALONE = {"en": ("{a}, {c}", "{n}, {c}"), "zh": ("{n}，{c}", "{a}，{c}")}
WITH_EMOJI = {"en": ("{e}, {s}", "{e} {n}, {s}", "{e} {s}"), "zh": ("{e}，{s}", "{e}{n}，{s}", "{s}的{e}")}
ON_WHITE = {"en": (" on a white background", ", white background"), "zh": ("，白色背景", "，白底")}


def _template(record: Record, lang: str, after: str, other: str, rng: Random) -> str:
    """How a single is told: with its colours after it, as the emoji itself, without its style, or any other way."""
    bare = rng.random() < WITHOUT_STYLE
    if after:
        return pick(rng, (AFTER_ALONE if bare else AFTER)[lang])
    if rng.random() < EMOJI and 0 < len(record.get("emoji", "").removesuffix("\ufe0f")) <= 2:
        return pick(rng, WITH_EMOJI[lang])
    template = pick(rng, (WITHOUT if bare else WITH_STYLE)[lang])
    return template if other or "{t}" not in template else (WITHOUT if bare else WITH_STYLE)[lang][0]


def _single(record: Record, lang: str, rng: Random | None) -> str:
    name, colours = named(record, lang, rng, after=0.2)
    words = {"a": noun(name, lang, record.get("subgroup", "")), "n": name, "c": colours, "e": record.get("emoji", "")}
    if rng is None:
        template = AFTER[lang][0] if colours else {"en": "{a}, {s}", "zh": "{n}，{s}"}[lang]
        return template.format(**words, s=style_name(record["style"], lang))
    tags = [tag for tag in record.get(f"tags_{lang}", ()) if tag not in name and name not in tag]
    other = pick(rng, tags) if tags else ""
    text = _template(record, lang, colours, other, rng)
    text = text.format(**words, s=style_name(record["style"], lang, rng), t=other)
    return text + (pick(rng, ON_WHITE[lang]) if rng.random() < WHITE_SAID else "")


# ---- composites

PLACES = {
    "left": ("on the left", "在左边"), "right": ("on the right", "在右边"), "top": ("at the top", "在上方"),
    "bottom": ("at the bottom", "在下方"),
    "centre": ("in the centre", "在中间"), "top left": ("in the top left corner", "在左上角"),
    "top right": ("in the top right corner", "在右上角"),
    "bottom left": ("in the bottom left corner", "在左下角"), "bottom right": ("in the bottom right corner",
    "在右下角"),
}  # fmt: skip
RELATIONS = {  # first piece to second
    "left": (("to the left of", "left of", "on the left of"), "左边"), "right": (("to the right of", "right of",
    "on the right of"), "右边"),
    "top": (("above", "over"), "上方"), "bottom": (("below", "under"), "下方"),
    "front": (("in front of",), "前面"), "behind": (("behind",), "后面"),
}  # fmt: skip
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top", "front": "behind", "behind": "front"}
SIZES = (  # up to which scale of a lone piece, and the words for it
    (0.42, ("tiny", "small", "little"), "小小的"),
    (0.55, ("small", "little"), "小小的"),
    (0.7, (), ""),
    (2.0, ("large", "big", "huge"), "大大的"),
)


def background(record: Record, lang: str, rng: Random | None = None) -> str:
    """The words for a composite's background: "on a light blue background", "浅蓝色背景"."""
    colours = [colour[lang] for colour in record["background"]["colours"]]
    if lang == "zh":
        return f"{colours[0]}背景" if len(colours) == 1 else f"{colours[0]}到{colours[1]}的渐变背景"
    text = f"a{'n' * (colours[0][0] in 'aeio')} {colours[0]} background"
    if len(colours) == 2:
        text = f"a gradient background from {colours[0]} to {colours[1]}"
    return f"on {text}" if rng is None or rng.random() < 0.7 else text.split(" ", 1)[1]


def _thing(piece: Record, lang: str, rng: Random | None, size: str = "") -> str:
    """A piece as one noun."""
    name, colours = named(piece, lang, rng)
    if colours:
        name = f"{name} in {colours}"  # in English alone: "clapping hands in green"
    return noun(f"{size} {name}".lstrip() if lang == "en" else size + name, lang, piece["subgroup"])


def _sized(piece: Record, lang: str, rng: Random) -> str:
    """The word for how large a lone piece is, now and then."""
    _, en, zh = next(row for row in SIZES if piece["scale"] < row[0])
    return "" if not en or rng.random() < 0.4 else pick(rng, en) if lang == "en" else zh


def _alone(piece: Record, lang: str, rng: Random | None) -> str:
    """One piece, its size and its place."""
    thing = _thing(piece, lang, rng, _sized(piece, lang, rng) if rng is not None and piece["place"] != "full" else "")
    if piece["place"] == "full" or (rng is not None and rng.random() < 0.3):
        return thing
    return f"{thing} {PLACES[piece['place']][0]}" if lang == "en" else f"{thing}{PLACES[piece['place']][1]}"


def _counted(record: Record, lang: str, rng: Random | None) -> str:
    """Two or three of one: "two red foxes", 两只红色的狐狸; now and then with a numeral."""
    piece, count = record["pieces"][0], len(record["pieces"])
    name, colours = named(piece, lang, rng)
    if not countable(name, lang, piece["subgroup"]):
        name, colours = named({**piece, "names_en": (), "names_zh": ()}, lang, rng)
    text = counted(name, count, lang, piece["subgroup"]) + f" in {colours}" * bool(colours)
    if rng is not None and rng.random() < 0.15:
        return str(count) + text.removeprefix(NUMBERS[count][lang == "zh"])
    return text


def _related(record: Record, lang: str, rng: Random | None) -> str:
    """Two pieces by their relation; the same scene may be told from the other side."""
    first, second = (_thing(piece, lang, rng) for piece in record["pieces"])
    relation = record["relation"]
    if rng is not None and rng.random() < 0.35:
        relation, first, second = OPPOSITE[relation], second, first
    if lang == "zh":
        return f"{first}在{second}的{RELATIONS[relation][1]}"
    words = RELATIONS[relation][0]
    return f"{first} {words[0] if rng is None else pick(rng, words)} {second}"


def _listed(record: Record, lang: str, rng: Random | None) -> str:
    """All pieces, each with its place; now and then without."""
    things = [_thing(piece, lang, rng) for piece in record["pieces"]]
    if record["relation"] in ("front", "behind") or (rng is not None and rng.random() < 0.3):
        comma, last = (", ", " and ") if lang == "en" else ("、", "和")
        return comma.join(things[:-1]) + last + things[-1]
    places = [PLACES[piece["place"]][lang == "zh"] for piece in record["pieces"]]
    space, comma = (" ", ", ") if lang == "en" else ("", "，")
    return comma.join(f"{thing}{space}{place}" for thing, place in zip(things, places, strict=True))


def _scene(record: Record, lang: str, rng: Random | None) -> str:
    """The pieces of a composite and where they are."""
    if len(record["pieces"]) == 1:
        return _alone(record["pieces"][0], lang, rng)
    if record["same"]:
        return _counted(record, lang, rng)
    if record["relation"] and (rng is None or rng.random() < 0.75):
        return _related(record, lang, rng)
    return _listed(record, lang, rng)


def _composite(record: Record, lang: str, rng: Random | None) -> str:
    scene = _scene(record, lang, rng)
    comma = ", " if lang == "en" else "，"
    parts = []
    if record["style"] and (rng is None or rng.random() > WITHOUT_STYLE):
        parts.append(style_name(record["style"], lang, rng))
    if rng is None or rng.random() > 0.1:
        words = background(record, lang, rng)
        if lang == "en" and words.startswith("on ") and rng is not None and rng.random() < 0.4:
            scene = f"{scene} {words}"
        else:
            parts.append(words)
    if len(parts) == 2 and rng is not None and rng.random() < 0.3:
        parts.reverse()
    return comma.join([scene, *parts])


# ---- portraits

SAID_AT_MOST = {"en": 4, "zh": 3}  # attributes in a drawn caption, for the text window; the canonical one has them all
ORDER = ("hair", "hat", "skin", "beard", "glasses", "earrings", "extra", "gesture", "clothes")
PERSONS = {"woman": ("girl", "lady"), "man": ("guy",), "女人": ("女孩", "女士", "女生"), "男人": ("男士", "男生")}
LEADS = {
    "en": ("portrait of ", "a portrait of ", "a drawing of ", "avatar of "),
    "zh": ("肖像，", "头像，", "人物画，"),
}


def _attributes(has: Mapping[str, str], lang: str, rng: Random | None) -> list[str]:
    """What is said of a person beside the expression: all of it, or a few in any order."""
    rest = [has[name] for name in ORDER if name in has]
    if rng is None:
        return rest
    most = 1 + int(rng.random() * SAID_AT_MOST[lang])
    while len(rest) > most:
        rest.remove(pick(rng, rest))
    return rest if rng.random() < 0.6 else [rest[i] for i in sorted(range(len(rest)), key=lambda _: rng.random())]


def _person_en(person: str, manner: str, rest: list[str]) -> str:
    """ "a smiling woman with red hair and glasses"."""
    who = f"{manner} {person}".strip()
    listed = ", ".join(rest[:-1]) + " and " * (len(rest) > 1) + rest[-1] if rest else ""
    return f"a{'n' * (who[0] in 'aeiou')} {who}" + f" with {listed}" * bool(rest)


def _person_zh(person: str, manner: str, rest: list[str], rng: Random | None) -> str:
    """一个微笑的女人，红色短发，戴眼镜; or 一个戴眼镜、红色短发的微笑的女人."""
    manner = f"{manner}的" if manner else ""
    if rest and rng is not None and rng.random() < 0.5:
        one = "一个" if rng.random() < 0.6 else ""
        return f"{one}{'、'.join(rest)}的{manner}{person}" + "的肖像" * (rng.random() < 0.2)
    return "，".join([f"一个{manner}{person}", *rest])


def _portrait(record: Record, lang: str, rng: Random | None) -> str:
    has = {name: words[lang] for name, words in record["attributes"].items()}
    if rng is not None:
        has = {name: word for name, word in has.items() if name == "person" or rng.random() < 0.8}
        if rng.random() < 0.2:
            has["person"] = pick(rng, PERSONS[has["person"]])
    person, manner, rest = has["person"], has.get("expression", ""), _attributes(has, lang, rng)
    text = _person_en(person, manner, rest) if lang == "en" else _person_zh(person, manner, rest, rng)
    if rng is not None and rng.random() < 0.3 and not text.endswith("肖像"):
        text = pick(rng, LEADS[lang]) + text
    told = bool(record["style"]) and (rng is None or rng.random() > WITHOUT_STYLE)
    style = style_name(record["style"], lang, rng) if told else ""
    ground = has.get("background", "") and has["background"] + (" background" if lang == "en" else "背景")
    return (", " if lang == "en" else "，").join(part for part in (text, style, ground) if part)


# ---- the door


KINDS = {"single": _single, "composite": _composite, "portrait": _portrait}


def canonical(record: Record, lang: str = "en") -> str:
    """The one caption used in evaluation: subject, then style, then whatever else is drawn.

    A single picture: "a fox, 3d style" in English, "狐狸，3D风格" in Chinese; a recoloured one "a blue fox, 3d style".
    `lang` is "en" or "zh".
    """
    return KINDS[record["kind"]](record, lang, None)


def caption(record: Record, rng: Random, lang: str) -> str:
    """One caption drawn at random in one language."""
    text = KINDS[record["kind"]](record, lang, rng)
    return text.lower() if lang == "en" and rng.random() < 0.1 else re.sub(" +", " ", text)


def captions(record: Record, rng: Random) -> list[tuple[str, str]]:
    """A caption in each language, drawn at random: [("en", ...), ("zh", ...)]; a trainer takes one or both."""
    return [(lang, caption(record, rng, lang)) for lang in LANGUAGES]
