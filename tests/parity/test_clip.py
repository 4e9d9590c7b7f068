"""Our CLIP towers against transformers': the same weights give the same answer, the published shapes are the same."""

from dataclasses import asdict, replace

import pytest
import torch
import transformers

from danqing.nets import clip

TEXT = clip.CLIPTextConfig(
    vocab_size=99,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=16,
    projection_dim=24,
    eos_token_id=98,
)
VISION = clip.CLIPVisionConfig(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=2,
    image_size=12,
    patch_size=4,
    projection_dim=24,
)


def their_text(config: clip.CLIPTextConfig) -> transformers.CLIPTextConfig:
    values = asdict(config)
    values["projection_dim"] = config.projection_dim or 512
    return transformers.CLIPTextConfig(**values, pad_token_id=1, bos_token_id=0)


def their_vision(config: clip.CLIPVisionConfig) -> transformers.CLIPVisionConfig:
    return transformers.CLIPVisionConfig(**asdict(config))


def shake(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights in every place, norms and biases too, so that no term can be forgotten unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return net.eval()


def ids_of_every_kind() -> torch.Tensor:
    """Ends at the first, a middle and the last place; padded with the end token and with another; one of two ends."""
    ids = torch.randint(1, 98, (6, 16), generator=torch.Generator().manual_seed(1))
    ids[0, 0] = 98
    ids[1, 7:] = 98
    ids[2, 15] = 98
    ids[3, 5], ids[3, 6:] = 98, 0
    ids[4, 3] = ids[4, 9] = 98
    ids[5, 11] = 98
    return ids


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
@torch.no_grad()
def test_text_tower_equals_the_published_one(act):
    config = replace(TEXT, hidden_act=act)
    theirs = shake(transformers.CLIPTextModelWithProjection(their_text(config)))
    ours = clip.CLIPText(config)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    ids = ids_of_every_kind()
    a, b = ours(ids), theirs(ids, output_hidden_states=True)
    close(a.tokens, b.last_hidden_state)
    close(a.projected, b.text_embeds)
    close(a.pooled, theirs.text_model(ids).pooler_output)
    for x, y in zip(a.hidden, b.hidden_states, strict=True):
        close(x, y)


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
@torch.no_grad()
def test_skip_counts_hidden_states_from_the_last(skip):
    theirs = shake(transformers.CLIPTextModelWithProjection(their_text(TEXT)))
    ours = clip.CLIPText(TEXT)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    ids = ids_of_every_kind()
    state = theirs(ids, output_hidden_states=True).hidden_states[-1 - skip]
    raw, normed = ours(ids, skip=skip, normed=False), ours(ids, skip=skip)
    close(raw.tokens, state)
    close(normed.tokens, theirs.text_model.final_layer_norm(state))
    close(raw.projected, theirs(ids).text_embeds)


@torch.no_grad()
def test_the_rule_of_old_configs_agrees_when_the_end_is_the_highest_id():
    theirs = shake(transformers.CLIPTextModelWithProjection(their_text(replace(TEXT, eos_token_id=2))))
    ours = clip.CLIPText(TEXT)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    ids = ids_of_every_kind()
    close(ours(ids).projected, theirs(ids).text_embeds)


@torch.no_grad()
def test_stable_diffusion_2_ships_the_penultimate_state_of_the_whole_tower():
    whole = shake(clip.CLIPText(TEXT))
    cut = clip.CLIPText(replace(TEXT, num_hidden_layers=2, projection_dim=0))
    keys = cut.state_dict().keys()
    cut.load_state_dict({k: v for k, v in whole.state_dict().items() if k in keys}, strict=True)
    ids = ids_of_every_kind()
    assert torch.equal(cut(ids).tokens, whole(ids, skip=1).tokens)


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
@torch.no_grad()
def test_image_tower_equals_the_published_one(act):
    config = replace(VISION, hidden_act=act)
    theirs = shake(transformers.CLIPVisionModelWithProjection(their_vision(config)))
    ours = clip.CLIPVision(config)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    pixels = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    a, b = ours(pixels), theirs(pixels, output_hidden_states=True)
    close(a.tokens, b.last_hidden_state)
    close(a.projected, b.image_embeds)
    close(ours(pixels, skip=1).tokens, b.hidden_states[-2])
    for x, y in zip(a.hidden, b.hidden_states, strict=True):
        close(x, y)


def their_clip(config: clip.CLIPConfig) -> transformers.CLIPModel:
    text, vision = their_text(config.text), their_vision(config.vision)
    return transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=config.text.projection_dim
        )
    )


@torch.no_grad()
def test_similarities_equal_the_published_ones():
    config = clip.CLIPConfig(text=TEXT, vision=VISION)
    theirs = shake(their_clip(config))
    ours = clip.CLIP(config)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    ids, pixels = ids_of_every_kind(), torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(3))
    # The logits reach some 15 in size, so the tolerance is that of their cosines.
    scale = ours.logit_scale.exp()
    close(ours(ids, pixels) / scale, theirs(ids, pixels).logits_per_text / scale)


def shapes(net: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


@pytest.mark.parametrize("name", ["VIT_L_14_TEXT", "VIT_H_14_TEXT", "VIT_BIGG_14_TEXT", "SD1_TEXT", "SD2_TEXT"])
def test_text_keys_and_shapes_are_the_published_ones(name):
    config = getattr(clip, name)
    with torch.device("meta"):
        ours = clip.CLIPText(config)
        theirs = transformers.CLIPTextModelWithProjection(their_text(config))
    expected = shapes(theirs)
    if not config.projection_dim:
        del expected["text_projection.weight"]
    assert shapes(ours) == expected


@pytest.mark.parametrize("name", ["VIT_L_14_VISION", "VIT_H_14_VISION", "VIT_BIGG_14_VISION"])
def test_image_keys_and_shapes_are_the_published_ones(name):
    config = getattr(clip, name)
    with torch.device("meta"):
        ours = clip.CLIPVision(config)
        theirs = transformers.CLIPVisionModelWithProjection(their_vision(config))
    assert shapes(ours) == shapes(theirs)


@pytest.mark.parametrize("name", ["VIT_L_14", "VIT_BIGG_14"])
def test_both_towers_keys_and_shapes_are_the_published_ones(name):
    config = getattr(clip, name)
    with torch.device("meta"):
        assert shapes(clip.CLIP(config)) == shapes(their_clip(config))


#: Millions of parameters of text tower, image tower and both: open_clip, docs/model_profile.csv.
PUBLISHED = {
    "VIT_L_14": (123.65, 303.97, 427.62),
    "VIT_H_14": (354.03, 632.08, 986.11),
    "VIT_BIGG_14": (694.66, 1844.91, 2539.57),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name):
    config = getattr(clip, name)
    with torch.device("meta"):
        nets = clip.CLIPText(config.text), clip.CLIPVision(config.vision), clip.CLIP(config)
    assert tuple(round(sum(p.numel() for p in net.parameters()) / 1e6, 2) for net in nets) == PUBLISHED[name]
