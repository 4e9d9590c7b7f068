"""A file says what it is: our networks by name and variant, published files of other kinds by their keys."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
import torch

from danqing.errors import InvalidFile
from danqing.nets import rrdb, srvgg
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.clip import CLIP, CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from danqing.nets.unet import UNet, UNetConfig
from danqing.weights.family import CONFIG_KEY
from danqing.weights.identify import VARIANTS, identify, variant
from danqing.weights.load import save
from danqing.weights.published import PUBLISHED
from danqing.weights.store import header, write

TINY = UNetConfig(
    block_out_channels=(16, 32),
    layers_per_block=1,
    transformer_layers=(0, 1),
    attention_heads=(2, 4),
    cross_attention_dim=24,
    norm_num_groups=8,
)
U = "model.diffusion_model."
TEXT_OF_1 = U + "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
TEXT_OF_XL = U + "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
PE = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe"
JOINT = "joint_blocks.{}.x_block.mlp.fc1.weight"
FLUX = "double_blocks.0.img_attn.norm.key_norm.scale"
#: Family, the beginning of the variant, and the keys with shapes by which such a file is known.
FILES = [
    ("lora", "for a UNet", {"lora_unet_input_blocks_1_1_proj_in.lora_down.weight": (4, 8)}),
    ("lora", "for a UNet", {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": (8, 4)}),
    ("lora", "SDXL", {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": (8, 4)}),
    ("lora", "", {"unet.down_blocks.0.attentions.0.proj_in.lora_A.weight": (4, 8)}),
    ("lora", "", {"base_model.model.conv_in.lora_B.weight": (4, 8), "base_model.model.conv_in.lora_A.weight": (4, 8)}),
    ("lora", "", {"unet.mid_block.attentions.0.processor.to_q_lora.up.weight": (4, 8)}),
    ("lora", "LyCORIS LoHa", {"lora_unet_x.hada_w1_a": (4, 4)}),
    ("lora", "LyCORIS LoKr", {"lycoris_x.lokr_w1": (4, 4)}),
    ("lora", "DoRA", {"lora_unet_x.dora_scale": (4, 1), "lora_unet_x.lora_up.weight": (4, 4)}),
    (
        "controlnet",
        "SDXL",
        {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), "add_embedding.linear_1.weight": (2, 2)},
    ),
    (
        "controlnet",
        "SD1.x",
        {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), "conv_in.weight": (4, 4, 3, 3)},
    ),
    ("controlnet", "SD1.x", {"control_model.time_embed.0.weight": (8, 4)}),
    ("controlnet", "Control-LoRA", {"lora_controlnet": (1,), "x.up": (4, 4)}),
    ("ip-adapter", "Plus", {"image_proj.latents": (1, 16, 8), "ip_adapter.1.to_k_ip.weight": (8, 8)}),
    ("ip-adapter", "base", {"image_proj.proj.weight": (8, 8), "ip_adapter.1.to_k_ip.weight": (8, 8)}),
    ("ip-adapter", "full face", {"image_proj.proj.3.weight": (8,), "ip_adapter.1.to_k_ip.weight": (8, 8)}),
    ("motion-module", "AnimateDiff v1", {PE: (1, 24, 8)}),
    ("motion-module", "AnimateDiff v3", {PE: (1, 32, 8)}),
    (
        "motion-module",
        "AnimateDiff v2",
        {PE: (1, 32, 8), "mid_block.motion_modules.0.temporal_transformer.norm.bias": (8,)},
    ),
    ("textual-inversion", "SDXL", {"clip_l": (2, 8), "clip_g": (2, 12)}),
    ("textual-inversion", "", {"<cat>": (2, 8)}),
    ("checkpoint", "SD1.x", {U + "input_blocks.0.0.weight": (8, 4, 3, 3), TEXT_OF_1: (8, 768)}),
    ("checkpoint", "SD1.x inpainting", {U + "input_blocks.0.0.weight": (8, 9, 3, 3), TEXT_OF_1: (8, 768)}),
    ("checkpoint", "SD2.x", {U + "input_blocks.0.0.weight": (8, 4, 3, 3), TEXT_OF_1: (8, 1024)}),
    ("checkpoint", "SDXL", {U + "input_blocks.0.0.weight": (8, 4, 3, 3), TEXT_OF_XL: (8, 2048)}),
    ("checkpoint", "SDXL refiner", {U + "input_blocks.0.0.weight": (8, 4, 3, 3), TEXT_OF_XL: (8, 1280)}),
    ("checkpoint", "SD3 medium", {U + JOINT.format(i): (2, 2) for i in range(24)} | {U + "pos_embed": (1, 36864, 1)}),
    ("checkpoint", "SD3.5 medium", {JOINT.format(i): (2, 2) for i in range(24)} | {"pos_embed": (1, 147456, 1)}),
    ("checkpoint", "SD3.5 large", {JOINT.format(i): (2, 2) for i in range(38)} | {"pos_embed": (1, 36864, 1)}),
    ("checkpoint", "FLUX dev", {U + FLUX: (8,), U + "guidance_in.in_layer.bias": (8,), U + "img_in.weight": (8, 64)}),
    ("checkpoint", "FLUX fill", {FLUX: (8,), "guidance_in.in_layer.bias": (8,), "img_in.weight": (8, 384)}),
    ("checkpoint", "FLUX schnell", {FLUX: (8,), "img_in.weight": (8, 64)}),
    ("face-restorer", "GFPGAN", {"toRGB.0.weight": (3, 8, 1, 1), "stylegan_decoder.style_mlp.1.weight": (8, 8)}),
    ("text-encoder", "T5", {"encoder.block.0.layer.0.SelfAttention.q.weight": (8, 8), "shared.weight": (8, 8)}),
    ("unknown", "", {"a.weight": (2, 2), "b.weight": (2, 2)}),
]


@pytest.mark.parametrize(("family", "title", "shapes"), FILES)
def test_published_files_are_known_by_their_keys(tmp_path, family, title, shapes):
    path = write(tmp_path / "a.safetensors", {key: torch.zeros(shape) for key, shape in shapes.items()}, {"ss_x": "1"})
    found = identify(path)
    assert found.family == family and found.variant.startswith(title) and found.note
    assert not found.loadable and found.metadata == {"ss_x": "1"} and found.tensors == len(shapes)


def test_a_network_of_ours_is_described_whole(tmp_path):
    made = UNet(TINY)
    found = identify(save(made, tmp_path / "a.safetensors", {"licence": "MIT"}, dtype=torch.bfloat16))
    assert (found.family, found.variant, found.loadable, found.unknown, found.assumed) == (
        "unet",
        "danqing",
        True,
        {},
        (),
    )
    assert found.config == dataclasses.asdict(TINY)
    assert found.parameters == sum(p.numel() for p in made.parameters()) == found.dtypes["BF16"]
    assert found.metadata["licence"] == "MIT" and found.size == (tmp_path / "a.safetensors").stat().st_size
    assert json.loads(json.dumps(dataclasses.asdict(found)))["config"]["in_channels"] == 4


def test_what_is_assumed_and_what_must_be_stated_is_said(tmp_path):
    found = identify(write(tmp_path / "a.safetensors", UNet(TINY).state_dict()))
    assert (
        found.loadable
        and set(found.unknown) == {"attention_heads", "norm_num_groups"}
        and "attention_heads" in found.note
    )
    codec = AutoencoderKL(AutoencoderKLConfig(block_out_channels=(32,), layers_per_block=1))
    found = identify(write(tmp_path / "b.safetensors", codec.state_dict()))
    assert "scaling_factor" in found.assumed and not found.unknown and not found.note


@pytest.mark.parametrize(
    ("made", "title"), [(rrdb.RRDBNet(rrdb.X2), "ESRGAN ×2"), (srvgg.SRVGGNetCompact(srvgg.VIDEO), "×4 for videos")]
)
def test_what_enlarges_is_described_by_its_shapes(tmp_path, made, title):
    found = identify(write(tmp_path / "a.safetensors", made.state_dict()))
    assert found.loadable and title in found.variant and found.config == dataclasses.asdict(made.config)


def test_the_towers_of_a_clip_are_described_each(tmp_path):
    text = CLIPTextConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    vision = CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=14
    )
    config = CLIPConfig(
        text=dataclasses.replace(text, projection_dim=4), vision=dataclasses.replace(vision, projection_dim=4)
    )
    made = CLIP(config)
    found = identify(save(made, tmp_path / "a.safetensors"))
    assert found.config == dataclasses.asdict(config) and found.parts == {"text": "clip-text", "vision": "clip-vision"}
    bare = identify(write(tmp_path / "a.safetensors", made.state_dict()))
    assert {"text.hidden_act", "vision.num_attention_heads"} <= set(bare.unknown)


def test_a_single_file_names_its_networks(tmp_path):
    parts = {
        U + "input_blocks.0.0.weight": (8, 4, 3, 3),
        U + "time_embed.0.weight": (8, 8),
        U + "output_blocks.0.0.in_layers.0.weight": (8,),
        TEXT_OF_1: (8, 768),
        "first_stage_model.encoder.down.0.block.0.conv1.weight": (8, 8, 3, 3),
        "first_stage_model.decoder.up.0.block.0.conv1.weight": (8, 8, 3, 3),
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (8, 768),
    }
    found = identify(write(tmp_path / "a.safetensors", {key: torch.zeros(shape) for key, shape in parts.items()}))
    assert (found.family, found.variant, found.loadable) == ("checkpoint", "SD1.x", True)
    assert found.parts == {"denoiser": "unet", "codec": "autoencoder-kl", "text": "clip-text"}
    assert found.note == "Load one network at a time, by its part: denoiser, codec, text"


def test_metadata_that_contradicts_the_shapes_is_refused(tmp_path):
    path = save(UNet(TINY), tmp_path / "a.safetensors")
    for said in ({"in_channels": 5}, {"block_out_channels": [16, 33]}):
        write(path, UNet(TINY).state_dict(), {**header(path).metadata, CONFIG_KEY: json.dumps(said)})
        with pytest.raises(InvalidFile, match=f"{next(iter(said))} is said to be"):
            identify(path)


def test_each_variant_is_reached():
    """No earlier line of the table hides a later one."""
    assert [variant(family, fields) for family, _, fields in VARIANTS] == [title for _, title, _ in VARIANTS]
    assert len({(p.family, p.variant, p.layout) for p in PUBLISHED}) == len(PUBLISHED)


def test_identifying_needs_no_torch(tmp_path):
    path = str(save(UNet(TINY), tmp_path / "a.safetensors"))
    code = (
        "import sys; from danqing.weights.identify import identify; "
        f"assert identify({path!r}).family == 'unet'; assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
