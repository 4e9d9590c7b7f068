"""The networks inside a single file of Stable Diffusion, each behind a prefix."""

from __future__ import annotations

from ..family import Family, inside, placed
from .autoencoder_kl import AUTOENCODER_LDM, sdxl_autoencoder_facts
from .clip import CLIP_TEXT, CLIP_TEXT_5, CLIP_TEXT_OPEN
from .mmdit import MMDIT_SD3
from .t5 import T5
from .unet import UNET_LDM

SINGLE_FILE: tuple[Family, ...] = (
    placed(UNET_LDM, "denoiser", "model.diffusion_model."),
    placed(MMDIT_SD3, "denoiser", "model.diffusion_model."),
    placed(
        AUTOENCODER_LDM,
        "codec",
        "first_stage_model.",
        layout="a single file of SDXL",
        infer=sdxl_autoencoder_facts,
        detect=lambda keys: (
            inside("first_stage_model.", AUTOENCODER_LDM.detect)(keys)
            and any(name.startswith("conditioner.embedders.") for name in keys)
        ),
    ),
    placed(AUTOENCODER_LDM, "codec", "first_stage_model."),
    placed(CLIP_TEXT, "text", "cond_stage_model.transformer."),
    placed(CLIP_TEXT_5, "text", "cond_stage_model.transformer.", layout="a single file of transformers 5"),
    placed(CLIP_TEXT_OPEN, "text", "cond_stage_model.model.", layout="a single file of SD2"),
    placed(CLIP_TEXT, "text", "conditioner.embedders.0.transformer.", layout="a single file of SDXL"),
    placed(CLIP_TEXT_OPEN, "text_2", "conditioner.embedders.1.model.", layout="a single file of SDXL"),
    placed(CLIP_TEXT_OPEN, "text", "conditioner.embedders.0.model.", layout="a single file of SDXL's refiner"),
    placed(CLIP_TEXT, "text", "text_encoders.clip_l.transformer.", layout="a single file of SD3"),
    placed(CLIP_TEXT, "text_2", "text_encoders.clip_g.transformer.", layout="a single file of SD3"),
    placed(T5, "text_3", "text_encoders.t5xxl.transformer.", layout="a single file of SD3"),
)
