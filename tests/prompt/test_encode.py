"""Laws of encoding: chunks and their lengths, weights that leave neighbours alone, one call a text, and warnings for
what is lost."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from danqing.errors import InvalidInput, UnknownName
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.prompt.encode import WEIGHTINGS, ClipEncoder, chunked, condition
from danqing.prompt.grammar import parse, plan, weigh

WINDOW = 8
CONFIG = CLIPTextConfig(
    vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=WINDOW, projection_dim=12, eos_token_id=63,
)  # fmt: skip


class Words:
    """One id a word; a comma is id 1."""

    bos, eos, pad, window = 62, 63, 0, WINDOW

    def encode(self, text: str) -> list[int]:
        return [1 if word == "," else int(word) for word in text.replace(",", " , ").split()]

    def decode(self, ids) -> str:
        return " ".join(str(i) for i in ids)


class Counting:
    """An encoder that remembers what it was asked."""

    def __init__(self, inner):
        self.inner, self.calls = inner, []

    def embed(self, ids: Tensor):
        self.calls.append(ids)
        return self.inner.embed(ids)


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    return CLIPText(CONFIG).double().requires_grad_(False)


@pytest.fixture
def encoder(tower):
    return Counting(ClipEncoder(tower=tower, summary="projected"))


def text(count: int, first: int = 2) -> str:
    return " ".join(str(first + k) for k in range(count))


def one(prompt: str, encoder, steps: int = 1, **options):
    (encoded,) = condition([plan(prompt, steps)], Words(), encoder, **options)
    ((conditioning, _),) = encoded.at(1)
    return conditioning


# ---- chunks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count, chunks", [(0, 1), (1, 1), (5, 1), (6, 1), (7, 2), (12, 2), (13, 3)])
def test_a_prompt_of_k_chunks_is_k_windows_long(encoder, count, chunks):
    assert one(text(count), encoder).tokens.shape == (1, chunks * WINDOW, 16)
    (ids,) = encoder.calls
    assert ids.shape == (chunks, WINDOW)
    assert (ids[:, 0] == Words.bos).all() and ((ids == Words.eos).sum(1) == 1).all()


@given(counts=st.lists(st.integers(0, 20), min_size=1, max_size=4), backtrack=st.integers(0, 6), data=st.data())
def test_chunks_hold_every_id_in_order_with_its_weight(counts, backtrack, data):
    words = [[data.draw(st.integers(1, 9)) for _ in range(count)] for count in counts]
    prompt = " BREAK ".join(f"({' '.join(map(str, part))}:{1 + k / 2})" for k, part in enumerate(words))
    chunks = chunked(weigh(prompt), Words(), backtrack=backtrack)
    assert [i for chunk in chunks for i in chunk.ids] == [i for part in words for i in part]
    assert [w for chunk in chunks for w in chunk.weights] == [1 + k / 2 for k, part in enumerate(words) for _ in part]
    assert all(len(chunk.ids) <= WINDOW - 2 for chunk in chunks)


def test_a_chunk_is_encoded_as_if_alone(encoder):
    long = one(text(6) + " " + text(4, first=20), encoder).tokens
    first, second = one(text(6), encoder).tokens, one(text(4, first=20), encoder).tokens
    torch.testing.assert_close(long, torch.cat([first, second], 1))


def test_break_fills_the_chunk_and_starts_another(encoder):
    broken = one(f"{text(2)} BREAK {text(3)}", encoder).tokens
    torch.testing.assert_close(broken, torch.cat([one(text(2), encoder).tokens, one(text(3), encoder).tokens], 1))
    assert one("BREAK", encoder).tokens.shape[1] == 2 * WINDOW


@pytest.mark.parametrize(
    "prompt, backtrack, lengths",
    [
        ("2 3 4 5, 6 7 8", 3, [5, 3]),  # ends after the comma, one id early
        ("2 3 4 5, 6 7 8", 1, [6, 2]),  # the comma is out of reach
        ("2 3 4 5, 6 7 8", 0, [6, 2]),
        ("2, 3, 4 5 6 7", 6, [4, 4]),  # the last comma within reach
        ("2 3, 4 5 6, 7", 6, [6, 2]),  # a comma that would open the next chunk is no reason to go back
    ],
)
def test_a_phrase_moves_whole_to_the_next_chunk(prompt, backtrack, lengths):
    assert [len(chunk.ids) for chunk in chunked(weigh(prompt), Words(), backtrack=backtrack)] == lengths


def test_the_summary_is_the_first_chunks(encoder):
    pooled = one(text(13), encoder).pooled
    assert pooled is not None and pooled.shape == (1, 12)
    torch.testing.assert_close(pooled, one(text(6), encoder).pooled)


def test_a_tower_without_summary_gives_none(tower):
    assert one("2 3", ClipEncoder(tower=tower)).pooled is None


def test_skip_and_norm_reach_the_tower(tower):
    ids = torch.tensor([[62, 2, 3, 63, 0, 0, 0, 0]])
    tokens = one("2 3", ClipEncoder(tower=tower, skip=1, normed=False)).tokens
    torch.testing.assert_close(tokens, tower(ids, skip=1, normed=False).tokens)


# ---- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weight_one_changes_no_bit(encoder, weighting):
    plain = one("2 3 4 5 6 7 8", encoder, weighting="ignore").tokens
    assert torch.equal(one("2 (3 4:1.0) (5:1) 6 7 8", encoder, weighting=weighting).tokens, plain)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_weighted_chunk_leaves_the_others_alone(encoder, weighting):
    plain = one(text(13), encoder).tokens
    marked = one(f"{text(6)} (8:1.5) {text(6, first=9)}", encoder, weighting=weighting).tokens
    assert torch.equal(marked[:, :WINDOW], plain[:, :WINDOW]) and torch.equal(marked[:, -WINDOW:], plain[:, -WINDOW:])


def test_without_norm_each_token_is_scaled_by_its_weight_alone(encoder):
    plain, marked = one("2 3 4", encoder).tokens, one("2 (3:1.5) [4]", encoder, weighting="no-norm").tokens
    factors = torch.tensor([1, 1, 1.5, 1 / 1.1, 1, 1, 1, 1], dtype=torch.float64)[None, :, None]
    torch.testing.assert_close(marked, plain * factors)


def test_original_restores_the_mean_of_the_chunk_and_keeps_the_proportions(encoder):
    scaled, original = (one("2 (3:1.5) 4", encoder, weighting=w).tokens for w in ("no-norm", "original"))
    torch.testing.assert_close(original.mean(), one("2 3 4", encoder).tokens.mean())
    ratio = original / scaled
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))


def test_comfy_moves_tokens_along_the_line_from_the_empty_prompt(encoder):
    empty, plain = one("", encoder).tokens, one("2 3", encoder).tokens
    marked = one("2 (3:1.5)", encoder, weighting="comfy").tokens
    torch.testing.assert_close(marked[:, 2], empty[:, 2] + 1.5 * (plain[:, 2] - empty[:, 2]))
    others = [0, 1, 3, 4, 5, 6, 7]
    torch.testing.assert_close(marked[:, others], plain[:, others])


def test_an_encoding_of_zeros_stays_zeros_under_any_weighting():
    class Zeros:
        def embed(self, ids: Tensor) -> tuple[Tensor, None]:
            return torch.zeros(*ids.shape, 4), None

    for weighting in WEIGHTINGS:
        assert not one("(2:1.5) 3", Zeros(), weighting=weighting).tokens.any()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_prompt_does_not_depend_on_what_is_encoded_beside_it(encoder, weighting):
    prompts = ["2 (3:1.5) 4", "(9:0.1) 10 11", "", "(5:-2)"]
    together = condition([plan(p, 1) for p in prompts], Words(), encoder, weighting=weighting)
    for prompt, encoded in zip(prompts, together, strict=True):
        assert torch.equal(encoded.at(1)[0][0].tokens, one(prompt, encoder, weighting=weighting).tokens)


# ---- plans -----------------------------------------------------------------------------------------------------------


def test_each_distinct_text_is_encoded_once(encoder):
    plans = [plan("[2|3] 4 AND 2 4 AND 5:-1", 10), plan("3 4", 10)]
    condition(plans, Words(), encoder)
    assert len(encoder.calls) == 3


@settings(deadline=None)
@given(when=st.integers(0, 7))
def test_every_step_is_conditioned_on_what_it_shows(tower, when):
    encoder = ClipEncoder(tower=tower)
    prompt = f"[2:3:{when}] [4|5] AND 6:-0.5"
    (encoded,) = condition([plan(prompt, 6)], Words(), encoder)
    for step in range(1, 7):
        (said, weight), (other, minus) = encoded.at(step)
        words = f"{2 if step <= when else 3} {4 if step % 2 else 5}"
        assert torch.equal(said.tokens, one(words, encoder).tokens) and torch.equal(
            other.tokens, one("6", encoder).tokens
        )
        assert (weight, minus) == (1.0, -0.5)


def test_terms_keep_their_order(encoder):
    (encoded,) = condition([plan("2 AND 3:0.5 AND 4:-1", 3)], Words(), encoder)
    terms = encoded.at(2)
    assert [weight for _, weight in terms] == [1.0, 0.5, -1.0]
    for (said, _), alone in zip(terms, "234", strict=True):
        assert torch.equal(said.tokens, one(alone, encoder).tokens)


def test_a_change_reaches_every_term_of_every_step_and_leaves_the_rest(encoder):
    (before,) = condition([plan("[2:3:2] AND 4:0.5", 4)], Words(), encoder, applied=())
    after = before.map(lambda said: replace(said, tokens=said.tokens + 1))
    assert (after.steps, after.warnings) == (before.steps, before.warnings) and len(before.runs) == 2
    for step in range(1, 5):
        for (old, weight), (new, kept) in zip(before.at(step), after.at(step), strict=True):
            assert kept == weight and torch.equal(new.tokens, old.tokens + 1) and new.pooled is old.pooled
    assert len(list(after.conditionings)) == 4


def test_prompt_and_negative_are_filled_to_equal_length_with_empty_chunks(encoder):
    long, short = condition([plan(text(13), 1), plan("2", 1)], Words(), encoder)
    filled = short.at(1)[0][0].tokens
    assert filled.shape == long.at(1)[0][0].tokens.shape == (1, 3 * WINDOW, 16)
    empty = one("", encoder).tokens
    torch.testing.assert_close(filled, torch.cat([one("2", encoder).tokens, empty, empty], 1))


def test_without_filling_each_text_keeps_its_own_length(encoder):
    long, short = condition([plan(text(13), 1), plan("2", 1)], Words(), encoder, even=False)
    assert (long.at(1)[0][0].tokens.shape[1], short.at(1)[0][0].tokens.shape[1]) == (3 * WINDOW, WINDOW)


def test_conditionings_stack_into_a_batch(encoder):
    a, b = condition([plan(text(7), 1), plan("2", 1)], Words(), encoder, even=False)
    stacked = a.at(1)[0][0].cat(b.at(1)[0][0])
    assert stacked.tokens.shape == (2, 2 * WINDOW, 16) and stacked.pooled is not None


# ---- warnings and bad input ------------------------------------------------------------------------------------------


def test_what_is_cut_is_quoted_and_the_rest_is_as_if_it_were_not_there(encoder):
    (encoded,) = condition([plan(text(15), 1)], Words(), encoder, max_chunks=2)
    (warning,) = encoded.warnings
    assert '"14 15 16"' in warning and "2 chunks of 6 tokens" in warning
    assert torch.equal(encoded.at(1)[0][0].tokens, one(text(12), encoder).tokens)


def test_a_very_long_cut_is_quoted_in_short_and_each_prompt_has_its_own_warnings(encoder):
    long, short = condition([plan("2 " * 50_000, 1), plan("3", 1)], Words(), encoder)
    assert len(long.warnings) == 1 and len(long.warnings[0]) < 500
    assert short.warnings == ()


def test_tags_that_nobody_applies_are_named(encoder):
    prompt = parse("2 <lora:ink:0.5> 3 <hypernet:x>")
    (encoded,) = condition([plan(prompt, 2)], Words(), encoder)
    assert [warning.split(" ")[0] for warning in encoded.warnings] == ["<lora:ink:0.5>", "<hypernet:x>"]
    (encoded,) = condition([plan(prompt, 2)], Words(), encoder, applied=prompt.tags)
    assert encoded.warnings == ()


def test_an_ordinary_prompt_has_no_warnings(encoder):
    (encoded,) = condition([plan("(2:1.2) [3:4:0.5] BREAK [5|6]", 4)], Words(), encoder)
    assert encoded.warnings == ()


def test_bad_options_are_refused(encoder):
    plans = [plan("2", 1)]
    with pytest.raises(UnknownName, match="original"):
        condition(plans, Words(), encoder, weighting="orignal")
    with pytest.raises(InvalidInput, match="max_chunks 0"):
        condition(plans, Words(), encoder, max_chunks=0)
    with pytest.raises(InvalidInput, match="backtrack -1"):
        condition(plans, Words(), encoder, backtrack=-1)
    with pytest.raises(InvalidInput, match="1 to 1"):
        condition(plans, Words(), encoder)[0].at(2)
