"""Laws of converting: what goes there and back is bit for bit the same, other programs load what is written, and
nothing is lost unsaid."""

from __future__ import annotations

import json
import shutil
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from tests.store.test_foreign import shaken

from danqing.cli import app
from danqing.errors import DanqingError, InvalidFile, InvalidInput, UnknownName
from danqing.store import convert as converting
from danqing.store import settings, tensors
from danqing.store.convert import convert
from danqing.store.find import find
from danqing.weights import store

CROSS = {"sd1": 768, "sd2": 1024, "sdxl": 2048, "refiner": 1280}
BLOCKS = ("DownBlock2D", "CrossAttnDownBlock2D")


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of nobody else."""
    monkeypatch.setenv(settings.MODELS, str(tmp_path_factory.getbasetemp() / "none"))


def unet(model: str, **more: Any) -> Any:
    large = model in ("sdxl", "refiner")
    down = BLOCKS if large else BLOCKS[::-1]
    pooled = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 24 + 6 * 256,
    }
    shape: dict[str, Any] = {
        "sample_size": 16,
        "block_out_channels": (32, 64),
        "layers_per_block": 2,
        "cross_attention_dim": CROSS[model],
        "attention_head_dim": (2, 4),
        "down_block_types": down,
        "up_block_types": tuple(one.replace("Down", "Up") for one in down[::-1]),
        "use_linear_projection": model != "sd1",
        **(pooled if large else {}),
        **more,
    }
    return shaken(diffusers.UNet2DConditionModel(**shape), 1)


def vae(**more: Any) -> Any:
    shape: dict[str, Any] = {
        "block_out_channels": (32, 64), "layers_per_block": 1, "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2, **more,
    }  # fmt: skip
    return shaken(diffusers.AutoencoderKL(**shape), 2)


def tower(kind: Any, layers: int = 2, **more: Any) -> Any:
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "projection_dim": 24,
        "vocab_size": 64,
        "max_position_embeddings": 77,
        "bos_token_id": 62,
        "eos_token_id": 63,
        "hidden_act": "gelu",
        **more,
    }
    return shaken(kind(transformers.CLIPTextConfig(**shape)), layers)


def transformer() -> Any:
    made = diffusers.SD3Transformer2DModel(
        sample_size=128, in_channels=4, out_channels=4, num_layers=24, attention_head_dim=4, num_attention_heads=2,
        joint_attention_dim=16, caption_projection_dim=8, pooled_projection_dim=16, pos_embed_max_size=192,
    )  # fmt: skip
    return shaken(made, 3)


def discrete(prediction: str = "epsilon", zero: bool = False) -> Any:
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    return diffusers.EulerDiscreteScheduler(**betas, prediction_type=prediction, rescale_betas_zero_snr=zero)


PLAIN, PROJECTED = transformers.CLIPTextModel, transformers.CLIPTextModelWithProjection
FLOW = {
    "latent_channels": 4,
    "shift_factor": 0.06,
    "scaling_factor": 1.5,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
#: Model -> what makes each of its networks, by the folder that it lies in.
MODELS: dict[str, Any] = {
    "sd1": lambda: {
        "unet": unet("sd1"),
        "vae": vae(),
        "text_encoder": tower(PLAIN, hidden_act="quick_gelu"),
        "scheduler": discrete(),
    },
    "sd1 inpainting": lambda: {
        "unet": unet("sd1", in_channels=9),
        "vae": vae(),
        "text_encoder": tower(PLAIN),
        "scheduler": discrete(),
    },
    "sd2": lambda: {
        "unet": unet("sd2"),
        "vae": vae(),
        "text_encoder": tower(PLAIN),
        "scheduler": discrete("v_prediction", True),
    },
    "sdxl": lambda: {
        "unet": unet("sdxl"),
        "vae": vae(scaling_factor=0.13),
        "text_encoder": tower(PLAIN),
        "text_encoder_2": tower(PROJECTED, 3),
        "scheduler": discrete("v_prediction"),
    },
    "refiner": lambda: {
        "unet": unet("refiner"),
        "vae": vae(scaling_factor=0.13),
        "text_encoder_2": tower(PROJECTED, 3),
        "scheduler": discrete(),
    },
    "sd3": lambda: {
        "transformer": transformer(),
        "vae": vae(**FLOW),
        "text_encoder": tower(PROJECTED),
        "text_encoder_2": tower(PROJECTED, 3),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    },
}
CLASSES = {
    "sd1": "StableDiffusionPipeline",
    "sd1 inpainting": "StableDiffusionInpaintPipeline",
    "sd2": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "refiner": "StableDiffusionXLImg2ImgPipeline",
    "sd3": "StableDiffusion3Pipeline",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Model -> a folder of diffusers, and the networks in it; made once."""

    @cache
    def make(model: str) -> tuple[Path, dict[str, Any]]:
        folder, nets = tmp_path_factory.mktemp("theirs") / "theirs", MODELS[model]()
        for name, net in nets.items():
            net.save_pretrained(folder / name)
        (folder / "model_index.json").write_text(json.dumps({"_class_name": CLASSES[model]}))
        return folder, nets

    return make


@pytest.fixture(scope="module")
def single(saved: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Model -> the single file of its folder; made once."""
    return cache(lambda model: convert(saved(model)[0], tmp_path_factory.mktemp("one") / "one.safetensors").path)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a folder, under the name of transformers before 5 where it has two."""
    found = {}
    for file in folder.rglob("*.safetensors"):
        for name, tensor in store.read(file).items():
            bare = name.removeprefix("text_model.") if file.parent.name.startswith("text_encoder") else name
            found[f"{file.parent.name}/{bare}"] = tensor
    return found


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


@torch.no_grad()
def answer(net: Any) -> torch.Tensor:
    """What a network of diffusers or transformers says to fixed numbers."""
    draw = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw)

    time = torch.tensor([500.0])
    if isinstance(net, diffusers.UNet2DConditionModel):
        added = {"text_embeds": noise(1, 24), "time_ids": noise(1, 6)} if net.config["addition_embed_type"] else None
        tokens = noise(1, 7, net.config["cross_attention_dim"])
        return net(noise(1, net.config["in_channels"], 8, 8), time, tokens, added_cond_kwargs=added, return_dict=False)[
            0
        ]
    if isinstance(net, diffusers.SD3Transformer2DModel):
        return net(noise(1, 4, 8, 8), noise(1, 7, 16), noise(1, 16), time, return_dict=False)[0]
    if isinstance(net, diffusers.AutoencoderKL):
        return torch.cat(
            [net.decode(noise(1, 4, 4, 4)).sample.flatten(), net.encode(noise(1, 3, 8, 8)).latent_dist.mean.flatten()]
        )
    out = net(torch.tensor([[62, 5, 9, 63, 63]]), output_hidden_states=True)
    summary = out.text_embeds if hasattr(out, "text_embeds") else out.pooler_output
    return torch.cat([out.last_hidden_state.flatten(), out.hidden_states[-2].flatten(), summary.flatten()])


# ------------------------------------------------------------------------------------------------- folders and files


@pytest.mark.parametrize("model", MODELS)
def test_a_folder_becomes_a_file_and_the_file_a_folder_that_diffusers_loads_bit_for_bit(
    model: str, tmp_path: Path, saved: Any
) -> None:
    folder, nets = saved(model)
    there = convert(folder, tmp_path / "one.safetensors")
    assert there.dropped == () and there.notes == ()
    back = convert(there.path, tmp_path / "ours")
    assert back.dropped == () and same(weights(folder), weights(back.path))
    for name, net in nets.items():
        again = type(net).from_pretrained(back.path / name)
        if name == "scheduler":
            for field in (
                "prediction_type",
                "rescale_betas_zero_snr",
                "shift",
                "beta_schedule",
                "beta_start",
                "beta_end",
            ):
                assert again.config.get(field) == net.config.get(field)
        else:  # sums are not bit for bit those of weights that lie elsewhere in memory
            torch.testing.assert_close(answer(again), answer(net), rtol=1e-4, atol=1e-4)
    found, given = find(back.path), find(folder)
    for part, component in given.components.items():
        assert found.components[part].config == component.config
    assert (found.schedule, found.prediction, found.task, found.text) == (
        given.schedule,
        given.prediction,
        given.task,
        given.text,
    )


def test_the_whole_folder_is_a_pipeline_of_diffusers_with_the_words_of_clip(tmp_path: Path, single: Any) -> None:
    convert(single("sdxl"), tmp_path / "ours")
    pipeline: Any = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "ours")
    assert type(pipeline).__name__ == CLASSES["sdxl"]
    assert pipeline.tokenizer("a red fox").input_ids == [49406, 320, 736, 3240, 49407]
    assert pipeline.tokenizer_2("a", padding="max_length", max_length=5).input_ids == [49406, 320, 49407, 0, 0]


def test_our_own_layout_is_found_whole_and_goes_back_to_the_same_file(tmp_path: Path, single: Any) -> None:
    ours = convert(single("sdxl"), tmp_path / "ours", layout="danqing").path
    found = find(ours)
    for part in found.components:
        found.verify(part)
    assert found.text == {"kind": "sdxl"} and found.prediction == "v"
    again = convert(ours, tmp_path / "again.safetensors").path
    assert same(store.read(single("sdxl")), store.read(again))


@torch.no_grad()
def test_the_last_layer_that_sd2_was_trained_without_stays_away_from_a_folder(tmp_path: Path, saved: Any) -> None:
    folder = Path(shutil.copytree(saved("sd2")[0], tmp_path / "theirs"))
    deep = tower(PLAIN, 24)
    deep.save_pretrained(folder / "text_encoder")
    convert(folder, tmp_path / "one.safetensors")
    back = convert(tmp_path / "one.safetensors", tmp_path / "ours")
    assert back.dropped and all(".layers.23." in name for name in back.dropped)
    ids = torch.tensor([[62, 5, 9, 63, 63]])
    ours = PLAIN.from_pretrained(back.path / "text_encoder")(ids).last_hidden_state
    norm = deep.final_layer_norm if hasattr(deep, "final_layer_norm") else deep.text_model.final_layer_norm
    torch.testing.assert_close(ours, norm(deep(ids, output_hidden_states=True).hidden_states[-2]), rtol=1e-4, atol=1e-4)


def test_what_an_sd2_file_predicts_is_asked_for_where_it_does_not_say(tmp_path: Path, single: Any) -> None:
    one = single("sd2")
    kept = {name: tensor for name, tensor in store.read(one).items() if name not in converting.MARKS}
    said = {key: text for key, text in store.header(one).metadata.items() if "prediction" not in key}
    silent = store.write(tmp_path / "silent.safetensors", kept, said)
    with pytest.raises(InvalidInput, match="--prediction"):
        convert(silent, tmp_path / "ours")
    assert [file.name for file in tmp_path.iterdir()] == ["silent.safetensors"]
    assert find(convert(silent, tmp_path / "ours", prediction="v").path).prediction == "v"


def test_t5_comes_along_where_its_vocabulary_does_and_else_is_said_to_be_missing(tmp_path: Path, saved: Any) -> None:
    folder = Path(shutil.copytree(saved("sd3")[0], tmp_path / "theirs"))
    small = transformers.T5Config(
        vocab_size=60, d_model=16, d_kv=6, d_ff=24, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu"
    )
    t5 = shaken(transformers.T5EncoderModel(small), 9)
    t5.save_pretrained(folder / "text_encoder_3")
    assert "T5" in convert(folder, tmp_path / "without.safetensors").notes[0]
    (folder / "tokenizer_3").mkdir()
    (folder / "tokenizer_3" / "tokenizer.json").write_text("{}")
    assert convert(folder, tmp_path / "one.safetensors").notes == ()
    (tmp_path / "spiece.model").write_bytes(b"words")
    ours = convert(tmp_path / "one.safetensors", tmp_path / "ours").path
    ids = torch.tensor([[5, 9, 3, 1]])
    with torch.no_grad():
        again = transformers.T5EncoderModel.from_pretrained(ours / "text_encoder_3")
        torch.testing.assert_close(again(ids).last_hidden_state, t5(ids).last_hidden_state, rtol=1e-4, atol=1e-4)
    assert (ours / "tokenizer_3" / "spiece.model").read_bytes() == b"words"


def test_a_model_that_no_other_program_knows_stays_in_its_own_layout(tiny: Path, tmp_path: Path) -> None:
    for target in ("x.safetensors", "x"):
        with pytest.raises(InvalidInput, match="no other program"):
            convert(tiny, tmp_path / target)
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------------- file to file

U = "model.diffusion_model."


def trained() -> dict[str, Any]:
    """A checkpoint as a training leaves it."""
    draw = torch.Generator().manual_seed(0)
    shapes = {
        U + "input_blocks.0.0.weight": (8, 4, 3, 3),
        U + "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": (8, 768),
        "first_stage_model.loss.logvar": (1,),
        "first_stage_model.encoder.conv_in.weight": (4, 3, 3, 3),
        "betas": (10,),
        "model_ema.decay": (1,),
        "model_ema.diffusion_modelout0weight": (4,),
        "cond_stage_model.transformer.x": (3, 2),
    }
    return {**{name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}, "v_pred": torch.zeros(0)}


def test_a_pickle_of_torch_becomes_safetensors_with_the_same_numbers(tmp_path: Path) -> None:
    state = {**trained(), "cond_stage_model.transformer.position_ids": torch.arange(7)[None]}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "a.ckpt")
    made = convert(tmp_path / "a.ckpt", tmp_path / "a.safetensors")
    assert (
        made.dropped == ()
        and same(store.read(made.path), store.read(tmp_path / "a.ckpt"))
        and same(store.read(made.path), state)
    )


def test_pruning_drops_copies_and_leftovers_and_names_each(tmp_path: Path) -> None:
    store.write(tmp_path / "a.safetensors", trained(), {"modelspec.title": "a"})
    made = convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", prune=True)
    gone = {"first_stage_model.loss.logvar", "betas", "model_ema.decay", "model_ema.diffusion_modelout0weight"}
    assert set(made.dropped) == gone and store.read(made.path).keys() == trained().keys() - gone
    assert store.header(made.path).metadata["modelspec.title"] == "a" and made.size == made.path.stat().st_size
    other = {
        "params.x": torch.ones(2),
        "params_ema.x": torch.ones(2),
        "optimizer.state": torch.ones(2),
        "model_ema.x": torch.ones(2),
    }
    store.write(tmp_path / "c.safetensors", other)
    assert set(convert(tmp_path / "c.safetensors", tmp_path / "d.safetensors", prune=True).dropped) == {
        "optimizer.state",
        "model_ema.x",
    }


def test_many_that_are_dropped_are_told_by_their_number(tmp_path: Path) -> None:
    told = list(converting.summary(["betas", "logvar", *(f"model_ema.x{i}" for i in range(600))]))
    assert told == ["dropped: betas, logvar", "dropped: model_ema.* (600 tensors)"]


@pytest.mark.parametrize("dtype", converting.DTYPES)
def test_a_precision_is_that_of_a_cast_and_whole_numbers_stay(tmp_path: Path, dtype: str) -> None:
    state = {"w": torch.randn(5, 7), "half": torch.randn(3).bfloat16(), "n": torch.arange(5)}
    store.write(tmp_path / "a.safetensors", state)
    made = store.read(convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", dtype=dtype).path)
    wanted = converting.DTYPES[dtype]
    assert same(made, {"w": state["w"].to(wanted), "half": state["half"].to(wanted), "n": state["n"]})


def test_numbers_that_fp16_does_not_reach_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    store.write(tmp_path / "a.safetensors", {"ok": torch.ones(2), "large": torch.tensor([1.0, 1e5, float("inf")])})
    with pytest.raises(InvalidInput, match="'large'.*bf16"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", dtype="fp16")
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_quantised_blocks_become_the_numbers_that_they_stand_for(tmp_path: Path) -> None:
    import gguf
    import numpy as np

    values = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    writer = gguf.GGUFWriter(str(tmp_path / "a.gguf"), "sd1")
    writer.add_tensor(
        "w", gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0), raw_dtype=gguf.GGMLQuantizationType.Q8_0
    )
    writer.add_tensor("b", values[0].astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    plain = store.read(convert(tmp_path / "a.gguf", tmp_path / "a.safetensors").path)
    expected = gguf.quants.dequantize(
        gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0), gguf.GGMLQuantizationType.Q8_0
    )
    assert plain["w"].numpy().tobytes() == expected.tobytes() and plain["b"].dtype == torch.float16
    half = store.read(convert(tmp_path / "a.gguf", tmp_path / "b.safetensors", dtype="bf16").path)
    assert torch.equal(half["w"], plain["w"].bfloat16())


def test_of_a_model_no_more_is_in_memory_than_one_tensor_is_made_of(
    tmp_path: Path, saved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = saved("sdxl")
    alive: list[Any] = []
    most, fit = 0, tensors.fit

    def watched(tensor: torch.Tensor, dtype: torch.dtype, name: str) -> torch.Tensor:
        nonlocal most
        made = fit(tensor, dtype, name)
        alive.append(weakref.ref(made))
        most = max(most, sum(one() is not None for one in alive))
        return made

    monkeypatch.setattr(tensors, "fit", watched)
    convert(folder, tmp_path / "one.safetensors", dtype="bf16")
    assert len(alive) == len(weights(folder)) and most <= 4  # queries, keys and values of one layer, and the one before


# ------------------------------------------------------------------------------------------------------------- targets


def test_what_is_there_stays_until_the_new_is_whole_and_force_is_given(tmp_path: Path, saved: Any) -> None:
    store.write(tmp_path / "a.safetensors", trained())
    (tmp_path / "b.safetensors").write_bytes(b"precious")
    with pytest.raises(InvalidFile, match="--force"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == b"precious"
    convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", force=True)
    assert same(store.read(tmp_path / "b.safetensors"), trained())
    folder = Path(shutil.copytree(saved("sd1")[0], tmp_path / "theirs"))
    ours = convert(folder, tmp_path / "ours").path
    (ours / "old.txt").touch()
    with pytest.raises(InvalidFile, match="--force"):
        convert(folder, ours)
    (folder / "vae" / "diffusion_pytorch_model.safetensors").rename(tmp_path / "vae.safetensors")
    with pytest.raises(InvalidFile):
        convert(folder, ours, force=True)
    assert (ours / "old.txt").exists()
    (tmp_path / "vae.safetensors").rename(folder / "vae" / "diffusion_pytorch_model.safetensors")
    assert not (convert(folder, ours, force=True).path / "old.txt").exists() and same(weights(ours), weights(folder))
    assert not any(file.name.startswith(".") for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "error", "told"),
    [
        ("a.safetensors", InvalidInput, "source itself"), ("private", InvalidFile, "never replaced"),
        ("b.ckpt", InvalidInput, r"\.safetensors"), ("no/where/b.safetensors", InvalidFile, "folder"),
        ("no/where/b", InvalidFile, "cannot write"), ("b.txt", InvalidFile, "lacks"),
    ],
)  # fmt: skip
def test_a_place_that_cannot_be_is_refused_even_with_force(
    tmp_path: Path, single: Any, target: str, error: type[DanqingError], told: str
) -> None:
    whole = Path(shutil.copy(single("sd1"), tmp_path / "a.safetensors"))
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "diary.txt").write_text("dear")
    if target == "b.txt":
        store.write(whole, {name: tensor for name, tensor in store.read(whole).items() if name.startswith(U)})
    with pytest.raises(error, match=told):
        convert(whole, tmp_path / target, force=True)
    assert (tmp_path / "private" / "diary.txt").read_text() == "dear"
    assert {file.name for file in tmp_path.iterdir()} == {"a.safetensors", "private"}


def test_an_unknown_choice_is_told_with_the_possible_ones(tmp_path: Path) -> None:
    store.write(tmp_path / "a.safetensors", trained())
    for option in ("dtype", "layout", "prediction"):
        with pytest.raises(UnknownName, match=option):
            convert(tmp_path / "a.safetensors", tmp_path / "b", **{option: "fp61"})
    with pytest.raises(UnknownName):
        convert("nothing-of-this-name", tmp_path / "b.safetensors")


def test_the_command_says_what_was_made_and_what_was_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.write(tmp_path / "a.safetensors", trained())
    app.main(
        ["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"), "--prune", "--dtype", "fp16"]
    )
    said = capsys.readouterr()
    assert (
        said.out.startswith(str(tmp_path / "b.safetensors")) and "model_ema.decay" in said.err and "betas" in said.err
    )
    with pytest.raises(SystemExit) as stop:
        app.main(["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")])
    assert stop.value.code == 2 and "--force" in capsys.readouterr().err
