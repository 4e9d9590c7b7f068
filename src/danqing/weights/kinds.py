"""Which published model a single file is, and which of its networks the file holds, from the header alone.

Source: the keys and shapes by which diffusers (loaders/single_file_utils.py) tells them; the metadata of Stability AI's
ModelSpec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InvalidFile
from .facts import Shapes, count
from .family import Family
from .formats.format import Header
from .published import DIFFUSION, dim
from .registry import candidates, some

#: Model, and the width of the text tokens that its UNet reads.
UNETS = (("SD1.x", 768), ("SD2.x", 1024), ("SDXL", 2048), ("SDXL refiner", 1280))
#: Model, blocks of its transformer, and how many positions that knows (0: any number).
MMDITS = (("SD3 medium", 24, 36864), ("SD3.5 medium", 24, 147456), ("SD3.5 large", 38, 0))
#: Channels that a UNet reads, and what it was trained for beside painting from text.
TASKS = {4: "", 9: "inpainting", 8: "instruct-pix2pix", 5: "depth"}
#: What metadata say of the prediction, in our words.
PREDICTIONS = {"epsilon": "eps", "eps": "eps", "v": "v", "v_prediction": "v", "v-prediction": "v"}

#: What the published architectures of Stable Diffusion 2 predict.
ARCHITECTURES = {"stable-diffusion-v2-768-v": "v", "stable-diffusion-v2-512": "eps"}
#: Keys that say by being there what a denoiser predicts.
PREDICTION_MARKS = {"v_pred": "v", "edm_mean": "edm", "edm_vpred.sigma_max": "edm-v"}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is to be assembled from a single file.

    Args:
        model: "SD1.x", "SD2.x", "SDXL", "SDXL refiner", "SD3 medium", "SD3.5 medium" or "SD3.5 large".
        task: "", or what else the denoiser reads beside the noisy latent: "inpainting" (the mask, and the latent of the
            masked picture), "instruct-pix2pix" (the latent of the picture), "depth" (the map of depths).
        networks: by part, "denoiser", "codec", "text", "text_2", "text_3": those that the file holds; the others are in
            files of their own. The tower "text" of SD3 has no projection in a single file: what is read of its summary
            is the pooled one.
        predictions: what the denoiser's output means, as in `danqing.denoise`, by each of the places in the file that
            say so, the most telling first.
        usual: the same as in all published files of the model. "" for SD2.x, which was published with either (512 px:
            eps, 768 px: v).
        zero_snr: the file says that its noise schedule ends in pure noise.
    """

    model: str
    task: str
    networks: Mapping[str, Family]
    predictions: Mapping[str, str]
    usual: str
    zero_snr: bool = False

    @property
    def prediction(self) -> str:
        """What the denoiser's output means: as the file says first, else as usual."""
        return next(iter(self.predictions.values()), self.usual)


def published_kind(shapes: Shapes) -> tuple[str, str] | None:
    """Model and task of a single file, or None for any other file."""
    for prefix in (DIFFUSION, ""):
        blocks = count(shapes, prefix + "joint_blocks.{}.x_block.mlp.fc1.weight")
        for model, number, positions in MMDITS:
            if blocks == number and positions in (0, dim(shapes, prefix + "pos_embed", 1)):
                return model, ""
    task = TASKS.get(dim(shapes, DIFFUSION + "input_blocks.0.0.weight", 1))
    # The first attention stands in the first level (input block 2) or, in XL, in the second (input block 4).
    readers = (DIFFUSION + f"input_blocks.{n}.1.transformer_blocks.0.attn2.to_k.weight" for n in (2, 4))
    widths = {dim(shapes, reader, 1) for reader in readers}
    return next(((model, task) for model, width in UNETS if task is not None and width in widths), None)


def kind(header: Header) -> Kind:
    """The model of a single file.

    Raises:
        InvalidFile: it is none of a model that is known here.
    """
    found = published_kind(header.shapes)
    if found is None:
        if any(name.startswith("model_ema.") for name in header.tensors):
            raise InvalidFile(
                f"{header.path} holds of its denoiser only the running mean of its training (model_ema.*), in names "
                "that no program reads: get the file that holds model.diffusion_model.* too, often called pruned"
            )
        raise InvalidFile(
            f"{header.path} is no single file of a model that is known here (it starts with the tensors "
            f"{some(header.tensors)}). "
            f"Known are {', '.join(name for name, *_ in (*UNETS, *MMDITS))}; `danqing inspect` says what else a "
            "file may be"
        )
    model, task = found
    networks = {family.part or "denoiser": family for family in candidates(header)}
    return Kind(
        model=model,
        task=task,
        networks=networks,
        predictions=predictions(header),
        usual="flow" if model.startswith("SD3") else "eps" if model != "SD2.x" or task else "",
        zero_snr="ztsnr" in header.tensors,
    )


def predictions(header: Header) -> dict[str, str]:
    """What a file says of its denoiser's output: by the keys that mark it, then by the metadata."""
    found = {f"its mark {mark}": meaning for mark, meaning in PREDICTION_MARKS.items() if mark in header.tensors}
    said = {
        "modelspec.prediction_type": PREDICTIONS.get(header.metadata.get("modelspec.prediction_type", "").lower()),
        "modelspec.architecture": ARCHITECTURES.get(header.metadata.get("modelspec.architecture", "")),
    }
    return found | {name: meaning for name, meaning in said.items() if meaning}
