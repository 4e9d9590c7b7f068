"""InstantID on a whole model: what is painted is what diffusers paints from the same weights, the control network being
told the face's tokens in the place of the text's, as InstantID's pipeline tells it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image
from tests.parity.test_ip_adapter import file_of, nested
from tests.store.test_foreign import SCALE, SIDE, STEPS, sdxl, shaken, words

from danqing.hint.face import drawn
from danqing.identity import analysis
from danqing.nets.controlnet import ControlNet, ControlNetConfig
from danqing.nets.unet import UNetConfig
from danqing.noise import Noise
from danqing.painting.adapters.faces.instantid import laid
from danqing.painting.load import load
from danqing.request.request import Request
from danqing.weights import store
from danqing.weights.load import save

__all__ = ["words"]  # a fixture
WIDTHS = (8, 16)  # of what embeds a hint: it halves once, as the tiny codecs do
RESAMPLER = {"seen": 128, "face": 128, "hidden": 24, "tokens": 6}


class ToldFaces(diffusers.ControlNetModel):
    """A control network that reads tokens of its own, whatever it is told."""

    tokens: torch.Tensor

    def forward(self, sample: Any, timestep: Any, encoder_hidden_states: Any, *more: Any, **others: Any) -> Any:
        return super().forward(sample, timestep, self.tokens, *more, **others)


@pytest.fixture
def portrait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models, and beside it a photograph of a face."""
    monkeypatch.setenv("DANQING_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    for name in ("controlnet", "ipadapter"):
        (tmp_path / "models" / name).mkdir(parents=True)
    image = Image.open(cbook.get_sample_data("grace_hopper.jpg")).convert("RGB").resize((256, 300))
    image.save("face.png")
    return tmp_path / "models"


@torch.no_grad()
def test_a_face_is_kept_as_instantid_keeps_it(words: Path, portrait: Path, tmp_path: Path) -> None:
    plain = sdxl(words)
    plain.save_pretrained(tmp_path / "sdxl")
    painter = load(tmp_path / "sdxl", "cpu", "fp32")
    unet: Any = painter.adapters.target.nets["denoiser"]
    shape = {f.name: getattr(unet.config, f.name) for f in fields(UNetConfig)}
    _, tensors = file_of("plus", UNetConfig(**shape), **RESAMPLER)
    torch.save(nested(tensors), portrait / "ipadapter" / "ip-adapter.bin")
    net: Any = shaken(ToldFaces.from_unet(plain.unet, conditioning_embedding_out_channels=WIDTHS), 8)
    net.mid_block.attentions[0].transformer_blocks[0].attn2.to_v.weight.mul_(8)  # so that its tokens are seen
    ours = ControlNet(ControlNetConfig(**shape, hint_widths=WIDTHS))
    ours.load_state_dict(net.state_dict(), strict=True)
    save(ours, portrait / "controlnet" / "instantid.safetensors")

    given = {"seed": 3, "width": SIDE, "height": SIDE, "steps": STEPS, "scale": SCALE, "finish": "none"}
    given |= {"solver": "euler", "spacing": "trailing"}
    asked = Request(prompt="a red fox, 3d style", negative="frame", faces="face.png,weight=0.7,place=0.9", **given)
    picture = painter.paint(asked)

    image = Image.open("face.png")
    (face,) = analysis.shipped().faces(np.asarray(image))
    numbers = torch.cat([torch.zeros(1, 128), face.numbers[None]])
    theirs = diffusers.StableDiffusionXLControlNetPipeline(
        **plain.components, controlnet=net, force_zeros_for_empty_prompt=False, add_watermarker=False
    )
    theirs.set_progress_bar_config(disable=True)
    theirs.unet._load_ip_adapter_weights([nested(tensors)], low_cpu_mem_usage=False)
    theirs.set_ip_adapter_scale(0.7)
    net.tokens = theirs.unet.encoder_hid_proj.image_projection_layers[0](numbers[:, None])
    hint = drawn((SIDE, SIDE), [laid(face.face.landmarks, image.size, (SIDE, SIDE))])
    want = theirs(
        prompt=asked.prompt, negative_prompt=asked.negative, image=hint, height=SIDE, width=SIDE, output_type="np",
        latents=Noise.of(3, [0], "start")(painter.blank(painter.resolve(asked))), num_inference_steps=STEPS,
        guidance_scale=SCALE, controlnet_conditioning_scale=0.9, ip_adapter_image_embeds=[numbers[:, None, None]],
    ).images[0]  # fmt: skip
    found = np.asarray(picture.image, np.int16)
    assert np.abs(found - np.round(want * 255)).max() <= 1
    for other in ("face.png,weight=0.7,place=0", "face.png,weight=0,place=0.9"):
        assert np.abs(found - np.asarray(painter.paint(asked.but(faces=other)).image, np.int16)).max() > 2
    assert {store.sha256(path) for path in portrait.rglob("i*.*")} < set(picture.record["weights"].values())
