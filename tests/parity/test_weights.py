"""Key maps and files against diffusers and transformers: their own conversion of the LDM layout, their own saved
folders."""

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL as TheirAutoencoder
from diffusers import SD3Transformer2DModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
    convert_sd3_t5_checkpoint_to_diffusers,
    convert_sd3_transformer_checkpoint_to_diffusers,
    infer_diffusers_model_type,
)
from tests.weights.writing import OPENCLIP, OURS, ldm_autoencoder, ldm_unet, same, sd3_mmdit, written
from transformers import CLIPTextConfig as TheirText
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection, T5EncoderModel
from transformers import CLIPVisionConfig as TheirVision
from transformers import T5Config as TheirT5

from danqing.nets import autoencoder_kl, mmdit, unet
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.mmdit import MMDiTConfig
from danqing.nets.unet import UNet, UNetConfig
from danqing.weights.identify import identify
from danqing.weights.kinds import published_kind
from danqing.weights.load import load
from danqing.weights.store import write

SMALL = UNetConfig(
    block_out_channels=(16, 32, 32),
    layers_per_block=2,
    transformer_layers=(1, 2, 0),
    mid_transformer_layers=1,
    attention_heads=(2, 4, 4),
    cross_attention_dim=24,
    norm_num_groups=8,
)
CODEC = AutoencoderKLConfig(block_out_channels=(32, 64, 64), layers_per_block=2)


def shaken(net: torch.nn.Module) -> torch.nn.Module:
    """Random weights in every place, norms and biases too, so that no tensor can be taken for another."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return net.eval()


def test_our_ldm_names_of_a_unet_are_those_that_diffusers_converts():
    made = UNet(SMALL)
    named = written(ldm_unet(SMALL), made, "model.diffusion_model.")
    theirs = convert_ldm_unet_checkpoint(named, {**unet.diffusers_config(SMALL), "class_embed_type": None})
    assert same(dict(theirs), made.state_dict())


def test_our_ldm_names_of_an_autoencoder_are_those_that_diffusers_converts():
    made = AutoencoderKL(CODEC)
    named = written(ldm_autoencoder(CODEC), made, "first_stage_model.")
    theirs = convert_ldm_vae_checkpoint(named, autoencoder_kl.diffusers_config(CODEC))
    assert same(dict(theirs), made.state_dict())


@pytest.mark.parametrize(
    "prefix", ["conditioner.embedders.1.model.", "conditioner.embedders.0.model.", "cond_stage_model.model."]
)
def test_an_openclip_tower_is_read_as_diffusers_converts_it(tmp_path, prefix):
    shape = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "projection_dim": 32}
    known = {"num_attention_heads": 4, "hidden_act": "gelu"}
    config = TheirText(**shape, **known, bos_token_id=48, eos_token_id=49, pad_token_id=0)
    theirs = shaken(CLIPTextModelWithProjection(config))
    named = written(OPENCLIP, theirs, prefix)
    converted = convert_open_clip_checkpoint(theirs, dict(named), prefix)
    left_out = {"text_projection.weight"} if prefix == "cond_stage_model.model." else set()  # diffusers does so for SD2
    ours = load(write(tmp_path / "a.safetensors", named), config=known)
    assert same(ours.state_dict(), theirs.state_dict())
    assert same(converted, {k: v for k, v in ours.state_dict().items() if k not in left_out})
    tokens = torch.tensor([[48, 3, 7, 49, 49]])
    with torch.no_grad():
        expected = theirs(tokens, output_hidden_states=True)
        torch.testing.assert_close(ours(tokens).projected, expected.text_embeds, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            ours(tokens, skip=1, normed=False).tokens, expected.hidden_states[-2], rtol=1e-5, atol=1e-5
        )


SD3_LIKE = {
    "medium": MMDiTConfig(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        num_attention_heads=3,
        joint_attention_dim=24,
        pooled_projection_dim=20,
        pos_embed_max_size=8,
    ),
}
SD3_LIKE["3.5 medium"] = replace(SD3_LIKE["medium"], attention_head_dim=16, dual_attention_layers=(0, 1), qk_norm=True)
SD3_LIKE["3.5 large"] = replace(SD3_LIKE["medium"], attention_head_dim=16, num_layers=2, qk_norm=True)


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", ""])
@pytest.mark.parametrize("name", SD3_LIKE)
def test_a_transformer_of_stable_diffusion_3_is_read_as_diffusers_converts_it(tmp_path, name, prefix):
    config = SD3_LIKE[name]
    theirs = shaken(SD3Transformer2DModel(**mmdit.diffusers_config(config)))
    named = written(sd3_mmdit(config), theirs, prefix)
    assert same(convert_sd3_transformer_checkpoint_to_diffusers(dict(named)), theirs.state_dict())
    ours = load(write(tmp_path / "a.safetensors", named), config={"sample_size": 8})
    assert ours.config == config and same(ours.state_dict(), theirs.state_dict())
    generator = torch.Generator().manual_seed(1)
    x, tokens, pooled = (torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 7, 24), (2, 20)))
    time = torch.tensor([900.0, 3.0])
    with torch.no_grad():
        expected = theirs(x, tokens, pooled, time, return_dict=False)[0]
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(x, time, tokens, pooled=pooled), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prefix", ["text_encoders.t5xxl.transformer.", None])
def test_a_t5_that_transformers_saved_is_read(tmp_path, prefix):
    shape = {"vocab_size": 60, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 3}
    theirs = shaken(T5EncoderModel(TheirT5(**shape, feed_forward_proj="gated-gelu")))
    if prefix is None:
        theirs.save_pretrained(tmp_path)
    else:
        named = written(OURS, theirs, prefix)
        assert same(convert_sd3_t5_checkpoint_to_diffusers(named), theirs.state_dict())
        write(tmp_path / "model.safetensors", named)
    ours = load(tmp_path / "model.safetensors", family="t5")
    ids, mask = torch.tensor([[5, 9, 3, 1, 0, 0]]), torch.tensor([[1, 1, 1, 1, 0, 0]])
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask).last_hidden_state
        torch.testing.assert_close(ours(ids, mask), expected, rtol=1e-5, atol=1e-5)


U = "model.diffusion_model."
READER = U + "input_blocks.{}.1.transformer_blocks.0.attn2.to_k.weight"
JOINT = {U + f"joint_blocks.{i}.x_block.mlp.fc1.weight": (2, 2) for i in range(38)}
XL = "conditioner.embedders.{}.model.transformer.resblocks.9.mlp.c_proj.bias"


def read(channels: int, level: int, width: int) -> dict[str, tuple[int, ...]]:
    return {U + "input_blocks.0.0.weight": (8, channels, 3, 3), READER.format(level): (8, width)}


def joint(blocks: int, positions: int) -> dict[str, tuple[int, ...]]:
    bias = {U + "joint_blocks.0.context_block.adaLN_modulation.1.bias": (blocks * 64 * 6,)}
    return dict(list(JOINT.items())[:blocks]) | bias | {U + "pos_embed": (1, positions, 1)}


@pytest.mark.parametrize(
    ("theirs", "ours", "shapes"),
    [
        ("v1", ("SD1.x", ""), read(4, 2, 768)),
        ("inpainting", ("SD1.x", "inpainting"), read(9, 2, 768)),
        ("instruct-pix2pix", ("SD1.x", "instruct-pix2pix"), read(8, 2, 768)),
        ("v2", ("SD2.x", ""), read(4, 2, 1024)),
        ("inpainting_v2", ("SD2.x", "inpainting"), read(9, 2, 1024)),
        ("xl_base", ("SDXL", ""), read(4, 4, 2048) | {XL.format(1): (8,)}),
        ("xl_inpaint", ("SDXL", "inpainting"), read(9, 4, 2048) | {XL.format(1): (8,)}),
        ("xl_refiner", ("SDXL refiner", ""), read(4, 4, 1280) | {XL.format(0): (8,)}),
        ("sd3", ("SD3 medium", ""), joint(24, 36864)),
        ("sd35_medium", ("SD3.5 medium", ""), joint(24, 147456)),
        ("sd35_large", ("SD3.5 large", ""), joint(38, 36864)),
    ],
)
def test_a_single_file_is_the_model_that_diffusers_says(theirs, ours, shapes):
    assert (
        infer_diffusers_model_type({key: torch.empty(shape, device="meta") for key, shape in shapes.items()}) == theirs
    )
    assert published_kind(shapes) == ours


@pytest.mark.parametrize("config", [SMALL])
def test_a_unet_that_diffusers_saved_is_read(tmp_path, config):
    theirs = UNet2DConditionModel(**unet.diffusers_config(config))
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    assert identify(file).family == "unet"
    assert same(load(file, config=config).state_dict(), theirs.state_dict())


def test_an_autoencoder_that_diffusers_saved_is_read(tmp_path):
    theirs = TheirAutoencoder(**autoencoder_kl.diffusers_config(CODEC))
    theirs.save_pretrained(tmp_path)
    ours = load(tmp_path / "diffusion_pytorch_model.safetensors")
    assert ours.config == CODEC and same(ours.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("cls", [CLIPTextModel, CLIPTextModelWithProjection])
def test_a_text_tower_that_transformers_saved_is_read(tmp_path, cls):
    shape = {"vocab_size": 50, "hidden_size": 512, "intermediate_size": 32, "num_hidden_layers": 1}
    ids = {"bos_token_id": 48, "eos_token_id": 49, "pad_token_id": 1}
    theirs = cls(TheirText(**shape, **ids, num_attention_heads=8, projection_dim=16)).eval()
    theirs.save_pretrained(tmp_path)
    ours = load(tmp_path / "model.safetensors")
    tokens = torch.tensor([[48, 3, 7, 49, 49]])
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens).tokens, theirs(tokens).last_hidden_state, rtol=1e-5, atol=1e-5)


def test_an_image_tower_that_transformers_saved_is_read(tmp_path):
    shape = {"hidden_size": 768, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 12}
    theirs = CLIPVisionModelWithProjection(TheirVision(**shape, image_size=8, patch_size=4, projection_dim=16)).eval()
    theirs.save_pretrained(tmp_path)
    ours = load(tmp_path / "model.safetensors")
    pixels = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(pixels).projected, theirs(pixels).image_embeds, rtol=1e-5, atol=1e-5)
