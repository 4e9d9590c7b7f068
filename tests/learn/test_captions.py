"""Laws of the data set's words and splits; they need no data."""

import random
import re

import numpy as np
import pytest
from experiments.captions import STYLES, canonical, caption, captions, noun_en
from experiments.data.attributes import SETS
from experiments.data.composites import compose, plan
from experiments.data.ledger import corpus
from experiments.data.portraits import person
from experiments.data.singles import HELDOUT_SUBJECTS, STYLES_PER_HELDOUT_SUBJECT, split
from experiments.data.sources import ART, PORTRAITS, SHARE_ALIKE
from experiments.data.subjects import chinese, english

NAMES = [
    ("fox", "狐狸", "animal-mammal"), ("tree", "树", "plant-other"), ("red apple", "红苹果", "food-fruit"), ("grapes",
    "葡萄", "food-fruit"),
    ("flag of France", "法国国旗", "country-flag"), ("face with tears of joy", "笑哭了表情", "face-smiling"),
    ("umbrella", "伞", "sky-weather"),
    ("family of two men, a girl and a boy", "两个男人、女孩和男孩的家庭", "family"),
]  # fmt: skip
DEBRIS = re.compile(r"[{}]|, ?,|，，|\s{2}|^[ ,，]|[ ,，]$|\bNone\b|一个一|a a ")


def ledger() -> list[dict]:
    """A tiny ledger: every name in every style, some held out."""
    lines = []
    for subject, (en, zh, subgroup) in enumerate(NAMES):
        for style, source in enumerate(ART):
            kept = "train" if (subject + style) % 4 else ("heldout_pair", "heldout_subject")[style % 2]
            lines.append({
                "kind": "single", "array": "singles", "index": len(lines), "subject": f"{subject:X}", "label_en": en,
                "label_zh": zh,
                "tags_en": ["wild", en] if subject % 2 else [], "tags_zh": ["野生", zh] if subject % 2 else [],
                "group": "animals-nature",
                "subgroup": subgroup, "style": source.style, "package": source.package, "licence": source.licence,
                "author": source.author,
                "split": kept,
            })  # fmt: skip
    return lines


def portraits() -> list[dict]:
    """A few drawn persons of every set."""
    rng = random.Random(5)
    return [
        {"kind": "portrait", "style": s.style, "attributes": person(s.style, rng)[1], "split": "train"}
        for s in PORTRAITS
        for _ in range(20)
    ]


SINGLES, COMPOSITES, PORTRAIT_LINES = ledger(), plan(ledger(), 300, seed=1), portraits()
EVERYTHING = [*SINGLES, *COMPOSITES, *PORTRAIT_LINES]


def test_nothing_held_out_is_in_a_composite() -> None:
    held = {line["index"] for line in SINGLES if line["split"] != "train"}
    assert held
    assert not held & {piece["index"] for line in COMPOSITES for piece in line["pieces"]}


def test_nothing_held_out_is_named_with_its_style_in_the_corpus() -> None:
    held = {canonical(line, lang) for line in SINGLES if line["split"] != "train" for lang in ("en", "zh")}
    assert not held & set(corpus(SINGLES))


def test_composites_depend_on_the_seed_alone() -> None:
    assert plan(SINGLES, 50, seed=3) == plan(SINGLES, 50, seed=3) != plan(SINGLES, 50, seed=4)


def test_relation_agrees_with_the_places() -> None:
    pairs = [line for line in COMPOSITES if line["relation"]]
    assert pairs
    for line in pairs:
        (ax, ay), (bx, by) = [(piece["x"], piece["y"]) for piece in line["pieces"]]
        assert {"left": ax < bx, "right": ax > bx, "top": ay < by, "bottom": ay > by}[line["relation"]]


def test_opaque_pieces_replace_the_background_and_clear_ones_leave_it() -> None:
    line = next(
        line for line in COMPOSITES if line["pieces"][0]["place"] == "full" and line["background"]["kind"] == "plain"
    )
    pictures = np.full((len(SINGLES), 128, 128, 3), 7, np.uint8)
    opaque, clear = (np.full((len(SINGLES), 128, 128), a, np.uint8) for a in (255, 0))
    assert (compose(line, pictures, opaque) == 7).all()
    assert (compose(line, np.full_like(pictures, 255), clear) == line["background"]["colours"][0]["rgb"]).all()


@pytest.mark.parametrize("make", [random.Random, np.random.default_rng])
def test_captions_are_the_same_for_the_same_generator(make) -> None:
    for record in EVERYTHING[::7]:
        assert captions(record, make(3)) == captions(record, make(3))


def test_captions_vary() -> None:
    rng = random.Random(0)
    assert len({caption(SINGLES[1], rng, lang) for _ in range(200) for lang in ("en", "zh")}) > 30


def test_canonical_captions_hold_subject_and_style() -> None:
    for record in SINGLES:
        style = STYLES[record["style"]]
        assert canonical(record, "en") == f"{noun_en(record['label_en'])}, {style.en[0]}"
        assert canonical(record, "zh") == f"{record['label_zh']}，{style.zh[0]}"
    for record in COMPOSITES:
        for lang in ("en", "zh"):
            text = canonical(record, lang)
            assert all(piece[f"label_{lang}"] in text for piece in record["pieces"])
            assert all(colour[lang] in text for colour in record["background"]["colours"])


def test_canonical_portraits_hold_every_attribute() -> None:
    for record in PORTRAIT_LINES:
        for lang in ("en", "zh"):
            assert all(words[lang] in canonical(record, lang) for words in record["attributes"].values())


def test_no_caption_shows_its_template() -> None:
    rng = random.Random(1)
    for record in EVERYTHING:
        for _, text in [
            *captions(record, rng),
            *captions(record, rng),
            ("en", canonical(record, "en")),
            ("zh", canonical(record, "zh")),
        ]:
            assert not DEBRIS.search(text), text


def test_each_caption_is_in_its_language() -> None:
    rng = random.Random(2)
    for record in EVERYTHING:
        (en, english_text), (zh, chinese_text) = captions(record, rng)
        assert (en, zh) == ("en", "zh")
        assert not re.search(r"[一-鿿]", english_text) and re.search(r"[一-鿿]", chinese_text)


def test_held_out_pairs_leave_three_styles_and_held_out_subjects_lose_three() -> None:
    styles = [source.style for source in ART]
    pairs = [(f"{s:X}", style) for s in range(400) for style in styles[: 1 + s % 8]]
    where = split(pairs)
    assert where == split(pairs[::-1])
    subjects = {s for (s, _), kept in where.items() if kept == "heldout_subject"}
    assert len(subjects) == HELDOUT_SUBJECTS
    for subject in {s for s, _ in pairs}:
        kept = [k for (s, _), k in where.items() if s == subject]
        if subject in subjects:
            assert (
                len(kept) >= 6
                and kept.count("heldout_subject") == STYLES_PER_HELDOUT_SUBJECT
                and "heldout_pair" not in kept
            )
        elif "heldout_pair" in kept:
            assert kept.count("train") >= 3
    assert abs(sum(k == "heldout_pair" for k in where.values()) / len(pairs) - 0.05) < 0.002


def test_portrait_options_leave_nothing_to_chance() -> None:
    rng = random.Random(9)
    for name in SETS:
        for _ in range(50):
            options, said, _ = person(name, rng)
            assert all(len(value) == 1 for value in options.values() if isinstance(value, list))
            assert all(value in (0, 100) for option, value in options.items() if option.endswith("Probability"))
            assert {"person", "background"} <= set(said)


@pytest.mark.parametrize(
    ("label", "subgroup", "said"),
    [
        ("flag: United States", "country-flag", "the flag of the United States"), ("flag: China", "country-flag",
        "the flag of China"),
        ("flag: Congo - Kinshasa", "country-flag", "the flag of Congo Kinshasa"), ("man: beard", "person",
        "a man with a beard"),
        ("keycap: #", "keycap", "keycap hash"), ("A button (blood type)", "alphanum", "an A button"), ("grapes",
        "food-fruit", "grapes"),
        ("owl", "animal-bird", "an owl"), ("unicorn", "animal-mammal", "a unicorn"), ("umbrella", "sky-weather",
        "an umbrella"),
        ("octopus", "animal-marine", "an octopus"), ("woman running: facing right", "person-activity",
        "a woman running facing right"),
        ("family: man, man, girl, boy", "family", "a family of two men, a girl and a boy"),
        ("twelve o’clock", "time", "a clock showing twelve o'clock"), ("Santa Claus", "person-fantasy", "Santa Claus"),
    ],
)  # fmt: skip
def test_published_labels_become_english_one_says(label: str, subgroup: str, said: str) -> None:
    assert noun_en(english(label, subgroup)) == said


@pytest.mark.parametrize(
    ("label", "zh", "subgroup", "tags", "said"),
    [
        ("flag: France", "旗: 法国", "country-flag", ("FR",), "法国国旗"), ("flag: Guam", "旗: 关岛", "country-flag",
        ("GU",), "关岛旗"),
        ("flag: Congo - Kinshasa", "旗: 刚果（金）", "country-flag", ("CD",), "刚果金国旗"), ("crying cat", "哭泣的猫",
        "cat-face", (), "哭泣的猫"),
        ("worried face", "担心", "face-concerned", (), "担心表情"), ("nerd face", "书呆子脸", "face-glasses", (),
        "书呆子脸"),
        ("man surfing", "男生冲浪", "person-sport", (), "冲浪的男人"), ("man: red hair", "男人: 红发", "person", (),
        "红发男人"),
        ("keycap: 5", "按键: 5", "keycap", (), "按键5"), ("two o’clock", "两点", "time", (), "两点的时钟"),
    ],
)  # fmt: skip
def test_published_labels_become_chinese_one_says(
    label: str, zh: str, subgroup: str, tags: tuple[str, ...], said: str
) -> None:
    assert chinese(label, zh, subgroup, tags) == said


def test_share_alike_art_is_never_read() -> None:
    assert not {source.package for source in (*ART, *PORTRAITS)} & set(SHARE_ALIKE)
    assert {source.licence for source in (*ART, *PORTRAITS)} <= {"MIT", "Apache-2.0", "CC-BY-4.0", "CC0-1.0"}
