"""Laws of the vocabularies: CLIP's agrees with the published one id for id; ours is lossless and spells a word alike
everywhere."""

import json
from pathlib import Path

import pytest
from experiments.tokenizer import train
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizerFast

from danqing.errors import InvalidFile, InvalidInput
from danqing.prompt.tokenize import bilingual_tokenizer, clip_tokenizer, clip_vocabulary, framed

CAPTIONS = [
    "a red fox, 3d style",
    "a fox in the top left corner, a fire engine on the right, 3d render",
    "a t-shirt on a light blue background",
    "one owl to the left of a cat",
    "一只狐狸，3D风格",
    "一只狐狸在左上角，一辆消防车在右边，浅蓝色到白色的渐变背景",
    "救护车、小汽车和自行车",
    "一只猫头鹰的图片，扁平风格",
] * 3
#: Text as people type it: both scripts, markup and oddities often, anything else at times.
PROMPTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.lists(st.sampled_from(["fox", "It's", "3D", "狐狸", "，", ", ", "(", ")", "-", "...", "\n", " ",
                              "é", "İ", "ß", "🦊", "&amp;", "½", "x²"]),
             max_size=20).map("".join),
)  # fmt: skip


@pytest.fixture(scope="module")
def clip():
    return clip_tokenizer()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    vocabulary, merges = clip_vocabulary()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    return CLIPTokenizerFast.from_pretrained(str(folder))


@pytest.fixture(scope="module")
def bilingual(tmp_path_factory):
    path = tmp_path_factory.mktemp("bilingual") / "tokenizer.json"
    path.write_text(train(CAPTIONS, vocabulary=600).to_str(), encoding="utf-8")
    return bilingual_tokenizer(path)


# ---- CLIP ------------------------------------------------------------------------------------------------------------


def test_clip_has_the_published_number_of_ids(clip):
    vocabulary, merges = clip_vocabulary()
    assert (len(vocabulary), len(merges)) == (49408, 48894)
    assert sorted(vocabulary.values()) == list(range(49408))
    assert (vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]) == (clip.bos, clip.eos)


@settings(max_examples=200, deadline=None)
@given(text=PROMPTS)
@example(text="")
@example(text="A photo of a cat, it's 12:30!!! won't they'll ''d")
@example(text="<|endoftext|> a<|startoftext|>b <|EndOfText|>")
@example(text="\u3000full　width\u00a0space\r\n\ttab")
@example(text="cafe\u0301 Å ﬁ ǅ ẞ")
@example(text="狐狸在左上角，Ⅷ ٣ १२")
def test_clip_ids_are_the_published_ids(clip, published, text):
    assert clip.encode(text) == published(text, add_special_tokens=False)["input_ids"]


@settings(max_examples=50, deadline=None)
@given(text=st.text(st.sampled_from("a cat, 狐"), max_size=120))
def test_clip_windows_are_the_published_windows(clip, published, text):
    ids = clip.encode(text)[:75]
    wanted = published(text, padding="max_length", truncation=True, max_length=77)["input_ids"]
    assert framed(clip, ids) == wanted


def test_clip_ids_are_those_that_everyone_has_seen(clip):
    assert clip.encode("a photo of a cat") == [
        320,
        1125,
        539,
        320,
        2368,
    ]  # from the published examples, not from our data


def test_paddings_differ_in_padding_alone():
    first, second = clip_tokenizer(), clip_tokenizer(pad=0)
    a, b = (framed(t, t.encode("a cat")) for t in (first, second))
    assert a[:4] == b[:4] and set(a[4:]) == {49407} and set(b[4:]) == {0}


def test_clip_decodes_to_the_words(clip):
    assert clip.decode(framed(clip, clip.encode("A red  FOX, 狐狸!"))) == "a red fox , 狐狸 !"


# ---- the default model -----------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(st.text(max_size=60), PROMPTS))
@example(text="\ud800")
@example(text="<eos> <pad> <bos>")
@example(text=" , ,(fox)-x狐x 狐 ,x")
def test_decoding_gives_the_normalised_text_back(bilingual, text):
    assert bilingual.decode(bilingual.encode(text)) == bilingual.normalise(text)


@settings(max_examples=200, deadline=None)
@given(text=PROMPTS)
def test_normalising_twice_is_normalising_once(bilingual, text):
    once = bilingual.normalise(text)
    assert bilingual.normalise(once) == once


@settings(max_examples=100, deadline=None)
@given(text=PROMPTS)
def test_no_text_makes_a_special_id(bilingual, text):
    assert not {bilingual.bos, bilingual.eos, bilingual.pad} & set(bilingual.encode(text + "<eos><pad><bos>"))


@pytest.mark.parametrize("word", ["fox", "FOX", "ｆｏｘ"])
@pytest.mark.parametrize(
    "frame", ["{}", "a {}", "{}, 3d style", "狐狸{}", "一只 {}", "狐狸，{}", "red-{}", "({})", '"{}"']
)
def test_a_word_has_one_spelling_wherever_it_stands(bilingual, word, frame):
    fox = bilingual.encode("fox")
    ids = bilingual.encode(frame.format(word))
    assert any(ids[k : k + len(fox)] == fox for k in range(len(ids)))


@pytest.mark.parametrize("frame", ["{}，3D风格", "一只{}", "画{}的图片", "a {} b", "3D{}"])
def test_a_chinese_subject_has_one_spelling_wherever_it_stands(bilingual, frame):
    engine = bilingual.encode("消防车")
    ids = bilingual.encode(frame.format("消防车"))
    assert len(engine) == 3 and any(ids[k : k + 3] == engine for k in range(len(ids)))


def test_full_width_and_ascii_punctuation_are_one(bilingual):
    assert bilingual.encode("狐狸，３Ｄ风格") == bilingual.encode("狐狸, 3d风格") == bilingual.encode("狐狸,3D 风格")


def test_training_depends_on_the_captions_and_not_on_their_order():
    assert train(CAPTIONS, 500).to_str() == train(CAPTIONS[::-1], 500).to_str()


def test_special_ids_stand_where_the_model_expects_them(bilingual):
    assert (bilingual.pad, bilingual.bos, bilingual.eos) == (0, 598, 599)


# ---- windows and bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 29, 30])
def test_a_frame_fills_the_window(bilingual, count):
    ids = framed(bilingual, [7] * count)
    assert len(ids) == bilingual.window
    assert ids[0] == bilingual.bos and ids.index(bilingual.eos) == count + 1


def test_too_many_ids_for_a_window_are_refused(bilingual):
    with pytest.raises(InvalidInput, match="31 ids do not fit a window of 32"):
        framed(bilingual, [7] * 31)


def test_a_window_without_room_is_refused():
    with pytest.raises(InvalidInput, match="at least 3"):
        clip_tokenizer(window=2)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"model": 1}', json.dumps({"version": "1.0"}).encode()])
def test_a_damaged_vocabulary_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(InvalidFile, match="tokenizer.json"):
        bilingual_tokenizer(path)


def test_a_foreign_or_missing_vocabulary_is_refused(tmp_path: Path, clip):
    with pytest.raises(InvalidFile, match="cannot read"):
        bilingual_tokenizer(tmp_path / "nowhere.json")
    (tmp_path / "foreign.json").write_text(clip.bpe.to_str(), encoding="utf-8")
    with pytest.raises(InvalidFile, match="has no <bos>"):
        bilingual_tokenizer(tmp_path / "foreign.json")
