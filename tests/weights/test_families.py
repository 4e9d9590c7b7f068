"""The blind round trip: a network is saved, and the file alone gives back the same config and the same tensors."""

import dataclasses
import json
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.weights.writing import ldm_autoencoder, ldm_unet, on_paper, same, written

from danqing.errors import DanqingError
from danqing.nets import (
    autoencoder_kl,
    biggan,
    clip,
    cyclegan,
    drafted,
    gfpgan,
    mmdit,
    pixel_unet,
    pixelcnn,
    restorer,
    rrdb,
    srvgg,
    stylegan2,
    t5,
    unet,
    vae,
)
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.biggan import BigGAN, BigGANDiscriminator
from danqing.nets.clip import CLIP, CLIPConfig, CLIPText, CLIPTextConfig, CLIPVision, CLIPVisionConfig
from danqing.nets.controlnet import ControlNet, ControlNetConfig
from danqing.nets.controlnet_mmdit import MMDiTControl, MMDiTControlConfig
from danqing.nets.cyclegan import CycleGAN, PatchGAN
from danqing.nets.depth_anything import DepthAnything, DepthAnythingConfig
from danqing.nets.depth_unet import DepthUNet, DepthUNetConfig
from danqing.nets.drafted import DraftedUNet, ResidualUNet
from danqing.nets.gfpgan import GFPGAN, GFPGANConfig
from danqing.nets.ip_adapter import IPAdapter, IPAdapterConfig
from danqing.nets.mmdit import MMDiT, MMDiTConfig
from danqing.nets.pixel_unet import PixelUNet, ScoreUNet
from danqing.nets.pixelcnn import PixelCNN, PixelCNNConfig
from danqing.nets.restorer import Restorer
from danqing.nets.rrdb import RRDBNet
from danqing.nets.srvgg import SRVGGNetCompact
from danqing.nets.stylegan2 import StyleGAN2, StyleGAN2Discriminator
from danqing.nets.t5 import T5, T5Config
from danqing.nets.unet import UNet, UNetConfig
from danqing.nets.vae import VAE, VAEConfig
from danqing.weights.family import CONFIG_KEY
from danqing.weights.load import load, save
from danqing.weights.registry import FAMILIES, candidates, find, names, of
from danqing.weights.store import Spec, header, read, write

TINY_DEPTH = DepthAnythingConfig(
    hidden_size=64,
    num_hidden_layers=4,
    num_attention_heads=1,
    intermediate_size=128,
    patch_size=2,
    image_size=6,
    out_indices=(1, 2, 3, 4),
    neck_hidden_sizes=(8, 8, 12, 12),
    fusion_hidden_size=8,
    head_hidden_size=4,
)
TINY = UNetConfig(
    block_out_channels=(16, 32),
    layers_per_block=1,
    transformer_layers=(0, 1),
    attention_heads=(2, 4),
    cross_attention_dim=24,
    norm_num_groups=8,
)
UNETS = [
    TINY,
    replace(TINY, in_channels=9, pooled_channels=40, use_linear_projection=True, mid_transformer_layers=2),
    replace(TINY, layers_per_block=2, transformer_layers=(2, 0), mid_transformer_layers=1),
    replace(TINY, block_out_channels=(8, 16, 24), transformer_layers=(1, 0, 3), attention_heads=(1, 2, 3)),
    replace(TINY, block_out_channels=(16,), transformer_layers=(1,), attention_heads=(4,)),
    replace(TINY, transformer_layers=(0, 0), mid_transformer_layers=0),
]
AUTOENCODER = AutoencoderKLConfig(block_out_channels=(32, 64), layers_per_block=1)
AUTOENCODERS = [
    AUTOENCODER,
    replace(AUTOENCODER, layers_per_block=2, block_out_channels=(32, 32, 64), mid_block_add_attention=False),
    replace(autoencoder_kl.SD3, block_out_channels=(32,), layers_per_block=1),
    replace(AUTOENCODER, latent_channels=8, scaling_factor=1.0, patch=4),
]
TEXT = CLIPTextConfig(
    vocab_size=60,
    hidden_size=512,
    intermediate_size=64,
    num_hidden_layers=1,
    num_attention_heads=8,
    max_position_embeddings=7,
    projection_dim=20,
    eos_token_id=59,
)
VISION = CLIPVisionConfig(
    hidden_size=768,
    intermediate_size=32,
    num_hidden_layers=1,
    num_attention_heads=12,
    image_size=8,
    patch_size=4,
    projection_dim=20,
)
TEXTS = [TEXT, replace(TEXT, projection_dim=0, num_hidden_layers=2)]
VISIONS = [VISION, replace(VISION, projection_dim=0, num_channels=4, image_size=12)]
TRANSFORMER = MMDiTConfig(
    num_layers=2,
    num_attention_heads=2,
    joint_attention_dim=12,
    pooled_projection_dim=10,
    in_channels=4,
    out_channels=4,
    pos_embed_max_size=6,
)
TRANSFORMERS = [
    TRANSFORMER,
    replace(TRANSFORMER, num_attention_heads=3, attention_head_dim=8, qk_norm=True, dual_attention_layers=(0,)),
    replace(TRANSFORMER, patch_size=1, out_channels=8),
]
STEERING = MMDiTControlConfig(**{**asdict(TRANSFORMER), "num_attention_heads": 1, "sample_size": 128}, hint_channels=1)
STEERINGS = [
    STEERING,
    replace(
        STEERING,
        joint_attention_dim=0,
        pos_embed_max_size=0,
        silent=False,
        in_channels=5,
        out_channels=5,
        hint_channels=0,
    ),
    replace(STEERING, num_attention_heads=3, attention_head_dim=8, qk_norm=True, dual_attention_layers=(1,)),
]
ENCODER = T5Config(
    vocab_size=40, d_model=12, d_kv=4, d_ff=20, num_layers=2, num_heads=5, relative_attention_num_buckets=8
)
VECTOR = VAEConfig(image_size=16, latent_dim=5, widths=(8, 16))
PIXELS = PixelCNNConfig(levels=9, embedding=3, hidden=7, width=6, classes=4, first=5, dilations=(1, 2, 4, 1))
PIXELCNNS = [
    PIXELS,
    replace(PIXELS, head="levels", classes=0, dilations=()),
    PixelCNNConfig(head="mixture", components=3, hidden=7, width=6, dilations=(1,)),
]
DDPM = replace(pixel_unet.CIFAR10, block_out_channels=(32, 32), attention_heads=(0, 1), layers_per_block=1)
ADAPTER = IPAdapterConfig(width=6, seen=5, layers=(4, 8, 4))
RESAMPLED = {"seen": 5, "hidden": 7, "depth": 2, "attended": 64, "fed": 9}
ADAPTERS = [
    ADAPTER,
    replace(ADAPTER, kind="full-face", tokens=0, inner=5),
    replace(ADAPTER, kind="plus", tokens=3, **RESAMPLED),
    replace(ADAPTER, kind="face-id", seen=0, face=8, inner=9, rank=2),
    replace(ADAPTER, kind="summary", summary=6, inner=9),
    replace(ADAPTER, kind="summary", summary=6, inner=9, drawn=4),
    replace(ADAPTER, kind="portrait", texture=3, hidden=7, face=8, summary=6, inner=9),
    replace(ADAPTER, kind="portrait", texture=3, hidden=7, face=8, summary=6, inner=9, drawn=3, redrawn=(16, 32)),
    replace(ADAPTER, kind="face-id-plus", face=8, inner=9, **{**RESAMPLED, "hidden": 0}),
]
#: Networks whose shapes and published habits tell all.
BLIND = [
    *((AutoencoderKL, config) for config in AUTOENCODERS),
    *((CLIPText, config) for config in TEXTS),
    *((CLIPVision, config) for config in VISIONS),
    (CLIP, CLIPConfig(text=TEXT, vision=VISION)),
    *((MMDiT, config) for config in TRANSFORMERS),
    *((MMDiTControl, config) for config in STEERINGS),
    (T5, ENCODER),
    *(
        (VAE, config)
        for config in (VECTOR, replace(VECTOR, widths=(8, 8, 16), patch=1, layers_per_block=2, image_size=8))
    ),
    *((PixelCNN, config) for config in PIXELCNNS),
    *(
        (PixelUNet, config)
        for config in (DDPM, replace(DDPM, out_channels=6, scale_shift=True, classes=4, attention_heads=(1, 0)))
    ),
    (ScoreUNet, DDPM),
    (
        StyleGAN2,
        replace(stylegan2.MINI, resolution=16, z_dim=12, w_dim=10, mapping_layers=2, channel_base=128, channel_max=16),
    ),
    (StyleGAN2Discriminator, replace(stylegan2.FFHQ_DISCRIMINATOR, resolution=16, channel_base=128, channel_max=16)),
    (BigGAN, replace(biggan.MINI, widths=(16, 16, 8), z_dim=12, shared_dim=6, classes=5)),
    (BigGANDiscriminator, replace(biggan.MINI_DISCRIMINATOR, widths=(8, 16, 16), halvings=2, classes=5)),
    (CycleGAN, cyclegan.CycleGANConfig(channels=4, blocks=2)),
    (PatchGAN, cyclegan.PatchGANConfig(channels=4, halvings=2)),
    *((RRDBNet, replace(config, channels=8, growth=4, blocks=2)) for config in (rrdb.X4, rrdb.X2, rrdb.X1)),
    (SRVGGNetCompact, replace(srvgg.VIDEO, channels=6, convolutions=2)),
    (GFPGAN, GFPGANConfig(resolution=16, w_dim=6, channel_base=64, channel_max=8)),
    *((IPAdapter, config) for config in ADAPTERS),
    (Restorer, replace(restorer.MINI, widths=(8, 16), layers_per_block=1)),
    (DepthUNet, DepthUNetConfig(widths=(8, 16))),
    (DepthAnything, TINY_DEPTH),
]
DRAFTED = replace(
    drafted.MINI, block_out_channels=(8, 16, 24), attention_heads=(1, 2, 3), norm_num_groups=4, draft_size=4
)
#: Networks that need their metadata: heads, activations and groups are their own.
STATED = [
    *((UNet, config) for config in UNETS),
    (ControlNet, ControlNetConfig(**asdict(TINY), hint_widths=(4, 6, 8))),
    (DraftedUNet, DRAFTED),
    (ResidualUNet, replace(DRAFTED, draft_hidden=12, draft_blocks=2)),
    (AutoencoderKL, replace(AUTOENCODER, block_out_channels=(24, 48), norm_num_groups=8, scaling_factor=0.13025)),
    (CLIPText, replace(TEXT, hidden_size=64, num_attention_heads=2, hidden_act="gelu", eos_token_id=5)),
    (CLIPVision, replace(VISION, hidden_size=48, num_attention_heads=4, hidden_act="gelu", layer_norm_eps=1e-6)),
    (CLIP, CLIPConfig(text=replace(TEXT, hidden_size=64, num_attention_heads=4), vision=VISION)),
    (MMDiT, replace(TRANSFORMER, num_attention_heads=4, attention_head_dim=8, sample_size=16)),
    (MMDiTControl, replace(STEERING, num_attention_heads=4, attention_head_dim=8, silent=False, edges=True)),
    (T5, replace(ENCODER, relative_attention_max_distance=9, layer_norm_epsilon=1e-5)),
    (VAE, replace(VECTOR, norm_num_groups=2, likelihood="gaussian")),
    (PixelCNN, replace(PIXELS, dilations=(2, 3))),
    (PixelUNet, replace(pixel_unet.MINI, block_out_channels=(8, 16), attention_heads=(2, 4))),
]
PUBLISHED = [
    *(
        (UNet, config)
        for config in (unet.SD1, unet.SD2, unet.SDXL, unet.SDXL_REFINER, replace(unet.SD1, in_channels=9))
    ),
    *((AutoencoderKL, config) for config in (autoencoder_kl.SD1, autoencoder_kl.SD3, autoencoder_kl.MINI)),
    *((CLIPText, config) for config in (clip.SD1_TEXT, clip.SD2_TEXT, clip.VIT_L_14_TEXT, clip.VIT_BIGG_14_TEXT)),
    (CLIPText, replace(clip.SD1_TEXT, vocab_size=49411)),  # with three learned words
    *((CLIPVision, config) for config in (clip.VIT_L_14_VISION, clip.VIT_H_14_VISION, clip.VIT_BIGG_14_VISION)),
    *((CLIP, config) for config in (clip.VIT_L_14, clip.VIT_H_14, clip.VIT_BIGG_14)),
    *((MMDiT, config) for config in (mmdit.SD3_MEDIUM, mmdit.SD35_MEDIUM, mmdit.SD35_LARGE)),
    (T5, t5.XXL),
    (VAE, vae.ART),
    *((PixelCNN, config) for config in (pixelcnn.ART, replace(pixelcnn.ART, classes=36))),
    *((PixelUNet, config) for config in (pixel_unet.CIFAR10, pixel_unet.LSUN)),
    *((StyleGAN2, config) for config in (stylegan2.FFHQ, stylegan2.MINI)),
    (StyleGAN2Discriminator, stylegan2.FFHQ_DISCRIMINATOR),
    *((BigGAN, config) for config in (biggan.IMAGENET_128, biggan.MINI)),
    (BigGANDiscriminator, biggan.IMAGENET_128_DISCRIMINATOR),
    *((CycleGAN, config) for config in (cyclegan.HORSE2ZEBRA, cyclegan.MINI)),
    *((PatchGAN, config) for config in (cyclegan.PATCH_70, cyclegan.PATCH_34)),
    *((RRDBNet, config) for config in (rrdb.X4, rrdb.X2, rrdb.X1, rrdb.X4_ANIME)),
    *((SRVGGNetCompact, config) for config in (srvgg.VIDEO, srvgg.GENERAL)),
    (GFPGAN, gfpgan.FFHQ),
    (IPAdapter, IPAdapterConfig()),
    (Restorer, restorer.MINI),
    (DepthUNet, DepthUNetConfig()),
    (DepthAnything, DepthAnythingConfig()),
]


def network(cls, config):
    torch.manual_seed(0)
    return cls(config)


@pytest.mark.parametrize(("cls", "config"), BLIND + STATED)
def test_a_saved_network_comes_back_the_same(tmp_path, cls, config):
    made = network(cls, config)
    back = load(save(made, tmp_path / "a.safetensors", {"title": "t"}))
    assert type(back) is cls and back.config == config
    assert same(back.state_dict(), made.state_dict())
    assert header(tmp_path / "a.safetensors").metadata["title"] == "t"


@pytest.mark.parametrize(("cls", "config"), BLIND)
def test_without_metadata_the_shapes_tell(tmp_path, cls, config):
    made = network(cls, config)
    back = load(write(tmp_path / "a.safetensors", made.state_dict()))
    assert type(back) is cls and back.config == config
    assert same(back.state_dict(), made.state_dict())


@pytest.mark.parametrize(("cls", "config"), STATED)
def test_without_metadata_a_stated_config_serves_as_well(tmp_path, cls, config):
    made = network(cls, config)
    path = write(tmp_path / "a.safetensors", made.state_dict())
    for stated in (config, dataclasses.asdict(config), json.loads(json.dumps(dataclasses.asdict(config)))):
        back = load(path, config=stated)
        assert back.config == config and same(back.state_dict(), made.state_dict())


@pytest.mark.parametrize(("cls", "config"), PUBLISHED)
def test_published_shapes_tell_the_published_config(cls, config):
    with torch.device("meta"):
        head = on_paper(cls(config).state_dict())
    family = find(head)
    assert family.classes()[0] is cls and family.config(head) == config


@pytest.mark.parametrize(("cls", "config"), BLIND[::3] + STATED[::3])
def test_a_loaded_network_is_ready_for_use(tmp_path, cls, config):
    back = load(save(network(cls, config), tmp_path / "a.safetensors"))
    tensors = [*back.parameters(), *back.buffers()]
    assert not back.training and not any(t.requires_grad or t.is_meta for t in tensors)
    assert not any(m.training for m in back.modules())


@pytest.mark.parametrize(("cls", "config"), BLIND[::4])
def test_the_dtype_is_the_files_or_the_one_asked_for(tmp_path, cls, config):
    made = network(cls, config)
    path = save(made, tmp_path / "a.safetensors", dtype=torch.bfloat16)
    assert {t.dtype for t in load(path).state_dict().values()} == {torch.bfloat16}
    wide = load(path, dtype=torch.float64).state_dict()
    assert same(wide, {k: v.to(torch.bfloat16).to(torch.float64) for k, v in made.state_dict().items()})


def test_the_same_network_makes_the_same_file(tmp_path):
    made = network(UNet, TINY)
    assert save(made, tmp_path / "a").read_bytes() == save(load(tmp_path / "a"), tmp_path / "b").read_bytes()


def test_what_is_loaded_computes_what_was_saved(tmp_path):
    made = network(UNet, UNETS[1]).eval()
    x, time, tokens, pooled = (
        torch.randn(2, 9, 8, 8),
        torch.tensor([3.0, 900.0]),
        torch.randn(2, 5, 24),
        torch.randn(2, 40),
    )
    back = load(save(made, tmp_path / "a.safetensors"))
    assert torch.equal(back(x, time, tokens, pooled=pooled), made(x, time, tokens, pooled=pooled))


def test_each_file_is_claimed_by_one_whole_network():
    for cls, config in BLIND + STATED:
        with torch.device("meta"):
            head = on_paper(cls(config).state_dict())
        assert len({family.name for family in candidates(head) if family.whole}) == 1
        assert find(head).classes()[0] is cls


def test_a_tower_comes_out_of_a_whole_clip(tmp_path):
    made = network(CLIP, CLIPConfig(text=TEXT, vision=VISION))
    path = write(tmp_path / "a.safetensors", made.state_dict())
    text, vision = load(path, family="clip-text"), load(path, family="clip-vision")
    assert text.config == TEXT and vision.config == VISION
    assert same({**text.state_dict(), **vision.state_dict(), "logit_scale": made.logit_scale.data}, made.state_dict())


def test_old_and_new_published_names_are_read_as_ours(tmp_path):
    made = network(CLIPText, replace(TEXT, projection_dim=0))
    state = made.state_dict()
    old = state | {"text_model.embeddings.position_ids": torch.arange(7)[None], "logit_scale": torch.ones(())}
    bare = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    for tensors in (old, bare):
        assert same(load(write(tmp_path / "a.safetensors", tensors)).state_dict(), state)
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def older(name: str) -> str:
        for new, old in names.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        return name

    for made in (network(AutoencoderKL, AUTOENCODER), network(PixelUNet, DDPM)):
        path = write(tmp_path / "a.safetensors", {older(name): tensor for name, tensor in made.state_dict().items()})
        assert any(".query." in name for name in header(path).tensors)
        back = load(path)
        assert type(back) is type(made) and same(back.state_dict(), made.state_dict())


LDM_UNETS = [config for config in UNETS if config.mid_transformer_layers]


@pytest.mark.parametrize("config", LDM_UNETS)
def test_a_unet_in_the_ldm_layout_is_read_as_ours(tmp_path, config):
    made = network(UNet, config)
    named = written(ldm_unet(config), made)
    assert named.keys().isdisjoint(made.state_dict())
    back = load(write(tmp_path / "a.safetensors", named), config=config)
    assert back.config == config and same(back.state_dict(), made.state_dict())


@pytest.mark.parametrize("config", [c for c in AUTOENCODERS if c.patch == 1])
def test_an_autoencoder_in_the_ldm_layout_is_read_as_ours(tmp_path, config):
    made = network(AutoencoderKL, config)
    named = written(ldm_autoencoder(config), made) | {"loss.logvar": torch.zeros(())}
    back = load(write(tmp_path / "a.safetensors", named))
    assert back.config == config and same(back.state_dict(), made.state_dict())


def test_the_networks_of_a_single_file_come_out_one_by_one(tmp_path):
    painter, codec, text = network(UNet, TINY), network(AutoencoderKL, AUTOENCODER), network(CLIPText, TEXT)
    named = {
        **written(ldm_unet(TINY), painter, "model.diffusion_model."),
        **written(ldm_autoencoder(AUTOENCODER), codec, "first_stage_model."),
    }
    rest = {"alphas_cumprod": torch.ones(3), "model_ema.decay": torch.ones(())}
    for prefix, scale in (
        ("cond_stage_model.transformer.", 0.18215),
        ("conditioner.embedders.0.transformer.", 0.13025),
    ):
        words = {prefix + name: tensor for name, tensor in text.state_dict().items()}
        path = write(tmp_path / "a.safetensors", named | words | rest)
        assert {f.name for f in candidates(header(path))} == {"unet", "autoencoder-kl", "clip-text"}
        assert same(load(path, family="unet", config=TINY).state_dict(), painter.state_dict())
        assert same(load(path, family="clip-text").state_dict(), text.state_dict())
        back = load(path, family="autoencoder-kl")
        assert same(back.state_dict(), codec.state_dict()) and back.config.scaling_factor == scale


def test_every_family_is_known_by_its_own_network():
    networks = {"unet", "drafted-unet", "pixel-unet", "score-unet", "autoencoder-kl", "mmdit", "vae", "pixelcnn"}
    networks |= {
        "residual-unet",
        "controlnet",
        "controlnet-union",
        "controlnet-mmdit",
        "t2i-adapter",
        "ip-adapter",
        "stylegan2",
        "stylegan2-discriminator",
        "biggan",
        "biggan-discriminator",
        "cyclegan",
        "patchgan",
        "rrdb",
        "srvgg",
    }
    networks |= {"gfpgan", "restorer", "depth-anything", "depth-unet"}
    networks |= {"face-finder", "face-landmarks", "face-recogniser", "image-tower", "eva-vision"}
    assert set(names()) == networks | {"clip", "clip-text", "clip-vision", "t5"}
    assert all(of(cls(config)).classes()[0] is cls for cls, config in (*BLIND, *STATED))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_set_of_shapes_ends_in_a_config_or_in_a_clear_refusal(data):
    cls, config = data.draw(st.sampled_from(BLIND))
    with torch.device("meta"):
        head = on_paper(cls(config).state_dict())
    tensors = dict(head.tensors)
    for name in data.draw(st.lists(st.sampled_from(sorted(tensors)), max_size=4)):
        shape = data.draw(st.none() | st.lists(st.integers(0, 4), max_size=4).map(tuple))
        if shape is None:
            tensors.pop(name, None)
        else:
            tensors[name] = Spec(dtype="F16", shape=shape, start=0, stop=0)
    said = data.draw(st.sampled_from(["{}", "[]", "null", "{", '{"patch": -1}', '{"hidden_act": 3}', '{"x": 1}']))
    head = replace(head, tensors=tensors, metadata={CONFIG_KEY: said})
    try:
        assert find(head).config(head) is not None
    except DanqingError as error:
        assert "paper.safetensors" in str(error)


def test_reading_a_header_and_choosing_a_family_reads_no_data(tmp_path):
    path = save(network(UNet, TINY), tmp_path / "a.safetensors")
    start = path.stat().st_size - sum(t.nbytes for t in read(path).values())
    whole = path.read_bytes()
    path.write_bytes(whole[:start] + bytes(len(whole) - start))
    head = header(path)
    assert find(head).config(head) == TINY
    assert next(iter(FAMILIES.values())).name == "unet"
