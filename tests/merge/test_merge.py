"""Laws of merging: the ends are the files themselves, every number is the formula's, and nothing is lost unsaid."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from danqing.errors import DanqingError, InvalidFile, InvalidInput, UnknownName
from danqing.merge.merge import merge
from danqing.store.convert import convert
from danqing.weights import store

DENOISER, ENTRY = "model.diffusion_model.", "model.diffusion_model.input_blocks.0.0.weight"


@pytest.fixture
def out(tmp_path):
    """Merges to a new file: its tensors, and what was said."""

    def call(*files, **options):
        target = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        done = merge(files, target, **options)
        assert done.path == target and done.size == target.stat().st_size
        return store.read(target), done.notes

    return call


def same(a, b):
    """Whether tensors are equal in name, type and every bit."""
    return a.keys() == b.keys() and all(
        a[n].dtype == b[n].dtype and np.array_equal(a[n].view(torch.uint8).numpy(), b[n].view(torch.uint8).numpy())
        for n in a
    )


def files(tmp_path, *tensors):
    """Files of some tensors each."""
    return [store.write(tmp_path / f"given-{i}.safetensors", each) for i, each in enumerate(tensors)]


def drawn(seed, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


# ------------------------------------------------------------------------------------------------------------ the ends


@pytest.mark.parametrize("method", ["sum", "slerp", "ties", "dare", "dare-ties"])
def test_at_weight_0_the_first_file_comes_out_bit_for_bit(checkpoint, out, method):
    a, b = checkpoint(1), checkpoint(2)
    assert same(out(a, b, method=method, weights=["0"])[0], store.read(a))


@pytest.mark.parametrize("method", ["sum", "slerp"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_at_weight_1_the_second_file_comes_out_bit_for_bit(tmp_path, out, method, dtype):
    a, b = ({"x": drawn(seed, 300, 1001, dtype=dtype), "zero": torch.full((3,), -0.0, dtype=dtype)} for seed in (1, 2))
    assert same(out(*files(tmp_path, a, b), method=method, weights=["1"])[0], b)


def test_a_difference_with_the_first_file_is_added_to_it_as_a_sum(checkpoint, out):
    a, b, c = checkpoint(1), checkpoint(2), checkpoint(3)
    given = [store.read(x) for x in (a, b, c)]
    made, _ = out(a, b, c, method="add-difference", weights=["0.7"])
    for name, x, y, z in ((n, *(g[n] for g in given)) for n in made):
        torch.testing.assert_close(made[name], x + 0.7 * (y - z))
    made, _ = out(a, b, a, method="add-difference")
    for name, tensor in given[1].items():
        torch.testing.assert_close(made[name], tensor)
    assert same(out(a, b, b, method="add-difference")[0], given[0])


# --------------------------------------------------------------------------------------------------------- the formulas


def test_a_sum_of_several_is_theirs_in_any_order(tmp_path, out):
    a, b, c = ({"x": drawn(seed, 5, 7)} for seed in (1, 2, 3))
    one, two, three = files(tmp_path, a, b, c)
    made = out(one, two, three, method="sum", weights=["0.2", "0.3"])[0]["x"]
    torch.testing.assert_close(made, 0.5 * a["x"] + 0.2 * b["x"] + 0.3 * c["x"])
    torch.testing.assert_close(made, out(one, three, two, method="sum", weights=["0.3", "0.2"])[0]["x"])


def test_rounding_happens_once_and_in_no_type_below_fp32(tmp_path, out):
    a, b = ({"x": drawn(seed, 70_000, dtype=torch.float16)} for seed in (1, 2))
    made = out(*files(tmp_path, a, b), weights=["0.3"])[0]["x"]
    exact = 0.7 * a["x"].double() + 0.3 * b["x"].double()
    assert (made.double() - exact).abs().max() <= (exact.abs() * 2**-11).max()


@pytest.mark.parametrize("t", [0.25, 0.5, 0.9])
def test_slerp_has_the_length_between_and_the_angle_of_its_share(tmp_path, out, t):
    a, b = drawn(1, 40, 30), 3 * drawn(2, 40, 30)
    made = out(*files(tmp_path, {"x": a}, {"x": b}), method="slerp", weights=[str(t)])[0]["x"]
    length = torch.linalg.vector_norm
    torch.testing.assert_close(length(made), (1 - t) * length(a) + t * length(b))

    def angle(x, y):
        return torch.arccos((x.flatten() @ y.flatten()) / length(x) / length(y))

    torch.testing.assert_close(angle(a, made), t * angle(a, b), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(angle(made, b), (1 - t) * angle(a, b), rtol=1e-3, atol=1e-4)


def test_slerp_on_one_line_is_the_line(tmp_path, out):
    a = drawn(1, 40)
    given = files(tmp_path, {"x": a, "y": a, "z": torch.zeros(40)}, {"x": 3 * a, "y": -a, "z": a})
    made, _ = out(*given, method="slerp", weights=["0.25"])
    for name, right in {"x": 1.5 * a, "y": 0.5 * a, "z": 0.25 * a}.items():
        torch.testing.assert_close(made[name], right)


def test_ties_of_one_is_its_trimmed_difference(tmp_path, out):
    a, b = drawn(1, 100, 10), drawn(2, 100, 10)
    made = out(*files(tmp_path, {"x": a}, {"x": b}), method="ties:density=0.3", weights=["0.5"])[0]["x"]
    delta = b - a
    kept = delta.abs() >= delta.abs().flatten().sort(descending=True).values[299]
    assert kept.sum() == 300
    torch.testing.assert_close(made, a + 0.5 * delta * kept)


def test_ties_keeps_what_agrees_with_the_elected_sign(tmp_path, out):
    a = torch.zeros(4)
    b, c, d = torch.tensor([[1.0, 1, -2, 3], [3, -4, -4, 0], [2, 1, 7, -1]])
    made = out(*files(tmp_path, *({"x": x} for x in (a, b, c, d))), method="ties:density=1")[0]["x"]
    assert made.tolist() == [2, -4, 7, 3]  # signs of the sums: + - + +


def test_dare_is_the_plain_difference_in_the_mean_and_a_seed_draws_it(tmp_path, out):
    a, b = torch.zeros(200_000), torch.ones(200_000)
    given = files(tmp_path, {"x": a, "y": a}, {"x": b, "y": b})
    made, _ = out(*given, method="dare:density=0.25:seed=1")
    assert set(made["x"].unique().tolist()) == {0.0, 4.0}
    assert abs(made["x"].mean() - 1) < 5 * (3 / 200_000) ** 0.5  # its deviation is √((1 − d) / d / n)
    assert same(out(*given, method="dare:density=0.25:seed=1")[0], made)
    assert not torch.equal(out(*given, method="dare:density=0.25:seed=2")[0]["x"], made["x"])
    assert not torch.equal(made["x"], made["y"])


def test_all_of_a_difference_is_dares_and_ties_sum(tmp_path, out):
    given = files(tmp_path, *({"x": drawn(seed, 50)} for seed in (1, 2)))
    plain = out(*given, weights=["0.4"])[0]["x"]
    for method in ("dare:density=1", "ties:density=1", "dare-ties:density=1"):
        torch.testing.assert_close(out(*given, method=method, weights=["0.4"])[0]["x"], plain)


# ---------------------------------------------------------------------------------------------- what belongs together


def test_a_type_may_be_chosen_and_else_is_the_first_files(tmp_path, out):
    a, b = {"x": drawn(1, 9, dtype=torch.bfloat16), "n": torch.arange(3)}, {"x": drawn(2, 9), "n": torch.arange(3) + 1}
    given = files(tmp_path, a, b)
    made, _ = out(*given)
    assert made["x"].dtype == torch.bfloat16 and torch.equal(made["n"], a["n"])
    made, _ = out(*given, dtype="fp32")
    assert made["x"].dtype == torch.float32 and made["n"].dtype == torch.int64
    torch.testing.assert_close(made["x"], torch.lerp(a["x"].float(), b["x"], 0.5))


def test_what_only_one_file_holds_is_carried_over_and_said(checkpoint, tmp_path, out):
    a, b = store.read(checkpoint(1)), store.read(checkpoint(2))
    text = [name for name in a if name.startswith("cond_stage_model.")]
    without = {name: x for name, x in a.items() if name not in text} | {"betas": torch.ones(3)}
    less = {name: x for name, x in b.items() if not name.startswith("first_stage_model.")} | {"alphas": torch.ones(3)}
    made, notes = out(*files(tmp_path, without, less), weights=["1"])
    assert made.keys() == a.keys() | {"betas"}
    assert all(torch.equal(made[name], b[name]) for name in text)
    assert all(torch.equal(made[name], a[name]) for name in made if name.startswith("first_stage_model."))
    said = " ".join(notes)
    assert "only in given-0.safetensors, carried over: cond_stage_model." not in said
    assert "only in given-0.safetensors, carried over: first_stage_model." in said
    assert "only in given-1.safetensors, carried over: cond_stage_model." in said


def test_the_running_mean_of_a_training_is_dropped_and_said(checkpoint, tmp_path, out):
    a = store.read(checkpoint(1))
    (file,) = files(tmp_path, {**a, "model_ema.decay": torch.ones(1)})
    made, notes = out(file, checkpoint(2), weights=["0"])
    assert same(made, a) and any("model_ema.decay" in note for note in notes)


@pytest.mark.parametrize("inpainting", [0, 1])
def test_the_further_channels_of_an_inpainting_model_are_kept(checkpoint, out, inpainting):
    given = [checkpoint(seed, 9 if seed == inpainting else 4) for seed in (0, 1)]
    a, b = map(store.read, given)
    made, _ = out(*given, weights=["0.3"])
    assert made[ENTRY].shape[1] == 9
    torch.testing.assert_close(made[ENTRY][:, :4], torch.lerp(a[ENTRY][:, :4], b[ENTRY][:, :4], 0.3))
    assert torch.equal(made[ENTRY][:, 4:], (a, b)[inpainting][ENTRY][:, 4:])


def test_a_plain_models_difference_goes_into_an_inpainting_model(checkpoint, out):
    a, b, c = checkpoint(1, 9), checkpoint(2), checkpoint(3)
    x, y, z = (store.read(file)[ENTRY] for file in (a, b, c))
    made = out(a, b, c, method="add-difference")[0][ENTRY]
    torch.testing.assert_close(made[:, :4], x[:, :4] + y - z)
    assert torch.equal(made[:, 4:], x[:, 4:])


def test_old_names_of_the_text_encoder_are_merged_with_those_of_now(checkpoint, tmp_path, out):
    new = store.read(checkpoint(2))
    old = {name.replace("transformer.text_model.", "transformer."): x for name, x in new.items()}
    made, notes = out(checkpoint(1), *files(tmp_path, old), weights=["1"])
    assert same(made, new) and not any("only in" in note for note in notes)


def test_a_folder_of_a_model_is_merged_as_its_file(checkpoint, tmp_path, out):
    folder = convert(checkpoint(2), tmp_path / "folder").path
    made, _ = out(checkpoint(1), folder, weights=["0.3"])
    assert same(made, out(checkpoint(1), checkpoint(2), weights=["0.3"])[0])


def test_a_pickled_checkpoint_is_merged_as_its_safetensors(checkpoint, tmp_path, out):
    torch.save({"state_dict": store.read(checkpoint(2))}, tmp_path / "b.ckpt")
    made, _ = out(checkpoint(1), tmp_path / "b.ckpt", weights=["0.3"])
    assert same(made, out(checkpoint(1), checkpoint(2), weights=["0.3"])[0])


# ---------------------------------------------------------------------------------------------------------- refusals


def test_files_of_two_families_are_refused_with_the_sizes_that_differ_and_nothing_is_written(checkpoint, tmp_path):
    odd = checkpoint(2, intermediate_size=24)
    with pytest.raises(InvalidInput, match=r"fc1\.bias: \[16\] and \[24\]"):
        merge([checkpoint(1), odd], tmp_path / "x.safetensors")
    with pytest.raises(InvalidInput, match="not of one family"):
        merge([checkpoint(1), *files(tmp_path, {"x": torch.ones(2)})], tmp_path / "x.safetensors")
    with pytest.raises(InvalidInput, match=r"inpainting.*instruct-pix2pix"):
        merge([checkpoint(1, 9), checkpoint(2, 8)], tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", ["sum", "slerp"])
def test_a_number_that_is_not_finite_is_refused_by_its_file_and_its_tensor(tmp_path, value, method):
    bad = torch.ones(5)
    bad[3] = value
    given = files(tmp_path, {"x": torch.ones(5)}, {"x": bad})
    with pytest.raises(InvalidInput, match=r"given-1.*'x'"):
        merge(given, tmp_path / "o.safetensors", method=method)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["given-0.safetensors", "given-1.safetensors"]


def test_numbers_beyond_fp16_are_refused(tmp_path):
    given = files(tmp_path, {"x": torch.full((5,), 60_000.0)}, {"x": torch.full((5,), 80_000.0)})
    with pytest.raises(InvalidInput, match="fp16 does not reach"):
        merge(given, tmp_path / "o.safetensors", weights=["0.9"], dtype="fp16")


def test_what_cannot_be_is_refused_before_anything_is_written(checkpoint, tmp_path):
    a, b = checkpoint(1), checkpoint(2)
    target = tmp_path / "o.safetensors"
    wrong = (
        ([a, b], {"method": "tis"}, UnknownName, "ties"),
        ([a, b], {"method": "ties:density=2"}, InvalidInput, "above 0"),
        ([a, b, a], {}, InvalidInput, "add-difference"),
        ([a], {"method": "sum"}, InvalidInput, "takes 2 to 16"),
        ([a, b], {"weights": ["0.1", "0.2"]}, InvalidInput, "2 weights"),
        ([a, b], {"method": "extract", "weights": ["1"]}, InvalidInput, "no weight"),
        ([a, b], {"dtype": "fp12"}, UnknownName, "fp16"),
        ([a, b], {"method": "lora"}, InvalidInput, "no LoRA"),
        ([a], {"method": "resize:rank=4"}, InvalidInput, "no LoRA"),
        ([a], {"method": "resize"}, InvalidInput, "rank or an energy"),
    )
    for given, options, error, said in wrong:
        with pytest.raises(error, match=said):
            merge(given, target, **options)
    with pytest.raises(InvalidInput, match=r"\.safetensors"):
        merge([a, b], tmp_path / "o.ckpt")
    with pytest.raises(DanqingError, match="is the source itself"):
        merge([a, b], a, force=True)
    assert list(tmp_path.iterdir()) == []
    target.write_bytes(b"mine")
    with pytest.raises(InvalidFile, match="--force"):
        merge([a, b], target)
    assert target.read_bytes() == b"mine"
    merge([a, b], target, force=True)
    assert store.header(target).tensors


# --------------------------------------------------------------------------------------------- where it comes from


def test_a_merged_file_says_of_what_it_is_made_and_under_which_licences(checkpoint, tmp_path):
    a, b = checkpoint(1), checkpoint(2)
    tensors, said = store.read(b), store.header(b).metadata
    other = store.write(tmp_path / "b.safetensors", tensors, {**said, "modelspec.license": "MIT"})
    bare = store.write(tmp_path / "bare.safetensors", tensors)
    one = merge([a, other], tmp_path / "one.safetensors", weights=["0.25"])
    two = merge([one.path, bare], tmp_path / "two.safetensors", method="slerp")
    found = store.header(two.path).metadata
    assert found["modelspec.license"] == "CC0-1.0 AND MIT" and any("bare.safetensors" in note for note in two.notes)
    assert found["modelspec.merged_from"] == "one.safetensors, bare.safetensors"
    assert found["danqing.configs"] == said["danqing.configs"]
    recipe, models = (json.loads(found[key]) for key in ("sd_merge_recipe", "sd_merge_models"))
    hashes = [store.sha256(path) for path in (a, other, one.path, bare)]
    assert (recipe["method"], recipe["primary_model_hash"], recipe["secondary_model_hash"]) == ("slerp", *hashes[2:])
    assert sorted(models) == sorted(hashes) and models[hashes[2]]["sd_merge_recipe"]["weights"] == ["0.25"]


def test_equal_merges_are_equal_bytes(checkpoint, tmp_path):
    given = [checkpoint(1), checkpoint(2)]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        merge(given, tmp_path / folder / "x.safetensors", method="dare-ties")
    assert len({store.sha256(path) for path in Path(tmp_path).rglob("x.safetensors")}) == 1
