"""Models of other programs, described as ours are: a single file, or a folder of diffusers. Needs no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InvalidFile
from ..weights import kinds, store
from ..weights.facts import Shapes, count
from .model import Component, Model

#: Ends of the files that hold a whole model.
ENDS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
#: What a single file that was made here says of its networks' configs, as JSON: part -> fields.
CONFIGS_KEY = "danqing.configs"
BETAS = {"kind": "scaled-linear", "start": 0.00085, "end": 0.012}


class Habit(NamedTuple):
    """How a published model is used.

    Args:
        text: how its text is read, one of `danqing.painting.text.TEXTS`.
        needs: its parts.
        schedule: what it was trained with.
        defaults: of a request.
        optional: parts that it paints without.
        multiple: sizes in pixels are multiples of it.
    """

    text: str
    needs: tuple[str, ...]
    schedule: Mapping[str, Any]
    defaults: Mapping[str, Any]
    optional: tuple[str, ...] = ()
    multiple: int = 8


def _sized(side: int, **more: Any) -> dict[str, Any]:
    return {"width": side, "height": side, "steps": 25, "solver": "dpmpp-2m", "spacing": "karras", "scale": 7.0, **more}


def _sd3(**more: Any) -> Habit:
    defaults = _sized(1024, **{"steps": 28, "solver": "euler", "spacing": "linspace", "clip_skip": 2, **more})
    return Habit(
        "sd3",
        ("denoiser", "codec"),
        {"kind": "flow", "shift": 3.0},
        defaults,
        ("text", "text_2", "text_3"),
        multiple=16,
    )


#: By the names of `danqing.weights.kinds.Kind`. Scales and steps are those that the models were published with.
HABITS: Mapping[str, Habit] = {
    "SD1.x": Habit("clip", ("denoiser", "codec", "text"), BETAS, _sized(512, clip_skip=1)),
    "SD2.x": Habit("openclip", ("denoiser", "codec", "text"), BETAS, _sized(768, clip_skip=1)),
    "SDXL": Habit("sdxl", ("denoiser", "codec", "text", "text_2"), BETAS, _sized(1024, scale=5.0, clip_skip=2)),
    "SDXL refiner": Habit(
        "sdxl-refiner", ("denoiser", "codec", "text"), BETAS, _sized(1024, scale=5.0, clip_skip=2, strength=0.3)
    ),
    "SD3 medium": _sd3(scale=7.0),
    "SD3.5 medium": _sd3(scale=4.5, steps=40),
    "SD3.5 large": _sd3(scale=3.5),
}


#: Denoisers that read the picture beside the noise paint it wholly anew.
STRENGTHS = {"instruct-pix2pix": {"strength": 1.0}}


def is_foreign(path: Path) -> bool:
    """Whether a path is a model of another program, by its name alone."""
    # Of os.path, which takes a name that is too long for one that is not there.
    return (path.name.endswith(ENDS) and os.path.isfile(path)) or os.path.isfile(path / "model_index.json")


def describe(path: Path) -> Model:
    """What a single file or a folder of diffusers holds.

    Raises:
        InvalidFile: it is damaged, of no model that is known here, or lacks a part.
    """
    return _folder(path) if path.is_dir() else _single(path)


# ------------------------------------------------------------------------------------------------------ a single file


def _single(path: Path) -> Model:
    header = store.header(path)
    kind = kinds.kind(header)
    habit = HABITS[kind.model]
    _complete(path, kind.model, habit, kind.networks)
    pieces = vocabulary(path.parent)
    known = [part for part in (*habit.needs, *habit.optional) if part != "text_3" or pieces]
    said = _configs(path, header.metadata.get(CONFIGS_KEY, "{}"))
    parts = {
        part: Component(family=f.name, file=path.name, part=f.part, config=said.get(part, {}))
        for part, f in kind.networks.items()
        if part in known
    }
    defaults, prediction = dict(habit.defaults), kind.prediction
    if kind.model == "SD2.x":
        # OpenCLIP's file holds the last layer, which SD2 was trained without.
        deep = count(header.tensors, "cond_stage_model.model.transformer.resblocks.{}.ln_1.weight")
        defaults |= {"clip_skip": 2 if deep == 24 else 1}
    defaults |= STRENGTHS.get(kind.task, {})
    return Model(
        folder=path.parent,
        source=str(path),
        name=path.name.removesuffix(path.suffix),
        components=parts,
        tokenizer=pieces,
        schedule={**habit.schedule, **({"zero_snr": True} if kind.zero_snr else {})},
        prediction=prediction,
        text={"kind": habit.text},
        task=kind.task,
        multiple=habit.multiple,
        summary=f"{' '.join(filter(None, (kind.model, kind.task)))}, a single file",
        licence=header.metadata.get("modelspec.license", "as its author says"),
        defaults=defaults,
    )


def _configs(path: Path, text: str) -> dict[str, dict[str, Any]]:
    try:
        said = json.loads(text)
        return {str(part): dict(config) for part, config in said.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidFile(f"{path} has no configs in its metadata {CONFIGS_KEY!r}: {error}. Convert it anew") from None


def vocabulary(folder: Path) -> dict[str, str]:
    """Where T5's vocabulary lies in a model's folder; {} where it does not, and then its T5 is not loaded."""
    for name in ("tokenizer_3/tokenizer.json", "tokenizer_3/spiece.model", "spiece.model"):
        if (folder / name).is_file():
            return {"file": name}
    return {}


def _complete(path: Path, model: str, habit: Habit, given: Mapping[str, Any]) -> None:
    lacking = [part for part in habit.needs if part not in given]
    if lacking:
        raise InvalidFile(
            f"{path} is the {', '.join(given) or 'nothing'} of {model}, and lacks its {', '.join(lacking)}: use "
            "the file of the whole"
            " model, or its folder of diffusers"
        )


# ------------------------------------------------------------------------------------------------ a folder of diffusers

#: Our parts by the folders of diffusers.
FOLDERS = {
    "denoiser": ("unet", "transformer"),
    "codec": ("vae",),
    "text": ("text_encoder",),
    "text_2": ("text_encoder_2",),
    "text_3": ("text_encoder_3",),
}
FAMILIES = {
    "UNet2DConditionModel": "unet",
    "SD3Transformer2DModel": "mmdit",
    "AutoencoderKL": "autoencoder-kl",
    "CLIPTextModel": "clip-text",
    "CLIPTextModelWithProjection": "clip-text",
    "T5EncoderModel": "t5",
}
#: Files of a network, the best first; a name with a variant comes after those without.
FILES = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.*.safetensors",
    "model.*.safetensors",
    "*.safetensors.index.*.json",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
)
CURVES = {"scaled_linear": "scaled-linear", "linear": "linear", "squaredcos_cap_v2": "cosine"}
MEANINGS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0", "flow_prediction": "flow"}


def _json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InvalidFile(f"cannot read {path}: {error}. Copy or download the folder again") from None
    if not isinstance(said, dict):
        raise InvalidFile(f"{path} should hold an object of JSON: copy or download the folder again")
    return said


def _unet(said: Mapping[str, Any]) -> dict[str, Any]:
    levels = len(said.get("block_out_channels", (0,) * 4))
    heads = said.get("num_attention_heads") or said.get(
        "attention_head_dim", 8
    )  # the second counts heads, its name notwithstanding
    return {"attention_heads": [heads] * levels if isinstance(heads, int) else heads} | _kept(said, "norm_num_groups")


def _clip(said: Mapping[str, Any]) -> dict[str, Any]:
    found = _kept(said, "num_attention_heads", "hidden_act", "layer_norm_eps", "eos_token_id")
    if found.get("eos_token_id") == 2:  # published so by mistake; the highest id is meant
        del found["eos_token_id"]
    return found


def _kept(said: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: said[name] for name in names if said.get(name) is not None}


#: What of a config.json the shapes do not tell, in our names.
STATED: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "unet": _unet,
    "mmdit": lambda said: _kept(said, "num_attention_heads", "attention_head_dim", "sample_size"),
    "autoencoder-kl": lambda said: _kept(said, "norm_num_groups", "scaling_factor", "shift_factor"),
    "clip-text": _clip,
    "t5": lambda said: _kept(said, "layer_norm_epsilon", "relative_attention_max_distance"),
}


def _folder(path: Path) -> Model:
    index = _json(path / "model_index.json")
    parts = {}
    for part, folders in FOLDERS.items():
        folder = next((path / name for name in folders if (path / name).is_dir()), None)
        if folder is None:
            continue
        said = _json(folder / "config.json")
        name = said.get("_class_name") or next(iter(said.get("architectures", ())), "")
        if name not in FAMILIES:
            raise InvalidFile(f"{folder} holds a {name or 'network without a name'}; known are {', '.join(FAMILIES)}")
        family = FAMILIES[name]
        parts[part] = Component(family=family, file=str(_file(folder).relative_to(path)), config=STATED[family](said))
    for part in ("denoiser", "codec"):
        if part not in parts:
            raise InvalidFile(f"{path} holds no {' or '.join(FOLDERS[part])}: copy or download the folder again")
    header = store.header(path / parts["denoiser"].file)
    model, task = _model(header.shapes, parts)
    habit = HABITS[model]
    if model == "SDXL refiner" and "text_2" in parts:  # its one tower, which diffusers counts as the second
        parts["text"] = parts.pop("text_2")
    _complete(path, model, habit, parts)
    scheduler = path / "scheduler" / "scheduler_config.json"
    schedule, prediction = _schedule(_json(scheduler) if scheduler.is_file() else {}, habit)
    pieces = vocabulary(path)
    if "text_3" in parts and not pieces:
        del parts["text_3"]
    side = _json(path / (parts["denoiser"].file.split(os.sep)[0]) / "config.json").get("sample_size")
    defaults = dict(habit.defaults)
    if model == "SD2.x" and isinstance(side, int):
        defaults |= {"width": 8 * side, "height": 8 * side}
    defaults |= STRENGTHS.get(task, {})
    return Model(
        folder=path,
        source=str(path),
        name=path.name,
        components=parts,
        tokenizer=pieces,
        schedule=schedule,
        prediction=prediction,
        text={"kind": habit.text},
        task=task,
        multiple=habit.multiple,
        summary=f"{' '.join(filter(None, (model, task)))}, a folder of {index.get('_class_name', 'diffusers')}",
        licence="as its author says",
        defaults=defaults,
    )


def _file(folder: Path) -> Path:
    """The file of a network in its folder."""
    for pattern in FILES:
        if found := sorted(folder.glob(pattern)):
            return found[0]
    raise InvalidFile(f"{folder} holds no weights: possible are {', '.join(FILES[:4])}")


def _model(shapes: Shapes, parts: Mapping[str, Component]) -> tuple[str, str]:
    """Model and task, by the parts and the channels of the denoiser."""
    if parts["denoiser"].family == "mmdit":
        blocks = count(shapes, "transformer_blocks.{}.attn.to_q.weight")
        dual = "transformer_blocks.0.attn2.to_q.weight" in shapes
        return "SD3.5 medium" if dual else "SD3.5 large" if blocks == 38 else "SD3 medium", ""
    task = kinds.TASKS.get(shapes["conv_in.weight"][1], "")
    if "add_embedding.linear_1.weight" in shapes:
        return ("SDXL" if "text" in parts else "SDXL refiner"), task
    linear = any(name.endswith("attentions.0.proj_in.weight") and len(shape) == 2 for name, shape in shapes.items())
    return ("SD2.x" if linear else "SD1.x"), task


def _schedule(said: Mapping[str, Any], habit: Habit) -> tuple[dict[str, Any], str]:
    """Schedule and prediction by a scheduler_config.json, else by habit."""
    if habit.schedule["kind"] == "flow":
        return {"kind": "flow", "shift": float(said.get("shift", habit.schedule["shift"]))}, "flow"
    curve = CURVES.get(said.get("beta_schedule", "scaled_linear"))
    if curve is None:
        raise InvalidFile(f"the scheduler's beta_schedule is {said['beta_schedule']!r}; known are {', '.join(CURVES)}")
    schedule: dict[str, Any] = {"kind": curve}
    if curve != "cosine":
        schedule |= {"start": said.get("beta_start", BETAS["start"]), "end": said.get("beta_end", BETAS["end"])}
    if said.get("num_train_timesteps", 1000) != 1000:
        schedule["count"] = said["num_train_timesteps"]
    if said.get("rescale_betas_zero_snr"):
        schedule["zero_snr"] = True
    meaning = MEANINGS.get(said.get("prediction_type", "epsilon"))
    if meaning is None:
        raise InvalidFile(
            f"the scheduler's prediction_type is {said['prediction_type']!r}; known are {', '.join(MEANINGS)}"
        )
    return schedule, meaning
