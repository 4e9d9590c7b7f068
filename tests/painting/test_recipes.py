"""Laws of painting over a picture, and of painting again."""

import json

import numpy as np
import pytest
from PIL import Image

import danqing
from danqing.errors import InvalidFile, InvalidInput
from danqing.painting.recipes.masks import soft
from danqing.pictures import read
from danqing.pictures.carried import carried_by
from danqing.request.request import Request
from danqing.solve.solvers import SOLVERS


def pixels(image):
    return np.asarray(image.convert("RGB"), int)


def over(picture, **options):
    return Request(recipe="image2image", image=str(picture), prompt="a red fox", seed=1, **options)


def within(picture, mask, **options):
    return Request(recipe="inpaint", image=str(picture), mask=str(mask), prompt="a red fox", seed=1, **options)


def test_a_picture_from_nothing_has_no_use_for_a_strength_and_says_so(painter):
    plain = painter.paint(Request(prompt="a red fox", seed=1))
    said = painter.paint(Request(prompt="a red fox", seed=1, strength=0.3))
    assert (
        "strength '0.3' was ignored" in said.warnings[0]
        and said.image.tobytes() == plain.image.tobytes()
        and not plain.warnings
    )


# ------------------------------------------------------------------------------------------------------ image2image


def test_strength_nought_gives_the_picture_back_byte_for_byte(painter, picture):
    assert painter.paint(over(picture, strength=0)).image.tobytes() == Image.open(picture).tobytes()


def test_full_strength_from_pure_noise_forgets_the_picture(painter, picture):
    plain = painter.paint(Request(prompt="a red fox", seed=1))
    assert painter.paint(over(picture, strength=1)).image.tobytes() == plain.image.tobytes()


def test_strength_is_the_share_of_the_steps_that_are_taken(painter, picture):
    for steps, strength, taken in [(10, 0.5, 5), (10, 0.01, 1), (10, 1.0, 10), (10, 0.26, 3)]:
        *states, _ = painter.states(over(picture, steps=steps, strength=strength))
        assert len(states) == taken == states[-1].steps


def test_less_strength_stays_nearer_to_the_picture(painter, picture):
    latent = painter.encode_image(read.picture(picture))
    ends = []
    for strength in (0.2, 0.5, 0.9):
        *_, last, _ = painter.states(over(picture, steps=20, strength=strength))
        ends.append((last.x - latent).square().mean().item())
    assert ends == sorted(ends)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_paints_over_a_picture_the_same_each_time(painter, picture, mask, solver):
    for request in (over(picture, solver=solver, strength=0.7), within(picture, mask, solver=solver)):
        assert painter.paint(request).image.tobytes() == painter.paint(request).image.tobytes()


@pytest.mark.parametrize(
    ("size", "painted"),
    [((32, 32), (32, 32)), ((40, 24), (40, 24)), ((37, 30), (40, 32)), ((320, 160), (48, 24)), ((8, 8), (32, 32))],
)
def test_a_picture_of_any_size_is_painted_in_its_shape_where_the_model_is_at_home(painter, tmp_path, size, painted):
    Image.new("RGB", size, "red").save(tmp_path / "x.png")
    assert painter.paint(over(tmp_path / "x.png")).image.size == painted


def test_a_stated_side_keeps_the_shape(painter, tmp_path):
    Image.new("RGB", (64, 32), "red").save(tmp_path / "x.png")
    assert painter.resolve(over(tmp_path / "x.png", width=48)).height == 24
    assert painter.resolve(over(tmp_path / "x.png", height=16)).width == 32


def test_a_picture_in_memory_is_as_good_as_its_file(painter, tiny, picture):
    options = {"model": str(tiny), "seed": 1, "strength": 0.5}
    one, two = danqing.edit(picture, "a red fox", **options), danqing.edit(Image.open(picture), "a red fox", **options)
    assert one.image.tobytes() == two.image.tobytes()
    assert two.request.image.startswith("data:image/png;base64,")


def test_what_is_lost_on_the_way_is_said(painter, picture, tmp_path):
    assert painter.paint(over(picture)).warnings == ()
    (told,) = painter.paint(over(picture, width=16, height=24)).warnings
    assert "32×32" in told and "16×24" in told
    Image.open(picture).convert("RGBA").save(tmp_path / "x.png")
    (told,) = painter.paint(over(tmp_path / "x.png")).warnings
    assert "white" in told
    (told,) = painter.paint(over(picture, mask_blur=3)).warnings
    assert "mask_blur 3" in told


@pytest.mark.parametrize("given", [5, None, np.zeros((8, 8, 3), np.uint8)])
def test_what_is_neither_a_file_nor_a_picture_is_refused(given):
    with pytest.raises(InvalidInput, match="Pillow"):
        danqing.edit(given, "a red fox")


# ---------------------------------------------------------------------------------------------------------- inpaint


@pytest.mark.parametrize("rim", [0, 1, 5, 40])
@pytest.mark.parametrize("size", [(32, 32), (37, 61), (200, 120)])
def test_outside_the_mask_every_byte_stays_whatever_the_size_and_the_softness(painter, tmp_path, rim, size):
    rng = np.random.default_rng(1)
    given = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
    ramp = np.clip(np.linspace(-200, 400, size[0]), 0, 255).astype(np.uint8)[None].repeat(size[1], 0)
    given.save(tmp_path / "x.png")
    Image.fromarray(ramp).save(tmp_path / "m.png")
    result = painter.paint(within(tmp_path / "x.png", tmp_path / "m.png", mask_blur=rim)).image
    assert result.size == given.size
    changed = (pixels(result) != pixels(given)).any(-1)
    assert not changed[ramp == 0].any() and changed[ramp == 255].any()


def test_where_the_mask_is_white_the_picture_is_wholly_painted_and_grey_lies_between(painter, picture, tmp_path):
    hard, grey = np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8)
    hard[:, 16:], grey[:, 16:] = 255, 128
    Image.fromarray(hard).save(tmp_path / "hard.png")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    white, half = (pixels(painter.paint(within(picture, tmp_path / n)).image) for n in ("hard.png", "grey.png"))
    middle = (white * 128 + pixels(Image.open(picture)) * 127) / 255
    assert np.abs(half - middle)[:, 16:].max() <= 1


def test_the_known_part_is_what_the_painted_part_is_painted_to(painter, picture, mask):
    *states, _ = painter.states(within(picture, mask, steps=4))
    latent = painter.encode_image(read.picture(picture))
    known = states[-1].x[..., :2, :] - latent[..., :2, :]  # the mask starts in the third row of cells
    assert known.abs().max() < 1e-5


def test_a_transparent_part_is_the_mask_where_none_is_given(painter, picture, mask, tmp_path):
    image = Image.open(picture).convert("RGBA")
    image.putalpha(Image.open(mask).point(lambda v: 255 - v))
    image.save(tmp_path / "holes.png")
    result = painter.paint(Request(recipe="inpaint", image=str(tmp_path / "holes.png"), prompt="a red fox", seed=1))
    kept = np.asarray(Image.open(mask)) == 0
    assert result.image.mode == "RGB" and (pixels(result.image) == pixels(Image.open(picture)))[kept].all()


def test_a_transparent_picture_with_a_mask_keeps_its_bytes_alpha_and_all(painter, picture, mask, tmp_path):
    image = Image.open(picture).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((32, 32)))
    image.save(tmp_path / "x.png")
    result = painter.paint(within(tmp_path / "x.png", mask)).image
    kept = np.asarray(Image.open(mask)) == 0
    assert (np.asarray(result) == np.asarray(image))[kept].all()


def test_a_rim_lies_within_the_mask_falls_outwards_and_loses_no_pixel(mask):
    image = Image.open(mask)
    before, after = np.asarray(image, int), np.asarray(soft(image, 4), int)
    assert ((after == 0) == (before == 0)).all() and (after <= before).all()
    assert (np.diff(after[16, 10:15]) > 0).all() and after[16, 14] == 255
    assert soft(image, 0).tobytes() == image.tobytes()


def test_a_mask_of_another_size_and_a_missing_one_are_refused(painter, picture, tmp_path):
    Image.new("L", (16, 32), 255).save(tmp_path / "m.png")
    with pytest.raises(InvalidInput, match="16×32.*32×32"):
        painter.paint(within(picture, tmp_path / "m.png"))
    with pytest.raises(InvalidInput, match="no mask"):
        painter.paint(Request(recipe="inpaint", image=str(picture)))


# ----------------------------------------------------------------------------------------------------------- replay


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_replay_is_exact_in_every_format(painter, tiny, tmp_path, suffix):
    path = painter.paint(Request(model=str(tiny), prompt="a red fox 狐狸", solver="euler-a")).save(
        tmp_path / f"x{suffix}"
    )
    found = danqing.replay(path)
    assert found.exact and found.max_abs == 0 == found.mean_abs and "exact" in found.why


def test_an_edit_is_replayed_with_its_pictures(painter, tiny, picture, mask, tmp_path):
    for request in (over(picture, model=str(tiny)), within(picture, mask, model=str(tiny), mask_blur=3)):
        assert danqing.replay(painter.paint(request).save(tmp_path / "x.png")).exact


def test_a_replay_of_an_edited_file_says_how_far_off(painter, tiny, tmp_path):
    picture = painter.paint(Request(model=str(tiny), prompt="a red fox"))
    touched = np.asarray(picture.image).copy()
    touched[0, 0, 0] ^= 16
    from dataclasses import replace

    found = danqing.replay(replace(picture, frames=(Image.fromarray(touched),)).save(tmp_path / "x.png"))
    assert not found.exact and found.max_abs == 16 and "edited" in found.why


def test_a_replay_tells_another_machine_from_a_changed_result(painter, tiny, tmp_path):
    from dataclasses import replace

    picture = painter.paint(Request(model=str(tiny), prompt="a red fox", seed=1))
    other = painter.paint(Request(model=str(tiny), prompt="a red fox", seed=2)).image
    moved = replace(picture, frames=(other,), record={**picture.record, "cpu": "abacus", "torch": "0.1"})
    found = danqing.replay(moved.save(tmp_path / "x.png"))
    assert not found.exact and "abacus then" in found.why and "torch: 0.1 then" in found.why


def test_a_replay_names_the_given_picture_that_was_changed_since(painter, tiny, picture, mask, tmp_path):
    path = painter.paint(within(picture, mask, model=str(tiny))).save(tmp_path / "x.png")
    Image.open(picture).rotate(90).save(picture)
    found = danqing.replay(path, trust=True)
    assert not found.exact and "image: " in found.why and "mask: " not in found.why


def with_record(path, to, **changes):
    """The picture of a file under another record."""
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_itxt("danqing", json.dumps({**carried_by(path).record, **changes}))
    Image.open(path).save(to, pnginfo=chunks)
    return to


@pytest.mark.parametrize(
    "changes",
    [
        {"encoding": []},
        {"encoding": {"format": "PDF"}},
        {"encoding": {"format": "JPEG", "quality": "x"}},
        {"record": [1]},
        {"warnings": 5},
    ],
)
def test_a_record_that_is_damaged_beside_its_request_is_replayed_all_the_same(painter, tiny, tmp_path, changes):
    path = painter.paint(Request(model=str(tiny), prompt="a red fox")).save(tmp_path / "x.png")
    assert danqing.replay(with_record(path, tmp_path / "y.png", **changes), trust=True).exact


@pytest.mark.parametrize("request_", [None, "x", {"sparkle": 3}, {"steps": -1}])
def test_a_record_of_another_version_is_told_as_such(painter, tiny, tmp_path, request_):
    path = painter.paint(Request(model=str(tiny), prompt="a red fox")).save(tmp_path / "x.png")
    with pytest.raises(InvalidFile, match=r"record in .*y\.png|damaged danqing record"):
        danqing.replay(with_record(path, tmp_path / "y.png", request=request_))


def test_a_resized_or_converted_file_is_told_as_such(painter, tiny, tmp_path):
    from PIL.PngImagePlugin import PngInfo

    path = painter.paint(Request(model=str(tiny), prompt="a red fox")).save(tmp_path / "x.png")
    chunks = PngInfo()
    chunks.add_itxt("danqing", json.dumps(carried_by(path).record))
    Image.open(path).resize((16, 16)).save(tmp_path / "small.png", pnginfo=chunks)
    assert "resized" in danqing.replay(tmp_path / "small.png").why


def test_a_file_without_a_record_or_whose_input_is_gone_cannot_be_replayed(painter, tiny, picture, tmp_path):
    with pytest.raises(InvalidFile, match="no danqing record"):
        danqing.replay(picture)
    Image.effect_noise((32, 32), 50).save(picture)  # of which no other is known
    path = painter.paint(over(picture, model=str(tiny))).save(tmp_path / "x.png")
    picture.unlink()
    with pytest.raises(InvalidFile, match=r"given\.png"):
        danqing.replay(path)
