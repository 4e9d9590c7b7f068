"""Laws of the MMDiT that hold whatever the weights, and of its ports."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from danqing.errors import InvalidInput
from danqing.nets.mmdit import MMDiT, MMDiTConfig, Streams, spread, unpatch
from danqing.nets.ports import Context, Residuals

TINY = MMDiTConfig(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    num_layers=3,
    num_attention_heads=2,
    attention_head_dim=8,
    joint_attention_dim=12,
    pooled_projection_dim=10,
    pos_embed_max_size=6,
    dual_attention_layers=(1,),
    qk_norm=True,
)
PLAIN = replace(TINY, dual_attention_layers=(), qk_norm=False)


def build(config: MMDiTConfig = TINY) -> MMDiT:
    """Float64, random in every place: a fresh network's zeros would hide its errors."""
    torch.manual_seed(0)
    net = MMDiT(config).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return net


def inputs(batch: int = 2, height: int = 8, width: int = 8, length: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"x": (4, height, width), "tokens": (length, 12), "pooled": (10,)}
    drawn = {k: torch.randn(batch, *s, generator=generator, dtype=torch.float64) for k, s in shapes.items()}
    return {**drawn, "time": torch.linspace(1000, 20, batch, dtype=torch.float64)}


class Same(nn.Module):
    def forward(self, x: Streams, ctx: Context) -> Streams:
        return x


class Term(nn.Module):
    """An attention branch: a multiple of the queries."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, q: torch.Tensor, ctx: Context) -> torch.Tensor:
        return self.scale * q


@torch.no_grad()
def test_a_fresh_block_is_the_identity_and_a_fresh_network_says_zero():
    torch.manual_seed(0)
    net = MMDiT(TINY).double()
    streams = Streams(*torch.randn(2, 2, 5, 16).double())
    for block in net.transformer_blocks:
        out = block(streams, Context(time=torch.randn(2, 16).double()))
        assert torch.equal(out.image, streams.image) and torch.equal(out.text, streams.text)
    assert not net(**inputs()).any()


@pytest.mark.parametrize("config", [TINY, PLAIN])
def test_every_parameter_gets_a_gradient(config):
    net = build(config)
    net(**inputs()).square().mean().backward()
    # Nobody reads the last text stream, so its queries are dead weights; published files hold them nevertheless.
    dead = ("transformer_blocks.2.attn.add_q_proj", "transformer_blocks.2.attn.norm_added_q")
    for name, p in net.named_parameters():
        assert p.grad is not None and bool(p.grad.any()) != name.startswith(dead), name


@torch.no_grad()
def test_building_on_meta_and_assigning_is_building():
    direct = build()
    with torch.device("meta"):
        late = MMDiT(TINY)
    late.load_state_dict(direct.state_dict(), strict=True, assign=True)
    assert not any(t.is_meta for t in [*late.parameters(), *late.buffers()])
    assert torch.equal(late(**inputs()), direct(**inputs()))


@torch.no_grad()
def test_a_batch_is_its_singles():
    net, given = build(), inputs(batch=3)
    singles = [net(**{k: v[i : i + 1] for k, v in given.items()}) for i in range(3)]
    torch.testing.assert_close(net(**given), torch.cat(singles), rtol=0, atol=1e-11)


@torch.no_grad()
def test_the_order_of_the_text_does_not_matter_and_its_tokens_do():
    net, given = build(), inputs()
    whole = net(**given)
    turned = net(**{**given, "tokens": given["tokens"].flip(1)})
    torch.testing.assert_close(turned, whole, rtol=0, atol=1e-11)
    assert (net(**{**given, "tokens": given["tokens"][:, :4]}) - whole).abs().max() > 1e-4


@torch.no_grad()
def test_without_positions_moving_patches_moves_the_answer():
    net, given = build(), inputs(height=6, width=10)
    net.pos_embed.pos_embed.zero_()
    moved = net(**{**given, "x": given["x"].roll((2, 4), (2, 3))})
    torch.testing.assert_close(moved, net(**given).roll((2, 4), (2, 3)), rtol=0, atol=1e-11)


@torch.no_grad()
def test_unpatch_inverts_cutting_into_patches():
    x = torch.randn(2, 3, 6, 10)
    cut = x.unfold(2, 2, 2).unfold(3, 2, 2)  # (B, C, h, w, p, p)
    assert torch.equal(unpatch(cut.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2), 3, 2), x)


@torch.no_grad()
def test_positions_of_a_smaller_picture_are_the_middle_of_a_larger_ones():
    net = build().pos_embed
    blank = torch.zeros(1, 4, 12, 12).double()
    large = net(blank).unflatten(1, (6, 6))
    small = net(blank[:, :, :8, :4]).unflatten(1, (4, 2))
    assert torch.equal(small, large[:, 1:5, 2:4])


@torch.no_grad()
def test_zero_residuals_change_nothing():
    net, given = build(), inputs()
    zeros = tuple(torch.zeros(2, 16, 16).double() for _ in range(2))
    assert torch.equal(net(**given, residuals=Residuals(down=zeros)), net(**given))


@torch.no_grad()
def test_a_residual_adds_to_the_image_stream_after_its_block():
    net, given = build(), inputs()
    seen: dict[int, list[Streams]] = {1: [], 2: []}
    for i, states in seen.items():
        net.transformer_blocks[i].register_forward_pre_hook(lambda m, args, states=states: states.append(args[0]))
    residuals = (torch.zeros(2, 16, 16).double(), torch.randn(2, 16, 16).double())
    net(**given)
    net(**given, residuals=Residuals(down=residuals))
    assert torch.equal(seen[1][0].image, seen[1][1].image)
    assert torch.equal(seen[2][0].image + residuals[1], seen[2][1].image)
    assert torch.equal(seen[2][0].text, seen[2][1].text)


@torch.no_grad()
def test_an_identity_inserted_anywhere_changes_nothing_and_leaves_no_trace():
    net, given = build(), inputs()
    before, keys = net(**given), list(net.state_dict())
    for place in net.inserted:
        place["same"] = Same()
    assert torch.equal(net(**given), before)
    assert list(net.state_dict()) == keys
    for place in net.inserted:
        del place["same"]
    assert torch.equal(net(**given), before)


@torch.no_grad()
def test_branches_add_and_come_off_without_trace():
    net, given = build(), inputs()
    before = net(**given)
    attentions = [block.attn for block in net.transformer_blocks]
    for attn in attentions:
        attn.branches["none"] = Term(0.0)
    assert torch.equal(net(**given), before)
    outputs = []
    for scales in [(0.3, 0.5), (0.5, 0.3), (0.8, 0.0)]:
        for attn in attentions:
            attn.branches["a"], attn.branches["b"] = Term(scales[0]), Term(scales[1])
        outputs.append(net(**given))
    assert (outputs[0] - before).abs().max() > 1e-3
    for other in outputs[1:]:
        torch.testing.assert_close(other, outputs[0], rtol=0, atol=1e-11)
    for attn in attentions:
        attn.branches.clear()
    assert torch.equal(net(**given), before)


@torch.no_grad()
def test_every_linear_and_convolution_is_called_by_name():
    net = build()
    called = set()
    leaves = {n: m for n, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    for name, module in leaves.items():
        module.register_forward_hook(lambda m, i, o, name=name: called.add(name))
    net(**inputs())
    assert called == set(leaves)


def test_spread_covers_the_blocks_in_equal_runs():
    controls = [torch.tensor(float(i)) for i in range(3)]
    config = replace(TINY, num_layers=6)
    assert [int(r) for r in spread(controls, config)] == [0, 0, 1, 1, 2]
    assert [int(r) for r in spread(controls[:1], config)] == [0] * 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 5, 8, 8).double()}, "reads 4 channels"),
        ({"tokens": torch.zeros(2, 5, 13).double()}, "tokens of width 12"),
        ({"pooled": None}, "was given none"),
        ({"pooled": torch.zeros(2, 9).double()}, "one of width 9"),
        ({"x": torch.zeros(2, 4, 8, 7).double()}, "multiples of 2"),
        ({"x": torch.zeros(2, 4, 14, 8).double()}, "at most 12 a side"),
        ({"residuals": Residuals(down=(torch.zeros(()),))}, "give 2"),
        ({"residuals": Residuals(mid=torch.zeros(()))}, "one for a middle"),
    ],
)
def test_bad_input_is_refused_with_what_is_possible(change, message):
    with pytest.raises(InvalidInput, match=message):
        build()(**{**inputs(), **change})


def test_impossible_shapes_are_refused():
    with pytest.raises(InvalidInput, match="multiple of 4"):
        MMDiT(replace(TINY, attention_head_dim=3))
    with pytest.raises(InvalidInput, match=r"0 \.\. 2"):
        MMDiT(replace(TINY, dual_attention_layers=(3,)))
    with pytest.raises(InvalidInput, match="give 1 to 3"):
        spread([], TINY)
