"""Key maps and files against diffusers and transformers: their own conversion of the LDM layout, their own saved folders."""

import pytest
import torch
from diffusers import AutoencoderKL as TheirAutoencoder
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from transformers import CLIPTextConfig as TheirText
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection
from transformers import CLIPVisionConfig as TheirVision

from danqing.nets import autoencoder_kl, unet
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.unet import UNet, UNetConfig
from danqing.weights.identify import identify
from danqing.weights.load import load
from danqing.weights.maps import ldm

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


def ldm_shapes(config: UNetConfig) -> dict[str, tuple[int, ...]]:
    """The names of the LDM layout by which a UNet's map is chosen."""
    levels, steps = len(config.block_out_channels), config.layers_per_block + 1
    shapes = {f"input_blocks.{n}.0.x": () for n in range(levels * steps)}
    shapes |= {f"input_blocks.{n * steps}.0.op.weight": () for n in range(1, levels)}
    for i, depth in enumerate(reversed(config.transformer_layers)):
        shapes |= {f"output_blocks.{i * steps + j}.1.norm.weight": () for j in range(steps) if depth}
    return shapes


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_our_ldm_names_of_a_unet_are_those_that_diffusers_converts():
    made = UNet(SMALL)
    back = ldm.unet(ldm_shapes(SMALL)).inverse
    named = {"model.diffusion_model." + str(back.name(name)): tensor for name, tensor in made.state_dict().items()}
    theirs = convert_ldm_unet_checkpoint(named, {**unet.diffusers_config(SMALL), "class_embed_type": None})
    assert same(dict(theirs), made.state_dict())


def test_our_ldm_names_of_an_autoencoder_are_those_that_diffusers_converts():
    made = AutoencoderKL(CODEC)
    back = ldm.autoencoder({f"decoder.up.{i}.block.0.norm1.weight": () for i in range(3)}).inverse
    state = made.state_dict()
    kernels = {name for name in state if ".attentions.0.to_" in name and name.endswith("weight")}
    named = {
        "first_stage_model." + str(back.name(name)): tensor[:, :, None, None] if name in kernels else tensor
        for name, tensor in state.items()
    }
    theirs = convert_ldm_vae_checkpoint(named, autoencoder_kl.diffusers_config(CODEC))
    assert same(dict(theirs), state)


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
