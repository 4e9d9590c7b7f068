"""Files in layouts where a tensor is not one of ours: fused, transposed, swapped, tied; and files of several networks
of a family."""

from dataclasses import replace

import pytest
import torch
from tests.weights.writing import OPENCLIP, OURS, ldm_autoencoder, ldm_unet, same, sd3_mmdit, written

from danqing.errors import InvalidFile
from danqing.nets.autoencoder_kl import SD3, AutoencoderKL
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.nets.mmdit import MMDiT, MMDiTConfig
from danqing.nets.t5 import T5, T5Config
from danqing.nets.unet import UNet, UNetConfig
from danqing.weights.identify import identify
from danqing.weights.kinds import kind
from danqing.weights.load import load
from danqing.weights.registry import candidates, find
from danqing.weights.store import header, write

#: OpenAI's tower of width 512, and one of OpenCLIP's widths, so that the shapes tell all.
FIRST = CLIPTextConfig(
    vocab_size=60,
    hidden_size=512,
    intermediate_size=64,
    num_hidden_layers=1,
    num_attention_heads=8,
    max_position_embeddings=7,
    projection_dim=0,
    eos_token_id=59,
)
SECOND = replace(FIRST, hidden_size=1024, num_attention_heads=16, hidden_act="gelu", projection_dim=24)
TRANSFORMER = MMDiTConfig(
    in_channels=4,
    out_channels=4,
    num_layers=2,
    num_attention_heads=2,
    joint_attention_dim=12,
    pooled_projection_dim=10,
    pos_embed_max_size=6,
)
TRANSFORMERS = {
    "3": TRANSFORMER,
    "3.5 medium": replace(
        TRANSFORMER, num_attention_heads=3, attention_head_dim=8, qk_norm=True, dual_attention_layers=(0,)
    ),
    "3.5 large": replace(TRANSFORMER, num_layers=3, num_attention_heads=3, attention_head_dim=8, qk_norm=True),
    "odd": replace(
        TRANSFORMER, num_layers=1, num_attention_heads=1, patch_size=1, out_channels=8, dual_attention_layers=(0,)
    ),
}
ENCODER = T5Config(
    vocab_size=40, d_model=12, d_kv=4, d_ff=20, num_layers=2, num_heads=5, relative_attention_num_buckets=8
)
PAINTER = UNetConfig(
    block_out_channels=(16, 32),
    layers_per_block=1,
    transformer_layers=(0, 1),
    attention_heads=(2, 4),
    cross_attention_dim=24,
    norm_num_groups=8,
)
CODEC = replace(SD3, block_out_channels=(32, 32), layers_per_block=1)
DENOISER = "model.diffusion_model."


def network(cls, config, seed: int = 0):
    """Random in every place, norms and biases too, so that no two tensors of a shape could be taken for each other."""
    net = cls(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return net.eval()


@pytest.fixture(scope="module")
def towers() -> tuple[CLIPText, CLIPText]:
    return network(CLIPText, FIRST), network(CLIPText, SECOND, 1)


@pytest.mark.parametrize("projected", [True, False])
def test_a_tower_in_the_layout_of_openclip_is_read_as_ours(tmp_path, towers, projected):
    made = towers[1] if projected else network(CLIPText, replace(SECOND, projection_dim=0, num_hidden_layers=2))
    named = written(OPENCLIP, made)
    assert named["transformer.resblocks.0.attn.in_proj_weight"].shape == (3 * 1024, 1024)
    assert not projected or named["text_projection"].shape == (1024, 24)
    path = write(tmp_path / "a.safetensors", named | {"logit_scale": torch.ones(()), "attn_mask": torch.zeros(7, 7)})
    back = load(path)
    assert back.config == made.config and same(back.state_dict(), made.state_dict())
    assert all(tensor.is_contiguous() for tensor in back.state_dict().values())
    found = identify(path)
    assert (found.family, found.layout, found.loadable, found.parts) == ("clip-text", "OpenCLIP", True, {})


def test_the_text_tower_of_a_whole_openclip_comes_out(tmp_path, towers):
    image = {
        "visual.class_embedding": torch.zeros(4),
        "visual.transformer.resblocks.0.attn.in_proj_weight": torch.zeros(12, 4),
    }
    path = write(tmp_path / "a.safetensors", written(OPENCLIP, towers[1]) | image)
    assert same(load(path).state_dict(), towers[1].state_dict())
    assert identify(path).parts == {"text": "clip-text"}


@pytest.mark.parametrize("prefix", ["", DENOISER])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_transformer_in_the_layout_of_stable_diffusion_3_is_read_as_ours(tmp_path, name, prefix):
    made = network(MMDiT, TRANSFORMERS[name])
    named = written(sd3_mmdit(made.config), made, prefix)
    kept = {key.removeprefix(prefix) for key in named} & made.state_dict().keys()
    assert kept == {"context_embedder.weight", "context_embedder.bias"}
    back = load(write(tmp_path / "a.safetensors", named))
    assert back.config == made.config and same(back.state_dict(), made.state_dict())


def test_where_no_gate_follows_the_file_has_the_shift_before_the_scale():
    made = network(MMDiT, TRANSFORMER)
    named = written(sd3_mmdit(TRANSFORMER), made)
    for old, module in (
        ("final_layer", made.norm_out),
        ("joint_blocks.1.context_block", made.transformer_blocks[1].norm1_context),
    ):
        scale, shift = module.linear.bias.chunk(2)
        assert torch.equal(named[f"{old}.adaLN_modulation.1.bias"], torch.cat([shift, scale]))
    gated = made.transformer_blocks[0].norm1_context.linear.bias
    assert torch.equal(named["joint_blocks.0.context_block.adaLN_modulation.1.bias"], gated)


@pytest.mark.parametrize(
    "names", [("shared.weight",), ("encoder.embed_tokens.weight",), ("shared.weight", "encoder.embed_tokens.weight")]
)
def test_t5s_table_of_tokens_has_either_name_or_both(tmp_path, names):
    made = network(T5, ENCODER)
    state = made.state_dict()
    table = state.pop("shared.weight")
    path = write(tmp_path / "a.safetensors", state | dict.fromkeys(names, table))
    back = load(path)
    assert back.config == ENCODER and same(back.state_dict(), made.state_dict())
    assert identify(path).family == "t5"


def test_the_towers_of_sdxl_come_out_one_by_one(tmp_path, towers):
    painter = network(UNet, PAINTER)
    named = {
        **written(ldm_unet(PAINTER), painter, DENOISER),
        **written(OURS, towers[0], "conditioner.embedders.0.transformer."),
        **written(OPENCLIP, towers[1], "conditioner.embedders.1.model."),
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": torch.arange(7)[None],
        "conditioner.embedders.1.model.logit_scale": torch.ones(()),
    }
    path = write(tmp_path / "a.safetensors", named)
    for part, tower in zip(("text", "text_2"), towers, strict=True):
        back = load(path, part=part)
        assert back.config == tower.config and same(back.state_dict(), tower.state_dict())
        assert find(header(path), "clip-text", part) is find(header(path), part=part)
    assert same(load(path, family="unet", config=PAINTER).state_dict(), painter.state_dict())
    assert identify(path).parts == {"denoiser": "unet", "text": "clip-text", "text_2": "clip-text"}
    with pytest.raises(
        InvalidFile, match=r"several networks: name one by its part, of text \(clip-text\), text_2 \(clip-text\)"
    ):
        load(path, family="clip-text")
    with pytest.raises(
        InvalidFile, match=r"holds no clip-text as the part 'text_3', but denoiser \(unet\), text \(clip-text\)"
    ):
        load(path, family="clip-text", part="text_3")


def test_the_one_tower_of_stable_diffusion_2_and_of_the_refiner_needs_no_part(tmp_path, towers):
    for prefix in ("cond_stage_model.model.", "conditioner.embedders.0.model."):
        path = write(tmp_path / "a.safetensors", written(OPENCLIP, towers[1], prefix))
        back = load(path)
        assert back.config == SECOND and same(back.state_dict(), towers[1].state_dict())
        assert [family.part for family in candidates(header(path))] == ["text"]


def test_the_networks_of_stable_diffusion_3_come_out_one_by_one(tmp_path, towers):
    painter, codec, encoder = (
        network(MMDiT, TRANSFORMERS["3.5 medium"]),
        network(AutoencoderKL, CODEC),
        network(T5, ENCODER),
    )
    made = {"denoiser": painter, "codec": codec, "text": towers[0], "text_2": towers[1], "text_3": encoder}
    named = {
        **written(sd3_mmdit(painter.config), painter, DENOISER),
        **written(ldm_autoencoder(CODEC), codec, "first_stage_model."),
        **written(OURS, towers[0], "text_encoders.clip_l.transformer."),
        **written(OURS, towers[1], "text_encoders.clip_g.transformer."),
        **written(OURS, encoder, "text_encoders.t5xxl.transformer."),
        **{f"text_encoders.{name}.logit_scale": torch.ones(()) for name in ("clip_l", "clip_g", "t5xxl")},
    }
    path = write(tmp_path / "a.safetensors", named)
    assert identify(path).parts.keys() == made.keys()
    for part, net in made.items():
        back = load(path, part=part)
        assert type(back) is type(net) and back.config == net.config and same(back.state_dict(), net.state_dict())
    assert same(load(path, family="t5").state_dict(), encoder.state_dict())
    with pytest.raises(InvalidFile, match="no single file of a model that is known here"):
        kind(header(path))  # these are none of the published sizes


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_numbers_of_8_bits_are_read_exactly(tmp_path, towers, dtype):
    """Cut or not; as bfloat16 where no type is asked for."""
    for made, keymap in ((network(MMDiT, TRANSFORMER), sd3_mmdit(TRANSFORMER)), (towers[1], OPENCLIP)):
        narrow = {name: tensor.to(dtype) for name, tensor in written(keymap, made).items()}
        path = write(tmp_path / "a.safetensors", narrow)
        for asked, given in ((None, torch.bfloat16), (torch.float16, torch.float16), (torch.float32, torch.float32)):
            back = load(path, dtype=asked).state_dict()
            assert same(back, {name: tensor.to(dtype).to(given) for name, tensor in made.state_dict().items()})


def test_a_fused_tensor_that_does_not_divide_or_is_missing_is_named(tmp_path, towers):
    named, key = written(OPENCLIP, towers[1]), "transformer.resblocks.0.attn.in_proj_weight"
    whole, lacking = named[key], {name: tensor for name, tensor in named.items() if not name.endswith(".in_proj_bias")}
    with pytest.raises(InvalidFile, match=r"missing: text_model\.encoder\.layers\.0\.self_attn\.q_proj\.bias"):
        load(write(tmp_path / "a.safetensors", lacking))
    with pytest.raises(InvalidFile, match=r"its shapes do not add up: .*\[3071, 1024\] does not divide into 3"):
        load(write(tmp_path / "a.safetensors", named | {key: whole[1:]}))
    with pytest.raises(InvalidFile, match=r"k_proj\.weight \(is \[1023, 1024\], should be \[1024, 1024\]\)"):
        load(write(tmp_path / "a.safetensors", named | {key: whole[3:]}))


def test_a_file_that_mixes_layouts_is_refused(tmp_path, towers):
    named = written(OPENCLIP, towers[1]) | {"text_projection.weight": torch.zeros(24, 1024)}
    with pytest.raises(
        InvalidFile,
        match="a.safetensors looks like clip-text.*both 'text_projection.weight': the file mixes two layouts",
    ):
        load(write(tmp_path / "a.safetensors", named))
