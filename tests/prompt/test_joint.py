"""The text of Stable Diffusion 3 against diffusers', and laws of joined texts: length, zeros in the place of what is
absent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import Tensor

from danqing.errors import InvalidInput
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.nets.t5 import T5, T5Config
from danqing.prompt.encode import Encoded
from danqing.prompt.grammar import parse, plan
from danqing.prompt.joint import Joined, Silence, sd3_text
from danqing.prompt.t5 import T5Text, t5_tokenizer
from danqing.prompt.tokenize import clip_tokenizer, clip_vocabulary

SIDE, WINDOW, WIDTH = (8, 12), 16, 24  # of the towers, of T5's windows, of the joint tokens
LEFT = CLIPTextConfig(
    vocab_size=49408, hidden_size=8, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2, projection_dim=8,
)  # fmt: skip
RIGHT = replace(LEFT, hidden_size=12, num_hidden_layers=4, projection_dim=12, hidden_act="gelu")
PIECES = T5Config(vocab_size=300, d_model=WIDTH, d_kv=6, d_ff=24, num_layers=2, num_heads=3)
NAMES = ("text_encoder", "text_encoder_2", "text_encoder_3")


def shake(net: torch.nn.Module, seed: int) -> Any:
    """Random weights in every place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return net.eval().requires_grad_(False)


def their_clip(config: CLIPTextConfig, seed: int) -> Any:
    names = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "projection_dim",
        "hidden_act",
    )
    own = transformers.CLIPTextConfig(
        **{name: getattr(config, name) for name in names}, eos_token_id=49407, bos_token_id=49406
    )
    return shake(transformers.CLIPTextModelWithProjection(own), seed)


@pytest.fixture(scope="module")
def published(vocabulary, tmp_path_factory) -> StableDiffusion3Pipeline:
    folder = tmp_path_factory.mktemp("clip")
    words, merges = clip_vocabulary()
    (folder / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]), encoding="utf-8")
    own = transformers.T5Config(
        vocab_size=300, d_model=WIDTH, d_kv=6, d_ff=24, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu",
    )  # fmt: skip
    transformer = SD3Transformer2DModel(
        sample_size=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=1,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=20,
        caption_projection_dim=4,
        pos_embed_max_size=4,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=None,
        text_encoder=their_clip(LEFT, 1),
        text_encoder_2=their_clip(RIGHT, 2),
        text_encoder_3=shake(transformers.T5EncoderModel(own), 3),
        tokenizer=transformers.CLIPTokenizerFast.from_pretrained(
            str(folder), pad_token="<|endoftext|>", model_max_length=77
        ),
        tokenizer_2=transformers.CLIPTokenizerFast.from_pretrained(str(folder), pad_token="!", model_max_length=77),
        tokenizer_3=transformers.T5TokenizerFast.from_pretrained(str(vocabulary)),
    )  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def nets(published) -> dict[str, Any]:
    """The pipeline's encoders, ours."""
    ours: dict[str, Any] = {"clip_l": CLIPText(LEFT), "clip_g": CLIPText(RIGHT), "t5": T5(PIECES)}
    for net, name in zip(ours.values(), NAMES, strict=True):
        state = getattr(published, name).state_dict()
        names = {
            key
            if "." in key and not key.startswith(("embeddings", "encoder.layers", "final"))
            else f"text_model.{key}": key
            for key in state
            if key != "encoder.embed_tokens.weight"
        }
        net.load_state_dict({ours: state[theirs] for ours, theirs in names.items()}, strict=True)
        net.eval().requires_grad_(False)
    return ours


@pytest.fixture(scope="module")
def pieces(vocabulary):
    return t5_tokenizer(vocabulary, window=WINDOW)


def joint(nets: dict[str, Any], pieces, *, without: tuple[str, ...] = (), **options) -> Joined:
    here = {name: None if name in without else net for name, net in nets.items()}
    vocabulary = None if "t5" in without else pieces
    return sd3_text(clip=clip_tokenizer(), pieces=vocabulary, width=WIDTH, widths=SIDE, **here, **options)


def said(text, *prompts: str, skip: int = 1, **options) -> tuple[Encoded, ...]:
    return text.condition([plan(prompt, 1) for prompt in prompts], skip=skip, weighting="original", **options)


def of(encoded: Encoded) -> tuple[Tensor, Tensor]:
    ((heard, _),) = encoded.at(1)
    assert heard.pooled is not None
    return heard.tokens, heard.pooled


def theirs(pipeline: StableDiffusion3Pipeline, prompt: str, **options) -> tuple[Tensor, ...]:
    return pipeline.encode_prompt(
        prompt, prompt, prompt, device=torch.device("cpu"), max_sequence_length=WINDOW, **options
    )  # pyright: ignore


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


# ---- parity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["", "A red fox, 3d style", "一只狐狸 in ink"])
@torch.no_grad()
def test_a_prompt_of_one_window_is_heard_as_published(published, nets, pieces, prompt):
    wanted, unsaid, pooled, unpooled = theirs(published, prompt, negative_prompt="an owl")
    assert wanted.std() > 0.1 and wanted.shape == (1, 77 + WINDOW, WIDTH)
    heard = said(joint(nets, pieces), prompt, "an owl")
    for ours, expected in zip(map(of, heard), ((wanted, pooled), (unsaid, unpooled)), strict=True):
        close(ours[0], expected[0])
        close(ours[1], expected[1])
    assert all(encoded.warnings == () for encoded in heard)


@torch.no_grad()
def test_clip_skip_counts_as_published(published, nets, pieces):
    tokens, _, pooled, _ = theirs(published, "a fox", clip_skip=1)
    ours = of(said(joint(nets, pieces), "a fox", skip=2)[0])
    close(ours[0], tokens)
    close(ours[1], pooled)


@torch.no_grad()
def test_an_absent_t5_is_zeros_as_published(published, nets, pieces, monkeypatch):
    monkeypatch.setattr(published, "text_encoder_3", None)
    tokens, _, pooled, _ = published.encode_prompt(
        "a fox", "a fox", "a fox", device=torch.device("cpu"), max_sequence_length=77
    )  # pyright: ignore
    (encoded,) = said(joint(nets, pieces, without=("t5",)), "a fox")
    ours = of(encoded)
    assert tokens.shape == (1, 154, WIDTH)
    close(ours[0], tokens)
    close(ours[1], pooled)
    assert encoded.warnings == ("the text encoder T5 is absent; zeros stand in its place.",)


@pytest.mark.parametrize(
    ("absent", "name", "called"), [("clip_l", NAMES[0], "CLIP-L"), ("clip_g", NAMES[1], "CLIP-bigG")]
)
@torch.no_grad()
def test_an_absent_tower_is_a_published_one_that_says_zero(published, nets, pieces, monkeypatch, absent, name, called):
    mute = their_clip(LEFT if absent == "clip_l" else RIGHT, 0)
    for p in mute.parameters():
        p.zero_()
    monkeypatch.setattr(published, name, mute)
    tokens, _, pooled, _ = theirs(published, "a fox")
    (encoded,) = said(joint(nets, pieces, without=(absent,)), "a fox")
    ours = of(encoded)
    close(ours[0], tokens)
    close(ours[1], pooled)
    assert encoded.warnings == (f"the text encoder {called} is absent; zeros stand in its place.",)


# ---- laws ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_t5_alone_stands_behind_a_window_of_zeros(nets, pieces):
    tokens, pooled = of(said(joint(nets, pieces, without=("clip_l", "clip_g")), "a fox")[0])
    alone = said(T5Text(tokenizer=pieces, net=nets["t5"]), "a fox")[0].at(1)[0][0].tokens
    assert torch.equal(tokens, torch.cat([torch.zeros(1, 77, WIDTH), alone], 1))
    assert torch.equal(pooled, torch.zeros(1, 20))


@torch.no_grad()
def test_zeros_are_as_long_as_is_asked(nets, pieces):
    tokens, _ = of(said(joint(nets, pieces, without=("t5",), absent=256), "a fox")[0])
    assert tokens.shape == (1, 77 + 256, WIDTH) and not tokens[:, 77:].any()


@torch.no_grad()
def test_absences_and_tags_are_said_once_of_a_picture(nets, pieces):
    text = joint(nets, pieces, without=("clip_l", "t5"))
    first, second = text.condition(
        [plan(parse("a fox <lora:ink:1>"), 1), plan(parse("an owl"), 1)], skip=1, weighting="original"
    )
    assert [sentence.split(" ")[3:5] for sentence in first.warnings[:2]] == [["CLIP-L", "is"], ["T5", "is"]]
    assert len(first.warnings) == 3 and first.warnings[2].startswith("<lora:ink:1>")
    assert second.warnings == ()


@torch.no_grad()
def test_each_stream_keeps_all_of_a_long_prompt_and_both_prompts_are_of_one_length(nets, pieces):
    prompt = "a red fox in the corner, " * 300  # 1,800 words and 300 commas: far beyond the 16 chunks of other models
    heard = said(joint(nets, pieces), prompt, "an owl")
    long, short = (of(encoded)[0] for encoded in heard)
    assert long.shape == short.shape and long.shape[1] > 28 * 77 + 100 * WINDOW
    assert all(encoded.warnings == () for encoded in heard)
    later = of(said(joint(nets, pieces), prompt + "an owl")[0])[0]
    assert later.shape[1] in (long.shape[1], long.shape[1] + 77, long.shape[1] + WINDOW, long.shape[1] + 77 + WINDOW)
    assert not torch.equal(later[:, :: len(later[0]) - 1], long[:, :: len(long[0]) - 1])


@torch.no_grad()
def test_every_step_hears_its_own_text_and_equal_texts_are_one(nets, pieces):
    text = joint(nets, pieces)
    (encoded,) = text.condition([plan("[a fox:an owl:2] AND ink:-0.5", 4)], skip=1, weighting="original")
    for step, shown in ((1, "a fox"), (2, "a fox"), (3, "an owl"), (4, "an owl")):
        (heard, weight), (other, minus) = encoded.at(step)
        assert (weight, minus) == (1.0, -0.5)
        close(heard.tokens, of(said(text, shown)[0])[0])
        close(other.tokens, of(said(text, "ink")[0])[0])
    assert encoded.at(1)[0][0] is encoded.at(2)[0][0] and encoded.at(1)[1][0] is encoded.at(4)[1][0]


@torch.no_grad()
def test_a_tower_that_lost_its_projection_had_the_identity(nets, pieces):
    known = CLIPText(LEFT)
    known.load_state_dict({**nets["clip_l"].state_dict(), "text_projection.weight": torch.eye(8)})
    lost = CLIPText(replace(LEFT, projection_dim=0))
    lost.load_state_dict(
        {name: value for name, value in known.state_dict().items() if name != "text_projection.weight"}
    )
    heard = [of(said(joint({**nets, "clip_l": net}, pieces), "a fox")[0]) for net in (known, lost)]
    for one, other in zip(*heard, strict=True):
        close(one, other)


@torch.no_grad()
def test_a_learned_word_is_clips_alone(nets, pieces):
    text = joint(nets, pieces)
    plain, taught = (of(said(t, "a wool fox")[0])[0] for t in (text, text.with_words({"wool": (5, 6)})))
    assert torch.equal(taught[:, 77:], plain[:, 77:]) and not torch.equal(taught[:, :77], plain[:, :77])


def test_what_may_be_skipped_are_the_layers_of_clip(nets, pieces):
    assert joint(nets, pieces).layers == 3
    assert joint(nets, pieces, without=("clip_l",)).layers == 4
    assert joint(nets, pieces, without=("clip_l", "clip_g")).layers > 100


def test_silence_says_the_same_whatever_is_said():
    first, second = said(Silence(width=5, length=3), "a fox", "an owl")
    assert first.at(1)[0][0] is second.at(1)[0][0] and first.at(1)[0][0].pooled is None
    assert torch.equal(first.at(1)[0][0].tokens, torch.zeros(1, 3, 5))


def test_what_does_not_belong_together_is_refused(nets, pieces, vocabulary):
    with pytest.raises(InvalidInput, match="none of its three text encoders"):
        joint(nets, pieces, without=("clip_l", "clip_g", "t5"))
    with pytest.raises(InvalidInput, match="its own vocabulary"):
        sd3_text(clip=clip_tokenizer(), **nets, width=WIDTH, widths=SIDE)
    with pytest.raises(InvalidInput, match="width 24, the network reads 4096"):
        sd3_text(clip=clip_tokenizer(), pieces=pieces, **nets, widths=SIDE)
    with pytest.raises(InvalidInput, match="ids for a T5 of 50"):
        joint({**nets, "t5": T5(replace(PIECES, vocab_size=50))}, pieces)
