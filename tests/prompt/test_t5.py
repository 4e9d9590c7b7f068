"""Laws of T5's text: ids as published, files that read the same or are refused, windows that are heard each by
itself."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import T5TokenizerFast

from danqing.errors import InvalidFile, InvalidInput
from danqing.nets.t5 import T5, T5Config
from danqing.prompt.batches import Batched
from danqing.prompt.encode import WEIGHTINGS
from danqing.prompt.grammar import parse, plan
from danqing.prompt.t5 import PieceTokenizer, T5Text, fields, spiece, t5_tokenizer
from danqing.prompt.tokenize import clip_tokenizer, framed

TINY = T5Config(
    vocab_size=300, d_model=8, d_kv=4, d_ff=12, num_layers=2, num_heads=2, relative_attention_num_buckets=8,
    relative_attention_max_distance=20,
)  # fmt: skip
WINDOW = 8
#: Text as people type it: both scripts, markup and oddities often, anything else at times.
PROMPTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.lists(
        st.sampled_from(
            [
                "fox",
                "It's",
                "3D",
                "狐狸",
                "，",
                ", ",
                "  ",
                "\n",
                "\t",
                "é",
                "½",
                "ﬁ",
                "ｆｏｘ",
                "🦊",
                "▁",
                "▁a",
                " ▁ ",
                "</s>",
                "<pad>",
                "<unk>",
                "<extra_id_3>",
                "\u3000",
                "\u200b",
                "e\u0301",
            ]
        ),
        max_size=20,
    ).map("".join),
)


@pytest.fixture(scope="module")
def published(vocabulary) -> T5TokenizerFast:
    return T5TokenizerFast.from_pretrained(str(vocabulary))


@pytest.fixture(scope="module")
def ours(vocabulary) -> PieceTokenizer:
    return t5_tokenizer(vocabulary / "spiece.model", window=WINDOW)


@pytest.fixture(scope="module")
def net() -> T5:
    torch.manual_seed(0)
    return T5(TINY).double().requires_grad_(False)


# ---- ids -----------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(text=PROMPTS)
@example(text="")
@example(text="   a  red   fox \n\n in 狐狸 ink  ")
@example(text="Ω zzz</s> b <extra_id_99>c<pad> <unk>")
def test_ids_are_the_published_ids(ours, published, text):
    assert ours.encode(text) == published(text, add_special_tokens=False)["input_ids"]


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.sampled_from("a fox, 狐"), max_size=40))
def test_windows_are_the_published_windows(ours, published, text):
    ids = ours.encode(text)[: WINDOW - 1]
    assert framed(ours, ids) == published(text, padding="max_length", truncation=True, max_length=WINDOW)["input_ids"]


def test_pieces_and_scores_are_those_that_sentencepiece_reads(vocabulary):
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary / "spiece.model"))
    read = spiece((vocabulary / "spiece.model").read_bytes())
    assert [(p.text, p.score) for p in read.pieces] == [
        (theirs.id_to_piece(i), theirs.get_score(i)) for i in range(len(theirs))
    ]
    assert [p.kind for p in read.pieces[:4]] == [3, 3, 2, 1] and read.characters


def test_both_files_and_their_folder_are_one_vocabulary(vocabulary, published, ours, tmp_path):
    published.save_pretrained(tmp_path)
    assert not (tmp_path / "spiece.model").exists()
    for path in (tmp_path / "tokenizer.json", tmp_path, vocabulary):
        other = t5_tokenizer(path, window=WINDOW)
        assert (
            (other.bos, other.eos, other.pad, other.window)
            == (ours.bos, ours.eos, ours.pad, WINDOW)
            == (None, 1, 0, WINDOW)
        )
        for text in ("", "A red  fox, 狐狸 ½\n<extra_id_5>", "</s>x"):
            assert other.encode(text) == ours.encode(text)


def test_a_file_does_not_cut_or_fill_a_text_by_itself(ours, tmp_path):
    saved = tokenizers.Tokenizer.from_str(ours.pieces.to_str())
    saved.enable_truncation(3)
    saved.enable_padding(length=50)
    (tmp_path / "tokenizer.json").write_text(saved.to_str(), encoding="utf-8")
    assert t5_tokenizer(tmp_path).encode("a red fox in the corner") == ours.encode("a red fox in the corner")


def test_decoding_gives_the_words_back(ours):
    assert ours.decode(framed(ours, ours.encode(" a  red fox,"))) == "a red fox,"
    assert "<unk>" in ours.decode(ours.encode("Ω"))


def test_a_lone_surrogate_is_a_question_mark(ours):
    assert ours.encode("a \ud800?") == ours.encode("a ??")


# ---- bad files -----------------------------------------------------------------------------------------------------


def piece(text: bytes = b"a", score: bytes = b"\x15\0\0\x80\xbf", kind: int = 1) -> bytes:
    body = b"\x0a" + bytes([len(text)]) + text + score + b"\x18" + bytes([kind])
    return b"\x0a" + bytes([len(body)]) + body


MARKS = piece(b"<pad>", kind=3) + piece(b"</s>", kind=3) + piece(b"<unk>", kind=2)
#: A table of characters whose first byte leads out of it.
LOST = b"\x1a\x0c\x12\x0a\x04\0\0\0\xff\xff\xff\x7f\0\0"


def test_the_smallest_file_reads(tmp_path):
    (tmp_path / "spiece.model").write_bytes(MARKS + piece() + piece("▁".encode()))
    assert t5_tokenizer(tmp_path).encode("aa b") == [4, 3, 3, 4, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "exactly one"),
        (b"\x0a", "truncated"),
        (b"\x0a\x20abc", "truncated"),
        (b"\xff" * 12, "too long"),
        (b"\x0b", "starts no field"),
        (b"\x08\x01", "a number stands"),
        (MARKS + piece(b"\xff"), "utf-8"),
        (MARKS + piece(score=b"\x15\0\0\xc0\x7f"), "not finite"),
        (MARKS + piece(score=b"\x11" + bytes(8)), "requires a buffer of 4"),
        (MARKS + b"\x12\x02\x18\x02", "not of the unigram kind"),
        (MARKS + piece(kind=2), "exactly one"),
        (piece(b"<unk>", kind=2) + piece(), "has no </s> or no <pad>"),
        (MARKS + piece() + b"\x1a\x05\x12\x03abc", "Precompiled"),
        (MARKS + piece() + LOST, "index out of bounds"),
        (b"{}", "is no vocabulary of T5"),
        (b'{"model": 1}', "is no vocabulary of T5"),
        (b"{\xff", "is no vocabulary of T5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_vocabulary_is_refused_and_says_why(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "spiece.model"
    path.write_bytes(content)
    with pytest.raises(InvalidFile, match=message) as error:
        t5_tokenizer(path)
    assert str(path) in str(error.value)


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_damaged_file_reads_or_is_refused(vocabulary, tmp_path_factory, place, flip):
    """Cut off (where nothing is flipped) or with one byte changed, anywhere."""
    whole = (vocabulary / "spiece.model").read_bytes()
    at = int(place * len(whole))
    path = tmp_path_factory.mktemp("damaged") / "spiece.model"
    path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) * (flip > 0) + whole[at + 1 :] * (flip > 0))
    with contextlib.suppress(InvalidFile):
        t5_tokenizer(path).encode("a ½ fox 狐")


def test_the_wrong_kind_a_missing_and_a_huge_file_are_refused(tmp_path: Path, monkeypatch, vocabulary):
    (tmp_path / "tokenizer.json").write_text(clip_tokenizer().bpe.to_str(), encoding="utf-8")
    with pytest.raises(InvalidFile, match="of the kind BPE"):
        t5_tokenizer(tmp_path)
    for path in (tmp_path / "nowhere", tmp_path / "nowhere.json"):
        with pytest.raises(InvalidFile, match="cannot read"):
            t5_tokenizer(path)
    monkeypatch.setattr("danqing.prompt.t5.MAX_FILE", 100)
    with pytest.raises(InvalidFile, match="no vocabulary of T5 has more than 100"):
        t5_tokenizer(vocabulary)
    monkeypatch.setattr("danqing.prompt.t5.MAX_PIECES", 5)
    with pytest.raises(ValueError, match="more than 5 pieces"):
        spiece((vocabulary / "spiece.model").read_bytes())


def test_an_empty_folder_and_a_window_without_room_are_refused(tmp_path, vocabulary):
    with pytest.raises(InvalidFile, match="tokenizer.json or spiece.model must be in it"):
        t5_tokenizer(tmp_path)
    shutil.copy(vocabulary / "spiece.model", tmp_path)
    with pytest.raises(InvalidInput, match="at least 2"):
        t5_tokenizer(tmp_path, window=1)


def test_json_of_another_encoding_is_refused(tmp_path, ours):
    (tmp_path / "tokenizer.json").write_bytes(json.dumps(json.loads(ours.pieces.to_str())).encode("utf-16"))
    with pytest.raises(InvalidFile):
        t5_tokenizer(tmp_path)


@given(
    values=st.lists(
        st.tuples(st.integers(1, 2**20), st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=9))), max_size=9
    )
)
def test_fields_are_read_as_they_are_written(values):
    def number(n: int) -> bytes:
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + number(n >> 7)

    data = b"".join(
        number(n << 3) + number(v) if isinstance(v, int) else number(n << 3 | 2) + number(len(v)) + v for n, v in values
    )
    assert list(fields(data)) == values


# ---- windows -------------------------------------------------------------------------------------------------------


def tokens(prompt: str, text: T5Text, weighting: str = "original") -> Tensor:
    (encoded,) = text.condition([plan(prompt, 1)], skip=0, weighting=weighting)
    return encoded.at(1)[0][0].tokens


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_a_window_is_read_whole_padding_and_all(ours, net):
    ids = ours.encode("a fox")
    alone = net(torch.tensor([[*ids, 1, *[0] * (WINDOW - 1 - len(ids))]]))
    close(tokens("a fox", T5Text(tokenizer=ours, net=net)), alone)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_long_text_is_its_windows_one_after_the_other(ours, net, batch):
    prompt = "a red fox in the top left corner of a light blue background and an owl"
    ids = ours.encode(prompt)
    rooms = [ids[k : k + WINDOW - 1] for k in range(0, len(ids), WINDOW - 1)]
    assert len(rooms) > 2 * batch or batch == 8
    alone = torch.cat([net(torch.tensor([framed(ours, room)])) for room in rooms], 1)
    close(tokens(prompt, T5Text(tokenizer=ours, net=net, batch=batch)), alone)


def test_there_is_no_summary_and_a_break_starts_a_window(ours, net):
    text = T5Text(tokenizer=ours, net=net)
    (encoded,) = text.condition([plan("a fox BREAK an owl", 1)], skip=0, weighting="original")
    ((heard, _),) = encoded.at(1)
    assert heard.pooled is None and encoded.warnings == ()
    close(heard.tokens, torch.cat([tokens("a fox", text), tokens("an owl", text)], 1))


def test_a_short_negative_is_filled_with_empty_windows(ours, net):
    text = T5Text(tokenizer=ours, net=net, batch=2)
    said, unsaid = text.condition([plan("a fox " * 12, 1), plan("ink", 1)], skip=0, weighting="original")
    long, short = said.at(1)[0][0].tokens, unsaid.at(1)[0][0].tokens
    count = long.shape[1] // WINDOW
    assert long.shape == short.shape and count > 2
    close(short, torch.cat([tokens("ink", text), *[tokens("", text)] * (count - 1)], 1))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_act_on_the_tokens_as_they_do_on_clips(ours, net, weighting):
    text = T5Text(tokenizer=ours, net=net)
    plain, empty = tokens("a red fox", text), tokens("", text)
    marked = tokens("a (red:1.5) fox", text, weighting)
    a, red = (len(ours.encode(word)) for word in ("a", "red"))
    w = torch.ones(1, WINDOW, 1).double()
    w[:, a : a + red] = 1.5
    scaled = plain * w
    wanted = {
        "original": scaled * plain.mean() / scaled.mean(),
        "no-norm": scaled,
        "comfy": empty + w * (plain - empty),
        "ignore": plain,
    }
    close(marked, wanted[weighting])


class Told(nn.Module):
    """In the place of a T5: each token is its id."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)
        self.most = 0

    def forward(self, ids: Tensor) -> Tensor:
        self.most = max(self.most, len(ids))
        return ids[..., None] * self.scale


def test_of_131072_tokens_every_one_is_heard_in_order(ours):
    words = random.Random(0).choices(["a red fox", "the corner,", "ink", "狐狸", "an owl"], k=48_000)
    prompt = " ".join(words)
    ids = ours.encode(prompt)
    assert len(ids) > 131_072
    told = Told()
    text = T5Text(tokenizer=PieceTokenizer(pieces=ours.pieces), net=told)  # pyright: ignore[reportArgumentType]
    (encoded,) = text.condition([plan(prompt, 1)], skip=0, weighting="original")
    heard = encoded.at(1)[0][0].tokens[0, :, 0]
    assert heard[(heard != 0) & (heard != 1)].tolist() == ids
    assert encoded.warnings == () and told.most == text.batch


def test_what_is_cut_and_what_nobody_applies_is_said(ours, net):
    text = T5Text(tokenizer=ours, net=net, max_windows=2)
    (encoded,) = text.condition([plan(parse("a fox " * 12 + "<lora:ink:1>"), 1)], skip=0, weighting="original")
    tag, cut = encoded.warnings
    assert tag.startswith("<lora:ink:1>") and "2 chunks of 7 tokens" in cut and "fox" in cut
    assert encoded.at(1)[0][0].tokens.shape[1] == 2 * WINDOW


# ---- batches -------------------------------------------------------------------------------------------------------


class Summing:
    """Tokens and a summary that tell the ids; remembers what it was asked."""

    def __init__(self, summary: bool) -> None:
        self.summary, self.calls = summary, []

    def embed(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        self.calls.append(ids)
        return ids[..., None].double().expand(-1, -1, 3), ids.sum(1, keepdim=True) if self.summary else None


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.integers(0, 4), min_size=1, max_size=12), size=st.integers(1, 5), summary=st.booleans())
def test_batches_change_nothing_but_how_much_is_encoded_at_a_time(rows, size, summary):
    ids = torch.tensor(rows)[:, None] + torch.arange(4)
    inner, alone = Summing(summary), Summing(summary)
    for ours, theirs in zip(Batched(inner, size).embed(ids), alone.embed(ids), strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)
    assert all(len(call) <= size for call in inner.calls)
    assert sum(map(len, inner.calls)) == (len(rows) if len(rows) <= size else len(set(rows)))


def test_no_windows_at_a_time_are_refused():
    with pytest.raises(InvalidInput, match="give 1 or more"):
        Batched(Summing(False), 0)
