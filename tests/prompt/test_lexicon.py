"""Laws of the words that are known: what is known is never named, and what is not always is."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danqing.prompt.lexicon import Lexicon

ALONE = ["fox", "foxes", "red", "hat", "x-ray", "cup of tea", "santa claus", "猫", "狐狸", "茶", "白", "T恤", "3D风格"]
LEXICON = Lexicon(alone=ALONE, beside=["hello", "cup", "tea", "快乐"], function=["a", "of", "in", "的", "一只", "在"])
KNOWN = st.sampled_from([*ALONE, "hello", "cup", "a", "of", "快乐", "的", "一只"])


@given(st.lists(KNOWN, max_size=8), st.sampled_from([" ", ", ", "，", " - ", "\n", "_", "  "]))
@settings(max_examples=60, deadline=None)
def test_what_is_made_of_known_phrases_is_known(words, between):
    assert LEXICON.unknown(between.join(words)) == []


@given(
    st.lists(KNOWN, max_size=4),
    st.lists(KNOWN, max_size=4),
    st.sampled_from(["quokka", "лиса", "きつね", "8k", "量子"]),
)
@settings(max_examples=60, deadline=None)
def test_what_is_not_is_named_wherever_it_stands(before, after, word):
    assert LEXICON.unknown(", ".join([*before, word, *after])) == [word]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a RED fox's Hat", []),
        ("ｒｅｄ　ｆｏｘ", []),
        ("qwert zxcv, red fox, qwert zxcv", ["qwert zxcv"]),
        ("Hello fox", []),
        ("Hello Fox", ["Hello Fox"]),
        ("Santa Claus in a Red Hat", []),
        ("a Red Quokka", ["Red Quokka"]),
        ("一只狐狸在量子的茶", ["量子"]),
        ("李白", ["李白"]),
        ("白狐狸", []),
        ("{red|blue} fox __red__ --ar 16:9", ["{red|blue}", "__red__ --ar 16:9"]),
        ("red:1,3", ["1,3"]),
        ("🦄 fox", ["🦄"]),
        ("low-poly", ["low-poly"]),
        ("", []),
        ("... ,,， !?", []),
    ],
)
def test_words_are_read_as_people_write_them(text, left):
    assert LEXICON.unknown(text) == left


@given(st.text(max_size=80))
@settings(max_examples=80, deadline=None)
def test_any_text_is_read_and_what_is_named_stands_in_it(text):
    import unicodedata

    assert all(word in unicodedata.normalize("NFKC", text) for word in LEXICON.unknown(text))
    assert LEXICON.unknown(text) == LEXICON.unknown(text)


@pytest.mark.parametrize("piece", ["{", "{a", "__", "1.", "--a", "a'", "Hello ", "李白", "-", "\u0301", "🦄"])
def test_time_grows_with_the_length_alone(piece):
    def once(text):
        began = time.process_time()
        LEXICON.unknown(text)
        return time.process_time() - began

    def seconds(text):
        return min(once(text) for _ in range(3))

    text = piece * (8000 // len(piece))
    assert seconds(text * 4) < 10 * seconds(text) + 0.05
