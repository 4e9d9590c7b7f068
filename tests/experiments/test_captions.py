"""Laws of the data set's words and splits; they need no data."""

import random
import re

import numpy as np
import pytest
from experiments.captions import OPPOSITE, RELATIONS, STYLES, canonical, caption, captions
from experiments.data.attributes import SETS
from experiments.data.composites import SIZE, compose, cut_out, lay, plan, resized
from experiments.data.ledger import corpus
from experiments.data.portraits import person
from experiments.data.recoloured import copied
from experiments.data.singles import HELDOUT_SUBJECTS, STYLES_PER_HELDOUT_SUBJECT, split
from experiments.data.sources import ART, PORTRAITS, SHARE_ALIKE
from experiments.data.subjects import chinese, english
from experiments.nouns import countable, counted, noun_en, noun_zh, plural_en

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
                "names_en": [en], "names_zh": [zh], "emoji": "", "colours": ["red", "white"],
                "tags_en": ["wild", en] if subject % 2 else [], "tags_zh": ["野生", zh] if subject % 2 else [],
                "group": "flags" if subgroup == "country-flag" else "animals-nature",
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


def copies() -> list[dict]:
    """A recoloured copy of every single but the flags."""
    kept = (line for line in ledger() if line["group"] != "flags")
    return [{**copied(line, 120.0, ["teal"]), "index": index} for index, line in enumerate(kept)]


SINGLES, COPIES, PORTRAIT_LINES = ledger(), copies(), portraits()
COMPOSITES = plan([*SINGLES, *COPIES], 400, seed=1)
EVERYTHING = [*SINGLES, *COPIES, *COMPOSITES, *PORTRAIT_LINES]
SCENES = {kind: [line for line in COMPOSITES if line["scene"] == kind] for kind in ("two", "same", "overlap", "three")}


def test_nothing_held_out_is_in_a_composite() -> None:
    held = {line["index"] for line in SINGLES if line["split"] != "train"}
    assert held
    pieces = [piece for line in COMPOSITES for piece in line["pieces"]]
    assert {piece["array"] for piece in pieces} == {"singles", "recoloured"}
    assert not held & {piece["of"] for piece in pieces}


def test_nothing_held_out_is_named_with_its_style_in_the_corpus() -> None:
    held = {canonical(line, lang) for line in SINGLES if line["split"] != "train" for lang in ("en", "zh")}
    assert not held & set(corpus(SINGLES))


def test_composites_depend_on_the_seed_alone() -> None:
    assert plan(SINGLES, 50, seed=3) == plan(SINGLES, 50, seed=3) != plan(SINGLES, 50, seed=4)


def test_relation_agrees_with_the_places() -> None:
    pairs = [line for line in COMPOSITES if line["relation"]]
    assert {line["relation"] for line in pairs} == {"left", "right", "top", "bottom", "behind"}
    for line in pairs:
        (ax, ay), (bx, by) = [(piece["x"], piece["y"]) for piece in line["pieces"]]
        # what is behind is larger and laid first, and what is before it hides a part of it
        behind = line["pieces"][0]["scale"] > line["pieces"][1]["scale"]
        right = {"left": ax < bx, "right": ax > bx, "top": ay < by, "bottom": ay > by, "behind": behind}
        assert right[line["relation"]]


def test_a_relation_told_from_either_side_is_the_same_scene() -> None:
    rng, sides = random.Random(4), set()
    for line in [*SCENES["two"], *SCENES["overlap"]]:
        first, second = (piece["label_zh"] for piece in line["pieces"])
        for text in (caption(line, rng, "zh") for _ in range(4)):
            told = [name for name, (_, words) in RELATIONS.items() if f"的{words}" in text]
            if not told:
                continue
            straight = text.index(first) < text.index(second)
            sides.add(straight)
            assert told[0] == (line["relation"] if straight else OPPOSITE[line["relation"]]), text
    assert sides == {True, False}


def test_as_many_are_told_as_are_seen() -> None:
    rng = random.Random(6)
    assert {len(line["pieces"]) for line in SCENES["same"]} == {2, 3}
    for line in SCENES["same"]:
        assert len({(piece["array"], piece["index"]) for piece in line["pieces"]}) == 1
        number = {2: ("two|2", "两|2"), 3: ("three|3", "三|3")}[len(line["pieces"])]
        for _ in range(3):
            assert re.match(number[0], caption(line, rng, "en")) and re.match(number[1], caption(line, rng, "zh"))


def test_recoloured_pieces_are_told_by_their_colour() -> None:
    rng = random.Random(8)
    for line in COMPOSITES:
        if any(piece["array"] == "recoloured" for piece in line["pieces"]):
            assert re.search("teal|turquoise", caption(line, rng, "en").lower())
            assert "青" in caption(line, rng, "zh")


def test_opaque_pieces_replace_the_background_and_clear_ones_leave_it() -> None:
    line = next(
        line for line in COMPOSITES if line["pieces"][0]["place"] == "full" and line["background"]["kind"] == "plain"
    )
    pictures = np.full((len(SINGLES), 128, 128, 3), 7, np.uint8)
    opaque, clear = (np.full((len(SINGLES), 128, 128), a, np.uint8) for a in (255, 0))

    def art(shown: np.ndarray, opacity: np.ndarray) -> dict[str, np.ndarray]:
        return {"singles": shown, "recoloured": shown, "singles_alpha": opacity}

    assert (compose(line, art(pictures, opaque)) == 7).all()
    white = np.full_like(pictures, 255)
    assert (compose(line, art(white, clear)) == line["background"]["colours"][0]["rgb"]).all()


def test_laying_is_that_of_exact_arithmetic() -> None:
    rng = np.random.default_rng(0)
    colour, opacity = rng.integers(0, 256, (40, 56, 3), np.uint8), rng.integers(0, 256, (40, 56), np.uint8)
    cover = opacity[..., None] / 255
    on_white = np.rint(colour * cover + 255 * (1 - cover)).astype(np.uint8)
    canvas = np.full((SIZE, SIZE, 3), (90, 160, 30), np.uint8)
    lay(canvas, cut_out(on_white, opacity), 0.5, 0.5)
    expected = colour * cover + np.array((90, 160, 30)) * (1 - cover)
    assert np.abs(canvas[44:84, 36:92] - expected).max() <= 1.01
    flat = np.full((30, 60, 4), (10, 20, 30, 40), np.uint8)
    assert (resized(flat, 24) == (10, 20, 30, 40)).all() and resized(flat, 24).shape == (12, 24, 4)


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
    for record in COPIES:
        assert "teal" in canonical(record, "en") and "青色" in canonical(record, "zh")
    for record in COMPOSITES:
        for lang in ("en", "zh"):
            text = canonical(record, lang)
            names = [piece[f"label_{lang}"] for piece in record["pieces"]]
            if record["same"] and lang == "en":
                names = [plural_en(names[0])]
            assert all(name in text for name in names)
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


@pytest.mark.parametrize(
    ("name", "many"),
    [
        ("fox", "foxes"), ("leaf", "leaves"), ("cherry", "cherries"), ("toy", "toys"), ("mouse", "mice"),
        ("slice of pizza", "slices of pizza"), ("man with a beard", "men with a beard"), ("tomato", "tomatoes"),
        ("kimono", "kimonos"), ("sheep", "sheep"), ("red house", "red houses"), ("watch", "watches"),
    ],
)  # fmt: skip
def test_more_than_one(name: str, many: str) -> None:
    assert plural_en(name) == many
    assert counted(name, 3, "en") == f"three {many}" and countable(name, "en")


def test_a_counted_name_has_one_number() -> None:
    assert (
        counted("狐狸", 2, "zh", "animal-mammal") == "两只狐狸" and counted("红色的汽车", 3, "zh") == "三辆红色的汽车"
    )
    assert noun_zh("一杯茶") == "一杯茶" and not countable("一杯茶", "zh") and not countable("grapes", "en")


def test_share_alike_art_is_never_read() -> None:
    assert not {source.package for source in (*ART, *PORTRAITS)} & set(SHARE_ALIKE)
    assert {source.licence for source in (*ART, *PORTRAITS)} <= {"MIT", "Apache-2.0", "CC-BY-4.0", "CC0-1.0"}
