"""Subjects: what a picture shows, named in natural English and Chinese, and found in each art set by icon name."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from experiments.data.labels import EN, FACE_SUBGROUPS, NO_ARTICLE, NOT_A_STATE, OTHER_NAMES, SIGNS, WITH_ARTICLE, ZH


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One thing that pictures show: its code points and its names."""

    hexcode: str
    published: str
    label_en: str
    label_zh: str
    tags_en: tuple[str, ...]
    tags_zh: tuple[str, ...]
    group: str
    subgroup: str


def slug(text: str) -> str:
    """The label as icon sets write it: lower case ASCII words joined by hyphens."""
    text = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"[’'“”.!()&]", "", text)).strip("-")


def plain_code(code: str) -> str:
    """A code point sequence without its variation selectors, in upper case."""
    return "-".join(part for part in code.upper().split("-") if part != "FE0F")


def _members(words: list[str], joiner: str, last: str, pair: Callable[[str], str], one: Callable[[str], str]) -> str:
    """The members of a family, the same ones counted: two men, a girl and a boy."""
    named = [pair(word) if words.count(word) == 2 else one(word) for word in dict.fromkeys(words)]
    return named[0] if len(named) == 1 else joiner.join(named[:-1]) + last + named[-1]


def english(label: str, subgroup: str) -> str:
    """The English name of a subject as one says it in a sentence."""
    if label in EN:
        return EN[label]
    text = label.replace("’", "'").replace("“", "").replace("”", "").replace("&", "and").replace(" (blood type)", "")
    text = re.sub(r"\s*\(.*?\)", "", text).replace(" - ", " ")
    if label in SIGNS or subgroup == "zodiac":
        return f"{text} {'zodiac sign' if subgroup == 'zodiac' else 'sign'}"
    if text.startswith("backhand index"):
        return text.replace("index", "index finger")
    if text.startswith("flag: "):
        place = text[6:]
        the = "the " if WITH_ARTICLE.search(place) and place not in NO_ARTICLE else ""
        return f"flag of {the}{place}"
    if text.startswith("family: "):
        many = {"man": "men", "woman": "women", "child": "children"}
        return "family of " + _members(
            text[8:].split(", "), ", ", " and ",
            lambda m: "two " + many.get(m, m + "s"),
            lambda m: f"a{'n' * (m[0] == 'a')} {m}",
        )  # fmt: skip
    if text.startswith("keycap: "):
        return "keycap " + text[8:]
    if subgroup == "time" and ("o'clock" in text or text.endswith("-thirty")):
        return f"clock showing {text}"
    if ": facing" in text:
        return text.replace(": facing", " facing")
    if ": " in text:
        return text.replace(": ", " with ")
    return text.rstrip("!")


def chinese(label: str, zh: str, subgroup: str, tags: tuple[str, ...]) -> str:
    """The Chinese name of a subject as one says it in a sentence."""
    if label in ZH:
        return ZH[label]
    if subgroup == "zodiac":
        return f"{zh}符号"
    text = re.sub("(?<=[A-Z!]) |!", "", zh).replace("“", "").replace("”", "").replace("'", "").strip()
    if label.startswith("flag: "):
        place = text.split(": ")[-1]
        state = subgroup == "country-flag" and not NOT_A_STATE & set(tags)
        return re.sub("[（()）]", "", place).replace(" ", "") + ("国旗" if state else "旗")
    if label.startswith("keycap: "):
        return "按键" + text.split(": ")[-1].replace("#", "井号").replace("*", "星号")
    if label.startswith("family: ") and text.startswith("家庭: "):
        found = re.findall("男人|女人|男孩|女孩", text[4:])
        return _members(found, "、", "和", lambda m: "两个" + m, lambda m: m) + "的家庭"
    if ": " in text:
        whom, what = text.split(": ")
        whom = chinese(label.split(":")[0], whom, subgroup, tags).replace("成人", "人")
        return f"{what}的{whom}" if len(what) > 2 or whom == "人" else f"{what}{whom}"
    if subgroup == "time" and re.search("[点半]$", text):
        return f"{text}的时钟"
    if subgroup.startswith("person-"):
        sex = {"person": "人", "man": "男人", "woman": "女人"}.get(label.split()[0], "")
        if sex and (found := re.match(r"[男女]生(.+)", text)):
            return f"{found[1]}的{sex}"
        if sex and (found := re.match(r"(..+)[男女]$", text)):
            return f"{found[1]}的{sex}"
        if sex == "人" and text[-1] not in "人者手员子":
            return f"{text}的人"
    if subgroup in FACE_SUBGROUPS and text[-1] not in "脸头":
        return f"{text}表情"
    if subgroup == "face-negative" and label.endswith("face") and text[-1] != "脸":
        return f"{text}表情"
    return text


def load_subjects(modules: Path) -> dict[str, Subject]:
    """All subjects of emojibase by hexcode; letters and components (a skin tone, a hair style alone) are none."""
    base = modules / "emojibase-data"
    meta = json.loads((base / "meta/groups.json").read_text())
    zh = {entry["hexcode"]: entry for entry in json.loads((base / "zh/data.json").read_text())}
    subjects = {}
    for entry in json.loads((base / "en/data.json").read_text()):
        if meta["groups"].get(str(entry.get("group"))) in (None, "component"):  # letters, skin tones and hair alone
            continue
        other, label, subgroup = zh[entry["hexcode"]], entry["label"], meta["subgroups"][str(entry["subgroup"])]
        tags_en = tuple(
            tag for tag in entry.get("tags", ()) if len(tag) > 2 and re.fullmatch(r"[A-Za-z][A-Za-z' -]+", tag)
        )
        subjects[entry["hexcode"]] = Subject(
            hexcode=entry["hexcode"],
            published=label,
            label_en=english(label, subgroup),
            label_zh=chinese(label, other["label"], subgroup, tuple(entry.get("tags", ()))),
            tags_en=() if subgroup in ("country-flag", "subdivision-flag", "keycap") else tags_en,
            tags_zh=tuple(
                tag
                for tag in other.get("tags", ())
                if re.fullmatch(r"[一-鿿]+", tag)
                and len(tag) > 1
                and subgroup not in ("country-flag", "subdivision-flag")
            ),
            group=meta["groups"][str(entry["group"])],
            subgroup=subgroup,
        )
    return subjects


class Finder:
    """Finds the subject that an icon of a set shows: by its code points, else its name, else another known name."""

    def __init__(self, subjects: dict[str, Subject], package: str) -> None:
        self.by_code = {plain_code(code): code for code in subjects}
        names: dict[str, list[str]] = {}
        for subject in subjects.values():
            names.setdefault(slug(subject.published), []).append(subject.hexcode)
        labels = {subject.published: subject.hexcode for subject in subjects.values()}
        self.by_name = {name: codes[0] for name, codes in names.items() if len(codes) == 1}
        if package == "fxemoji":  # this set writes names without hyphens
            self.by_name |= {name.replace("-", ""): code for name, code in self.by_name.items()}
        family = "fluent-emoji" if package.startswith("fluent-emoji") else package
        for table in (OTHER_NAMES["*"], OTHER_NAMES.get(family, {})):
            self.by_name |= {name: labels[label] for name, label in table.items() if label in labels}
        flags = {slug(label[6:]): code for label, code in labels.items() if label.startswith("flag: ")}
        self.by_name |= {
            prefix + place: code for place, code in flags.items() for prefix in ("flag-for-", "flag-for-flag-", "flag-")
        }

    def code(self, code: str) -> str | None:
        """The hexcode of a code point sequence in any spelling, or None."""
        return self.by_code.get(plain_code(code))

    def name(self, name: str) -> str | None:
        """The hexcode of an icon name, or None."""
        return self.by_name.get(name)
