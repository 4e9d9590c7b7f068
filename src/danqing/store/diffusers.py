"""A model in the layouts of other programs: the names of a single file, and what stands beside the weights in a folder
of diffusers.

Source: the configs of the published folders and huggingface/diffusers' loaders/single_file_utils.py, which reads the
single files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from ..errors import InvalidInput
from ..nets import autoencoder_kl, mmdit, unet
from ..nets.autoencoder_kl import AutoencoderKLConfig
from ..nets.clip import CLIPTextConfig
from ..nets.mmdit import MMDiTConfig
from ..nets.t5 import T5Config
from ..nets.unet import UNetConfig
from ..weights.layouts import ldm, openclip, sd3
from ..weights.layouts.keymap import IDENTITY, KeyMap
from .model import Model
from .tensors import Part

#: The version of diffusers whose fields these are.
VERSION = "0.35.0"

# ------------------------------------------------------------------------------------------------------ a single file


def _unet(config: UNetConfig) -> KeyMap:
    """A UNet's map, by the names that choose it: its blocks, where they change the resolution, where they attend."""
    levels, steps = len(config.block_out_channels), config.layers_per_block + 1
    shapes: dict[str, tuple[int, ...]] = {f"input_blocks.{n}.0": () for n in range(levels * steps)}
    shapes |= {f"input_blocks.{n * steps}.0.op.weight": () for n in range(1, levels)}
    for i, depth in enumerate(reversed(config.transformer_layers)):
        shapes |= {f"output_blocks.{i * steps + j}.1.norm.weight": () for j in range(steps) if depth}
    return ldm.unet(shapes)


def _mmdit(config: MMDiTConfig) -> KeyMap:
    return sd3.mmdit({f"joint_blocks.{i}.x_block.attn.qkv.weight": () for i in range(config.num_layers)})


def _autoencoder(config: AutoencoderKLConfig) -> KeyMap:
    return ldm.autoencoder({f"decoder.up.{i}.block.0.norm1.weight": () for i in range(len(config.block_out_channels))})


OPENCLIP = KeyMap((openclip.TEXT,), openclip.CUTS)
#: Family -> prefix and map of its names, for the networks that lie alike in all single files.
NETWORKS: Mapping[str, tuple[str, Callable[[Any], KeyMap]]] = {
    "unet": ("model.diffusion_model.", _unet),
    "mmdit": ("model.diffusion_model.", _mmdit),
    "autoencoder-kl": ("first_stage_model.", _autoencoder),
}
#: Kind of text -> part -> prefix and map.
TOWERS: Mapping[str, Mapping[str, tuple[str, KeyMap]]] = {
    "clip": {"text": ("cond_stage_model.transformer.", IDENTITY)},
    "openclip": {"text": ("cond_stage_model.model.", OPENCLIP)},
    "sdxl": {
        "text": ("conditioner.embedders.0.transformer.", IDENTITY),
        "text_2": ("conditioner.embedders.1.model.", OPENCLIP),
    },
    "sdxl-refiner": dict.fromkeys(("text", "text_2"), ("conditioner.embedders.0.model.", OPENCLIP)),
    "sd3": {
        "text": ("text_encoders.clip_l.transformer.", IDENTITY),
        "text_2": ("text_encoders.clip_g.transformer.", IDENTITY),
        "text_3": ("text_encoders.t5xxl.transformer.", IDENTITY),
    },
}


def placed(model: Model, role: str, part: Part) -> tuple[str, KeyMap]:
    """The prefix and the map of a network in a single file.

    Raises:
        InvalidInput: single files of this kind hold no such network.
    """
    kind = model.text.get("kind", "clip")
    if role in TOWERS.get(kind, {}):
        return TOWERS[kind][role]
    if part.family not in NETWORKS:
        raise InvalidInput(f"{model.name}: no single file holds a {part.family} as its {role}")
    prefix, keymap = NETWORKS[part.family]
    return prefix, keymap(part.config)


# ------------------------------------------------------------------------------------------------ a folder of diffusers


class Place(NamedTuple):
    """Where a network lies in a folder of diffusers, and which class reads it."""

    folder: str
    library: str
    cls: str


class Pipeline(NamedTuple):
    """The folder of a kind of model.

    Args:
        classes: task -> the pipeline's class.
        towers: part -> place.
        absent: components that are not written.
        more: further fields of model_index.json.
        pads: the words that fill the window, by tokenizer.
    """

    classes: Mapping[str, str]
    towers: Mapping[str, Place]
    absent: tuple[str, ...]
    more: Mapping[str, Any]
    pads: Mapping[str, str]


def _tower(number: str = "", cls: str = "CLIPTextModel") -> Place:
    return Place(f"text_encoder{number}", "transformers", cls)


PROJECTED = "CLIPTextModelWithProjection"
TASKS = {
    "": "StableDiffusionPipeline",
    "inpainting": "StableDiffusionInpaintPipeline",
    "instruct-pix2pix": "StableDiffusionInstructPix2PixPipeline",
}
END, ZERO = "<|endoftext|>", "!"
UNCHECKED = ("safety_checker", "feature_extractor", "image_encoder")
PIPELINES: Mapping[str, Pipeline] = {
    "clip": Pipeline(TASKS, {"text": _tower()}, UNCHECKED, {"requires_safety_checker": False}, {"tokenizer": END}),
    "openclip": Pipeline(TASKS, {"text": _tower()}, UNCHECKED, {"requires_safety_checker": False}, {"tokenizer": ZERO}),
    "sdxl": Pipeline(
        {task: name.replace("Diffusion", "DiffusionXL") for task, name in TASKS.items()},
        {"text": _tower(), "text_2": _tower("_2", PROJECTED)},
        ("feature_extractor", "image_encoder"),
        {"force_zeros_for_empty_prompt": True},
        {"tokenizer": END, "tokenizer_2": ZERO},
    ),
    "sdxl-refiner": Pipeline(
        {"": "StableDiffusionXLImg2ImgPipeline"},
        dict.fromkeys(("text", "text_2"), _tower("_2", PROJECTED)),
        ("text_encoder", "tokenizer", "feature_extractor", "image_encoder"),
        {"force_zeros_for_empty_prompt": False, "requires_aesthetics_score": True},
        {"tokenizer_2": ZERO},
    ),
    "sd3": Pipeline(
        {"": "StableDiffusion3Pipeline"},
        {"text": _tower("", PROJECTED), "text_2": _tower("_2", PROJECTED), "text_3": _tower("_3", "T5EncoderModel")},
        (
            *(f"{what}{n}" for what in ("text_encoder", "tokenizer") for n in ("", "_2", "_3")),
            "feature_extractor",
            "image_encoder",
        ),
        {},
        {"tokenizer": END, "tokenizer_2": ZERO},
    ),
}
PLACES = {
    "unet": Place("unet", "diffusers", "UNet2DConditionModel"),
    "mmdit": Place("transformer", "diffusers", "SD3Transformer2DModel"),
    "autoencoder-kl": Place("vae", "diffusers", "AutoencoderKL"),
}


def pipeline(model: Model) -> Pipeline:
    """The folder that diffusers reads a model from.

    Raises:
        InvalidInput: it has no pipeline for such a model.
    """
    kind = model.text.get("kind", "clip")
    if kind not in PIPELINES or model.tokenizer.get("kind", "clip") != "clip":
        raise InvalidInput(f"{model.name} reads its prompts in a way of its own: no other program can paint with it")
    if model.task not in PIPELINES[kind].classes:
        raise InvalidInput(
            f"{model.name} is made for {model.task}, and the folder for that needs a network more than it holds"
        )
    return PIPELINES[kind]


def place(model: Model, role: str, part: Part) -> Place:
    """Where one of its networks lies there.

    Raises:
        InvalidInput: diffusers has no such network.
    """
    towers = pipeline(model).towers
    known = towers.get(role) or PLACES.get(part.family)
    if known is None or getattr(part.config, "patch", 1) != 1:
        raise InvalidInput(
            f"{model.name} has a {role} that no other program knows ({part.family}): it stays in danqing's own layout"
        )
    return known


def index(model: Model, places: Mapping[str, Place]) -> dict[str, Any]:
    """``model_index.json``."""
    found = pipeline(model)
    present = {one.folder: [one.library, one.cls] for one in places.values()}
    for tokenizer in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        if tokenizer.replace("tokenizer", "text_encoder") in present:
            present[tokenizer] = ["transformers", "CLIPTokenizer" if tokenizer != "tokenizer_3" else "T5TokenizerFast"]
    present["scheduler"] = ["diffusers", scheduler(model)["_class_name"]]
    absent = {name: [None, None] for name in found.absent if name not in present}
    said = {"_class_name": found.classes[model.task], "_diffusers_version": VERSION}
    return {**said, **dict(sorted({**absent, **present}.items())), **found.more}


MEANINGS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
#: Deviation of the data, and the scheduler's word, of networks that are told the noise itself.
EDM = {"edm": (0.5, "epsilon"), "edm-v": (1.0, "v_prediction")}
CURVES = {"scaled-linear": "scaled_linear", "linear": "linear", "cosine": "squaredcos_cap_v2"}


def scheduler(model: Model) -> dict[str, Any]:
    """``scheduler_config.json``.

    Raises:
        InvalidInput: diffusers has no such schedule, or it is not known what the network predicts.
    """
    said, version = dict(model.schedule), {"_diffusers_version": VERSION}
    if model.prediction in EDM:
        data, meaning = EDM[model.prediction]
        ends = {name: said[name] for name in ("sigma_min", "sigma_max")}
        return {"_class_name": "EDMEulerScheduler", **version, **ends, "sigma_data": data, "prediction_type": meaning}
    if said["kind"] == "flow":
        return {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            **version,
            "num_train_timesteps": 1000,
            "shift": said.get("shift", 1.0),
        }
    if said["kind"] not in CURVES:
        raise InvalidInput(f"{model.name} has the schedule {said['kind']!r}, which a folder of diffusers cannot say")
    if model.prediction not in MEANINGS:
        raise InvalidInput(
            f"{model.name} does not say what its network predicts, and the folder must: state --prediction v "
            "(models of 768 pixels) or"
            f" --prediction eps (of 512); what it says is {model.prediction or 'nothing'!r}"
        )
    zero = bool(said.get("zero_snr"))
    return {
        "_class_name": "EulerDiscreteScheduler",
        **version,
        "beta_schedule": CURVES[said["kind"]],
        "beta_start": said.get("start", 0.00085),
        "beta_end": said.get("end", 0.012),
        "num_train_timesteps": said.get("count", 1000),
        "prediction_type": MEANINGS[model.prediction],
        "rescale_betas_zero_snr": zero,
        "steps_offset": 1,
        "timestep_spacing": "trailing" if zero else "leading",
    }


def config(model: Model, part: Part, where: Place) -> dict[str, Any]:
    """``config.json`` of a network."""
    c = part.config
    if isinstance(c, CLIPTextConfig):
        return clip(c, where.cls)
    if isinstance(c, T5Config):
        return t5(c)
    head = {"_class_name": where.cls, "_diffusers_version": VERSION}
    if isinstance(c, UNetConfig):
        side = {"sample_size": model.defaults.get("height", 512) // 8}
        return {**head, **unet.diffusers_config(c), **side}
    if isinstance(c, MMDiTConfig):
        return {**head, **mmdit.diffusers_config(c)}
    said = {
        name: value for name, value in autoencoder_kl.diffusers_config(c).items() if name != "shift_factor" or value
    }
    return {**head, **said, "sample_size": model.defaults.get("height", 512)}


def clip(c: CLIPTextConfig, cls: str) -> dict[str, Any]:
    """Of a text tower, as transformers reads it."""
    named = {name: value for name, value in asdict(c).items() if name != "projection_dim"}
    ids = {"bos_token_id": max(c.eos_token_id - 1, 0), "pad_token_id": 1}
    width = {"projection_dim": c.projection_dim or c.hidden_size}
    return {"architectures": [cls], "model_type": "clip_text_model", **named, **ids, **width}


def t5(c: T5Config) -> dict[str, Any]:
    """Of T5's encoder, as transformers reads it."""
    fixed = {
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": True,
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }
    return {"architectures": ["T5EncoderModel"], "model_type": "t5", **asdict(c), **fixed}


def vocabulary(pad: str) -> dict[str, Any]:
    """``tokenizer_config.json`` of CLIP's words."""
    start = "<|startoftext|>"
    ends = {"bos_token": start, "eos_token": END, "unk_token": END, "pad_token": pad}
    return {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "do_lower_case": True,
        "errors": "replace",
        **ends,
    }
