"""Writes a model whose UNet begins from a draft as a folder that diffusers paints from.

Its networks are diffusers' and transformers' own classes; the draft is one of `draft.py`, `pipeline.py` joins them, and
`scenes.py` and `laid.py` put what a prompt places where it is: they lie in the folder, and diffusers runs them where it
is told to trust it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers.processors import TemplateProcessing

from ...nets import autoencoder_kl, laid, unet
from ...prompt import scenes
from ...prompt.tokenize import BytePairTokenizer, bilingual_tokenizer
from .. import diffusers
from ..model import Model
from ..tensors import Dues, Part, put, write

FAMILY = "drafted-unet"
#: The components of the folder, each with where its class is and what that is called.
COMPONENTS = {
    "draft": ["draft", "Draft"],
    "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def write_folder(model: Model, networks: Mapping[str, Part], folder: Path) -> list[str]:
    """Write the folder; the tensors that its classes have no place for."""
    net, codec, text = (networks[role] for role in ("denoiser", "codec", "text"))
    c, ids = net.config, bilingual_tokenizer(model.path(model.tokenizer["file"]))
    draft = {
        "pooled_channels": c.pooled_channels,
        "channels": c.in_channels - c.out_channels,
        "size": c.draft_size,
        "hidden": c.draft_hidden,
        "blocks": c.draft_blocks,
    }
    marks = {"bos_token_id": ids.bos, "eos_token_id": ids.eos, "pad_token_id": ids.pad}
    heard = {name: due for name, due in text.tensors.items() if name.startswith("text_model.")}
    _network(
        folder, "draft", {n.removeprefix("draft."): d for n, d in net.tensors.items() if n.startswith("draft.")}, draft
    )
    _network(
        folder,
        "unet",
        {name: due for name, due in net.tensors.items() if not name.startswith("draft.")},
        {**unet.diffusers_config(c), "sample_size": c.draft_size},
    )
    _network(folder, "vae", codec.tensors, autoencoder_kl.diffusers_config(codec.config))
    _network(folder, "text_encoder", heard, {**diffusers.clip(text.config, "CLIPTextModel"), **marks}, "model")
    _words(folder / "tokenizer", ids)
    flow = {
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": model.schedule.get("shift", 1.0),
    }
    put(folder / "scheduler" / "scheduler_config.json", {**_head("scheduler"), **flow})
    here = Path(__file__).parent
    for code, place in (
        (here / "pipeline.py", "pipeline.py"),
        (here / "draft.py", "draft/draft.py"),
        (Path(scenes.__file__), "scenes.py"),
        (Path(laid.__file__), "laid.py"),
    ):
        (folder / place).write_text(code.read_text(encoding="utf-8"), encoding="utf-8")
    put(
        folder / "model_index.json",
        {"_class_name": ["pipeline", "DraftedPipeline"], "_diffusers_version": diffusers.VERSION, **COMPONENTS},
    )
    return [name for name in text.tensors if name not in heard]


def _head(component: str) -> dict[str, str]:
    return {"_class_name": COMPONENTS[component][1], "_diffusers_version": diffusers.VERSION}


def _network(
    folder: Path, role: str, dues: Dues, said: Mapping[str, Any], stem: str = "diffusion_pytorch_model"
) -> None:
    """The configuration and the weights of a component."""
    head = _head(role) if stem != "model" else {}
    put(folder / role / "config.json", {**head, **said})
    write(folder / role / f"{stem}.safetensors", dues, {"format": "pt"})


def _words(folder: Path, ids: BytePairTokenizer) -> None:
    """The vocabulary as transformers reads it, which frames a text itself."""
    names = {mark: ids.bpe.id_to_token(i) for mark, i in (("bos", ids.bos), ("eos", ids.eos), ("pad", ids.pad))}
    ids.bpe.post_processor = TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single=f"{names['bos']} $A {names['eos']}",
        special_tokens=[(names["bos"], ids.bos), (names["eos"], ids.eos)],
    )
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(ids.bpe.to_str(), encoding="utf-8")
    said = {f"{mark}_token": name for mark, name in names.items()}
    put(
        folder / "tokenizer_config.json",
        {"tokenizer_class": COMPONENTS["tokenizer"][1], "model_max_length": ids.window, **said},
    )
