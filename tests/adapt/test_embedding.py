"""Laws of learned words: read from every layout, read by the tower as rows of its table, gone without trace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from danqing.adapt.base import attached
from danqing.adapt.embedding import FIRST, LearnedWord, Vocabulary, read
from danqing.errors import InvalidFile, InvalidInput
from danqing.nets.clip import CLIPText
from danqing.nets.t5 import T5, T5Config
from danqing.prompt.encode import ClipEncoder, chunked, condition
from danqing.prompt.grammar import plan, weigh
from danqing.prompt.tokenize import Tokenizer, clip_tokenizer, with_words


class Numbers:
    """One id a word; a comma is id 1."""

    bos, eos, pad, window = 62, 63, 0, 8

    def encode(self, text: str) -> list[int]:
        return [1 if word == "," else int(word) for word in text.replace(",", " , ").split()]

    def decode(self, ids) -> str:
        return " ".join(str(i) for i in ids)


def word(name: str, vectors: Tensor, **also: Tensor) -> LearnedWord:
    return LearnedWord(name=name, vectors={"text": vectors, **also})


def said(prompt: str, tokenizer: Tokenizer, tower: CLIPText, **options) -> Tensor:
    (encoded,) = condition([plan(prompt, 1)], tokenizer, ClipEncoder(tower=tower), **options)
    return encoded.at(1)[0][0].tokens


# ---- files ---------------------------------------------------------------------------------------------------------


def test_every_layout_gives_the_same_word(bench) -> None:
    vectors, second = bench.draw(3, 12), bench.draw(3, 16)
    for tensors in (
        {"string_to_param.*": vectors, "string_to_token.*": torch.tensor(265)},
        {"emb_params": vectors},
        {"<wool>": vectors},
        {"clip_l": vectors, "clip_g": second},
    ):
        learned = read(tensors, "wool")
        assert learned.name == "wool" and learned.count == 3 and torch.equal(learned.vectors["text"], vectors)
    assert torch.equal(learned.vectors["text_2"], second)
    assert read({"wool": vectors[0]}, "Wool").count == 1


@pytest.mark.parametrize(
    "tensors, message",
    [
        ({}, "it holds no tensor"),
        ({"a": (3, 4), "b": (3, 4), "c": (1, 4), "d": (1, 4)}, "it holds a, b, c and 1 more"),
        ({"string_to_param.*": (3, 4), "string_to_param.+": (3, 4)}, "no textual inversion"),
        ({"clip_l": (3, 4), "clip_g": (2, 6)}, "with the same k"),
        ({"clip_l": (3, 4), "clip_g": (3, 2, 6)}, "with the same k"),
        ({"wool": (3, 2, 4)}, "not the vectors of one word"),
        ({"wool": (0, 4)}, "not the vectors of one word"),
    ],
)
def test_what_is_no_word_is_refused(tensors, message) -> None:
    with pytest.raises(InvalidFile, match=message):
        read({key: torch.zeros(shape) for key, shape in tensors.items()}, "wool")
    with pytest.raises(InvalidFile, match="not the vectors"):
        read({"wool": torch.zeros(2, 4, dtype=torch.int64)}, "wool")


# ---- the tower -----------------------------------------------------------------------------------------------------


def test_a_tower_reads_learned_words_as_further_rows_of_its_table(bench) -> None:
    tower = bench.tower()
    words = Vocabulary((word("wool", bench.draw(2, 12)), word("ink", bench.draw(1, 12))))
    assert words.ids == {"wool": (FIRST, FIRST + 1), "ink": (FIRST + 2,)}
    longer = CLIPText(type(bench.text_config)(**{**vars(bench.text_config), "vocab_size": 67}))
    state = tower.state_dict()
    key = "text_model.embeddings.token_embedding.weight"
    longer.load_state_dict(state | {key: torch.cat([state[key], *(w.vectors["text"] for w in words.words)])})
    with attached(tower, words.on("text")), torch.no_grad():
        got = tower(torch.tensor([[62, 3, FIRST, FIRST + 1, 4, FIRST + 2, 63, 0]]))
        want = longer(torch.tensor([[62, 3, 64, 65, 4, 66, 63, 0]]))
    assert torch.equal(got.tokens, want.tokens) and torch.equal(got.pooled, want.pooled)


def test_a_t5_learns_words_too(bench) -> None:
    torch.manual_seed(0)
    net = T5(T5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)).eval()
    ids, vectors = torch.tensor([[3, 4, 5, 1]]), bench.draw(1, 8)
    words = Vocabulary((LearnedWord(name="wool", vectors={"text_3": vectors}),))
    with torch.no_grad():
        want = net(ids)
        with attached(net, words.on("text_3")):
            assert torch.equal(net(ids), want)
            learned = net(torch.tensor([[3, FIRST, 5, 1]]))
        net.shared.weight[4] = vectors[0]
        assert torch.equal(net(ids), learned)


def test_words_come_off_without_trace_and_change_nothing_that_does_not_use_them(bench) -> None:
    tower = bench.tower()
    modules, want = dict(tower.named_modules()), bench.read_text(tower)
    with attached(tower, Vocabulary((word("wool", bench.draw(2, 12)),)).on("text")):
        assert torch.equal(bench.read_text(tower), want)
    assert all(module is modules[name] for name, module in tower.named_modules()) and len(modules) == len(
        dict(tower.named_modules())
    )
    with attached(tower, Vocabulary(()).on("text")):
        assert dict(tower.named_modules()).keys() == modules.keys()


def test_words_take_the_dtype_of_the_tower(bench) -> None:
    tower = bench.tower().bfloat16()
    with attached(tower, Vocabulary((word("wool", bench.draw(2, 12)),)).on("text")), torch.no_grad():
        assert tower(torch.tensor([[62, FIRST, FIRST + 1, 63]])).tokens.dtype == torch.bfloat16


def test_words_of_another_model_are_refused(bench) -> None:
    tower = bench.tower()
    for vectors, role, message in (
        (bench.draw(2, 16), "text", "vectors of width 16; the text encoder 'text' reads 12"),
        (bench.draw(2, 12), "text_2", "vectors for text alone"),
    ):
        with pytest.raises(InvalidInput, match=message):
            Vocabulary((word("wool", vectors),)).on(role).attach(tower)
    words = Vocabulary((word("wool", bench.draw(2, 12)),))
    with attached(tower, words.on("text")), pytest.raises(InvalidInput, match="learned words already"):
        words.on("text").attach(tower)
    with pytest.raises(InvalidInput, match="two learned words are called 'wool'"):
        Vocabulary((word("wool", bench.draw(2, 12)), word("Wool", bench.draw(2, 12))))


# ---- prompts -------------------------------------------------------------------------------------------------------


def test_a_word_of_k_vectors_is_k_tokens_of_its_weight(bench) -> None:
    tower, words = bench.tower(), Vocabulary((word("wool", bench.draw(2, 12)),))
    tokenizer = with_words(Numbers(), words.ids)
    assert chunked(weigh("3 (wool:1.2) 4"), tokenizer)[0] == ((3, FIRST, FIRST + 1, 4), (1.0, 1.2, 1.2, 1.0))
    with attached(tower, words.on("text")):
        plain, marked = (
            said("3 wool 4", tokenizer, tower),
            said("3 (wool:1.2) 4", tokenizer, tower, weighting="no-norm"),
        )
        ids = torch.tensor([[62, 3, FIRST, FIRST + 1, 4, 63, 0, 0]])
        assert torch.equal(plain, ClipEncoder(tower=tower).embed(ids)[0])
    factors = torch.tensor([1, 1, 1.2, 1.2, 1, 1, 1, 1])[None, :, None]
    torch.testing.assert_close(marked, plain * factors)


def test_a_prompt_without_the_word_is_encoded_bit_for_bit_as_ever(bench) -> None:
    tower, words = bench.tower(), Vocabulary((word("wool", bench.draw(2, 12)),))
    want = said("3 4, (5:1.3) 6 7 8 9", Numbers(), tower)
    with attached(tower, words.on("text")):
        assert torch.equal(said("3 4, (5:1.3) 6 7 8 9", with_words(Numbers(), words.ids), tower), want)


@pytest.mark.parametrize(
    "prompt, lengths",
    [
        ("2 3 4 5 wool", [4, 3]),
        ("2 3 4 wool", [6]),
        ("wool wool wool", [6, 3]),
        ("2, 3 4 5 wool 6", [5, 4]),
        ("2 3 wool wool", [5, 3]),
    ],
)
def test_a_word_is_not_cut_between_two_windows(prompt, lengths) -> None:
    tokenizer = with_words(Numbers(), {"wool": (FIRST, FIRST + 1, FIRST + 2)})
    chunks = chunked(weigh(prompt), tokenizer)
    assert [len(chunk.ids) for chunk in chunks] == lengths
    assert all(chunk.ids.count(FIRST) == chunk.ids.count(FIRST + 2) for chunk in chunks)


@pytest.mark.parametrize(
    "text, found",
    [
        ("a wool fox", True),
        ("Wool", True),
        ("wool,fox", True),
        ("(wool)", True),
        ("wool-white", True),
        ("狐狸wool狐狸", True),
        ("woolly fox", False),
        ("a_wool", False),
        ("2wool", False),
        ("wo ol", False),
    ],
)
def test_a_word_is_found_where_nothing_continues_it(text, found) -> None:
    assert (FIRST in with_words(clip_tokenizer(), {"wool": (FIRST,)}).encode(text)) is found


def test_all_around_a_word_is_encoded_as_ever_and_decoding_gives_it_back() -> None:
    plain = clip_tokenizer()
    tokenizer = with_words(plain, {"<wool>": (FIRST, FIRST + 1), "wool-dark": (FIRST + 2,), "wool": (FIRST + 3,)})
    ids = tokenizer.encode("a photo of <wool>, wool-dark and wool.")
    first, dark, last = ids.index(FIRST), ids.index(FIRST + 2), ids.index(FIRST + 3)
    assert ids[:first] == plain.encode("a photo of") and ids[first + 2 : dark] == plain.encode(",")
    assert ids[dark + 1 : last] == plain.encode("and") and ids[last + 1 :] == plain.encode(".")
    assert tokenizer.decode(ids) == "a photo of <wool> , wool-dark and wool ."
    assert (tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.window) == (
        plain.bos,
        plain.eos,
        plain.pad,
        plain.window,
    )


def test_learning_more_words_keeps_the_first_and_learning_none_keeps_the_tokenizer() -> None:
    plain = clip_tokenizer()
    assert with_words(plain, {}) is plain
    both = with_words(with_words(plain, {"wool": (FIRST,)}), {"ink": (FIRST + 1,)})
    assert both.encode("ink wool") == [FIRST + 1, FIRST]


@pytest.mark.parametrize("count", [0, 76])
def test_a_word_that_fits_no_window_is_refused(count) -> None:
    with pytest.raises(InvalidInput, match=f"'wool' has {count} vectors: it needs a name and 1 to 75"):
        with_words(clip_tokenizer(), {"wool": tuple(range(FIRST, FIRST + count))})
