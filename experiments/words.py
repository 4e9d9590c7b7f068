"""The words that danqing-mini learned, beside its weights: words.json, and words.safetensors, its text tower's summary
of each subject's name.

    python -m experiments.words --data data        after `experiments.export`, or when the text tower was trained anew;
                                                   about a minute

words.json holds every subject's emoji and names, what captions say beside them by kind (colours, people, scenes,
function), the plurals of the names, and the tags. That captions say nothing else is checked on captions drawn anew.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from danqing.painting.load import load
from danqing.painting.painter import Painter
from danqing.painting.vocabulary import FILES, Vocabulary, summaries
from danqing.store import shipped
from danqing.weights import store
from experiments import captions, nouns
from experiments.common import DATA
from experiments.data import attributes
from experiments.data.colours import NAMES as COLOURS
from experiments.data.ledger import ARRAYS, read_records

Record = Mapping[str, Any]
Both = dict[str, list[str]]
LANGUAGES = ("en", "zh")
#: Words that captions of other pictures would have, and that say nothing by themselves.
FUNCTION = {
    "en": "the an at by for from to of in on off is are was be it its this that these and or my your his her their "
    "with without very some who which as into near beside next",
    "zh": "的 了 着 地 得 是 有 在 上 下 里 中 内 外 旁 旁边 和 与 跟 及 个 这 那 它 他 她 我 你 们 也 很 非常 "
    "一 二 两 三 几 戴 穿 留 留着 拿 拿着 站 坐 正在 一张 一幅 图 图片 图像 照片",
}
TABLES = (attributes.HAIR_COLOURS, attributes.CLOTHES_COLOURS, attributes.GROUNDS)
MEASURES = "个只条辆张面艘架枚棵朵片块把颗双支盏座顶封本根杯碗锅盘瓶桶袋串束摞滴副份名匹幅堆件列台位群"


def subjects(records: Iterable[Record]) -> list[dict[str, Any]]:
    """A row for each subject: its emoji, and its names in both languages, the label first."""
    rows: dict[str, dict[str, Any]] = {}
    for record in records:
        if record["kind"] == "single":
            row = rows.setdefault(record["subject"], {"emoji": "", "en": {}, "zh": {}})
            row["emoji"] = row["emoji"] or record.get("emoji", "")
            for lang in LANGUAGES:
                row[lang] |= dict.fromkeys((record[f"label_{lang}"], *record.get(f"names_{lang}", ())))
    return [{"emoji": row["emoji"], "en": [*row["en"]], "zh": [*row["zh"]]} for row in rows.values()]


def colours(records: Iterable[Record]) -> Both:
    """Every colour that captions name."""
    grounds = [c for r in records if r["kind"] == "composite" for c in r["background"]["colours"]]
    told = [COLOURS, *({en: row[0] for en, row in table.items()} for table in TABLES)]
    en = [*(name for table in told for name in table), *captions.OTHER_COLOURS["en"].values()]
    zh = [*(name for table in told for name in table.values()), *captions.OTHER_COLOURS["zh"].values()]
    zh += [*captions.BRIEF.values()]
    return _unique(en=[*en, *(c["en"] for c in grounds)], zh=[*zh, *(c["zh"] for c in grounds)])


def people() -> Both:
    """What captions say of a person."""
    forms = [attributes.HATS, attributes.EXPRESSIONS, attributes.THINGS, attributes.HAIR, attributes.SKINS]
    pairs = [(row[0], row[1]) for table in forms for row in table.values()]
    persons = [word for pair in captions.PERSONS.items() for word in (pair[0], *pair[1])]
    zh = [part for _, said in pairs for part in _bare(said)]
    en = [re.sub("^an? ", "", said.replace("{c} ", "")) for said, _ in pairs]
    more = {"en": ["shirt", "portrait", "avatar"], "zh": ["衣服", "头发", "肖像", "头像", "人物画"]}
    return _unique(
        en=[*more["en"], *(p for p in persons if p.isascii()), *en],
        zh=[*more["zh"], *(p for p in persons if not p.isascii()), *zh],
    )


def scenes() -> Both:
    """What captions say of places, sizes and backgrounds."""
    relations = captions.RELATIONS.values()
    en = [*(row[0] for row in captions.PLACES.values()), *(word for row in relations for word in row[0])]
    zh = [*(row[1] for row in captions.PLACES.values()), *(row[1] for row in relations)]
    zh += [row[1].removeprefix("在") for row in captions.PLACES.values()]
    en += [word for row in captions.SIZES for word in row[1]]
    return _unique(
        en=[*en, "white background", "gradient background"],
        zh=[*zh, *(row[2] for row in captions.SIZES if row[2]), "大", "小", "背景", "渐变背景", "白底"],
    )


def function() -> Both:
    """The words of the templates, numbers and measure words."""
    templates = {
        lang: [t for table in (captions.WITH_STYLE, captions.WITHOUT) for t in table[lang]] for lang in LANGUAGES
    }
    pieces = {lang: [p for t in templates[lang] for p in re.split(r"\{.\}|[, ，]", t) if p] for lang in LANGUAGES}
    numbers = [*nouns.NUMBERS.values()]
    counted = [n + m for n in "一两三" for m in MEASURES]
    return _unique(
        en=[*FUNCTION["en"].split(), *pieces["en"], *(n for n, _ in numbers), "a", "1", "2", "3", "left", "right"],
        zh=[*FUNCTION["zh"].split(), *pieces["zh"], *(n for _, n in numbers), *counted, *MEASURES, "到", "从", "画"],
    )


def _bare(said: str) -> list[str]:
    """A Chinese attribute without its colour, with and without what is done with it: 戴眼镜, 眼镜."""
    words = said.replace("{c}", "").strip("的")
    return [words, re.sub("^(戴|留着|有|拿着|含着|挥着|伸着|比着|缠着|头上)", "", words), *re.split("的|上有", words)]


def _unique(**names: Iterable[str]) -> Both:
    return {lang: [*dict.fromkeys(name for name in words if name)] for lang, words in names.items()}


def words(records: Sequence[Record]) -> dict[str, Any]:
    """All that words.json holds."""
    rows, singles = subjects(records), [r for r in records if r["kind"] == "single"]
    plural = {
        nouns.plural_en(name)
        for record in singles
        for name in (record["label_en"], *record.get("names_en", ()))
        if nouns.countable(name, "en", record["subgroup"])
    }
    tags = {lang: sorted({tag for r in singles for tag in r.get(f"tags_{lang}", ())}) for lang in LANGUAGES}
    kinds = {"colours": colours(records), "people": people(), "scenes": scenes(), "function": function()}
    return {"subjects": rows, "kinds": kinds, "plurals": sorted(plural), "tags": tags}


def lacking(vocabulary: Vocabulary, records: Sequence[Record], count: int = 20_000) -> dict[str, str]:
    """What captions say that the vocabulary lacks, of so many drawn; each with the caption."""
    rng, found = random.Random(1), dict[str, str]()
    for record in rng.choices(records, k=count):
        for _, text in captions.captions(record, rng):
            found |= {word: text for word in vocabulary.unknown(vocabulary.spelled(text)[0])}
    return found


def vectors(painter: Painter, rows: Sequence[Record]) -> dict[str, torch.Tensor]:
    """The summary of each subject's first name, less their mean, in bytes: a language -> (N, D), and the mean."""
    found = dict[str, torch.Tensor]()
    for lang in LANGUAGES:
        each = summaries(painter.text, [row[lang][0] for row in rows])
        mean = each.mean(0)
        apart = each - mean
        found[lang] = (apart / apart.abs().amax(1, keepdim=True) * 127).round().to(torch.int8)
        found[f"{lang}.mean"] = mean.half()
    return found


def write(records: Sequence[Record], folder: Path) -> None:
    """Write both files beside a model's weights, and name them in its model.json."""
    said = words(records)
    rows = ",\n".join(map(_line, said["subjects"]))
    lines = [f'"subjects": [\n{rows}\n]']
    lines += [f'"{name}": {_line(said[name])}' for name in ("kinds", "plurals", "tags")]
    (folder / FILES["words"]).write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")
    _name(folder)
    painter = load(folder, "cpu", "fp32")
    assert isinstance(painter, Painter)
    store.write(folder / FILES["vectors"], vectors(painter, said["subjects"]))
    _name(folder)


def _name(folder: Path) -> None:
    """Have a model's model.json name those of the files that are there."""
    path = folder / "model.json"
    model = json.loads(path.read_text(encoding="utf-8"))
    there = {name: file for name, file in FILES.items() if (folder / file).is_file()}
    model["text"] = {**model.get("text", {}), **there}
    path.write_text(json.dumps(model, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=Path("zoo/mini/danqing_models") / shipped.DEFAULT)
    args = parser.parse_args()
    records = [r for array in ARRAYS for r in read_records(args.data / f"ledger_{array}.jsonl")]
    write(records, args.out)
    painter = load(args.out, "cpu", "fp32")
    lacks = lacking(painter.vocabulary, records)
    print(f"{len(painter.vocabulary.subjects)} subjects; {len(lacks)} words of captions are lacking")
    for word, text in lacks.items():
        print(f"  {word}: {text}")


if __name__ == "__main__":
    main()
