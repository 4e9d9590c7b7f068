"""Laws of painting: one picture depends on its request alone."""

import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

import danqing
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.painting.load import load
from danqing.painting.loaded import NotFinite
from danqing.request.names import SPACINGS
from danqing.request.request import Request
from danqing.solve.solvers import SOLVERS
from danqing.types import State
from danqing.weights import store


def bytes_of(pictures):
    return [p.image.tobytes() for p in pictures]


def series(tiny, count, **options):
    small = {"model": str(tiny), "prompt": "a red fox", "seed": 5, "width": 16, "height": 16, "steps": 2}
    return [Request(**small, index=i, **options) for i in range(count)]


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_picture_is_the_same_alone_in_a_batch_and_in_any_order(tiny, solver):
    every = series(tiny, 5, solver=solver, precision="fp32")
    alone = [next(danqing.paint_all([request])).image.tobytes() for request in every]
    assert len(set(alone)) == 5
    for batch in (2, 5):
        together = [p for i in range(0, 5, batch) for p in danqing.paint_all(every[i : i + batch])]
        assert bytes_of(together) == alone
    order = random.Random(0).sample(range(5), 5)
    assert bytes_of(danqing.paint_all([every[i] for i in order])) == [alone[i] for i in order]


def test_the_same_holds_in_half_precision(tiny):
    every = series(tiny, 3, precision="bf16", solver="euler-a")
    forwards = bytes_of(danqing.paint_all(every))
    assert bytes_of(danqing.paint_all(every[::-1])) == forwards[::-1] and len(set(forwards)) == 3


def test_what_was_painted_before_changes_nothing(painter):
    request = painter.resolve(Request(prompt="a red fox", seed=1))
    first = painter.paint(request).image.tobytes()
    painter.paint(Request(prompt="一只红色的狐狸, [a|b] (x:1.4) AND a cat", negative="tree", steps=5))
    assert painter.paint(request).image.tobytes() == first


def test_a_painter_that_nobody_holds_frees_its_networks_at_once(tiny):
    import gc
    import weakref

    from danqing.painting.load import _painter

    held = weakref.ref(load(tiny, "cpu", "fp32"))
    net = weakref.ref(held().denoiser.net)
    held().paint(Request(prompt="a red fox", seed=1))
    gc.disable()
    try:
        _painter.cache_clear()
        assert held() is None
    finally:
        gc.enable()
        gc.collect()
    assert net() is None


def test_two_pictures_painted_in_turns_are_those_painted_one_after_the_other(painter):
    requests = [painter.resolve(Request(prompt=p, seed=i)) for i, p in enumerate(["a red fox", "a blue cat"])]
    apart = bytes_of(map(painter.paint, requests))
    running = [painter.states(r) for r in requests]
    *_, last = zip(*running, strict=True)
    assert bytes_of(last) == apart


def test_looking_at_each_step_changes_nothing(painter):
    request = painter.resolve(Request(prompt="a red fox", seed=1, solver="euler-a"))
    for state in painter.states(request):
        if isinstance(state, State):
            assert painter.preview(state).size == (32, 32)
        else:
            assert state.image.tobytes() == painter.paint(request).image.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"index": 1},
        {"prompt": "a blue cat"},
        {"negative": "tree"},
        {"scale": 5.0},
        {"steps": 4},
        {"solver": "heun"},
        {"interval": (0.0, 0.5)},
        {"rescale": 0.7},
        {"spacing": "karras"},
        {"clip_skip": 2},
    ],
)
def test_everything_that_a_request_states_has_its_effect(painter, change):
    base = painter.resolve(Request(prompt="a red fox", seed=1))
    assert painter.paint(base).image.tobytes() != painter.paint(base.but(**change)).image.tobytes()


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2])
def test_every_spacing_ends_in_a_picture_after_so_many_steps(painter, spacing, steps):
    *states, last = painter.states(Request(spacing=spacing, steps=steps, seed=0))
    assert [s.step for s in states] == list(range(1, steps + 1)) and last.image.size == (32, 32)


def test_a_loaded_model_is_told_by_its_name_device_and_precision(painter):
    assert repr(painter) == "<Painter tiny on cpu in fp32>"


def test_the_number_of_threads_moves_a_picture_by_at_most_a_level(painter):
    request, before, found = painter.resolve(Request(prompt="a red fox", seed=1)), torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(np.asarray(painter.paint(request).image, np.int16))
    finally:
        torch.set_num_threads(before)
    assert np.abs(found[0] - found[1]).max() <= 1


@pytest.mark.parametrize("prompt", ["[a red fox:a blue cat:0.5]", "[a red fox:a blue cat:2]"])
def test_a_prompt_that_switches_midway_shares_the_steps_before(painter, prompt):
    options = {"seed": 1, "steps": 4}
    switched = list(painter.states(Request(prompt=prompt, **options)))
    plain = list(painter.states(Request(prompt="a red fox", **options)))
    same = [torch.equal(a.x, b.x) for a, b in zip(switched[:-1], plain[:-1], strict=True)]
    assert same == [True, True, False, False]


def test_prompts_that_alternate_and_that_compose_differ_from_each_part(painter):
    texts = [
        "a red fox",
        "a blue cat",
        "[a red fox|a blue cat]",
        "a red fox AND a blue cat",
        "a red fox AND a blue cat :-0.5",
    ]
    assert len({painter.paint(Request(prompt=t, seed=1, steps=4)).image.tobytes() for t in texts}) == len(texts)


def test_a_prompt_longer_than_the_window_is_heard_to_its_end(painter):
    long = "a red fox, " * 12
    one, two = (painter.paint(Request(prompt=long + tail, seed=1)) for tail in ("tree", "cat"))
    assert one.image.tobytes() != two.image.tobytes()


def test_scale_one_is_the_prompt_alone_and_then_the_negative_is_not_asked(painter):
    base = painter.resolve(Request(prompt="a red fox", seed=1, scale=1.0))
    assert painter.paint(base).image.tobytes() == painter.paint(base.but(negative="tree")).image.tobytes()


def test_an_empty_prompt_is_painted_and_no_guidance_moves_it(painter):
    base = painter.resolve(Request(seed=1))
    a, b = (np.asarray(painter.paint(base.but(scale=s)).image, np.int16) for s in (1.0, 9.0))
    assert np.abs(a - b).max() <= 1


def test_what_is_cut_or_ignored_stands_in_the_warnings(painter):
    def told(prompt, **options):
        return painter.paint(Request(prompt=prompt, seed=1, steps=1, **options)).warnings

    assert told("a (red:1.2) fox BREAK [a|b]", negative="tree") == ()
    assert (
        "<lora:ink:0.5>" in told("a <lora:ink:0.5> fox")[0]
        and "<hypernet:x>" in told("a fox", negative="<hypernet:x> tree")[0]
    )
    assert "were cut" in told("狐狸" * 200)[0]
    assert "negative" in told("a fox", negative="tree", scale=1)[0]
    assert told("a fox AND a cat", negative="tree", scale=1) == told("a fox", scale=1) == ()


def test_a_picture_carries_the_request_resolved_and_the_machine(painter):
    picture = painter.paint(Request(prompt="a red fox"))
    assert painter.resolve(picture.request) == picture.request and picture.request.seed is not None
    assert picture.request.precision == "fp32" == picture.record["precision"]
    assert picture.record["torch"] == torch.__version__ and len(picture.record["sha256"]) == 64
    assert picture.timings["total"] > 0


def test_an_embedded_request_paints_the_same_through_the_api(painter, tiny):
    picture = painter.paint(Request(model=str(tiny), prompt="a red fox", seed=3))
    again = danqing.paint(**{k: v for k, v in picture.request.stated().items() if k not in ("image", "mask")})
    assert again.image.tobytes() == picture.image.tobytes()


# ------------------------------------------------------------------------------------------------------- not finite


def test_what_is_not_finite_is_painted_again_in_fp32_and_said(tiny, monkeypatch):
    half = load(tiny, "cpu", "bf16")
    monkeypatch.setattr(half.codec, "decode", lambda latent: torch.full((1, 3, 32, 32), torch.nan))
    picture = half.paint(Request(prompt="a red fox", seed=1))
    assert "fp32" in picture.warnings[0] and "bf16" in picture.warnings[0] and picture.request.precision == "fp32"
    whole = load(tiny, "cpu", "fp32").paint(Request(prompt="a red fox", seed=1, precision="fp32"))
    assert picture.image.tobytes() == whole.image.tobytes()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_even_in_fp32_is_an_error_and_no_picture(painter, monkeypatch, bad):
    monkeypatch.setattr(painter.denoiser.net, "forward", lambda x, *_, **__: torch.full_like(x, bad))
    with pytest.raises(NotFinite, match="step 1 of 3"):
        painter.paint(Request(prompt="a red fox", seed=1))


def test_too_little_memory_is_an_error_with_the_remedy(painter, monkeypatch):
    def refuses(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 17179869184 bytes")

    monkeypatch.setattr(painter.denoiser.net, "forward", refuses)
    with pytest.raises(danqing.DanqingError, match="smaller"):
        painter.paint(Request(seed=1))


# -------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("size", "near"), [((33, 32), "32×32"), ((32, 30), "32×32"), ((44, 36), "48×32|40×40|48×40|40×32")]
)
def test_a_size_that_does_not_divide_offers_the_nearest(painter, size, near):
    with pytest.raises(InvalidInput, match=f"multiples of 8.*({near})"):
        painter.paint(Request(width=size[0], height=size[1]))


def test_an_absurd_size_is_refused_before_memory_is_spent(painter):
    with pytest.raises(InvalidInput, match="up to 128×128"):
        painter.paint(Request(width=4096, height=4096))


def test_an_option_that_the_solver_has_not_is_refused(painter):
    with pytest.raises(InvalidInput, match="heun"):
        painter.paint(Request(solver="heun", eta=0.5))


def test_an_unknown_model_offers_the_nearest_and_a_folder_without_one_is_told(tmp_path):
    with pytest.raises(UnknownName, match="model 'danqing-mni'"):
        danqing.paint("x", model="danqing-mni")
    with pytest.raises(InvalidFile, match=r"model\.json"):
        danqing.paint("x", model=str(tmp_path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("multiple", "8"),
        ("multiple", 0),
        ("schedule", []),
        ("tokenizer", 3),
        ("defaults", []),
        ("name", 5),
        ("prediction", {}),
        ("components", {"denoiser": "x"}),
        ("components", {"denoiser": {"family": "unet", "file": 3}}),
        ("components", []),
    ],
)
def test_a_description_of_wrong_kinds_is_refused(tiny, tmp_path, field, value):
    description = json.loads((tiny / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**description, field: value}))
    with pytest.raises(InvalidFile, match=r"model\.json"):
        danqing.paint("x", model=str(tmp_path))


@pytest.mark.parametrize(
    "tokenizer",
    [{"kind": "bilingual"}, {"kind": "bilingual", "file": "tokenizer.json", "x": 1}, {"kind": "clip", "x": 1}],
)
def test_a_tokenizer_of_wrong_fields_is_refused(tiny, tmp_path, tokenizer):
    shutil.copytree(tiny, tmp_path / "m")
    description = json.loads((tiny / "model.json").read_text())
    (tmp_path / "m" / "model.json").write_text(json.dumps({**description, "tokenizer": tokenizer}))
    with pytest.raises(InvalidFile, match=r"tokenizer|lacks its file"):
        danqing.paint("x", model=str(tmp_path / "m"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"danqing": 2}', '{"danqing": 1}', '{"danqing": 1, "components": {"denoiser": {}}}']
)
def test_a_wrong_description_is_refused(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(InvalidFile, match="model.json"):
        danqing.paint("x", model=str(tmp_path))


@pytest.mark.parametrize(("name", "message"), [("../text.safetensors", "outside"), ("x" * 5000, "too long")])
def test_a_description_names_files_in_its_folder_alone(tiny, tmp_path, name, message):
    folder = tmp_path / "m"
    folder.mkdir()
    text = (tiny / "model.json").read_text().replace('"text.safetensors"', f'"{name}"')
    (folder / "model.json").write_text(text)
    for file in tiny.iterdir():
        if file.suffix != ".json" or file.name == "tokenizer.json":
            os.link(file, folder / file.name)
    with pytest.raises(InvalidFile, match=message):
        danqing.paint("x", model=str(folder))


@pytest.mark.parametrize("role", ["denoiser", "codec", "text"])
@pytest.mark.parametrize("harm", ["gone", "cut", "foreign", "flipped"])
def test_damaged_or_foreign_weights_are_refused(tiny, tmp_path, role, harm):
    folder = tmp_path / "m"
    folder.mkdir()
    for file in tiny.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = folder / f"{role}.safetensors"
    if harm == "gone":
        weights.unlink()
    elif harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif harm == "flipped":
        weights.write_bytes(weights.read_bytes()[:-1] + bytes([weights.read_bytes()[-1] ^ 1]))
    else:
        other = "codec" if role != "codec" else "text"
        weights.write_bytes((tiny / f"{other}.safetensors").read_bytes())
    with pytest.raises(InvalidFile, match=r"safetensors"):
        danqing.paint("x", model=str(folder))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    prompt=st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text("()[]:|\\ANDBREK 0.5a", max_size=40)
)
def test_no_prompt_is_an_error(painter, prompt):
    assume("__" not in prompt)  # which names a list of words
    assert isinstance(painter.paint(Request(prompt=prompt, seed=1, steps=1)).image, Image.Image)


@pytest.fixture
def other(tiny, tmp_path):
    """The tiny model with other weights."""
    folder = tmp_path / "other"
    shutil.copytree(tiny, folder)
    weights = store.read(folder / "denoiser.safetensors")
    draw = torch.Generator().manual_seed(5)
    shaken = {name: tensor + 0.1 * torch.randn(tensor.shape, generator=draw) for name, tensor in weights.items()}
    store.write(folder / "denoiser.safetensors", shaken)
    described = json.loads((folder / "model.json").read_text())
    described["components"]["denoiser"]["sha256"] = store.sha256(folder / "denoiser.safetensors")
    (folder / "model.json").write_text(json.dumps(described))
    return folder


def test_a_refiner_takes_the_last_steps_and_those_alone(painter, tiny, other):
    request = Request(prompt="a fox", seed=1, steps=4, solver="euler")
    first, second = (list(load(folder, "cpu", "fp32").states(request)) for folder in (tiny, other))
    handed = list(painter.states(request.but(refiner=str(other), refiner_at=0.5)))
    assert all(torch.equal(handed[i].x, first[i].x) for i in range(2))
    assert not torch.equal(handed[2].x, first[2].x)
    for share, alone in ((1.0, first), (0.0, second)):
        picture = list(painter.states(request.but(refiner=str(other), refiner_at=share)))[-1]
        np.testing.assert_array_equal(np.asarray(picture.image), np.asarray(alone[-1].image))


def test_a_refiner_of_another_schedule_is_refused(painter, other):
    described = json.loads((other / "model.json").read_text())
    described["schedule"] = {"kind": "flow", "shift": 2.0}
    (other / "model.json").write_text(json.dumps(described))
    with pytest.raises(InvalidInput, match="refiner"):
        painter.paint(Request(prompt="a fox", steps=2, refiner=str(other)))


def test_freed_pages_are_the_systems_again_where_decoding_has_no_room_and_else_stay(painter, monkeypatch):
    from danqing.painting import painter as module

    called = []
    monkeypatch.setattr(module, "frugal", lambda: called.append(1))
    for room, fits in ((1 << 40, True), (0, False)):
        monkeypatch.setattr(module, "free", lambda where, room=room: room)
        assert painter._fits(4, 4) == fits and bool(called) != fits
