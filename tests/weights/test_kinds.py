"""A single file says which published model it is, and what of it is there; all at full size, on paper."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from tests.weights.writing import OPENCLIP, OURS, ldm_autoencoder, ldm_unet, on_paper, sd3_mmdit, written

from danqing.denoise import PARAMETRISATIONS
from danqing.errors import InvalidFile
from danqing.nets import autoencoder_kl, clip, mmdit, t5, unet
from danqing.nets.autoencoder_kl import AutoencoderKL
from danqing.nets.clip import CLIPText
from danqing.nets.mmdit import MMDiT
from danqing.nets.t5 import T5
from danqing.nets.unet import UNet
from danqing.weights.kinds import MMDITS, UNETS, kind, published_kind
from danqing.weights.load import compare

DENOISER, CODEC = "model.diffusion_model.", "first_stage_model."
L = (CLIPText, clip.SD1_TEXT)
H, G, XXL = (CLIPText, clip.VIT_H_14_TEXT), (CLIPText, clip.VIT_BIGG_14_TEXT), (T5, t5.XXL)
SD_CODEC = (AutoencoderKL, autoencoder_kl.SD1)
XL_CODEC = (AutoencoderKL, replace(autoencoder_kl.SD1, scaling_factor=0.13025))
SD3_PARTS = {
    "codec": (AutoencoderKL, autoencoder_kl.SD3),
    "text": L,
    "text_2": G,
    "text_3": XXL,
}
SD3_PREFIXES = {
    "text": "text_encoders.clip_l.transformer.",
    "text_2": "text_encoders.clip_g.transformer.",
    "text_3": "text_encoders.t5xxl.transformer.",
}
#: Model, its networks by part, and the prefixes of its text encoders.
MODELS = {
    "SD1.x": ({"denoiser": (UNet, unet.SD1), "codec": SD_CODEC, "text": L}, {"text": "cond_stage_model.transformer."}),
    "SD2.x": ({"denoiser": (UNet, unet.SD2), "codec": SD_CODEC, "text": H}, {"text": "cond_stage_model.model."}),
    "SDXL": (
        {"denoiser": (UNet, unet.SDXL), "codec": XL_CODEC, "text": L, "text_2": G},
        {"text": "conditioner.embedders.0.transformer.", "text_2": "conditioner.embedders.1.model."},
    ),
    "SDXL refiner": (
        {"denoiser": (UNet, unet.SDXL_REFINER), "codec": XL_CODEC, "text": G},
        {"text": "conditioner.embedders.0.model."},
    ),
    "SD3 medium": ({"denoiser": (MMDiT, mmdit.SD3_MEDIUM), **SD3_PARTS}, SD3_PREFIXES),
    "SD3.5 medium": ({"denoiser": (MMDiT, mmdit.SD35_MEDIUM), **SD3_PARTS}, SD3_PREFIXES),
    "SD3.5 large": ({"denoiser": (MMDiT, mmdit.SD35_LARGE), **SD3_PARTS}, SD3_PREFIXES),
}


@cache
def network(cls, config) -> torch.nn.Module:
    with torch.device("meta"):
        return cls(config)


def single(name: str, parts: dict, metadata: dict | None = None):
    """The header of a single file of these networks."""
    state = {}
    for part, (cls, config) in parts.items():
        prefix = {"denoiser": DENOISER, "codec": CODEC, **MODELS[name][1]}[part]
        ldm = {UNet: ldm_unet, AutoencoderKL: ldm_autoencoder, MMDiT: sd3_mmdit}
        keymap = ldm[cls](config) if cls in ldm else OPENCLIP if prefix.endswith(".model.") else OURS
        state |= written(keymap, network(cls, config), prefix)
    return on_paper(state, metadata)


def test_every_model_is_tried():
    assert list(MODELS) == [name for name, *_ in (*UNETS, *MMDITS)]


@pytest.mark.parametrize("name", MODELS)
def test_a_published_single_file_is_known_with_all_its_networks(name):
    parts = MODELS[name][0]
    head = single(name, parts)
    found = kind(head)
    assert (found.model, found.task, found.zero_snr) == (name, "", False)
    assert found.networks.keys() == parts.keys()
    assert found.prediction in (*PARAMETRISATIONS, "") and (found.prediction == "") == (name == "SD2.x")
    for part, family in found.networks.items():
        cls, config = parts[part]
        assert family.part == part and family.config(head) == config
        wanted = {key: tuple(tensor.shape) for key, tensor in network(cls, config).state_dict().items()}
        compare(head, family, family.sources(head), wanted)  # refuses any difference
    lean = kind(single(name, {"denoiser": parts["denoiser"]}))
    assert lean.model == name and lean.networks.keys() == {"denoiser"}


def shapes(channels: int, width: int, level: int) -> dict[str, tuple[int, ...]]:
    """As much of a UNet as tells its model."""
    reader = f"{DENOISER}input_blocks.{level}.1.transformer_blocks.0.attn2.to_k.weight"
    return {DENOISER + "input_blocks.0.0.weight": (320, channels, 3, 3), reader: (320, width)}


@pytest.mark.parametrize(
    ("name", "width", "level"), [("SD1.x", 768, 2), ("SD2.x", 1024, 2), ("SDXL", 2048, 4), ("SDXL refiner", 1280, 4)]
)
def test_the_channels_tell_the_task(name, width, level):
    tasks = {4: "", 9: "inpainting", 8: "instruct-pix2pix", 5: "depth"}
    assert [published_kind(shapes(channels, width, level)) for channels in tasks] == [
        (name, task) for task in tasks.values()
    ]
    assert published_kind(shapes(7, width, level)) is None and published_kind(shapes(4, 999, level)) is None


@pytest.mark.parametrize(
    ("name", "keys", "metadata", "prediction"),
    [
        ("SD2.x", (), {}, ""),
        ("SD2.x", (), {"modelspec.architecture": "stable-diffusion-v2-768-v"}, "v"),
        ("SD2.x", (), {"modelspec.architecture": "stable-diffusion-v2-512"}, "eps"),
        ("SD2.x", (), {"modelspec.prediction_type": "v"}, "v"),
        ("SD2.x", (), {"modelspec.prediction_type": "epsilon"}, "eps"),
        ("SDXL", (), {}, "eps"),
        ("SDXL", ("v_pred", "ztsnr"), {"modelspec.prediction_type": "epsilon"}, "v"),
        ("SDXL", ("edm_mean", "edm_std"), {}, "edm"),
        ("SD1.x", (), {"modelspec.prediction_type": "v_prediction"}, "v"),
        ("SD1.x", (), {"modelspec.prediction_type": "no word of ours"}, "eps"),
    ],
)
def test_keys_and_metadata_tell_the_prediction(name, keys, metadata, prediction):
    width, level = {"SD1.x": (768, 2), "SD2.x": (1024, 2), "SDXL": (2048, 4)}[name]
    state = {
        key: torch.empty(shape, device="meta")
        for key, shape in (shapes(4, width, level) | dict.fromkeys(keys, ())).items()
    }
    found = kind(on_paper(state, metadata))
    assert found.prediction == prediction and found.zero_snr == ("ztsnr" in keys)


def test_inpainting_and_depth_of_2_predict_eps():
    for channels in (9, 5):
        state = {key: torch.empty(shape, device="meta") for key, shape in shapes(channels, 1024, 2).items()}
        assert kind(on_paper(state)).prediction == "eps"


def test_what_is_no_single_file_is_refused_with_what_is_known():
    with pytest.raises(InvalidFile, match=r"'x\.weight'.*Known are SD1\.x, SD2\.x, .*SD3\.5 large"):
        kind(on_paper({"x.weight": torch.empty(2)}))
