"""Laws of measured colours: a flat picture has its colour's name at any size, greys have no hue, turns of the hue add
up and are told as they are seen."""

import random

import numpy as np
import pytest
from experiments.captions import OTHER_COLOURS, caption
from experiments.data import colours
from experiments.data.colours import NAMES, NEUTRAL, dominant, named, oklch, shares, turn, turned
from experiments.data.names import bare, coloured
from experiments.data.plain import NAMES as PLAIN
from experiments.data.recoloured import COPIES, copied, turns

FOCAL = {
    "white": (250, 250, 250), "grey": (140, 140, 140), "black": (20, 20, 20), "red": (215, 35, 40),
    "orange": (245, 140, 30), "yellow": (255, 215, 50), "green": (60, 165, 75), "teal": (30, 170, 165),
    "blue": (45, 105, 220), "purple": (125, 65, 180), "pink": (250, 150, 190), "brown": (125, 75, 40),
    "beige": (240, 222, 190),
}  # fmt: skip
VIVID = [(230, 30, 30), (30, 200, 30), (40, 40, 230), (250, 200, 20), (160, 30, 200), (20, 190, 190)]
OPAQUE = np.full((8, 8), 255, np.uint8)


def flat(rgb, size=8) -> np.ndarray:
    return np.full((size, size, 3), rgb, np.uint8)


def patches(*colours_) -> np.ndarray:
    """Stripes, 24 px wide."""
    return np.concatenate([flat(rgb, 24) for rgb in colours_], 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 8, 61])
def test_a_flat_picture_is_named_by_its_colour(name: str, size: int) -> None:
    assert dominant(flat(FOCAL[name], size), np.full((size, size), 200, np.uint8)) == [name]


def test_shares_do_not_depend_on_the_size() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    opacity = np.random.default_rng(1).integers(0, 256, (16, 16), np.uint8)
    large = [array.repeat(3, 0).repeat(3, 1) for array in (picture, opacity)]
    assert np.allclose(shares(picture, opacity), shares(*large))
    assert shares(picture, opacity).sum() == pytest.approx(1)


def test_what_is_not_drawn_is_not_told() -> None:
    opacity = np.concatenate([np.full((24, 24), 255), np.zeros((24, 48))], 1).astype(np.uint8)
    assert dominant(patches(VIVID[0], VIVID[1], VIVID[2]), opacity) == [list(NAMES)[named(VIVID[0])]]


def test_greys_have_no_hue_and_go_from_black_over_grey_to_white() -> None:
    ramp = np.arange(256, dtype=np.uint8)
    told = [list(NAMES)[i] for i in named(np.stack([ramp] * 3, -1))]
    assert list(dict.fromkeys(told)) == ["black", "grey", "white"]
    _, chroma, _ = oklch(np.stack([ramp] * 3, -1))
    assert chroma.max() < 1e-4


def test_lightness_and_hue_are_those_of_the_published_space() -> None:
    lightness, chroma, hue = oklch(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]]))  # Ottosson 2020
    assert np.allclose(lightness, [0.628, 0.866, 0.452], atol=1e-3)
    assert np.allclose(chroma, [0.258, 0.295, 0.313], atol=1e-3) and np.allclose(hue, [29.2, 142.5, 264.1], atol=0.1)


def test_a_turn_by_a_third_permutes_the_channels_and_turns_add_up() -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (500, 3)).astype(np.float32)
    assert np.allclose(turn(rgb, 120), rgb[:, [2, 0, 1]], atol=1e-2)
    assert np.allclose(turn(turn(rgb, 70), 95), turn(rgb, 165), atol=2e-2)
    assert np.allclose(turn(rgb, 360), rgb, atol=1e-2)


@pytest.mark.parametrize("degrees", [40, 120, 200, 300])
def test_a_turned_picture_has_the_names_of_its_turned_colours(degrees: int) -> None:
    picture = patches(*VIVID[:3])
    names = [list(NAMES)[named(np.rint(turn(np.array(rgb), degrees)).astype(np.uint8))] for rgb in VIVID[:3]]
    opacity = np.full(picture.shape[:2], 255, np.uint8)
    assert sorted(dominant(turned(picture, degrees), opacity)) == sorted(set(names))


def test_a_third_of_a_turn_permutes_names() -> None:
    picture = patches((220, 30, 30), (30, 220, 30), (30, 30, 220))
    for _ in range(3):
        assert sorted(dominant(picture, np.full(picture.shape[:2], 255, np.uint8))) == ["blue", "green", "red"]
        picture = turned(picture, 120)


def test_greys_keep_and_skin_keeps_where_it_is_left_alone() -> None:
    skin = [(255, 204, 77), (243, 210, 162), (198, 140, 83), (124, 83, 62), (250, 220, 188)]
    greys = patches(*((v, v, v + 2) for v in (5, 60, 128, 200, 250)))
    assert np.array_equal(turned(greys, 150), greys)
    assert np.abs(turned(patches(*skin), 150, True).astype(int) - patches(*skin)).max() <= 1
    assert np.abs(turned(patches(*skin), 150).astype(int) - patches(*skin)).min(-1).max() > 20
    assert np.array_equal(turned(patches(VIVID[1], VIVID[2]), 150, True), turned(patches(VIVID[1], VIVID[2]), 150))


def test_a_turn_commutes_with_laying_on_white() -> None:
    rgb, cover = np.array(VIVID, float), np.array([0.4, 0.6, 0.8, 0.9, 0.7, 0.5])[:, None]
    over = np.rint(rgb * cover + 255 * (1 - cover)).astype(np.uint8)[None]
    alone = turned(np.array(VIVID, np.uint8)[None], 75)[0] * cover + 255 * (1 - cover)
    assert np.abs(turned(over, 75)[0] - alone).max() < 2


# ---- recoloured copies


def record(**changes) -> dict:
    return {
        "kind": "single", "array": "singles", "index": 4, "subject": "1F98A", "style": "3d", "split": "train",
        "label_en": "red apple", "label_zh": "红苹果", "names_en": ["red apple", "apple"],
        "names_zh": ["红苹果", "苹果"], "tags_en": ["fruit", "red"], "tags_zh": ["水果", "红色"], "emoji": "🍎",
        "group": "food-drink", "subgroup": "food-fruit", **changes,
    }  # fmt: skip


def copies(picture, **changes) -> list[dict]:
    opacity = np.full(picture.shape[:2], 255, np.uint8)
    return [copied(record(**changes), *found) for found in turns(record(**changes), picture, opacity)]


@pytest.mark.parametrize("picture", [patches(rgb, other) for rgb in VIVID for other in ((250, 250, 250), VIVID[2])])
def test_copies_have_none_of_the_hues_of_their_picture_nor_of_each_other(picture) -> None:
    before = set(dominant(picture, np.full(picture.shape[:2], 255, np.uint8))) - NEUTRAL
    made = copies(picture)
    assert 1 <= len(made) <= COPIES
    for line in made:
        hues = set(line["colours"]) - NEUTRAL
        assert hues and not hues & before
        before |= hues


def test_a_copy_is_told_by_its_new_colours_and_never_by_old_ones() -> None:
    rng = random.Random(0)
    words = {lang: {name: {name if lang == "en" else zh} for name, zh in NAMES.items()} for lang in ("en", "zh")}
    for lang, others in OTHER_COLOURS.items():
        for said in words[lang].values():
            said |= {others[word] for word in list(said) if word in others}
            said |= {word.removesuffix("色") for word in said if lang == "zh"}
    for line in copies(patches((215, 35, 40), (250, 250, 250))):
        for lang in ("en", "zh"):
            for text in (caption(line, rng, lang) for _ in range(60)):
                told = {name for name, said in words[lang].items() if any(word in text.lower() for word in said)}
                assert told & set(line["colours"]) - NEUTRAL, text
                assert told <= set(line["colours"]) | {"white"}, text  # "on a white background"


def test_a_copy_stays_in_the_split_of_its_picture_and_flags_and_greys_have_none() -> None:
    assert all(line["split"] == "heldout_pair" for line in copies(patches(VIVID[0]), split="heldout_pair"))
    assert not copies(patches(VIVID[0]), group="flags")
    assert not copies(patches((30, 30, 30), (128, 128, 128)))


def test_bare_names_tell_no_colour_and_others_are_left_as_they_are() -> None:
    for name in ("red apple", "light blue heart", "hollow red circle", "红心", "红色圆", "浅蓝色的心", "绿叶蔬菜"):
        assert coloured(name) and not coloured(bare(name))
    for name in ("fox", "blueberries", "carrot", "青蛙", "黄瓜", "银行", "郁金香"):
        assert bare(name) == name and not coloured(name)


def test_plain_names_are_in_their_language_and_tell_no_colour() -> None:
    for label, names in PLAIN.items():
        assert names["en"] or names["zh"]
        assert label not in names["en"] and all(name.isascii() for name in names["en"])
        assert not [name for name in names["en"] if coloured(name) and name not in ("orange", "green tea", "red wine")]
        assert not [name for name in names["zh"] if colours.NAMES["red"] in name]
