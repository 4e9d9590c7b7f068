"""Laws of styles: one is added to a prompt that names none, and to no other."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

import danqing
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.painting.load import load
from danqing.painting.styles import NONE, Styles, Words
from danqing.pictures import carried
from danqing.request.request import Request

ROWS = [
    {"style": "3d", "en": ["3d style", "3d render"], "zh": ["3D风格", "立体风格"]},
    {"style": "flat", "en": ["flat style", "flat"], "zh": ["扁平风格"]},
    {"style": "lorelei", "en": ["lorelei style"], "zh": ["lorelei风格"]},
]
STYLES = Styles(words={row["style"]: Words(tuple(row["en"]), tuple(row["zh"])) for row in ROWS})
WORDS = [word for row in ROWS for lang in ("en", "zh") for word in row[lang]]
PROMPTS = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from(["a fox", "狐狸", "AND", ":0.5", ":-1", "[a:b:0.5]", "(", ",", *WORDS]), max_size=6).map(
        " ".join
    ),
)


@pytest.fixture
def styled(tiny, tmp_path):
    """The tiny model with styles, and one of its own."""
    folder = shutil.copytree(tiny, tmp_path / "styled")
    said = json.loads((folder / "model.json").read_text())
    said["text"] = {"styles": "styles.json"}
    said["defaults"]["style"] = "3d"
    (folder / "model.json").write_text(json.dumps(said))
    (folder / "styles.json").write_text(json.dumps(ROWS))
    return str(folder)


def test_a_prompt_that_names_none_is_painted_as_if_it_named_the_models_own(styled):
    painter = load(styled, "cpu", "fp32")
    for bare, whole in (("a fox", "a fox, 3d style"), ("狐狸", "狐狸，3D风格"), ("a fox,", "a fox, 3d style")):
        added = painter.paint(Request(model=styled, prompt=bare, seed=1))
        written = painter.paint(Request(model=styled, prompt=whole, seed=1))
        left = painter.paint(Request(model=styled, prompt=bare, seed=1, style="none"))
        assert (added.request.style, written.request.style, left.request.style) == ("3d", NONE, NONE)
        assert added.request.prompt == bare
        assert added.image.tobytes() == written.image.tobytes() != left.image.tobytes()


@pytest.mark.parametrize("word", WORDS)
def test_whatever_names_a_style_in_either_language_has_none_added(word):
    for prompt in (f"a fox, {word}", f"狐狸，{word}", f"{word.upper()} picture of a fox"):
        assert STYLES.added_to(prompt, "3d") == NONE


@pytest.mark.parametrize("prompt", ["a flatfish", "a 3dfx card", "a fox", "狐狸", "deflated"])
def test_a_part_of_a_word_names_no_style(prompt):
    assert STYLES.added_to(prompt, "3d") == "3d"


def test_a_stated_style_is_added_to_any_prompt_by_whatever_it_is_called(styled):
    painter = load(styled, "cpu", "fp32")
    for stated in ("flat", "Flat Style", "扁平风格"):
        request = painter.resolve(Request(model=styled, prompt="a fox, 3d style", seed=1, style=stated))
        assert request.style == "flat"
        assert STYLES.applied(request.prompt, request.style) == "a fox, 3d style, flat style"


@settings(deadline=None)
@given(PROMPTS, st.sampled_from([*STYLES.words, NONE, "another", None]))
def test_adding_a_style_twice_is_adding_it_once(prompt, style):
    once = STYLES.applied(prompt, style)
    assert STYLES.applied(once, style) == once
    if style not in STYLES.words:
        assert once == prompt


def test_every_term_gets_the_style_but_one_that_steers_away():
    said = STYLES.applied("a fox AND 猫 :0.5 AND a tree:-1", "3d")
    assert said == "a fox, 3d style AND 猫，3D风格 :0.5 AND a tree:-1"


def test_nothing_is_added_to_nothing_nor_over_a_given_picture(styled, picture):
    painter = load(styled, "cpu", "fp32")
    assert painter.resolve(Request(model=styled)).style == NONE
    over = Request(model=styled, recipe="image2image", prompt="a fox", image=str(picture))
    assert painter.resolve(over).style == NONE
    assert painter.resolve(over.but(style="flat")).style == "flat"


def test_a_resolved_request_stays_as_it_is(styled):
    painter = load(styled, "cpu", "fp32")
    for prompt in ("a fox", "a fox, flat style", ""):
        request = painter.resolve(Request(model=styled, prompt=prompt, seed=1))
        assert painter.resolve(request) == request


def test_a_model_without_styles_refuses_one_and_says_what_is_possible(tiny, generators, painter):
    with pytest.raises(UnknownName, match="Possible: none"):
        painter.resolve(Request(model=str(tiny), prompt="a fox", style="3d"))
    assert painter.paint(Request(model=str(tiny), prompt="a fox", seed=1, style="none")).request.style == NONE
    with pytest.raises(InvalidInput, match="Possible: none"):
        danqing.paint(model=generators["vae"], style="3d")


def test_an_unknown_style_is_refused_with_the_nearest(styled):
    with pytest.raises(UnknownName, match="Did you mean 'lorelei'.*Possible: 3d, flat, lorelei, none"):
        danqing.paint("a fox", model=styled, style="lorelai")


@pytest.mark.parametrize("text", ["[1]", "{}x", '[{"style": "3d"}]'])
def test_a_damaged_list_of_styles_is_named(styled, tmp_path, text):
    (tmp_path / "styled" / "styles.json").write_text(text)
    with pytest.raises(InvalidFile, match="no list of styles"):
        load(styled, "cpu", "fp32")


def test_a_record_replays_with_its_style_and_one_of_before_there_were_any_with_none(styled, tmp_path):
    picture = danqing.paint("a fox", model=styled, seed=1)
    path = picture.save(tmp_path / "fox.png")
    assert carried.recorded(path).style == "3d" and danqing.replay(path).exact
    bare = danqing.paint("a fox", model=styled, seed=1, style="none", engine="torch")
    image = Image.open(bare.save(tmp_path / "bare.png"))
    record = json.loads(image.info["danqing"])
    assert record["request"].pop("style") == NONE
    record["danqing"] = 1
    old = PngImagePlugin.PngInfo()
    old.add_itxt("danqing", json.dumps(record))
    image.save(tmp_path / "old.png", pnginfo=old)
    assert danqing.replay(tmp_path / "old.png").exact


def test_the_screen_says_what_was_added_and_the_json_has_it(styled, run):
    small = ("--model", styled, "--seed", "1", "-o", "fox.png", "--force")
    assert "3d style was added" in run("paint", "a fox", *small)[2]
    for options in (("a fox", "--style", "flat"), ("a fox", "--style", "none"), ("a fox, flat style",)):
        code, _, err = run("paint", *options, *small)
        assert code == 0 and "added" not in err
    assert json.loads(run("paint", "a fox", "--json", *small)[1])["request"]["style"] == "3d"
    assert run("paint", "a fox", "--style", "cubist", *small)[0] == 2


def test_the_a1111_text_has_the_style_and_gives_it_back():
    from danqing.request import infotext

    text = infotext.write(Request(prompt="a fox", style="3d", seed=1, steps=3, solver="euler", width=8, height=8))
    assert infotext.request_of(infotext.read(text))[0]["style"] == "3d"
    assert "Style" not in infotext.write(Request(prompt="a fox", style="none", seed=1, steps=3, width=8, height=8))
