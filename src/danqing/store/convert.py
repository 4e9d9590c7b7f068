"""A model in another form: a single file, a folder of diffusers, a folder of ours; in another precision; without what
is not needed.

Nothing is written over before the new is whole, and no more than one tensor is in memory at a time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch

from .. import atomic
from ..errors import InvalidFile, InvalidInput, UnknownName
from ..nets.clip import CLIPText
from ..prompt.tokenize import clip_vocabulary
from ..run.quantise.quantisers import QUANTISERS
from ..weights.family import CONFIG_KEY, FAMILY_KEY
from ..weights.formats.few import QUANTISE_KEY
from ..weights.formats.format import Header
from ..weights.kinds import PREDICTION_MARKS, published_kind
from . import diffusers, library, shipped
from .diffusers import PROJECTED, Place
from .drafted import folder as drafted
from .find import find
from .foreign import read as foreign
from .foreign import single as alone
from .foreign.hand import ByHand
from .model import Model, write_model
from .tensors import Due, Part, Reader, fit, in_few, outward, parts, put, write

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
LAYOUTS = ("diffusers", "danqing")
PREDICTIONS = ("eps", "v")
#: Where the networks of a single file are; the rest of such a file is left over from its training.
INSIDE = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "conditioner.", "text_encoders.")
#: What looks as if it were inside, but is left over too: losses of the autoencoder.
OUTSIDE = ("first_stage_model.loss.",)
#: Keys without numbers that say what a model predicts and where its schedule ends.
MARKS = (*PREDICTION_MARKS, "ztsnr", "edm_std", "edm_vpred.sigma_min")
#: Copies and leftovers in files of any other kind.
LEFTOVER = re.compile(r"(model_)?ema\..*|model_ema.*|optimizer.*|lr_schedulers.*|callbacks.*|loops\..*|loss\..*")

#: The files that the description of a model's text names: what its default model learned of words and styles.
BESIDE = ("styles", "words", "vectors")
#: How many names that begin alike are listed one by one.
LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What was made.

    Args:
        path: the file or folder.
        size: its bytes.
        dropped: tensors of the source that are not in it.
        notes: what else of the source is not in it, in words.
    """

    path: Path
    size: int
    dropped: tuple[str, ...]
    notes: tuple[str, ...]


def summary(dropped: Sequence[str]) -> Iterator[str]:
    """Lines that name what was dropped: each tensor, but of many that begin alike how many there are."""
    groups: dict[str, list[str]] = {}
    for name in dropped:
        groups.setdefault(name.partition(".")[0] if "." in name else "", []).append(name)
    for start, names in groups.items():
        shown = f"{start}.* ({len(names)} tensors)" if start and len(names) > LISTED else ", ".join(names)
        yield f"dropped: {shown}"


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    dtype: str | None = None,
    layout: str | None = None,
    prune: bool = False,
    prediction: str = "",
    quantise: str = "",
    force: bool = False,
) -> Converted:
    """Write a model anew.

    Args:
        source: a file or a folder, or the name of a model in the folders of models.
        target: a file ``.safetensors``, or else a folder.
        dtype: of its real numbers, a key of `DTYPES`; as they are when not given, and those of quantised blocks as
            fp32.
        layout: of a folder, one of `LAYOUTS`; "diffusers" where not given, but "danqing" with ``quantise``.
        prune: of a file that stays a file, leave out the copies and leftovers of its training. Other conversions take
            the networks alone anyhow.
        prediction: what the network predicts, "eps" or "v", where the source does not say, or says it wrongly. The
            target says it by the marks that other programs read too.
        quantise: keep its weights in few bits, by a quantiser of `danqing.run.quantise.quantisers`; in a folder of
            ours, for no other program reads them.
        force: replace what is there: a file, or a folder that is a model.

    Raises:
        UnknownName: no such model, dtype, layout or prediction. InvalidInput: the target cannot hold such a model.
        InvalidFile: the source is damaged or lacks a part, or the target is there, perhaps since another process has
            written it meanwhile, or cannot be written.
    """
    for what, given, possible in (
        ("dtype", dtype, DTYPES),
        ("layout", layout, LAYOUTS),
        ("prediction", prediction, PREDICTIONS),
        ("quantiser", quantise, QUANTISERS),
    ):
        if given and given not in possible:
            raise UnknownName(what, given, possible)
    wanted = DTYPES[dtype] if dtype else None
    given, made = source_of(source), Path(os.path.expanduser(target))
    single = made.suffix.lower() == ".safetensors"
    if not single and made.name.lower().endswith(foreign.ENDS):
        raise InvalidInput(
            f"{made.name}: files are written as .safetensors alone, which every program reads and which cannot "
            "run anything"
        )
    quantise = "" if quantise == "none" else quantise
    layout = layout or ("danqing" if quantise else "diffusers")
    if quantise and (single or layout != "danqing"):
        raise InvalidInput(
            f"{made.name}: weights in few bits are written into a folder of danqing alone, for no other program reads "
            "them: name a folder, and --layout danqing or none"
        )
    with atomic.alone(made.resolve()):
        guard(given, made, single, force)
        if single and given.is_file():
            return _again(given, made, wanted, prune, prediction)
        model = find(given.absolute(), ByHand(prediction=prediction))
        return _anew(model, given, made, wanted, layout, quantise)


def source_of(source: str | os.PathLike[str]) -> Path:
    """The file or the folder that is meant, by its path or by its name in the folders of models.

    Raises:
        UnknownName: there is none.
    """
    given = os.fspath(source)
    path = Path(os.path.expanduser(given))
    atomic.restore(path)
    if path.exists():
        return path
    return shipped.folders().get(given) or library.locate(given)


def _anew(model: Model, given: Path, made: Path, wanted: torch.dtype | None, layout: str, quantise: str) -> Converted:
    """A model's networks, in a file by its ending or in a folder."""
    if quantise and model.quantise:
        raise InvalidInput(
            f"{model.name} keeps its weights in {model.quantise} already and is not quantised again: take the model "
            "that it was made of"
        )
    if quantise and model.core != "denoiser":
        raise InvalidInput(f"{model.name} paints without denoising and is not quantised: take a model that denoises")
    networks, left = parts(model, wanted)
    dropped = [name for name in left if name not in MARKS]
    notes = [*model.warnings, *_left_out(model, given)]
    if made.suffix.lower() == ".safetensors":
        _single(model, networks, made, notes)
    elif layout == "danqing":
        with atomic.folder(made) as folder:
            _ours(model, networks, folder, quantise)
    else:
        drafts = "denoiser" in networks and networks["denoiser"].family == drafted.FAMILY
        with atomic.folder(made) as folder:
            dropped += (drafted.write_folder if drafts else _diffusers)(model, networks, folder)
    return Converted(path=made, size=size_of(made), dropped=tuple(dropped), notes=tuple(notes))


def guard(source: Path, target: Path, single: bool, force: bool) -> None:
    """Refuse to write over what is there, or over what is no model at all."""
    atomic.restore(target)
    if not target.exists():
        return
    there, given = target.resolve(), source.resolve()
    if there.is_relative_to(given) or given.is_relative_to(there):
        raise InvalidInput(f"{target} is the source itself, or one lies in the other: choose another target")
    if single != target.is_file():
        kinds = ("folder", "file") if single else ("file", "folder")
        raise InvalidFile(f"{target} is a {kinds[0]}, and a {kinds[1]} is to be made: choose another name")
    if not single and not any(target.iterdir()):
        return
    if not single and not any((target / name).is_file() for name in ("model.json", "model_index.json")):
        raise InvalidFile(f"the folder {target} is there and holds no model: choose another, it is never replaced")
    if not force:
        raise InvalidFile(f"{target} is there already: --force replaces it")


def _left_out(model: Model, source: Path) -> list[str]:
    """What of a source its description has no place for."""
    notes = []
    if model.text.get("kind") == "sd3" and "text_3" not in model.components:
        there = (source / "text_encoder_3").is_dir()
        if source.is_file():
            there = any(name.startswith(diffusers.TOWERS["sd3"]["text_3"][0]) for name in Reader(source).header.tensors)
        if there:
            notes.append("T5 was left out: its vocabulary (spiece.model, or tokenizer_3/) does not lie beside it")
    return notes


def size_of(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


# ------------------------------------------------------------------------------------------------------- file to file


def _again(source: Path, target: Path, dtype: torch.dtype | None, prune: bool, prediction: str) -> Converted:
    """A file as safetensors, its names kept; what is stated of its prediction, or said beside it, stands in it then."""
    reader = Reader(source)
    header = reader.header
    dropped = [
        name for name in header.tensors if prune and _is_left_over(name, published_kind(header.shapes) is not None)
    ]
    stated, marks, notes = stated_of(header, prediction)
    gone = {*dropped, *(PREDICTION_MARKS if stated else ())}

    def make(name: str) -> torch.Tensor:
        return fit(reader.take(name), reader.dtype(name, dtype), name)

    tensors = {
        name: Due(dtype=reader.dtype(name, dtype), shape=spec.shape, make=partial(make, name))
        for name, spec in header.tensors.items()
        if name not in gone
    }
    # Other formats tell in their metadata how they store, which is no longer so.
    own = source.name.lower().endswith((".safetensors", ".index.json"))
    kept = {key: text for key, text in header.metadata.items() if own or key.startswith(("modelspec.", "ss_"))}
    kept.pop(QUANTISE_KEY, None)  # for the tensors are written as what their bits stand for
    write(target, {**tensors, **marks}, {"format": "pt", **kept, **stated})
    return Converted(path=target, size=size_of(target), dropped=tuple(dropped), notes=notes)


def stated_of(header: Header, prediction: str) -> tuple[dict[str, str], dict[str, Due], tuple[str, ...]]:
    """Metadata and marks that say in a whole model's file what was stated of it, or what lies beside it; and warnings.

    Raises:
        InvalidInput: a prediction is stated of a file that paints nothing.
    """
    if published_kind(header.shapes) is None:
        if prediction:
            raise InvalidInput(f"--prediction is of a whole model, and {header.path} is none: leave it out")
        return {}, {}, ()
    model = ByHand(prediction=prediction).of(alone.read(header.path)[0])
    if not prediction and not alone.said_beside(header.path):
        return {}, {}, ()
    return _meaning(model), _marks(model), model.warnings


def _is_left_over(name: str, whole: bool) -> bool:
    if whole:
        return name not in MARKS and (not name.startswith(INSIDE) or name.startswith(OUTSIDE))
    return LEFTOVER.fullmatch(name) is not None


# --------------------------------------------------------------------------------------------------- to a single file


def _single(model: Model, networks: Mapping[str, Part], target: Path, notes: list[str]) -> None:
    tensors, said = outside(model, networks)
    if model.tokenizer.get("words"):
        notes.append(f"a single file holds no words: {', '.join(model.tokenizer['words'])} of the source are not in it")
    write(target, tensors, said)
    again = foreign.describe(target)
    if {**again.schedule} != {**model.schedule}:
        notes.append(
            f"a single file says nothing of the schedule {dict(model.schedule)}: it will be read as "
            f"{dict(again.schedule)}"
        )


def outside(model: Model, networks: Mapping[str, Part]) -> tuple[dict[str, Due], dict[str, str]]:
    """The tensors and the metadata of a model's single file.

    Raises:
        InvalidInput: no other program knows a single file of such a model.
    """
    diffusers.pipeline(model)  # which refuses what no other program knows
    tensors: dict[str, Due] = {}
    for role, part in networks.items():
        diffusers.place(model, role, part)
        prefix, keymap = diffusers.placed(model, role, part)
        tensors |= outward(_kernels(part), keymap, prefix)
    if published_kind({name: due.shape for name, due in tensors.items()}) is None:
        raise InvalidInput(
            f"{model.name} is of no shape that has been published as a single file: convert it to a folder"
        )
    said = {
        alone.CONFIGS_KEY: json.dumps({role: asdict(part.config) for role, part in networks.items()}, sort_keys=True)
    }
    said |= {"format": "pt", "modelspec.title": model.name}
    if model.licence and model.licence != "as its author says":
        said["modelspec.license"] = model.licence
    return tensors | _marks(model), said | _meaning(model)


def _meaning(model: Model) -> dict[str, str]:
    """What the network predicts, as the metadata of a single file say it.

    Raises:
        InvalidInput: no file can say so.
    """
    if model.prediction not in ("eps", "v", "flow", ""):
        raise InvalidInput(
            f"{model.name} predicts {model.prediction}, which a single file cannot say: convert it to a folder"
        )
    words = {"eps": "epsilon", "v": "v"}
    return {"modelspec.prediction_type": words[model.prediction]} if model.prediction in words else {}


def _marks(model: Model) -> dict[str, Due]:
    """The same as keys without numbers, which others read too; of 2.x they guess it, except where it ends in noise."""
    zero = bool(model.schedule.get("zero_snr"))
    if model.text.get("kind") == "openclip" and not zero:
        return {}
    marks = [mark for mark, there in (("v_pred", model.prediction == "v"), ("ztsnr", zero)) if there]
    return {mark: Due(dtype=torch.float32, shape=(0,), make=partial(torch.empty, 0)) for mark in marks}


def _kernels(part: Part) -> dict[str, Due]:
    """Tensors as single files hold them: the attention of their autoencoder is of 1×1 convolutions."""
    if part.family != "autoencoder-kl":
        return dict(part.tensors)

    def widened(due: Due) -> Due:
        return replace(due, shape=(*due.shape, 1, 1), make=lambda: due.detach()[:, :, None, None])

    return {
        name: widened(due) if ".mid_block.attentions." in name and len(due.shape) == 2 else due
        for name, due in part.tensors.items()
    }


# --------------------------------------------------------------------------------------------------------- to a folder


def _ours(model: Model, networks: Mapping[str, Part], folder: Path, quantise: str) -> None:
    for role, part in networks.items():
        tensors, bits = in_few(role, part, quantise) if quantise else (part.tensors, {})
        said = {FAMILY_KEY: part.family, CONFIG_KEY: json.dumps(asdict(part.config), sort_keys=True), **bits}
        write(folder / f"{role}.safetensors", tensors, said)
    named = {key: Path(model.text[key]).name for key in BESIDE if key in model.text}
    for file in filter(None, (model.tokenizer.get("file"), *(model.text[key] for key in named))):
        shutil.copyfile(model.path(file), folder / Path(file).name)
    file = model.tokenizer.get("file")
    write_model(
        folder,
        name=model.name,
        components={role: (part.family, f"{role}.safetensors", asdict(part.config)) for role, part in networks.items()},
        tokenizer={**model.tokenizer, **({"file": Path(file).name} if file else {})},
        schedule=model.schedule,
        prediction=model.prediction,
        multiple=model.multiple,
        summary=model.summary,
        licence=model.licence,
        defaults=model.defaults,
        text={**model.text, **named},
        task=model.task,
        quantise=quantise,
    )


def _diffusers(model: Model, networks: Mapping[str, Part], folder: Path) -> list[str]:
    """Write the folder; the tensors that its classes have no place for."""
    dropped: list[str] = []
    places: dict[str, Place] = {}
    for role, part in networks.items():
        places[role] = where = diffusers.place(model, role, part)
        part, gone = _suited(model, part, where)
        dropped += gone
        put(folder / where.folder / "config.json", diffusers.config(model, part, where))
        name = "diffusion_pytorch_model" if where.library == "diffusers" else "model"
        write(folder / where.folder / f"{name}.safetensors", part.tensors, {"format": "pt"})
    for name, pad in diffusers.pipeline(model).pads.items():
        _words(model, folder / name, pad)
    if file := model.tokenizer.get("file"):
        third = folder / "tokenizer_3"
        if (model.folder / "tokenizer_3").is_dir():
            shutil.copytree(model.folder / "tokenizer_3", third)
        else:
            third.mkdir()
            shutil.copyfile(model.path(file), third / Path(file).name)
            ends = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
            put(
                third / "tokenizer_config.json", {"tokenizer_class": "T5TokenizerFast", "model_max_length": 512, **ends}
            )
    put(folder / "scheduler" / "scheduler_config.json", diffusers.scheduler(model))
    put(folder / "model_index.json", diffusers.index(model, places))
    return dropped


def _words(model: Model, folder: Path, pad: str) -> None:
    """CLIP's vocabulary: the model's own files where it has some."""
    if (model.folder / "model_index.json").is_file() and (model.folder / folder.name).is_dir():
        shutil.copytree(model.folder / folder.name, folder)
        return
    put(folder / "tokenizer_config.json", diffusers.vocabulary(pad))
    for name, text in _vocabulary().items():
        (folder / name).write_text(text, encoding="utf-8")


@cache
def _vocabulary() -> dict[str, str]:
    """The files of CLIP's published words."""
    vocabulary, merges = clip_vocabulary()
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    return {"vocab.json": json.dumps(vocabulary, ensure_ascii=False), "merges.txt": "\n".join(lines)}


def _suited(model: Model, part: Part, where: Place) -> tuple[Part, Sequence[str]]:
    """A network as its class in a folder has it, and the names that this leaves out."""
    if part.family != "clip-text":
        return part, ()
    config, tensors = part.config, dict(part.tensors)
    gone = ["text_projection.weight"] if where.cls != PROJECTED and "text_projection.weight" in tensors else []
    if model.text.get("kind") == "openclip" and model.defaults.get("clip_skip") == 2:
        # The file's last layer, which the model was trained without and which a folder has no word for to skip.
        last = config.num_hidden_layers - 1
        gone += [name for name in tensors if name.startswith(f"text_model.encoder.layers.{last}.")]
        config = replace(config, num_hidden_layers=last)
    for name in gone:
        del tensors[name]
    if where.cls == PROJECTED and "text_projection.weight" not in tensors:
        # In a file without it the summary is the pooled one, which the identity projects to.
        width, dtype = config.hidden_size, next(iter(tensors.values())).dtype
        tensors["text_projection.weight"] = Due(
            dtype=dtype, shape=(width, width), make=lambda: torch.eye(width, dtype=dtype)
        )
        config = replace(config, projection_dim=width)
    with torch.device("meta"):
        net = CLIPText(config)
    return replace(part, net=net, tensors=tensors), gone
