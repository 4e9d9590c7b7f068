"""Laws of what lies beside the weights: it is read, or it is told; of two that disagree both are named."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import save_file
from tests.store.test_foreign import SCALE, SIDE, STEPS, sd1, sd2, sdxl, shaken, tokenizer, tower, unet, vae, words

from danqing.errors import DanqingError, InvalidFile, InvalidInput, UnknownName
from danqing.noise import Noise
from danqing.painting.load import load
from danqing.request.request import Request
from danqing.store import library, settings
from danqing.store.convert import convert
from danqing.store.find import find
from danqing.store.foreign import fields, folder
from danqing.store.foreign.hand import ByHand
from danqing.store.inspect import describe

__all__ = ["words"]

DENOISER, CODEC, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
REQUEST = Request(
    prompt="a red fox", seed=3, width=SIDE, height=SIDE, steps=STEPS, scale=SCALE, solver="euler", spacing="trailing"
)


def zeros(*shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, np.float16)


#: The few tensors by which a single file shows that it is SD1 with all its parts; enough to be described.
SD1 = {
    DENOISER + "input_blocks.0.0.weight": zeros(320, 4, 3, 3),
    DENOISER + "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": zeros(320, 768),
    DENOISER + "time_embed.0.weight": zeros(8, 8),
    DENOISER + "output_blocks.0.0.in_layers.0.weight": zeros(8),
    CODEC + "encoder.down.0.block.0.conv1.weight": zeros(8, 3, 3, 3),
    CODEC + "decoder.up.0.block.0.conv1.weight": zeros(8, 8, 3, 3),
    TEXT + "text_model.embeddings.token_embedding.weight": zeros(8, 768),
}
SDXL = {
    DENOISER + "input_blocks.0.0.weight": zeros(320, 4, 3, 3),
    DENOISER + "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": zeros(640, 2048),
    DENOISER + "time_embed.0.weight": zeros(8, 8),
    DENOISER + "output_blocks.0.0.in_layers.0.weight": zeros(8),
    CODEC + "encoder.down.0.block.0.conv1.weight": zeros(8, 3, 3, 3),
    CODEC + "decoder.up.0.block.0.conv1.weight": zeros(8, 8, 3, 3),
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": zeros(8, 768),
    "conditioner.embedders.1.model.token_embedding.weight": zeros(8, 8),
    "conditioner.embedders.1.model.positional_embedding": zeros(8, 8),
    "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight": zeros(8, 8),
}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of nobody else."""
    monkeypatch.setenv(settings.MODELS, str(tmp_path / "none"))


@pytest.fixture(scope="module")
def saved(words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Stable Diffusion 1, to be copied."""
    folder = tmp_path_factory.mktemp("saved") / "sd1"
    sd1(words).save_pretrained(folder)
    return folder


def put(path: Path, tensors: dict[str, Any], **metadata: str) -> Path:
    save_file(tensors, path, metadata or None)
    return path


# -------------------------------------------------------------------------------------------------------- single files


@pytest.mark.parametrize(
    ("said", "prediction", "schedule"),
    [
        ('model: {params: {parameterization: "v"}}', "v", {}),
        ("model: {params: {parameterization: eps, linear_start: 0.001, linear_end: 0.02}}", "eps", {"end": 0.02}),
        (
            "model: {params: {denoiser_config: {params: {scaling_config: {target: sgm.x.VScaling}}}}}",
            "v",
            {"start": 0.00085},
        ),
    ],
)
def test_what_the_yaml_beside_a_file_says_of_its_training_is_read(
    said: str, prediction: str, schedule: dict[str, Any], tmp_path: Path
) -> None:
    path = put(tmp_path / "fluff.safetensors", SD1)
    path.with_suffix(".yaml").write_text(said)
    model = find(path)
    assert model.prediction == prediction and schedule.items() <= model.schedule.items() and not model.warnings


def test_a_yaml_says_heads_and_scale_too(tmp_path: Path) -> None:
    path = put(
        tmp_path / "a.safetensors", SD1 | {DENOISER + "input_blocks.1.0.in_layers.2.weight": zeros(320, 320, 3, 3)}
    )
    path.with_suffix(".yaml").write_text(
        "model: {params: {scale_factor: 0.2, unet_config: {params: {num_head_channels: 64, num_heads: -1}}}}"
    )
    parts = find(path).components
    assert parts["denoiser"].config["attention_heads"] == [5] and parts["codec"].config == {"scaling_factor": 0.2}


def test_published_yaml_files_hold_nothing_that_is_not_known(tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", SD1)
    # The fields of the configs of 1.x (first) and 2.x, with their values.
    ddconfig = "ddconfig: {double_z: true, z_channels: 4, ch_mult: [1, 2, 4, 4], attn_resolutions: [], dropout: 0.0}"
    unets = (
        "image_size: 32, in_channels: 4, out_channels: 4, model_channels: 320, attention_resolutions: [4, 2, 1], "
        "num_res_blocks: 2, channel_mult: [1, 2, 4, 4], use_spatial_transformer: true, transformer_depth: 1, "
        "context_dim: 768, use_checkpoint: true, legacy: false"
    )
    for more, heads, text in (
        ("", "num_heads: 8", "target: ldm.modules.encoders.modules.FrozenCLIPEmbedder"),
        (
            'parameterization: "v", ',
            "num_head_channels: 64, use_fp16: true, use_linear_in_transformer: true",
            "target: ldm.modules.encoders.modules.FrozenOpenCLIPEmbedder, params: {freeze: true, layer: penultimate}",
        ),
    ):
        path.with_suffix(".yaml").write_text(
            "model: {base_learning_rate: 1.0e-04, target: ldm.models.diffusion.ddpm.LatentDiffusion, params: {"
            f"{more}linear_start: 0.00085, linear_end: 0.0120, num_timesteps_cond: 1, log_every_t: 200, "
            "timesteps: 1000, first_stage_key: jpg, cond_stage_key: txt, image_size: 64, channels: 4, "
            "cond_stage_trainable: false, conditioning_key: crossattn, monitor: val/loss_simple_ema, "
            "scale_factor: 0.18215, use_ema: false, "
            "scheduler_config: {target: ldm.lr_scheduler.LambdaLinearScheduler, params: {warm_up_steps: [10000]}}, "
            f"unet_config: {{target: x.UNetModel, params: {{{unets}, {heads}}}}}, "
            f"first_stage_config: {{target: x.AutoencoderKL, params: {{embed_dim: 4, {ddconfig}}}}}, "
            f"cond_stage_config: {{{text}}}}}}}"
        )
        assert not find(path).warnings


@pytest.mark.parametrize(
    "said",
    [
        "model: {params: {parameterization: w}}",
        "model: {params: {timesteps: many}}",
        "model: {params: {unet_config: {params: {use_scale_shift_norm: true}}}}",
        "model: {params: {cond_stage_config: {target: ldm.modules.encoders.modules.BertSeries}}}",
        "model: {params: {a: &a [1], b: *a}}",
        "model: [",
        "model: " + "[" * 5000,
        "model: {params: {" + ", ".join(f"a{n}: {n}" for n in range(5000)) + "}}",
        "# " + "x" * 20000,
    ],
    ids=range(9),
)
def test_what_a_yaml_says_that_is_not_read_is_a_warning_of_the_model(said: str, tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", SD1)
    path.with_suffix(".yaml").write_text(said)
    (warning,) = find(path).warnings
    assert "a.yaml" in warning and len(warning) < 500


def test_a_yaml_that_is_no_config_of_a_model_says_nothing(tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", SD1)
    path.with_suffix(".yaml").write_text("notes: [likes cats]")
    assert not find(path).warnings


def test_two_that_disagree_on_the_prediction_are_both_named(tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", {**SD1, "v_pred": zeros(0)}, **{"modelspec.prediction_type": "epsilon"})
    path.with_suffix(".yaml").write_text('model: {params: {parameterization: "eps"}}')
    model = find(path)
    assert model.prediction == "v"
    (warning,) = model.warnings
    assert all(name in warning for name in ("v_pred", "modelspec.prediction_type", "a.yaml"))
    odd = put(tmp_path / "b.safetensors", SD1, **{"modelspec.prediction_type": "wavelets"})
    assert "wavelets" in find(odd).warnings[0]


def test_numbers_of_the_latents_in_a_file_are_used(tmp_path: Path) -> None:
    mean, std = np.float32([[-1.6], [1.8], [-1.3], [2.5]])[None, ..., None], np.float32([8.4, 5.9, 6.5, 5.2])
    model = find(put(tmp_path / "a.safetensors", {**SDXL, "edm_mean": mean, "edm_std": std}))
    assert model.prediction == "edm" and model.schedule == {"kind": "edm", "sigma_min": 0.002, "sigma_max": 80.0}
    codec = model.components["codec"].config
    assert codec["latents_mean"] == mean.ravel().tolist() and codec["latents_std"] == std.tolist()
    assert find(put(tmp_path / "b.safetensors", {**SDXL, "edm_vpred.sigma_max": zeros(1)})).prediction == "edm-v"


def test_an_autoencoder_beside_a_file_is_its_own(tmp_path: Path) -> None:
    inner = {name.removeprefix(CODEC): tensor for name, tensor in SD1.items() if name.startswith(CODEC)}
    bare = {name: tensor for name, tensor in SD1.items() if not name.startswith(CODEC)}
    path = put(tmp_path / "no.safetensors", bare)
    with pytest.raises(InvalidFile, match=r"lacks its codec: put an autoencoder of SD1.x beside it, .* no\.vae\.saf"):
        find(path)
    put(tmp_path / "other.safetensors", inner)
    assert find(path, ByHand(vae=str(tmp_path / "other.safetensors"))).file_of("codec").name == "other.safetensors"
    put(tmp_path / "no.vae.safetensors", inner)
    model = find(path)
    assert model.file_of("codec").name == "no.vae.safetensors" and not model.warnings
    put(path, SD1)
    assert "no.vae.safetensors" in find(path).warnings[0]


def test_a_file_of_nothing_but_the_running_mean_says_what_to_get(tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", {"model_ema.diffusion_modelinput_blocks00weight": zeros(320, 4, 3, 3)})
    with pytest.raises(InvalidFile, match=r"model_ema\.\*.*get the file that holds model\.diffusion_model"):
        find(path)


@pytest.mark.parametrize("before", ["module.", "model."])
def test_a_file_whose_names_have_one_word_more_is_read_without_it(before: str, tmp_path: Path) -> None:
    model = find(put(tmp_path / "a.safetensors", {before + name: tensor for name, tensor in SD1.items()}))
    assert model.components.keys() == {"denoiser", "codec", "text"} and model.text == {"kind": "clip"}


def test_what_is_stated_by_hand_goes_before_what_files_say(tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", {**SD1, "v_pred": zeros(0)})
    assert find(path, ByHand(prediction="eps")).prediction == "eps"
    assert find(path, ByHand(prediction="edm")).schedule["kind"] == "edm"
    assert find(path, ByHand(schedule="zero-snr")).schedule["zero_snr"] is True
    assert find(path, ByHand(schedule="linear")).schedule == {"kind": "linear"}
    for wrong in (ByHand(prediction="w"), ByHand(schedule="w")):
        with pytest.raises(UnknownName):
            find(path, wrong)
    with pytest.raises(InvalidInput, match="no table of betas"):
        find(path, ByHand(prediction="edm", schedule="zero-snr"))


def test_a_file_that_stays_a_file_says_what_was_stated_of_it(tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", SD1)
    convert(path, tmp_path / "b.safetensors", prediction="v")
    assert find(tmp_path / "b.safetensors").prediction == "v"
    convert(tmp_path / "b.safetensors", tmp_path / "c.safetensors", prediction="eps")
    assert find(tmp_path / "c.safetensors").prediction == "eps" and not find(tmp_path / "c.safetensors").warnings
    path.with_suffix(".yaml").write_text('model: {params: {parameterization: "v"}}')
    convert(path, tmp_path / "d.safetensors")
    assert find(tmp_path / "d.safetensors").prediction == "v"
    with pytest.raises(InvalidInput, match="--prediction is of a whole model"):
        convert(
            put(tmp_path / "x.safetensors", {"emb_params": zeros(1, 768)}), tmp_path / "y.safetensors", prediction="v"
        )


def test_an_inspected_file_says_what_it_is_as_a_model(tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", SD1)
    path.with_suffix(".yaml").write_text('model: {params: {parameterization: "v", odd: 3}}')
    found = describe(path)
    assert found["prediction"] == "v" and "odd 3" in found["warnings"][0]


# ----------------------------------------------------------------------------------------------- folders of diffusers


def change(file: Path, **more: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))


def test_a_folder_whose_files_are_links_to_elsewhere_paints_as_the_folder(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "plain")
    cached, blobs = tmp_path / "models--o--n", tmp_path / "models--o--n" / "blobs"
    blobs.mkdir(parents=True)
    for n, file in enumerate(file for file in (tmp_path / "plain").rglob("*") if file.is_file()):
        link = cached / "snapshots" / "abc" / file.relative_to(tmp_path / "plain")
        link.parent.mkdir(parents=True, exist_ok=True)
        file.rename(blobs / str(n))
        link.symlink_to(os.path.relpath(blobs / str(n), link.parent))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    (cached / "snapshots" / "old").mkdir()
    (far,) = load(cached, "cpu", "fp32").paint(REQUEST).warnings
    assert "far from the 512×512" in far  # which is all that is said of it


def test_the_cache_of_the_hub_is_a_folder_of_models(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(settings.MODELS, str(tmp_path))
    shutil.copytree(saved, tmp_path / "models--o--n" / "snapshots" / "abc")
    (entry,) = (entry for entry in library.entries() if entry.root == tmp_path)
    assert entry.name == "o/n" and find("o/n").source == str(entry.path)


def test_a_folder_outside_which_a_name_leads_is_refused(tiny: Path, tmp_path: Path) -> None:
    for name in ("../denoiser.safetensors", str(tiny / "denoiser.safetensors"), "a\0"):
        said = json.loads((tiny / "model.json").read_text())
        said["components"]["denoiser"]["file"] = name
        (tmp_path / "model.json").write_text(json.dumps(said))
        with pytest.raises(InvalidFile, match="outside its folder|lacks its file"):
            find(tmp_path).file_of("denoiser")


@torch.no_grad()
@pytest.mark.parametrize(("data", "meaning"), [(0.5, "epsilon"), (1.0, "v_prediction")])
def test_a_model_of_noise_without_end_paints_what_diffusers_paints(
    data: float, meaning: str, words: Path, tmp_path: Path
) -> None:
    theirs = sdxl(words)
    theirs.vae = vae(scaling_factor=0.5, latents_mean=[-1.6, 1.9, -1.4, 2.5], latents_std=[2.4, 1.9, 1.5, 1.2])
    theirs.scheduler = diffusers.EDMEulerScheduler(sigma_data=data, prediction_type=meaning)
    theirs.set_progress_bar_config(disable=True)
    theirs.save_pretrained(tmp_path / "edm")
    painter = load(tmp_path / "edm", "cpu", "fp32")
    request = REQUEST.but(spacing="karras")
    ours = np.asarray(painter.paint(request).image, np.int16)
    start = Noise.of(3, [0], "start")(painter.blank(painter.resolve(request)))
    image = theirs(
        request.prompt, latents=start, height=SIDE, width=SIDE, num_inference_steps=STEPS, guidance_scale=SCALE,
        negative_prompt="", output_type="np",
    ).images  # fmt: skip
    assert np.abs(ours - np.round(image[0] * 255)).max() <= 1
    assert not painter.model.warnings
    convert(tmp_path / "edm", tmp_path / "again")
    again = find(tmp_path / "again")
    assert (again.schedule, again.prediction) == (painter.model.schedule, painter.model.prediction)
    assert again.components["codec"].config["latents_std"] == [2.4, 1.9, 1.5, 1.2] and not again.warnings


def test_a_file_that_is_a_link_is_itself(tmp_path: Path) -> None:
    put(tmp_path / "blob", SD1)
    (tmp_path / "a.safetensors").symlink_to(tmp_path / "blob")
    (tmp_path / "a.yaml").write_text('model: {params: {parameterization: "v"}}')
    model = find(tmp_path / "a.safetensors")
    assert find(model.stamped[0]) == model and model.prediction == "v"
    before = model.stamped
    os.utime(tmp_path / "a.yaml", ns=(1, 2**62))
    assert model.stamped != before  # so that what was loaded before is not taken for this


def test_words_that_were_added_to_a_tokenizer_are_read(words: Path, tmp_path: Path) -> None:
    theirs = sd1(words)
    theirs.tokenizer.add_tokens(["<sks>", "wool coat"])
    theirs.text_encoder.resize_token_embeddings(49410)
    shaken(theirs.text_encoder, 8)
    theirs.save_pretrained(tmp_path / "a")
    painter = load(tmp_path / "a", "cpu", "fp32")
    said = painter.encode(painter.resolve(REQUEST.but(prompt="a <sks> in a wool coat"))).scenes[0].terms[0][0].tokens
    ids = theirs.tokenizer("a <sks> in a wool coat", padding="max_length", return_tensors="pt").input_ids
    torch.testing.assert_close(said, theirs.text_encoder(ids).last_hidden_state, atol=1e-4, rtol=1e-4)


def test_words_of_another_vocabulary_or_without_vectors_are_told(words: Path, tmp_path: Path) -> None:
    theirs = sd1(words)
    theirs.tokenizer.add_tokens(["<sks>"])
    theirs.save_pretrained(tmp_path / "a")
    with pytest.raises(InvalidFile, match="its word '<sks>' has the number 49408, and its text encoder knows 49408"):
        load(tmp_path / "a", "cpu", "fp32")
    (tmp_path / "a" / "tokenizer" / "vocab.json").write_text('{"a": 0}')
    assert any("another vocabulary" in warning for warning in find(tmp_path / "a").warnings)


def test_what_fills_the_window_is_the_word_that_the_tokenizer_says(words: Path, tmp_path: Path) -> None:
    theirs = sd2(words)
    theirs.tokenizer = tokenizer(words)
    theirs.unet = unet(use_linear_projection=True, cross_attention_dim=1024)
    theirs.text_encoder = tower(transformers.CLIPTextModel, hidden_size=1024, num_attention_heads=2)
    theirs.save_pretrained(tmp_path / "a")
    painter = load(tmp_path / "a", "cpu", "fp32")
    assert painter.model.text == {"kind": "openclip"} and not painter.model.warnings
    said = painter.encode(painter.resolve(REQUEST)).scenes[0].terms[0][0].tokens
    ids = theirs.tokenizer(REQUEST.prompt, padding="max_length", return_tensors="pt").input_ids
    torch.testing.assert_close(said, theirs.text_encoder(ids).last_hidden_state, atol=1e-3, rtol=1e-3)
    for file in ("tokenizer_config.json", "tokenizer.json"):
        if (tmp_path / "a" / "tokenizer" / file).is_file():
            change(tmp_path / "a" / "tokenizer" / file, pad_token="[PAD]")
    assert "'[PAD]'" in find(tmp_path / "a").warnings[0]


def test_what_classes_of_diffusers_say_by_default_is_no_warning(words: Path, tmp_path: Path) -> None:
    for name, made in (("sd1", sd1), ("sd2", sd2), ("sdxl", sdxl)):
        made(words).save_pretrained(tmp_path / name)
        assert find(tmp_path / name).warnings == ()
    for name in sorted(fields.SAMPLERS - {"DPMSolverSDEScheduler"}):  # which wants another package to be made
        config = {**getattr(diffusers, name)().config, "clip_sample": False}
        assert not folder._schedule(config, folder.HABITS["SDXL"])[0].warnings
    t5 = transformers.T5Config(feed_forward_proj="gated-gelu").to_dict()
    assert not fields.T5.unread("t5", t5)
    assert not fields.CLIP.unread("clip", transformers.CLIPTextConfig().to_dict())


@pytest.mark.parametrize(
    ("file", "more", "told"),
    [
        ("unet/config.json", {"time_embedding_type": "fourier"}, 'time_embedding_type "fourier"'),
        ("unet/config.json", {"a_new_field": 3}, "a_new_field 3"),
        ("vae/config.json", {"act_fn": "relu"}, 'act_fn "relu"'),
        ("text_encoder/config.json", {"rope": 2}, "rope 2"),
        ("scheduler/scheduler_config.json", {"clip_sample": True}, "clip_sample true"),
        ("scheduler/scheduler_config.json", {"trained_betas": [0.1]}, "trained_betas"),
        ("scheduler/scheduler_config.json", {"_class_name": "LCMScheduler"}, "LCMScheduler"),
        ("tokenizer/tokenizer_config.json", {"do_lower_case": 2}, "do_lower_case"),
        ("model_index.json", {"_class_name": "StableDiffusionXLPipeline"}, "StableDiffusionXLPipeline"),
        ("model_index.json", {"_class_name": "LatentConsistencyModelPipeline"}, "LatentConsistencyModelPipeline"),
        ("model_index.json", {"adapter": ["diffusers", "T2IAdapter"]}, "adapter"),
    ],
)
def test_a_field_that_is_neither_read_nor_harmless_is_a_warning_of_every_picture(
    file: str, more: dict[str, Any], told: str, saved: Path, tmp_path: Path
) -> None:
    shutil.copytree(saved, tmp_path / "a")
    change(tmp_path / "a" / file, **more)
    (warning,) = find(tmp_path / "a").warnings
    assert told in warning
    assert warning in describe(tmp_path / "a")["warnings"]
    if "adapter" in more:
        assert warning in load(tmp_path / "a", "cpu", "fp32").paint(REQUEST).warnings


def test_a_config_that_contradicts_its_tensors_is_refused_with_both(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "a")
    change(tmp_path / "a" / "unet" / "config.json", cross_attention_dim=48)
    with pytest.raises(InvalidFile, match="cross_attention_dim is said to be 48, but the tensors' shapes say 32"):
        load(tmp_path / "a", "cpu", "fp32")


@pytest.mark.parametrize(
    ("more", "prediction", "schedule"),
    [
        ({"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, "v", {"zero_snr": True}),
        ({"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}, "flow", {"shift": 3.0}),
        (
            {
                "_class_name": "EDMEulerScheduler",
                "sigma_data": 1.0,
                "prediction_type": "v_prediction",
                "sigma_max": 120.0,
            },
            "edm-v",
            {"kind": "edm", "sigma_max": 120.0},
        ),
    ],
)
def test_a_scheduler_says_what_its_network_was_trained_on(
    more: dict[str, Any], prediction: str, schedule: dict[str, Any], saved: Path, tmp_path: Path
) -> None:
    shutil.copytree(saved, tmp_path / "a")
    change(tmp_path / "a" / "scheduler" / "scheduler_config.json", timestep_spacing="trailing", **more)
    model = find(tmp_path / "a")
    assert model.prediction == prediction and {**model.schedule, **schedule} == model.schedule and not model.warnings
    assert model.defaults["spacing"] == "trailing"


def test_a_schedule_without_end_that_is_none_of_ours_is_refused(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "a")
    change(tmp_path / "a" / "scheduler" / "scheduler_config.json", _class_name="EDMEulerScheduler", sigma_data=0.7)
    with pytest.raises(InvalidFile, match="0.7"):
        find(tmp_path / "a")


@pytest.mark.parametrize("only", ["fp16.bin", "bin", "fp16.safetensors", "non_ema.safetensors"])
def test_the_weights_that_are_fetched_are_those_that_are_read(only: str, tmp_path: Path) -> None:
    names = [
        f"diffusion_pytorch_model.{only}",
        f"._diffusion_pytorch_model.{only}",
        "._diffusion_pytorch_model.safetensors",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert folder._file(tmp_path).name == names[0]
    sets = folder.variants(names)
    assert sets[folder.preferred(sets) or ("", "")] == names[:1]


def test_what_macos_keeps_beside_a_file_is_said_to_be_that(tmp_path: Path) -> None:
    (tmp_path / "._a.safetensors").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00" + bytes(4000))
    with pytest.raises(InvalidFile, match="what macOS keeps beside a file"):
        find(tmp_path / "._a.safetensors")


def test_the_longest_yaml_is_read_at_once(tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", SD1)
    path.with_suffix(".yaml").write_text("model: {a: [" + "x, " * 5000 + "]}")
    began = time.process_time()
    find(path)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("where", "field", "told"),
    [("tokenizer", "window", "window of its tokenizer"), ("schedule", "count", "count of its schedule")],
)
def test_a_description_asks_for_no_more_than_its_networks_hold(
    where: str, field: str, told: str, tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny, tmp_path / "a")
    said = json.loads((tiny / "model.json").read_text())
    said |= {"schedule": {"kind": "linear"}, "prediction": "eps"}
    said[where][field] = 200_000_000
    (tmp_path / "a" / "model.json").write_text(json.dumps(said))
    with pytest.raises(DanqingError, match=told):
        load(tmp_path / "a", "cpu", "fp32")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"danqing": 1, "self": 1, "components": {}}', '{"danqing": 1, "warnings": []}']
)
def test_a_description_that_is_none_is_refused_and_said_to_be_so(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(InvalidFile):
        find(tmp_path)
    assert library.about(tmp_path).wrong
