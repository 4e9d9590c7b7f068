"""Laws of LoRAs and checkpoints: what is taken out and put back in is what was there; a merged LoRA paints as a worn
one."""

import numpy as np
import pytest
import torch

from danqing.errors import InvalidFile, InvalidInput
from danqing.merge.factors import factors
from danqing.merge.merge import merge
from danqing.painting.load import load
from danqing.request.request import Request
from danqing.store import settings
from danqing.weights import store

LEFT = ("first_stage_model.", "cond_stage_model.transformer.text_model.embeddings.")


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def kohya(seed, rank=3, layers=(("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", 8, 8, ()),
          ("lora_unet_down_blocks_0_resnets_0_conv1", 8, 8, (3, 3)),
          ("lora_te_text_model_encoder_layers_0_mlp_fc1", 16, 768, ()))):  # fmt: skip
    """A LoRA of kohya's layout: layer -> outputs, inputs, kernel."""
    found = {}
    for i, (name, outs, ins, kernel) in enumerate(layers):
        found |= {
            f"{name}.lora_up.weight": drawn(seed + i, outs, rank, *([1] * len(kernel))),
            f"{name}.lora_down.weight": 0.1 * drawn(seed + 50 + i, rank, ins, *kernel),
            f"{name}.alpha": torch.tensor(1.5),
        }
    return found


def change(lora, layer):
    """ΔW of a layer by its factors, as peft computes it."""
    up, down = lora[f"{layer}.lora_up.weight"], lora[f"{layer}.lora_down.weight"]
    scale = lora[f"{layer}.alpha"] / len(down)
    return (scale * up.flatten(1) @ down.flatten(1)).reshape(len(up), *down.shape[1:])


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (9, 9)])
def test_factors_are_the_truncated_singular_values(shape):
    x = drawn(1, *shape)
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    for rank in (1, 4, min(shape)):
        up, down = factors(x, rank, None)
        assert up.shape == (shape[0], rank) and down.shape == (rank, shape[1])
        torch.testing.assert_close(up @ down, u[:, :rank] * s[:rank] @ v[:rank], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(up.norm(dim=0), down.norm(dim=1), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("energy", [0.3, 0.9, 0.999])
def test_an_energy_is_kept_by_the_least_rank(energy):
    x = drawn(2, 20, 35)
    squares = torch.linalg.svdvals(x) ** 2
    rank = len(factors(x, None, energy)[1])
    assert squares[:rank].sum() >= energy * squares.sum() > squares[: rank - 1].sum()
    assert len(factors(x, 2, energy)[1]) <= 2


def test_factors_of_a_difference_of_a_low_rank_are_exact_from_that_rank_on():
    x = drawn(1, 40, 2) @ drawn(2, 2, 60)
    for rank in (2, 10, 40):
        up, down = factors(x, rank, None)
        torch.testing.assert_close(up @ down, x, rtol=1e-4, atol=1e-5)


def test_what_is_extracted_at_full_rank_makes_the_other_checkpoint_again(checkpoint, tmp_path):
    a, b = checkpoint(1), checkpoint(2)
    lora = merge([a, b], tmp_path / "lora.safetensors", method="extract:rank=999")
    back = store.read(merge([a, lora.path], tmp_path / "back.safetensors", method="lora").path)
    for name, tensor in store.read(b).items():
        if not name.startswith(LEFT):
            torch.testing.assert_close(back[name], tensor, rtol=1e-4, atol=2e-6)
    assert any("first_stage_model" in note for note in lora.notes)


def test_a_smaller_rank_comes_as_near_as_any_can(checkpoint, tmp_path):
    a, b = map(store.read, (checkpoint(1), checkpoint(2)))
    name = "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1"
    lora = store.read(merge([checkpoint(1), checkpoint(2)], tmp_path / "l.safetensors", method="extract:rank=5").path)
    left = b[f"{name}.weight"] - a[f"{name}.weight"] - change(lora, "lora_te_text_model_encoder_layers_0_mlp_fc1")
    spread = torch.linalg.svdvals(b[f"{name}.weight"] - a[f"{name}.weight"])
    torch.testing.assert_close(left.norm(), spread[5:].norm(), rtol=1e-4, atol=1e-5)


def test_what_does_not_differ_is_not_in_a_lora(checkpoint, tmp_path):
    a = store.read(checkpoint(1))
    name = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
    b = store.write(tmp_path / "b.safetensors", {**a, name: a[name] + 0.1}, store.header(checkpoint(1)).metadata)
    lora = store.read(merge([checkpoint(1), b], tmp_path / "l.safetensors", method="extract:energy=0.999").path)
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    assert sorted(lora) == [f"{layer}.{part}" for part in ("alpha", "lora_down.weight", "lora_up.weight")]
    assert len(lora[f"{layer}.lora_down.weight"]) == 1  # a constant is of rank 1
    with pytest.raises(InvalidInput, match="do not differ"):
        merge([checkpoint(1), checkpoint(1)], tmp_path / "none.safetensors", method="extract")


def test_a_lora_adds_its_product_to_the_weights_at_each_strength(checkpoint, tmp_path):
    loras = [kohya(seed) for seed in (1, 200)]
    paths = [store.write(tmp_path / f"{i}.safetensors", lora) for i, lora in enumerate(loras)]
    a = store.read(checkpoint(1))
    made = store.read(
        merge([checkpoint(1), *paths], tmp_path / "o.safetensors", method="lora", weights=["0.7", "-0.2"]).path
    )
    places = {
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q":
            "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight",
        "lora_unet_down_blocks_0_resnets_0_conv1": "model.diffusion_model.input_blocks.1.0.in_layers.2.weight",
        "lora_te_text_model_encoder_layers_0_mlp_fc1":
            "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
    }  # fmt: skip
    for layer, name in places.items():
        right = a[name] + 0.7 * change(loras[0], layer) - 0.2 * change(loras[1], layer)
        torch.testing.assert_close(made[name], right, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(made[name], x) for name, x in a.items() if name not in places.values())


def test_block_weights_are_strengths_of_a_lora(checkpoint, tmp_path):
    path = store.write(tmp_path / "l.safetensors", kohya(1))
    whole, part = (
        store.read(merge([checkpoint(1), path], tmp_path / f"{n}.safetensors", method="lora", weights=[w]).path)
        for n, w in enumerate(("1", "IN01=1"))
    )
    a = store.read(checkpoint(1))
    for name, tensor in part.items():
        assert torch.equal(tensor, whole[name] if ".input_blocks.1." in name else a[name])


def test_a_lora_of_another_model_is_refused(checkpoint, tmp_path):
    lora = {name: torch.cat([x, x]) for name, x in kohya(1).items() if x.ndim}
    path = store.write(tmp_path / "l.safetensors", lora)
    with pytest.raises(InvalidFile, match="does not fit"):
        merge([checkpoint(1), path], tmp_path / "o.safetensors", method="lora")
    with pytest.raises(InvalidInput, match="--method lora"):
        merge([checkpoint(1), path], tmp_path / "o.safetensors")


# ------------------------------------------------------------------------------------------------------------- resizing


def test_resizing_to_no_smaller_a_rank_is_the_identity(tmp_path):
    lora = kohya(1)
    path = store.write(tmp_path / "l.safetensors", lora)
    for rank in (3, 8):
        made = store.read(merge([path], tmp_path / f"{rank}.safetensors", method=f"resize:rank={rank}").path)
        assert made.keys() == lora.keys() and all(torch.equal(made[name], x) for name, x in lora.items())


@pytest.mark.parametrize("layout", ["kohya", "peft"])
def test_resizing_keeps_the_largest_singular_values_of_the_change(tmp_path, layout):
    lora, metadata = kohya(1, rank=6), {}
    if layout == "peft":
        words = {".lora_up.": ".lora_B.", ".lora_down.": ".lora_A."}
        lora = {name: x for name, x in lora.items() if not name.endswith("alpha")}
        for old, new in words.items():
            lora = {name.replace(old, new): x for name, x in lora.items()}
    given = store.write(tmp_path / "l.safetensors", lora, metadata)
    made = store.read(merge([given], tmp_path / "s.safetensors", method="resize:rank=2").path)

    def whole(tensors):
        kohyas = {name.replace("lora_B", "lora_up").replace("lora_A", "lora_down"): x for name, x in tensors.items()}
        for name in [name for name in kohyas if ".lora_down." in name and layout == "peft"]:
            kohyas[name.replace("lora_down.weight", "alpha")] = torch.tensor(float(len(kohyas[name])))
        return {n.partition(".")[0]: change(kohyas, n.partition(".")[0]).flatten(1) for n in kohyas}

    for layer, old in whole(lora).items():
        u, s, v = torch.linalg.svd(old, full_matrices=False)
        torch.testing.assert_close(whole(made)[layer], u[:, :2] * s[:2] @ v[:2], rtol=1e-3, atol=1e-5)
    assert all(len(x) == 2 for name, x in made.items() if "lora_down" in name or "lora_A" in name)


def test_what_has_no_rank_is_kept_and_said(tmp_path):
    lora = kohya(1) | {"lora_unet_conv_norm_out.w_norm": torch.ones(8), "lora_unet_conv_norm_out.b_norm": torch.ones(8)}
    done = merge([store.write(tmp_path / "l.safetensors", lora)], tmp_path / "s.safetensors", method="resize:rank=1")
    assert any("lora_unet_conv_norm_out" in note for note in done.notes)
    assert {"lora_unet_conv_norm_out.w_norm", "lora_unet_conv_norm_out.b_norm"} <= store.read(done.path).keys()


# ------------------------------------------------------------------------------------------------------------- painting


def test_a_merged_file_is_painted_with_at_once_and_a_lora_in_it_as_one_in_the_prompt(
    checkpoint, tmp_path, monkeypatch, run
):
    a = checkpoint(1, vocab_size=49408)
    b = {name: x for name, x in store.read(checkpoint(2)).items() if not name.startswith("cond_stage_model.")}
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv(settings.MODELS, str(folder))
    store.write(folder / "ink.safetensors", kohya(1))
    given = [str(a), str(store.write(tmp_path / "b.safetensors", b)), "-o", str(folder / "ab.safetensors")]
    assert run("merge", *given, "--weight", "grad-v,BASE=0.5", "--dtype", "fp16")[0] == 0
    code, out, err = run("merge", "ab", str(folder / "ink.safetensors"), "-o", str(folder / "inked.safetensors"),
                         "--method", "lora", "--weight", "0.8", "--dtype", "fp32")  # fmt: skip
    assert (code, err) == (0, "no licence is stated in ink.safetensors: ask for it before the result is passed on\n")
    assert "inked.safetensors" in out
    small = {"width": 16, "height": 16, "steps": 2, "solver": "euler", "seed": 1}
    worn = load("ab", "cpu", "fp32").paint(Request(prompt="a fox <lora:ink:0.8>", **small))
    inside = load("inked", "cpu", "fp32").paint(Request(prompt="a fox", **small))
    plain = load("ab", "cpu", "fp32").paint(Request(prompt="a fox", **small))
    pixels = [np.asarray(picture.image, np.int16) for picture in (worn, inside, plain)]
    assert np.abs(pixels[0] - pixels[1]).max() <= 1 < np.abs(pixels[0] - pixels[2]).max()
    assert run("paint", "a fox", "--model", "inked", "--steps", "1", "--width", "16", "--height", "16")[0] == 0
