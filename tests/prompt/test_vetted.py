"""Laws of a stranger's tokenizer: what could panic, abort or hang the library never reaches it."""

import json
import time

import pytest

from danqing.errors import InvalidFile
from danqing.prompt import vetted
from danqing.prompt.tokenize import bilingual_tokenizer


@pytest.fixture
def said(tiny):
    return json.loads((tiny / "tokenizer.json").read_text("utf-8"))


def given(path, said):
    path.write_text(json.dumps(said), "utf-8")
    return bilingual_tokenizer(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("normalizer", {"type": "Replace", "pattern": {"Regex": "(a|a)*$"}, "content": ""}),
        (
            "normalizer",
            {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": ""}, "content": "x"}]},
        ),
        ("normalizer", {"type": "NobodysInvention"}),
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated", "invert": False}),
        ("decoder", {"type": "Strip", "content": " ", "start": 2**40, "stop": 0}),
        ("model", {"type": "WordPiece", "vocab": {}, "unk_token": "x"}),
        ("model", "continuing_subword_prefix"),
        ("model", "ids"),
        ("added_tokens", [{"id": 2**31, "content": "x", "special": True}]),
        ("added_tokens", [{"id": 1, "content": "", "special": True}]),
    ],
)
def test_what_can_harm_is_refused_before_it_runs(tmp_path, said, place, value):
    if value == "continuing_subword_prefix":  # longer than the pieces, of which the library would cut it off
        said["model"][value] = "x" * 99
    elif value == "ids":
        said["model"]["vocab"] |= {"<pad>": 2**32 - 1}
    else:
        said[place] = value
    with pytest.raises(InvalidFile, match="no tokenizer.json"):
        given(tmp_path / "tokenizer.json", said)


def test_what_frames_and_cuts_is_left_to_our_windows(tmp_path, said, tiny):
    plain = bilingual_tokenizer(tiny / "tokenizer.json").encode("a red fox")
    said["truncation"] = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    said["padding"] = {"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                       "pad_type_id": 0, "pad_token": "x"}  # fmt: skip
    assert given(tmp_path / "tokenizer.json", said).encode("a red fox") == plain


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*$", "a+b", "a*a*", r"(a)\1", "a?a?a?b", "(?=a+)b", "(a{0,9}){0,9}", "((((((a", "[a"]
)
def test_an_expression_that_may_try_again_is_not_linear(pattern):
    assert not vetted.linear(pattern)


@pytest.mark.parametrize(
    "pattern", [r"\s+", " {2,}", r" ?[[\p{L}&&[^\p{Han}]]]+|背景", r",(?=[\p{L}])", "'s|'t", "[a+]b"]
)
def test_an_expression_that_never_does_is(pattern):
    assert vetted.linear(pattern)


def test_what_is_let_through_takes_time_linear_in_the_prompt(tiny):
    encode = bilingual_tokenizer(tiny / "tokenizer.json").encode
    encode("a")

    def seconds(text):
        begun = time.thread_time()
        encode(text)
        return time.thread_time() - begun

    assert any(seconds("a ," * 8000) <= 8 * seconds("a ," * 2000) + 0.002 for _ in range(6))
