"""Laws of the CLIP towers that hold whatever the weights."""

from dataclasses import replace

import pytest
import torch

from danqing.errors import InvalidInput, UnknownName
from danqing.nets.clip import CLIP, MINI, CLIPConfig, CLIPText, CLIPTextConfig, CLIPVision, CLIPVisionConfig

TEXT = CLIPTextConfig(
    vocab_size=50,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=3,
    num_attention_heads=2,
    max_position_embeddings=9,
    projection_dim=8,
    eos_token_id=49,
)
VISION = CLIPVisionConfig(
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=8,
    patch_size=4,
    projection_dim=8,
)


def draw_ids(batch: int, length: int = 9, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 49, (batch, length), generator=torch.Generator().manual_seed(seed))


def draw_pixels(batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_text_tower_is_causal():
    torch.manual_seed(0)
    net = CLIPText(TEXT).double()
    found = []
    net.text_model.embeddings.register_forward_hook(lambda m, i, o: found.append(o.retain_grad() or o))
    for place in range(9):
        found.clear()
        net(draw_ids(1)).tokens[0, place].pow(2).sum().backward()
        seen = found[0].grad[0].abs().sum(-1)  # (L,)
        assert (seen[: place + 1] > 0).all() and (seen[place + 1 :] == 0).all()


def test_image_tower_sees_every_patch_from_every_place():
    torch.manual_seed(0)
    net = CLIPVision(VISION).double()
    for place in range(5):
        pixels = draw_pixels(1).double().requires_grad_()
        net(pixels).tokens[0, place].pow(2).sum().backward()
        assert pixels.grad is not None and (pixels.grad != 0).all()


@torch.no_grad()
def test_the_summary_is_read_at_the_first_end_token():
    torch.manual_seed(0)
    net = CLIPText(TEXT)
    ids = draw_ids(3)
    ids[0, 2:] = 49
    ids[1, 4] = ids[1, 6] = 49
    ids[2, 8] = 49
    out = net(ids)
    assert torch.equal(out.pooled, out.tokens[torch.arange(3), torch.tensor([2, 4, 8])])


@torch.no_grad()
def test_what_follows_the_end_token_does_not_change_the_summary():
    torch.manual_seed(0)
    net = CLIPText(TEXT).double()
    ids, other = draw_ids(2), draw_ids(2, seed=1)
    ids[:, 4] = 49
    other[:, :5] = ids[:, :5]
    torch.testing.assert_close(net(ids).projected, net(other).projected, rtol=0, atol=1e-12)
    torch.testing.assert_close(net(ids[:, :5]).projected, net(ids).projected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_text_without_end_is_summarised_at_its_last_place():
    torch.manual_seed(0)
    net = CLIPText(TEXT)
    out = net(draw_ids(2))
    assert torch.equal(out.pooled, out.tokens[:, -1])


@torch.no_grad()
def test_a_new_token_beyond_the_vocabulary_does_not_move_the_summary():
    """Textual inversion adds ids above the end token: a rule that takes the highest id for the end would err."""
    torch.manual_seed(0)
    net = CLIPText(TEXT)
    table = net.text_model.embeddings.token_embedding
    table.weight = torch.nn.Parameter(torch.cat([table.weight, torch.randn(2, 16)]))
    ids = draw_ids(1)
    ids[0, 1], ids[0, 6] = 51, 49
    out = net(ids)
    assert torch.equal(out.pooled, out.tokens[:, 6])


@torch.no_grad()
def test_skip_changes_the_tokens_and_not_the_summary():
    torch.manual_seed(0)
    net = CLIPText(TEXT)
    ids = draw_ids(2)
    whole = net(ids)
    for skip in range(4):
        out = net(ids, skip=skip, normed=False)
        assert torch.equal(out.tokens, whole.hidden[3 - skip])
        assert torch.equal(out.pooled, whole.pooled)


@torch.no_grad()
def test_a_batch_is_its_singles():
    torch.manual_seed(0)
    net = CLIP(CLIPConfig(text=TEXT, vision=VISION)).double()
    ids, pixels = draw_ids(5), draw_pixels(5).double()
    singles = torch.cat([net.encode_text(row[None]) for row in ids])
    torch.testing.assert_close(net.encode_text(ids), singles, rtol=0, atol=1e-12)
    singles = torch.cat([net.encode_image(row[None]) for row in pixels])
    torch.testing.assert_close(net.encode_image(pixels), singles, rtol=0, atol=1e-12)


@torch.no_grad()
def test_similarity_is_the_scaled_cosine():
    torch.manual_seed(0)
    net = CLIP(CLIPConfig(text=TEXT, vision=VISION)).double()
    ids, pixels = draw_ids(3), draw_pixels(4).double()
    text, image = net.encode_text(ids), net.encode_image(pixels)
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(3).double())
    cosine = torch.nn.functional.cosine_similarity(text[:, None], image[None], dim=-1)
    torch.testing.assert_close(net(ids, pixels), cosine / 0.07, rtol=1e-6, atol=1e-6)


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    net = CLIP(CLIPConfig(text=TEXT, vision=VISION))
    scores = net(draw_ids(4), draw_pixels(4))
    torch.nn.functional.cross_entropy(scores, torch.arange(4)).backward()
    for name, p in net.named_parameters():
        # A bias added to all keys alike leaves the softmax as it is, so that its gradient is naught but rounding.
        assert p.grad is not None and (p.grad.any() or name.endswith("k_proj.bias")), name


@pytest.mark.parametrize("build", [lambda: CLIPText(TEXT), lambda: CLIPVision(VISION), lambda: CLIP(MINI)])
@torch.no_grad()
def test_building_on_meta_and_assigning_is_building(build):
    torch.manual_seed(0)
    direct = build()
    with torch.device("meta"):
        late = build()
    late.load_state_dict(direct.state_dict(), strict=True, assign=True)
    assert not any(t.is_meta for t in [*late.parameters(), *late.buffers()])
    if isinstance(direct, CLIPText):
        ids = draw_ids(2)
        assert torch.equal(direct(ids).projected, late(ids).projected)
    elif isinstance(direct, CLIPVision):
        assert torch.equal(direct(draw_pixels(2)).projected, late(draw_pixels(2)).projected)
    else:
        ids, pixels = draw_ids(2, 32), torch.randn(2, 3, 128, 128)
        assert torch.equal(direct(ids, pixels), late(ids, pixels))


@torch.no_grad()
def test_one_tower_is_the_part_of_the_state_under_its_own_names():
    torch.manual_seed(0)
    both = CLIP(CLIPConfig(text=TEXT, vision=VISION))
    state = both.state_dict()
    text, vision = CLIPText(TEXT), CLIPVision(VISION)
    text.load_state_dict({k: v for k, v in state.items() if k.startswith("text_")}, strict=True)
    vision.load_state_dict({k: v for k, v in state.items() if k.startswith("vis")}, strict=True)
    unit = torch.nn.functional.normalize
    assert torch.equal(unit(text(draw_ids(2)).projected, dim=-1), both.encode_text(draw_ids(2)))
    assert torch.equal(unit(vision(draw_pixels(2)).projected, dim=-1), both.encode_image(draw_pixels(2)))


@torch.no_grad()
def test_every_linear_and_convolution_is_called_by_name():
    """An adapter may then stand in for any of them."""
    net = CLIP(CLIPConfig(text=TEXT, vision=VISION))
    called = set()
    leaves = {n: m for n, m in net.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)}
    for name, module in leaves.items():
        module.register_forward_hook(lambda m, i, o, name=name: called.add(name))
    net(draw_ids(2), draw_pixels(2))
    assert called == set(leaves)


def test_bad_input_is_refused_with_what_is_possible():
    text, vision = CLIPText(TEXT), CLIPVision(VISION)
    with pytest.raises(InvalidInput, match="10 tokens do not fit a window of 9"):
        text(draw_ids(1, 10))
    with pytest.raises(InvalidInput, match="give 0 to 3"):
        text(draw_ids(1), skip=4)
    with pytest.raises(InvalidInput, match="resize it to 8 × 8"):
        vision(torch.zeros(1, 3, 8, 12))
    with pytest.raises(UnknownName, match="quick_gelu"):
        CLIPText(replace(TEXT, hidden_act="quick-gelu"))
    with pytest.raises(InvalidInput, match="does not divide into 3 heads"):
        CLIPText(replace(TEXT, num_attention_heads=3))
    with pytest.raises(InvalidInput, match="patches of 3 px"):
        CLIPVision(replace(VISION, patch_size=3))
    with pytest.raises(InvalidInput, match="share no space"):
        CLIP(CLIPConfig(text=replace(TEXT, projection_dim=4), vision=VISION))
