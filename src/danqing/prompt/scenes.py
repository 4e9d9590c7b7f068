"""Which things a text places where: "a cat to the left of a tree, on a green background", 一只狗在房子的右边,
"two flowers".

A painter that drafts from the summary of a whole text sees two things as two lumps, for a summary of 256 numbers names
one thing well. So each thing that is placed is drafted by itself, as large and where the text puts it, from what is
said of it and of the picture as a whole ("a cat, on a green background").
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

#: Where the centre of what is placed lies, across and down, of the picture's side.
PLACES: Mapping[str, tuple[float, float]] = {
    "left": (0.26, 0.5), "right": (0.74, 0.5), "top": (0.5, 0.26), "bottom": (0.5, 0.74), "centre": (0.5, 0.5),
    "top left": (0.25, 0.25), "top right": (0.75, 0.25), "bottom left": (0.25, 0.75), "bottom right": (0.75, 0.75),
}  # fmt: skip
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
#: How large the picture of each is where so many are placed, of the picture's side.
SCALES = (0.55, 0.48, 0.39)
#: Where so many of one thing stand.
ROWS: Mapping[int, tuple[str, ...]] = {2: ("left", "right"), 3: ("top left", "top right", "bottom")}

#: To another thing. "Over" is none of them: a sunrise over the sea is one thing; and what is under water is alone.
TO = {
    "left": "(?:(?:to|on) the )?left of", "right": "(?:(?:to|on) the )?right of", "top": "above",
    "bottom": "below|(?:under|beneath)(?= (?:an?|the|one|two|three|some) )",
}  # fmt: skip
#: In the picture.
IN = {
    "top left": "(?:in|at) the (?:top|upper) left(?: corner)?",
    "top right": "(?:in|at) the (?:top|upper) right(?: corner)?",
    "bottom left": "(?:in|at) the (?:bottom|lower) left(?: corner)?",
    "bottom right": "(?:in|at) the (?:bottom|lower) right(?: corner)?",
    "left": "(?:on|at|to) the left", "right": "(?:on|at|to) the right", "top": "(?:at|on) the top",
    "bottom": "at the bottom", "centre": "in the (?:centre|center|middle)",
}  # fmt: skip
TO_ZH = {"left": "左[边侧面]", "right": "右[边侧面]", "top": "上[方边面]", "bottom": "下[方边面]"}
IN_ZH = {
    "top left": "左上[角方]", "top right": "右上[角方]", "bottom left": "左下[角方]", "bottom right": "右下[角方]",
    **TO_ZH, "centre": "(?:中间|中央|正中)",
}  # fmt: skip
COUNTS = {"two": 2, "three": 3, "2": 2, "3": 3, "两": 2, "二": 2, "三": 3}
SINGULAR = {
    "men": "man", "women": "woman", "people": "person", "children": "child", "mice": "mouse", "feet": "foot",
    "teeth": "tooth", "toes": "toe", "geese": "goose", "leaves": "leaf", "knives": "knife", "wolves": "wolf",
    "loaves": "loaf", "pies": "pie", "ties": "tie", "cookies": "cookie", "zombies": "zombie", "selfies": "selfie",
}  # fmt: skip


class Thing(NamedTuple):
    """A thing of a scene: what is said of it, where its centre is, across and down, and how large its picture is, all
    three of the picture's side, 0 to 1."""

    text: str
    x: float
    y: float
    scale: float


def _compiled(pattern: str, words: Mapping[str, str]) -> Mapping[str, re.Pattern[str]]:
    return {place: re.compile(pattern.replace("WORDS", known), re.IGNORECASE) for place, known in words.items()}


BEHIND = "( (?:on|against) .*background)?$"
RELATED = (
    _compiled(rf"(.+?) (?:WORDS) (.+?){BEHIND}", TO),
    _compiled(r"(.+?)在(.+?)的?(?:WORDS)()$", TO_ZH),
)
PLACED = (_compiled(rf"(.+?) (?:WORDS){BEHIND}", IN), _compiled(r"(.+?)在(?:WORDS)()$", IN_ZH))
#: Two things side by side; what one has, "a woman with a hat and a bag", is not a thing of its own.
BOTH = (
    re.compile(
        rf"(an? (?:(?! with | in | wearing | holding | and | of (?:an?|two|three) ).)+) and (an? .+?){BEHIND}",
        re.IGNORECASE,
    ),
    re.compile("(一.+?)[和与](一.+)()$"),
)
COUNTED = re.compile(rf"(two|three|[23]) (\w(?:(?! and ).)+?){BEHIND}", re.IGNORECASE)
COUNTED_ZH = re.compile("([两二三23])([只个朵条头匹辆座棵张把台架艘颗片块杯顶件位名根枝支本双栋家间尊盏])([^和与]+)$")
HEAD = re.compile(r"^(.*?)(\w+)((?: (?:of|with|in|on|for|at|and|from) .*)?)$")


def things(text: str) -> tuple[Thing, ...]:
    """What a text places, in its order; nothing where it places nothing, or more than three things."""
    chinese = re.search("[一-鿿]", text)
    parts = [part.strip() for part in re.split("[,，]", text) if part.strip()]
    found = [list(_found(part)) or (list(_beside(part)) if not i else []) for i, part in enumerate(parts)]
    placed = [each for some in found for each in some]
    if not 0 < len(placed) <= len(SCALES):
        return ()
    whole = [part for part, some in zip(parts, found, strict=True) if not some]
    whole += [behind.strip() for _, _, behind in placed if behind]
    comma = "，" if chinese else ", "
    scale = SCALES[len(placed) - 1]
    return tuple(Thing(comma.join([said.strip(), *whole]), *PLACES[place], scale) for said, place, _ in placed)


def unbacked(text: str) -> str:
    """A text without what it says of the background."""
    kept = [part for part in re.split("[,，]", text) if not re.search("background$|背景$", part.strip())]
    return ("，" if "，" in text else ",").join(kept).strip(", ，")


def _found(part: str) -> Iterator[tuple[str, str, str]]:
    """What a part of a text places: each thing, its place, and what is said behind it of the whole."""
    for place, pattern in (each for patterns in RELATED for each in patterns.items()):
        if match := pattern.match(part):
            yield match[1], place, match[3] or ""
            yield match[2], OPPOSITE[place], ""
            return
    for place, pattern in (each for patterns in PLACED for each in patterns.items()):
        if match := pattern.match(part):
            yield match[1], place, match[2] or ""
            return


def _beside(part: str) -> Iterator[tuple[str, str, str]]:
    """The things that stand side by side, where a text begins with them: as `_found`."""
    for pattern in BOTH:
        if match := pattern.match(part):
            yield match[1], "left", match[3] or ""
            yield match[2], "right", ""
    if match := COUNTED.match(part):
        one, row = singular(match[2]), ROWS[COUNTS[match[1].lower()]]
        for i, place in enumerate(row):
            yield f"a{'n' * (one[0].lower() in 'aeiou')} {one}", place, (match[3] or "") if not i else ""
    elif match := COUNTED_ZH.match(part):
        for place in ROWS[COUNTS[match[1]]]:
            yield f"一{match[2]}{match[3]}", place, ""


def singular(name: str) -> str:
    """One of several: "red foxes" -> "red fox", "slices of pizza" -> "slice of pizza"."""
    match = HEAD.match(name)
    if match is None:
        return name
    many = match[2]
    if many.lower() in SINGULAR:
        one = SINGULAR[many.lower()]
    elif many.endswith("ies"):
        one = many[:-3] + "y"
    else:
        one = re.sub(r"(?<=ss|ch|sh|zz|to|go)es$|(?<=x)es$|(?<=[btplrc]us)es$|(?<!s)s$", "", many)
    return f"{match[1]}{one}{match[3]}"
