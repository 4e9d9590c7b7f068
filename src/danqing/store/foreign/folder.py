"""A folder of diffusers: its networks, and what its configs say of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ...errors import InvalidFile, InvalidInput
from ...weights import kinds, store
from ...weights.facts import Shapes, count
from ..model import Component, Model
from . import fields
from .beside import Stated
from .habits import BETAS, HABITS, SIGMAS, STRENGTHS, Habit
from .single import vocabulary
from .words import PADS, Words, words_of

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
#: A file of a network's weights: name, variant, which of how many, format. Either place of the variant occurs.
WEIGHTS = re.compile(
    r"(?P<stem>diffusion_pytorch_model|model|pytorch_model)(?:\.(?P<variant>[\w-]+?))?(?:-\d{5}-of-\d{5})?(?:\.(?P<late>[\w-]+))?"
    r"\.(?P<format>safetensors|bin)(?P<index>\.index(?:\.(?P<later>[\w-]+))?\.json)?"
)
PIECE = re.compile(r"-\d{5}-of-\d{5}|\.index\.")
#: A pipeline's class, and the models that it is of.
CLASS = re.compile(r"StableDiffusion(XL|3|)(?:Img2Img|Inpaint|InstructPix2Pix)?Pipeline")
PIPELINES = {"": ("SD1", "SD2"), "XL": ("SDXL",), "3": ("SD3",)}
CURVES = {"scaled_linear": "scaled-linear", "linear": "linear", "squaredcos_cap_v2": "cosine"}
MEANINGS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0", "flow_prediction": "flow"}
#: What a network of Karras et al. predicts, by the deviation of its data and by its scheduler's word.
EDM = {(0.5, "epsilon"): "edm", (1.0, "v_prediction"): "edm-v"}


def snapshot(path: Path) -> Path:
    """The folder of a model in the cache of the hub (models--OWNER--NAME), which holds one for each revision; any other
    path is itself.

    Raises:
        InvalidInput: it holds several, and none is the main one.
    """
    inside = path / "snapshots"
    if not os.path.isdir(inside):
        return path
    found = sorted(child for child in inside.iterdir() if child.is_dir())
    main = path / "refs" / "main"
    named = inside / main.read_text(encoding="utf-8").strip() if main.is_file() else path
    if named in found or len(found) == 1:
        return named if named in found else found[0]
    shown = ", ".join(child.name for child in found) or "none"
    raise InvalidInput(f"{path} is the hub's cache of a model, and holds the revisions {shown}: name the folder of one")


# ------------------------------------------------------------------------------------------------------------- weights


def variants(names: Collection[str]) -> dict[tuple[str, str], list[str]]:
    """The files of one network's weights, by their format and their variant."""
    sets: dict[tuple[str, str], list[str]] = {}
    for name in sorted(names):
        if match := WEIGHTS.fullmatch(name):
            called = match["variant"] or match["late"] or match["later"] or ""
            sets.setdefault((match["format"], called), []).append(name)
    return {key: files for key, files in sets.items() if any(not name.endswith(".json") for name in files)}


def preferred(sets: Collection[tuple[str, str]], variant: str = "") -> tuple[str, str] | None:
    """Which of them is taken: safetensors before pickles, of each the variant that is wanted, then the plain one, then
    half precision, then any."""
    every = sorted({called for _, called in sets})
    order = ((form, called) for form in ("safetensors", "bin") for called in (variant, "", "fp16", *every))
    return next((key for key in order if key in sets), None)


def whole(files: Collection[str]) -> list[str]:
    """One whole file where the same weights are there in pieces too."""
    return [name for name in files if not PIECE.search(name)][:1] or list(files)


def _file(folder: Path) -> Path:
    """The file of a network in its folder, or the index of its pieces."""
    sets = variants([file.name for file in folder.iterdir()])
    key = preferred(sets)
    if key is None:
        raise InvalidFile(
            f"{folder} holds no weights: possible are model.safetensors, diffusion_pytorch_model.safetensors, these as "
            ".bin, each also with a variant such as .fp16 before its ending"
        )
    files = whole(sets[key])
    return folder / next((name for name in files if name.endswith(".json")), files[0])


# ------------------------------------------------------------------------------------------------------------- configs


def json_of(path: Path) -> dict[str, Any]:
    """What a config says.

    Raises:
        InvalidFile: it cannot be read, or holds no object.
    """
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
    told = {name: said[name] for name in ("in_channels", "out_channels") if isinstance(said.get(name), int)}
    if isinstance(said.get("cross_attention_dim"), int):
        told["cross_attention_dim"] = said["cross_attention_dim"]
    return {"attention_heads": [heads] * levels if isinstance(heads, int) else heads, **told} | _kept(
        said, "norm_num_groups"
    )


def _clip(said: Mapping[str, Any]) -> dict[str, Any]:
    found = _kept(said, "num_attention_heads", "hidden_act", "layer_norm_eps", "eos_token_id")
    if found.get("eos_token_id") == 2:  # published so by mistake; the highest id is meant
        del found["eos_token_id"]
    return found


def _kept(said: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: said[name] for name in names if said.get(name) is not None}


CODEC = ("norm_num_groups", "scaling_factor", "shift_factor", "latents_mean", "latents_std")
#: What of a config.json is stated, in our names: what the shapes do not tell, and what they are to be held to.
STATED: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "unet": _unet,
    "mmdit": lambda said: _kept(said, "num_attention_heads", "attention_head_dim", "sample_size"),
    "autoencoder-kl": lambda said: _kept(said, *CODEC),
    "clip-text": _clip,
    "t5": lambda said: _kept(said, "layer_norm_epsilon", "relative_attention_max_distance"),
}


def read(path: Path) -> tuple[Model, str, tuple[str, ...]]:
    """What a folder holds, the model that it is of, and the parts that this needs.

    Raises:
        InvalidFile: a config or a file cannot be read, or is of no kind that is known here; or the folder has a
            pipeline of its own.
    """
    index = json_of(path / "model_index.json")
    if isinstance(index.get("_class_name"), list):
        raise InvalidFile(
            f"{path} is painted by a pipeline that lies in it as code, {index['_class_name'][0]}.py, which is not run "
            "here: paint with the model that the folder was made from"
        )
    warnings = list(fields.INDEX.unread("model_index.json", index))
    parts: dict[str, Component] = {}
    for part, folders in FOLDERS.items():
        folder = next((path / name for name in folders if (path / name).is_dir()), None)
        if folder is not None:
            said = json_of(folder / "config.json")
            parts[part] = _component(path, folder, said)
            warnings += fields.NETWORKS[parts[part].family].unread(f"{folder.name}/config.json", said)
    if "denoiser" not in parts:
        raise InvalidFile(f"{path} holds no {' or '.join(FOLDERS['denoiser'])}: copy or download the folder again")
    words, more = words_of(path)
    model, task = _model(store.header(path / parts["denoiser"].file).shapes, parts, words)
    habit = HABITS[model]
    filling, odd = _filling(words, habit)
    odd += _pipeline(str(index.get("_class_name") or ""), model)
    if model == "SDXL refiner" and "text_2" in parts:  # its one tower, which diffusers counts as the second
        parts["text"] = parts.pop("text_2")
    scheduler = path / "scheduler" / "scheduler_config.json"
    said, spacing = _schedule(json_of(scheduler) if scheduler.is_file() else {}, habit)
    pieces = vocabulary(path)
    if "text_3" in parts and not pieces:
        del parts["text_3"]
    found = Model(
        folder=path,
        source=str(path),
        name=path.name,
        components=parts,
        tokenizer={**pieces, **filling, **({"words": dict(words.added)} if words.added else {})},
        schedule=said.schedule,
        prediction=said.prediction,
        text={"kind": habit.text},
        task=task,
        multiple=habit.multiple,
        summary=f"{' '.join(filter(None, (model, task)))}, a folder of {index.get('_class_name', 'diffusers')}",
        licence="as its author says",
        defaults=_defaults(path, model, habit, parts) | spacing | STRENGTHS.get(task, {}),
        warnings=(*warnings, *said.warnings, *more, *odd),
    )
    return found, model, habit.needs


def _pipeline(name: str, model: str) -> tuple[str, ...]:
    """A warning where the class of a folder's pipeline is of another model than its networks, or of none known here."""
    match = CLASS.fullmatch(name)
    if not name or (match and model.startswith(PIPELINES[match[1]])):
        return ()
    return (f"model_index.json says {name:.60}, and the networks are painted with as those of {model}.",)


def _component(path: Path, folder: Path, said: Mapping[str, Any]) -> Component:
    name = said.get("_class_name") or next(iter(said.get("architectures") or ()), "")
    if name not in FAMILIES:
        raise InvalidFile(f"{folder} holds a {name or 'network without a name'}; known are {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    return Component(family=family, file=str(_file(folder).relative_to(path)), config=STATED[family](said))


def _filling(words: Words, habit: Habit) -> tuple[dict[str, int], tuple[str, ...]]:
    """What fills the window of a prompt, where the tokenizer says another word than is usual; where that cannot be
    done, a warning."""
    usual = "!" if habit.text == "openclip" else "<|endoftext|>"
    if words.pad in ("", usual) or habit.text == "sdxl-refiner":
        return {}, ()
    if words.pad in PADS and habit.text in ("clip", "openclip"):
        return {"pad": PADS[words.pad]}, ()
    return {}, (f"the tokenizer fills prompts with {words.pad!r:.40}, and here {usual!r} does, as is usual.",)


def _defaults(path: Path, model: str, habit: Habit, parts: Mapping[str, Component]) -> dict[str, Any]:
    side = json_of(path / (parts["denoiser"].file.split(os.sep)[0]) / "config.json").get("sample_size")
    sized = {"width": 8 * side, "height": 8 * side} if model == "SD2.x" and isinstance(side, int) else {}
    return {**habit.defaults, **sized}


def _model(shapes: Shapes, parts: Mapping[str, Component], words: Words) -> tuple[str, str]:
    """Model and task, by what the denoiser reads: channels, summaries and text; of a width of text that was not
    published, by what fills the window of its words."""
    if parts["denoiser"].family == "mmdit":
        blocks = count(shapes, "transformer_blocks.{}.attn.to_q.weight")
        dual = "transformer_blocks.0.attn2.to_q.weight" in shapes
        return "SD3.5 medium" if dual else "SD3.5 large" if blocks == 38 else "SD3 medium", ""
    task = kinds.TASKS.get(shapes.get("conv_in.weight", (0, 0))[1], "")
    if "add_embedding.linear_1.weight" in shapes:
        return ("SDXL" if "text" in parts else "SDXL refiner"), task
    width = next((shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")), 0)
    usual = "SD2.x" if words.pad == "!" else "SD1.x"
    return {768: "SD1.x", 1024: "SD2.x"}.get(width, usual), task


def _schedule(said: Mapping[str, Any], habit: Habit) -> tuple[Stated, dict[str, Any]]:
    """What a scheduler_config.json says of schedule and prediction, else what is usual; and of a request's defaults."""
    name = said.get("_class_name", "DDIMScheduler")
    warnings = fields.SCHEDULER.unread("scheduler_config.json", said)
    if name not in fields.SAMPLERS:
        warnings += (
            f"the model is made to be sampled by diffusers' {name}, which is not known here: its own number of steps "
            "and scale may be needed.",
        )
    if name.startswith("EDM"):
        schedule, prediction = _sigmas(said)
    elif habit.schedule["kind"] == "flow":
        schedule, prediction = {"kind": "flow", "shift": float(said.get("shift", habit.schedule["shift"]))}, "flow"
    else:
        schedule, prediction = _betas(said)
    # Of the spacings that a scheduler states, only this one is more than its class's habit.
    spacing = {"spacing": "trailing"} if said.get("timestep_spacing") == "trailing" else {}
    return Stated(schedule=schedule, prediction=prediction, warnings=warnings), spacing


def _sigmas(said: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Those of Karras et al., whose networks are told the noise itself."""
    given = (said.get("sigma_data", 0.5), said.get("prediction_type", "epsilon"))
    if given not in EDM:
        raise InvalidFile(
            f"the scheduler's sigma_data and prediction_type are {given}; known are {', '.join(map(str, EDM))}"
        )
    return {"kind": "edm"} | {name: said.get(name, SIGMAS[name]) for name in ("sigma_min", "sigma_max")}, EDM[given]


def _betas(said: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
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
    if meaning == "flow":
        return {"kind": "flow", "shift": float(said.get("flow_shift") or 1.0)}, meaning
    return schedule, meaning
