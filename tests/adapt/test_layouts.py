"""Laws of reading: the same changes whatever the file calls them, nothing dropped unsaid, and no file of another
model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from danqing.adapt.base import attached, layers
from danqing.adapt.deltas import Decomposed, Delta, Hadamard, Kronecker, LowRank
from danqing.adapt.layouts import read
from danqing.adapt.names import table
from danqing.errors import InvalidFile, UnknownName
from danqing.nets.mmdit import MMDiT, MMDiTConfig
from danqing.nets.unet import UNet
from danqing.weights.layouts import ldm, sd3
from danqing.weights.store import header, write
from danqing.weights.store import read as read_file

MAPS = (ldm.unet, sd3.mmdit)
#: What layers of the published single files are called, by topology: ours, then theirs.
LDM_NAMES = {
    "sd1": {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_2": "time_embed.2",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": "input_blocks.1.1.transformer_blocks.0.attn1.to_q",  # noqa: E501
        "down_blocks.0.downsamplers.0.conv": "input_blocks.3.0.op",
        "down_blocks.1.resnets.0.conv_shortcut": "input_blocks.4.0.skip_connection",
        "down_blocks.2.attentions.1.proj_out": "input_blocks.8.1.proj_out",
        "mid_block.attentions.0.proj_in": "middle_block.1.proj_in",
        "mid_block.resnets.1.time_emb_proj": "middle_block.2.emb_layers.1",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.2.1.conv",
        "up_blocks.1.upsamplers.0.conv": "output_blocks.5.2.conv",
        "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj": "output_blocks.11.1.transformer_blocks.0.ff.net.0.proj",  # noqa: E501
        "up_blocks.3.resnets.0.conv1": "output_blocks.9.0.in_layers.2",
        "conv_out": "out.2",
    },
    "sdxl": {
        "add_embedding.linear_1": "label_emb.0.0",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0": "input_blocks.4.1.transformer_blocks.0.attn2.to_out.0",  # noqa: E501
        "down_blocks.2.resnets.1.conv2": "input_blocks.8.0.out_layers.3",
        "up_blocks.0.attentions.2.transformer_blocks.1.attn1.to_v": "output_blocks.2.1.transformer_blocks.1.attn1.to_v",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.2.2.conv",
        "up_blocks.2.resnets.2.conv2": "output_blocks.8.0.out_layers.3",
    },
}
Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
FF = "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj"
CONV = "up_blocks.0.resnets.0.conv1"
TEXT_Q, TEXT_OUT, TEXT_FC = (
    f"text_model.encoder.layers.1.{end}" for end in ("self_attn.q_proj", "self_attn.out_proj", "mlp.fc1")
)

Name = Callable[[str, str], str]


def kohya(prefix: str) -> Name:
    return lambda name, end: f"{prefix}_{name.replace('.', '_')}.lora_{end}.weight"


def dotted(prefix: str, down: str = "lora_A.weight", up: str = "lora_B.weight") -> Name:
    return lambda name, end: f"{prefix}{name}.{down if end == 'down' else up}"


def old_processor(name: str, end: str) -> str:
    """diffusers before 0.20: of attention alone."""
    stem, _, last = name.replace(".to_out.0", ".to_out").rpartition(".")
    return f"unet.{stem}.processor.{last}_lora.{end}.weight"


def old_text(name: str, end: str) -> str:
    stem, _, last = name.rpartition(".")
    return f"text_encoder.{stem}.to_{last.removesuffix('_proj')}_lora.{end}.weight"


#: Layout -> (how it names the parts of a layer, role, layers that it can name).
LAYOUTS: dict[str, tuple[Name, str, tuple[str, ...]]] = {
    "kohya": (kohya("lora_unet"), "denoiser", (Q, OUT, FF, CONV)),
    "kohya, text": (kohya("lora_te"), "text", (TEXT_Q, TEXT_FC)),
    "kohya, SDXL's first": (kohya("lora_te1"), "text", (TEXT_Q, TEXT_FC)),
    "kohya, SDXL's second": (kohya("lora_te2"), "text_2", (TEXT_Q, TEXT_FC)),
    "OneTrainer": (kohya("lora_transformer"), "denoiser", (Q, OUT)),
    "SimpleTuner's LyCORIS": (kohya("lycoris"), "denoiser", (Q, OUT, FF, CONV)),
    "peft": (dotted("base_model.model."), "denoiser", (Q, OUT, FF, CONV)),
    "peft, with its adapter's name": (
        dotted("base_model.model.", "lora_A.default.weight", "lora_B.default.weight"),
        "denoiser",
        (Q,),
    ),
    "diffusers": (dotted("unet."), "denoiser", (Q, OUT, FF, CONV)),
    "diffusers, transformer": (dotted("transformer."), "denoiser", (Q, OUT)),
    "diffusers, text": (dotted("text_encoder."), "text", (TEXT_Q, TEXT_FC)),
    "diffusers, second text": (dotted("text_encoder_2."), "text_2", (TEXT_Q, TEXT_FC)),
    "diffusers, text of transformers 5": (
        lambda n, e: dotted("text_encoder.")(n.removeprefix("text_model."), e),
        "text",
        (TEXT_Q,),
    ),
    "diffusers 0.20": (dotted("unet.", "lora.down.weight", "lora.up.weight"), "denoiser", (Q, FF)),
    "diffusers 0.20, text": (
        dotted("text_encoder.", "lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
        "text",
        (TEXT_Q, TEXT_OUT),
    ),
    "diffusers 0.14": (old_processor, "denoiser", (Q, OUT)),
    "diffusers 0.14, text": (old_text, "text", (TEXT_Q, TEXT_OUT)),
    "no prefix": (dotted(""), "denoiser", (Q, OUT)),
    "ComfyUI": (dotted("diffusion_model."), "denoiser", (Q, OUT)),
    "ComfyUI, text": (dotted("text_encoders.clip_g.transformer."), "text_2", (TEXT_Q,)),
}


def same(delta: Delta, up: Tensor, down: Tensor, scale: float = 1.0) -> bool:
    kind = delta.weight
    return (
        isinstance(kind, LowRank) and torch.equal(kind.up, up) and torch.equal(kind.down, down) and kind.scale == scale
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_names_the_same_layers(bench, targets, layout) -> None:
    named, role, names = LAYOUTS[layout]
    pairs = {name: bench.low_rank(layers(targets[role])[name]) for name in names}
    tensors = {}
    for name, (up, down) in pairs.items():
        tensors |= {named(name, "up"): up, named(name, "down"): down}
    lora = read(tensors, targets, strict=True)
    assert {r: set(deltas) for r, deltas in lora.deltas.items() if deltas} == {role: set(names)}
    assert all(same(lora.deltas[role][name], *pairs[name]) for name in names)


@pytest.mark.parametrize("topology", LDM_NAMES)
@pytest.mark.parametrize("form", ["lora_unet_", "diffusion_model."])
def test_a_unet_answers_to_the_names_of_its_single_file(bench, topology, form) -> None:
    net = UNet(bench.configs[topology])
    tensors, pairs = {}, {}
    for ours, theirs in LDM_NAMES[topology].items():
        pairs[ours] = up, down = bench.low_rank(layers(net)[ours])
        key = form + (theirs.replace(".", "_") if form.endswith("_") else theirs)
        tensors |= {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down}
    lora = read(tensors, {"denoiser": net}, maps=MAPS, strict=True)
    assert lora.deltas["denoiser"].keys() == pairs.keys()
    assert all(same(lora.deltas["denoiser"][name], *pairs[name]) for name in pairs)


@pytest.mark.parametrize("topology", ["sd1", "sdxl", "shallow"])
def test_every_layer_of_a_unet_has_one_name_of_each_kind(bench, topology) -> None:
    net = UNet(bench.configs[topology])
    own, names = layers(net), table(net, MAPS)
    theirs = [
        name
        for name in names
        if name.startswith(("input_blocks.", "middle_block.", "output_blocks.", "out.", "time_embed."))
    ]
    assert {names[name][0].layer for name in theirs} >= {name for name in own if "_embedding" not in name}
    assert all(names[name] == names[name.replace(".", "_")] for name in [*own, *theirs])


# ---- SD3, whose single file joins q, k and v -----------------------------------------------------------------------


@pytest.fixture
def mmdit(bench) -> MMDiT:
    torch.manual_seed(0)
    config = MMDiTConfig(
        sample_size=8, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2, attention_head_dim=4,
        joint_attention_dim=12, pooled_projection_dim=10, pos_embed_max_size=8, dual_attention_layers=(0,),
    )  # fmt: skip
    return bench.shake(MMDiT(config))


@pytest.mark.parametrize("kind", ["lora", "dora", "loha", "lokr"])
def test_a_change_of_joined_q_k_v_is_one_of_each(bench, mmdit, kind) -> None:
    group, width, rank = "lora_unet_joint_blocks_0_context_block_attn_qkv", 8, 3
    made: dict[str, dict[str, Tensor]] = {
        "lora": {"lora_up.weight": bench.draw(24, rank), "lora_down.weight": bench.draw(rank, width)},
        "loha": {
            **{f"hada_w{i}_a": bench.draw(24, rank) for i in (1, 2)},
            **{f"hada_w{i}_b": bench.draw(rank, width) for i in (1, 2)},
        },
        "lokr": {"lokr_w1": bench.draw(4, 2), "lokr_w2": bench.draw(6, 4)},
    }
    made["dora"] = made["lora"] | {"dora_scale": bench.draw(24, 1).abs()}
    parts = made[kind] | {"alpha": torch.tensor(6.0)}
    lora = read(
        {f"{group}.{part}": value for part, value in parts.items()}, {"denoiser": mmdit}, maps=MAPS, strict=True
    )
    attention = mmdit.transformer_blocks[0].get_submodule("attn")
    joined = torch.cat([attention.get_parameter(f"add_{x}_proj.weight") for x in "qkv"])
    if kind == "loha":
        change = 2.0 * (parts["hada_w1_a"] @ parts["hada_w1_b"]) * (parts["hada_w2_a"] @ parts["hada_w2_b"])
    elif kind == "lokr":
        change = torch.kron(parts["lokr_w1"], parts["lokr_w2"])
    else:
        change = 2.0 * parts["lora_up.weight"] @ parts["lora_down.weight"]
    if kind == "dora":
        change = (joined + change) * parts["dora_scale"] / (joined + change).norm(dim=1, keepdim=True) - joined
    x = bench.draw(5, width)
    want = [
        x @ part.T + attention.get_parameter(f"add_{n}_proj.bias")
        for n, part in zip("qkv", (joined + change).chunk(3), strict=True)
    ]
    with attached(mmdit, lora.on("denoiser")):
        got = [attention.get_submodule(f"add_{n}_proj")(x) for n in "qkv"]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_an_mmdit_answers_to_the_names_of_its_single_file(bench, mmdit) -> None:
    names = {
        "x_embedder.proj": "pos_embed.proj",
        "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
        "joint_blocks.0.x_block.attn2.proj": "transformer_blocks.0.attn2.to_out.0",
        "joint_blocks.0.context_block.mlp.fc1": "transformer_blocks.0.ff_context.net.0.proj",
        "joint_blocks.1.x_block.adaLN_modulation.1": "transformer_blocks.1.norm1.linear",
        "final_layer.linear": "proj_out",
    }
    tensors, pairs = {}, {}
    for theirs, ours in names.items():
        pairs[ours] = up, down = bench.low_rank(layers(mmdit)[ours])
        tensors |= {f"diffusion_model.{theirs}.lora_B.weight": up, f"diffusion_model.{theirs}.lora_A.weight": down}
    lora = read(tensors, {"denoiser": mmdit}, maps=MAPS, strict=True)
    assert all(same(lora.deltas["denoiser"][name], *pairs[name]) for name in pairs)


@pytest.mark.parametrize(
    "theirs, ours",
    [("final_layer.adaLN_modulation.1", "norm_out.linear"),
     ("joint_blocks.1.context_block.adaLN_modulation.1", "transformer_blocks.1.norm1_context.linear")],
)  # fmt: skip
def test_the_shift_that_stands_first_there_stands_second_here(bench, mmdit, theirs, ours) -> None:
    shift, scale = bench.draw(8, 8), bench.draw(8, 8)
    lora = read(
        {f"diffusion_model.{theirs}.diff": torch.cat([shift, scale])}, {"denoiser": mmdit}, maps=MAPS, strict=True
    )
    kind = lora.deltas["denoiser"][ours].weight
    assert kind is not None and torch.equal(kind.change(torch.zeros(16, 8)), torch.cat([scale, shift]))


# ---- the parts of a layer ------------------------------------------------------------------------------------------


def one(bench, targets, parts: dict[str, Tensor], layer: str = Q, **options: Any) -> Delta:
    """The change that these parts mean for one layer."""
    return read(
        {f"unet.{layer}.{part}": value for part, value in parts.items()}, targets, strict=True, **options
    ).deltas["denoiser"][layer]


def test_the_scale_is_alpha_over_the_rank_and_one_without_alpha(bench, targets) -> None:
    up, down = bench.low_rank(layers(targets["denoiser"])[Q], rank=4)
    parts = {"lora_up.weight": up, "lora_down.weight": down}
    assert same(one(bench, targets, parts), up, down, 1.0)
    assert same(one(bench, targets, parts | {"alpha": torch.tensor(2.0, dtype=torch.bfloat16)}), up, down, 0.5)
    hada = {f"hada_w{i}_{x}": (up, down)["ab".index(x)] for i in (1, 2) for x in "ab"} | {"alpha": torch.tensor([2.0])}
    kind = one(bench, targets, hada).weight
    assert isinstance(kind, Hadamard) and kind.scale == 0.5


def test_the_config_of_peft_gives_the_alpha_that_its_files_lack(bench, targets) -> None:
    tensors = {}
    for name in (Q, FF):
        up, down = bench.low_rank(layers(targets["denoiser"])[name], rank=4)
        tensors |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    stated = {"r": 4, "lora_alpha": 8, "alpha_pattern": {"ff.net.0.proj": 2}}
    inside = {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in stated.items()})}
    for options in ({"config": stated}, {"metadata": inside}):
        deltas = read(tensors, targets, **options).deltas["denoiser"]
        assert [deltas[name].weight.scale for name in (Q, FF)] == [2.0, 0.5]
    rooted = read(tensors, targets, config=stated | {"use_rslora": True}).deltas["denoiser"]
    assert [rooted[name].weight.scale for name in (Q, FF)] == [4.0, 1.0]
    with pytest.raises(InvalidFile, match="no JSON in its metadata"):
        read(tensors, targets, metadata={"lora_adapter_metadata": "{"})


def test_lokr_with_two_full_matrices_has_no_rank_and_no_alpha_counts(bench, targets) -> None:
    w = {"lokr_w1": bench.draw(2, 4), "lokr_w2": bench.draw(4, 2), "alpha": torch.tensor(1e5)}
    kind = one(bench, targets, w).weight
    assert isinstance(kind, Kronecker) and kind.scale == 1.0
    torch.testing.assert_close(kind.change(torch.zeros(8, 8)), torch.kron(w["lokr_w1"], w["lokr_w2"]))


@pytest.mark.parametrize("tucker", [False, True])
def test_lokr_of_a_kernel_is_the_kronecker_product_of_its_parts(bench, targets, tucker) -> None:
    shape = layers(targets["denoiser"])[CONV].weight.shape  # (16, 32, 3, 3)
    a, b = bench.draw(2, 3), bench.draw(3, 4)
    second = {"lokr_w2": bench.draw(8, shape[1] // 4, 3, 3)}
    whole = second["lokr_w2"]
    if tucker:
        second = {
            "lokr_t2": bench.draw(3, 3, 3, 3),
            "lokr_w2_a": bench.draw(3, 8),
            "lokr_w2_b": bench.draw(3, shape[1] // 4),
        }
        whole = torch.einsum("abhw,ao,bi->oihw", *second.values())
    kind = one(bench, targets, {"lokr_w1_a": a, "lokr_w1_b": b, **second, "alpha": torch.tensor(1.5)}, CONV).weight
    # kernel[o1 · 8 + o2, i1 · n + i2] = first[o1, i1] second[o2, i2]
    want = 0.5 * torch.einsum("ac,bdhw->abcdhw", a @ b, whole).reshape(shape)
    torch.testing.assert_close(kind.change(torch.zeros(shape)), want)


@pytest.mark.parametrize(
    "key, shape, axis",
    [("dora_scale", (8, 1), 0), ("dora_scale", (1, 8), 1), ("dora_scale", (8,), 0), ("lora_magnitude_vector", (8,), 0),
     ("lora_magnitude_vector.weight", (8,), 0), ("lora_magnitude_vector.default.weight", (8,), 0)],
)  # fmt: skip
def test_doras_magnitudes_say_by_name_and_shape_of_what_they_are(bench, targets, key, shape, axis) -> None:
    up, down = bench.low_rank(layers(targets["denoiser"])[Q])
    kind = one(bench, targets, {"lora_A.weight": down, "lora_B.weight": up, key: bench.draw(*shape)}).weight
    assert isinstance(kind, Decomposed) and kind.axis == axis and kind.magnitude.shape == (8,)


def test_norms_biases_differences_and_whole_weights_are_read(bench, targets) -> None:
    norm = "down_blocks.0.resnets.0.norm1"
    shift = one(bench, targets, {"w_norm": bench.draw(8), "b_norm": bench.draw(8)}, norm)
    assert shift.weight is not None and shift.bias is not None
    value = bench.draw(8, 8)
    weight = targets["denoiser"].get_parameter(f"{Q}.weight")
    for part, want in (("diff", value), ("set_weight", value - weight)):
        kind = one(bench, targets, {part: value}).weight
        assert torch.equal(kind.change(weight), want)
    up, down = bench.low_rank(layers(targets["denoiser"])[FF], rank=2)
    parts = {"lora_A.weight": down, "lora_B.weight": up, "lora_B.bias": torch.ones(len(up)), "alpha": torch.tensor(1.0)}
    assert torch.equal(one(bench, targets, parts, FF).bias, torch.full((len(up),), 0.5))


# ---- files ---------------------------------------------------------------------------------------------------------


def test_a_file_is_read_blind_and_keeps_its_strings(bench, targets, tmp_path) -> None:
    named, role, names = LAYOUTS["kohya"]
    tensors = {named(name, end): value for name in names for end, value in
               zip(("up", "down"), bench.low_rank(layers(targets[role])[name]), strict=True)}  # fmt: skip
    said = {"ss_network_dim": "3", "modelspec.title": "Ink"}
    path = write(tmp_path / "ink.safetensors", {key: value.half() for key, value in tensors.items()}, said)
    lora = read(read_file(path), targets, name=path.stem, metadata=header(path).metadata)
    assert (lora.name, lora.metadata, lora.unused) == ("ink", said, ())
    assert lora.deltas["denoiser"].keys() == set(names)


def test_what_changes_nothing_is_listed_and_refused_where_that_is_wanted(bench, targets) -> None:
    up, down = bench.low_rank(layers(targets["denoiser"])[Q])
    tensors = {f"unet.{Q}.lora_B.weight": up, f"unet.{Q}.lora_A.weight": down}
    odd = {
        f"unet.{Q.replace('to_q', 'to_p')}.lora_A.weight": down,
        "text_encoder_3.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight": down,
        "bundle_emb.word.string_to_param.*": up,
    }
    lora = read(tensors | odd, targets)
    assert sorted(lora.unused) == sorted(odd) and set(lora.deltas["denoiser"]) == {Q}
    with pytest.raises(InvalidFile, match=r"ink: 3 of its 5 tensors[^§]*to_p\.lora_A\.weight \(nearest: .*to_[qkv]\)"):
        read(tensors | odd, targets, name="ink", strict=True)


def test_a_lora_of_another_model_is_refused(bench, targets) -> None:
    wide = UNet(replace(bench.configs["shallow"], cross_attention_dim=24))
    key = Q.replace("attn1.to_q", "attn2.to_k")
    up, down = bench.low_rank(layers(wide)[key])
    said = {"ss_base_model_version": "sdxl_base_v1-0"}
    with pytest.raises(
        InvalidFile, match=r"ink does not fit the denoiser network.*8 × 24 for a weight of 8 × 12.*sdxl_base_v1-0"
    ):
        read({f"unet.{key}.lora_A.weight": down, f"unet.{key}.lora_B.weight": up}, targets, name="ink", metadata=said)
    flux = {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": down}
    with pytest.raises(InvalidFile, match="1 of its 1 tensors change no layer of denoiser, text, text_2"):
        read(flux, targets)


@pytest.mark.parametrize(
    "parts, message",
    [
        ({"lora_A.weight": (3, 8)}, "no up, only down"),
        ({"lora_B.weight": (8, 3)}, "no down, only up"),
        ({"lora_A.weight": (3, 8), "lora_B.weight": (8, 4)}, "do not fit each other"),
        ({"lora_A.weight": (3, 8), "lora_B.weight": (8, 3), "diff": (8, 8)}, "changes of 2 kinds"),
        ({"alpha": ()}, "which change nothing"),
        ({"dora_scale": (8, 1)}, "without a change of the direction"),
        ({"lora_A.weight": (3, 8), "lora_B.weight": (8, 3), "dora_scale": (9, 1)}, "9 magnitudes for 8 outputs"),
        ({"hada_w1_a": (8, 3), "hada_w1_b": (3, 8), "hada_w2_a": (8, 3)}, "no hada_w2_b"),
        ({"lokr_w1": (2, 2), "lokr_w2": (3, 4)}, "6 × 8 for a weight of 8 × 8"),
        ({"lora_A.weight": (), "lora_B.weight": (8, 3)}, r"down of the shape \[\]"),
        ({"lora_A.weight": (8,), "lora_B.weight": (8, 8)}, "do not fit each other"),
        ({"alpha": (0,), "lora_A.weight": (3, 8), "lora_B.weight": (8, 3)}, "do not fit each other"),
        ({"oft_blocks": (2, 4, 4)}, "'oft_blocks', a kind of adapter that is not read here"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(bench, targets, parts, message) -> None:
    with pytest.raises(InvalidFile, match=message):
        one(bench, targets, {part: torch.ones(shape) for part, shape in parts.items()})


def test_quantised_numbers_are_no_weights(bench, targets) -> None:
    parts = {"lora_A.weight": torch.ones(3, 8, dtype=torch.int8), "lora_B.weight": torch.ones(8, 3)}
    with pytest.raises(InvalidFile, match="torch.int8, which are no weights"):
        one(bench, targets, parts)


def test_one_layer_under_two_names_is_refused(bench, targets) -> None:
    up, down = bench.low_rank(layers(targets["denoiser"])[Q])
    tensors = {
        name(Q, end): value
        for name in (kohya("lora_unet"), dotted("unet."))
        for end, value in (("up", up), ("down", down))
    }
    with pytest.raises(InvalidFile, match="changed under two names"):
        read(tensors, targets)


def test_an_unknown_role_is_refused(bench) -> None:
    with pytest.raises(UnknownName, match="denoiser, text, text_2, text_3"):
        read({}, {"unet": bench.unet()})
