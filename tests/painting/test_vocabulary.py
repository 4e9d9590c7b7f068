"""Laws of what a model knows: words that it has not learned are named with the nearest that it has, and no others."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from danqing.errors import InvalidFile
from danqing.painting.load import load
from danqing.painting.vocabulary import FILES, NEAR, Vocabulary, summaries
from danqing.prompt.encode import unapplied
from danqing.prompt.grammar import parse, plan
from danqing.request.request import Request
from danqing.store import shipped
from danqing.store.model import read_model
from danqing.weights import store

LISTS = json.loads((Path(__file__).parent / "prompts.json").read_text("utf-8"))
SAID = {
    "subjects": [
        {"emoji": "🦊", "en": ["fox", "fox face"], "zh": ["狐狸"]},
        {"emoji": "👁️‍🗨️", "en": ["eye in a speech bubble"], "zh": ["眼睛对话框"]},
        {"emoji": "", "en": ["cat"], "zh": ["猫"]},
    ],
    "kinds": {"colours": {"en": ["red"], "zh": ["红色"]}, "function": {"en": ["a", "and"], "zh": ["的"]}},
    "plurals": ["foxes"],
    "tags": {"en": ["wild"], "zh": ["野生"]},
}


@pytest.fixture(scope="module")
def known():
    """The vocabulary of the model that ships."""
    return Vocabulary.of(read_model(shipped.folders()[shipped.DEFAULT]))


@pytest.fixture
def worded(tiny, tmp_path):
    """The tiny model with a vocabulary, whose summaries are its own text encoder's."""
    folder = Path(shutil.copytree(tiny, tmp_path / "worded"))
    (folder / FILES["words"]).write_text(json.dumps(SAID), encoding="utf-8")
    text, vectors = load(tiny, "cpu", "fp32").text, {}
    for lang in ("en", "zh"):
        each = summaries(text, [row[lang][0] for row in SAID["subjects"]])
        mean = each.mean(0)
        vectors |= {lang: each - mean, f"{lang}.mean": mean}
    store.write(folder / FILES["vectors"], vectors)
    said = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**said, "text": FILES}))
    return str(folder)


def warnings(model, prompt, **fields):
    return load(model, "cpu", "fp32").paint(Request(model=str(model), prompt=prompt, seed=1, **fields)).warnings


# ------------------------------------------------------------------------------------------------------ what ships


@pytest.mark.parametrize("prompt", LISTS["learned"])
def test_what_the_model_should_paint_it_knows(known, prompt):
    assert list(known.notes(None, prompt)) == []


@pytest.mark.parametrize(("prompt", "words"), LISTS["odd"].items())
def test_of_what_it_has_not_learned_every_word_is_named(known, prompt, words):
    ignored = unapplied(replace(plan(parse(prompt), 1), unread=()), ())
    said = [*known.unknown_in(prompt), *known.spelled(prompt)[1], *ignored]
    assert len(said) == len(words)
    assert all(sentence.startswith(word) for sentence, word in zip(said, words, strict=True))


def test_every_name_of_a_subject_and_every_word_of_a_style_is_known(known):
    names = [name for subject in known.subjects for name in (*subject.en, *subject.zh)]
    styles = [name for words in known.styles.words.values() for name in (*words.en, *words.zh)]
    kinds = [name for names in known.kinds.values() for name in (*names.en, *names.zh)]
    assert known.unknown(", ".join((*names, *styles, *kinds, *known.plurals, *known.tags.en, *known.tags.zh))) == []
    assert len(known.subjects) > 1900 and len(names) > 5000


def test_every_emoji_is_read_as_its_subject(known):
    for subject in known.subjects:
        for lang, text in (("en", f"a {subject.emoji}!"), ("zh", f"画{subject.emoji}")):
            assert known.spelled(text)[0] == text.replace(subject.emoji, getattr(subject, lang)[0])
    assert known.spelled("👍🏽")[0] == known.spelled("👍")[0] != "👍"
    assert known.spelled("👨‍🦊") == ("👨‍🦊", [])  # a part of a longer sign is not it


def test_the_files_are_small_and_hold_a_summary_for_every_subject(known):
    folder = known.vectors.parent
    assert sum((folder / file).stat().st_size for file in FILES.values()) < 1.5e6
    held = store.read(known.vectors)
    for lang in ("en", "zh"):
        assert held[lang].shape == (len(known.subjects), *held[f"{lang}.mean"].shape)


def test_neighbours_are_those_of_the_models_own_text_encoder(known):
    """A name is its own nearest; so the summaries are of the weights beside them."""
    painter = load(shipped.DEFAULT, "cpu", "fp32")
    chosen = [known.subjects[i] for i in range(5, len(known.subjects), 400)]
    for lang in ("en", "zh"):
        found = known.near(painter.text, [getattr(subject, lang)[0] for subject in chosen])
        assert [near.names[0] for near in found] == [getattr(subject, lang)[0] for subject in chosen]
        assert all(near.close for near in found)
    said = list(painter.vocabulary.notes(painter.text, "a violinist and a quokka"))
    assert said[0].startswith("violinist: not learned; near: violin")
    assert said[1].startswith("quokka: not learned; nearest, but far: ")


# -------------------------------------------------------------------------------------------------------- any model


def test_a_picture_warns_of_words_that_are_not_learned_and_of_no_others(worded):
    assert warnings(worded, "a red fox and foxes, wild") == ()
    assert [w.partition(";")[0] for w in warnings(worded, "a quokka, a fox", negative="blurry")] == [
        "quokka: not learned",
        "blurry: not learned",
    ]


def test_a_model_without_a_vocabulary_never_warns(tiny):
    assert warnings(tiny, "a quokka, 🦊", negative="blurry") == ()


def test_the_grammar_of_prompts_is_taken_for_no_word(worded):
    for prompt in ("(a fox:1.3), [cat]", "[fox:cat:0.5]", "[fox|cat|]", "fox AND cat:0.5", "fox BREAK cat", r"\(fox\)"):
        assert warnings(worded, prompt) == (), prompt
    said = warnings(worded, "[quokka:cat:0.5] <lora:nothing:1>", steps=4)
    assert [w.partition(" ")[0] for w in said] == ["<lora:nothing:1>", "quokka:"]


def test_an_emoji_paints_its_subject_and_says_so(worded):
    painter = load(worded, "cpu", "fp32")
    sign, word = (painter.paint(Request(model=worded, prompt=p, seed=1)) for p in ("a 🦊", "a fox"))
    assert sign.image.tobytes() == word.image.tobytes() and sign.request.prompt == "a 🦊"
    assert sign.warnings == ("🦊 was read as fox.",)


def test_a_file_that_is_no_vocabulary_is_refused(worded):
    for text in ("", "[]", "{}", '{"subjects": [{"emoji": 1}], "kinds": {}}', json.dumps({**SAID, "tags": []})):
        (Path(worded) / FILES["words"]).write_text(text)
        with pytest.raises(InvalidFile, match="no vocabulary"):
            Vocabulary.of(read_model(Path(worded)))


# -------------------------------------------------------------------------------------------------------------- size


def test_a_picture_far_from_the_models_own_size_is_told_unless_hires_or_a_tile_helps(tiny):
    for size in ((64, 64), (16, 16), (96, 32)):
        said = warnings(tiny, "", width=size[0], height=size[1])
        assert len(said) == 1 and "far from the 32×32" in said[0]
    for fields in ({}, {"width": 40}, {"width": 64, "height": 64, "tile": 32}, {"hires": 2.0}):
        assert warnings(tiny, "", **fields) == ()


def test_an_edit_that_keeps_its_size_is_not_told_of_it(tiny, picture, tmp_path):
    from PIL import Image

    large = tmp_path / "large.png"
    Image.open(picture).resize((128, 128)).save(large)
    edit = {"recipe": "image2image", "strength": 0.5}
    assert warnings(tiny, "", image=str(picture), **edit) == ()
    assert warnings(tiny, "", image=str(large), finish="enlarge:scale=4:precision=fp32", **edit) == ()
    assert "the picture of 128×128 was painted at 32×32" in warnings(tiny, "", image=str(large), **edit)[0]


def test_summaries_are_of_each_name_alone(painter):
    names = ["a red fox", "猫", "a red fox"]
    together, alone = summaries(painter.text, names), torch.cat([summaries(painter.text, [n]) for n in names])
    assert torch.equal(together[0], together[2]) and torch.allclose(together, alone, atol=1e-5)
    assert 0 < NEAR < 1
