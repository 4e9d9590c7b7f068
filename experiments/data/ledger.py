"""The ledger: one JSON line for every picture, in `ledger.jsonl`, and what can be counted from it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.captions import LANGUAGES, WITH_STYLE, WITHOUT, canonical, caption, noun, style_name
from experiments.data.sources import styles

ARRAYS = ("singles", "recoloured", "composites", "portraits")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a text file whole or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
    part.replace(path)


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Writes records as JSON lines."""
    write_lines(path, (json.dumps(record, ensure_ascii=False) for record in records))


def read_records(path: Path) -> list[dict[str, Any]]:
    """Reads JSON lines; none if the file is missing."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def join(out: Path) -> None:
    """Puts the parts that exist together as ledger.jsonl and writes styles.json."""
    write_records(out / "ledger.jsonl", (r for array in ARRAYS for r in read_records(out / f"ledger_{array}.jsonl")))
    (out / "styles.json").write_text(json.dumps(styles(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def corpus(records: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Captions for a tokenizer: every subject's names and tags, and drawn ones of every training picture.

    No caption pairs a subject with a style that is held out: templates take a style in which the subject is trained.
    """
    rng = random.Random(0)
    seen: set[tuple[str, str]] = set()
    for record in records:
        train = record.get("split", "train") == "train"
        for lang in LANGUAGES:
            if record["kind"] == "single" and (record["subject"], lang) not in seen:
                seen.add((record["subject"], lang))
                yield from (record[f"label_{lang}"], noun(record[f"label_{lang}"], lang, record["subgroup"]))
                yield from record[f"tags_{lang}"]
            if not train:
                continue
            yield canonical(record, lang)
            yield from (caption(record, rng, lang) for _ in range(2))
            if record["kind"] == "single":
                tags = record[f"tags_{lang}"] or [record[f"label_{lang}"]]
                words = {
                    "a": noun(record[f"label_{lang}"], lang, record["subgroup"]),
                    "n": record[f"label_{lang}"],
                    "s": style_name(record["style"], lang),
                    "t": tags[0],
                }
                template = (*WITH_STYLE[lang], *WITHOUT[lang])[
                    int(rng.random() * len((*WITH_STYLE[lang], *WITHOUT[lang])))
                ]
                yield template.format(**words)


def summary(records: Sequence[Mapping[str, Any]]) -> str:
    """Counts by array and package, licence, style and split, as text; composites count for each package in them."""
    lines = [f"{len(records)} pictures, {len({r['subject'] for r in records if r['kind'] == 'single'})} subjects"]
    for array in ARRAYS:
        part = [r for r in records if r["array"] == array]
        for key in ("package", "licence", "style", "split"):
            parting = {"package": "+", "licence": " AND "}.get(key)
            counts = Counter(name or "mixed" for r in part for name in r[key].split(parting or "\n"))
            if counts:
                lines.append(f"{array} by {key}: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
    return "\n".join(lines)
