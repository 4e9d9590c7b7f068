"""Laws of starting from a picture's record: any program's, all that has a place here, and what has none is named."""

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from danqing.errors import InvalidFile
from danqing.pictures.alike import GIVEN, alike
from danqing.pictures.picture import Picture
from danqing.request.request import Request


def png(tmp_path, **texts):
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text if isinstance(text, str) else json.dumps(text))
    Image.new("RGB", (16, 16), "teal").save(tmp_path / "x.png", pnginfo=info)
    return tmp_path / "x.png"


NODES = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 5, "steps": 9, "cfg": 6.5, "sampler_name": "dpmpp_2m_sde_gpu", "scheduler": "karras", "denoise": 1,
            "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dream.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 768, "height": 512, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["4", 1]}},
}  # fmt: skip
LINKS = [
    [1, 4, 0, 3, 0, "MODEL"], [2, 6, 0, 3, 1, "CONDITIONING"], [3, 7, 0, 3, 2, "CONDITIONING"],
    [4, 5, 0, 3, 3, "LATENT"], [5, 4, 1, 6, 0, "CLIP"], [6, 4, 1, 7, 0, "CLIP"],
]  # fmt: skip
FOXY = {"prompt": "a fox", "negative": "fog", "seed": 5, "steps": 9, "scale": 6.5}


def comfy(tmp_path):
    return png(tmp_path, prompt=NODES, workflow={"links": LINKS})


def invoke(tmp_path):
    return png(
        tmp_path,
        invokeai_metadata={
            "positive_prompt": "a fox", "negative_prompt": "fog", "width": 768, "height": 512, "seed": 5, "steps": 9,
            "cfg_scale": 6.5, "scheduler": "dpmpp_2m_sde_k", "model": {"model_name": "dream"}, "rand_device": "cpu",
        },
    )  # fmt: skip


def fooocus(tmp_path):
    return png(
        tmp_path,
        fooocus_scheme="fooocus",
        parameters={
            "prompt": "a fox", "negative_prompt": "fog", "seed": 5, "steps": 9, "guidance_scale": 6.5, "sharpness": 2,
            "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "base_model": "dream", "base_model_hash": "ab12",
            "performance": "Speed",
        },
    )  # fmt: skip


def novelai(tmp_path):
    return png(
        tmp_path,
        Software="NovelAI",
        Source="Stable Diffusion 81274D13",
        Description="a fox",
        Comment={
            "seed": 5, "steps": 9, "scale": 6.5, "sampler": "k_dpmpp_2m_sde", "uc": "fog", "width": 768, "height": 512,
        },
    )  # fmt: skip


def a1111(tmp_path):
    return png(
        tmp_path,
        parameters="a fox\nNegative prompt: fog\nSteps: 9, Sampler: DPM++ 2M SDE Karras, CFG scale: 6.5, Seed: 5, "
        "Size: 768x512, Model: dream, Script: X/Y/Z plot, X Type: Steps",
    )


@pytest.mark.parametrize("made", [a1111, comfy, invoke, fooocus, novelai])
def test_what_every_program_says_of_prompts_seed_steps_guidance_and_solver_is_carried_over(tmp_path, made):
    options = alike(made(tmp_path)).options
    assert {name: options[name] for name in FOXY} == FOXY and options["solver"] == "dpmpp-2m-sde"
    assert Request(**{**options, "model": "danqing-mini"}).sampling.steps == 9
    if made is not novelai:
        assert options["spacing"] == "karras" and options["model"].startswith("dream")
    if made is not fooocus:
        assert (options["width"], options["height"]) == (768, 512)


@pytest.mark.parametrize(
    ("made", "named"),
    [(a1111, "Script: X/Y/Z plot"), (invoke, "rand_device"), (fooocus, "performance"), (comfy, "denoise")],
)
def test_what_has_no_place_here_is_named(tmp_path, made, named):
    assert any(named in line for line in alike(made(tmp_path)).left)


def test_our_own_record_gives_its_request_back_without_the_pictures_it_started_from(tmp_path):
    request = Request(prompt="a fox", seed=5, steps=9, image="~/in.png", recipe="image2image", strength=0.4).resolve()
    path = Picture(frames=(Image.new("RGB", (8, 8)),), request=request).save(tmp_path / "x.png")
    found = alike(path)
    assert found.program == "danqing" and "image" not in found.options and any("in.png" in line for line in found.left)
    assert found.options == {name: value for name, value in request.stated().items() if name not in GIVEN}


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"prompt": "[" * 5000, "workflow": "{}"},
        {"prompt": {"1": {"class_type": "KSampler", "inputs": {"steps": 1}}}, "workflow": {"links": [[1]]}},
        {"Software": "NovelAI", "Comment": "9" * 5000, "Description": "x", "Source": "y"},
        {"parameters": "{" * 3000},
    ],
)
def test_none_and_a_damaged_one_are_refused_in_a_sentence(tmp_path, texts):
    with pytest.raises(InvalidFile, match="carries no record"):
        alike(png(tmp_path, **texts))
