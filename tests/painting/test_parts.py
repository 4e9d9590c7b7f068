"""Laws of painting only what is masked: what is outside keeps its bytes, each part is painted as a picture of its own,
whatever the size of the whole, and it can be painted again."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import danqing
from danqing.errors import InvalidInput, UnknownName
from danqing.painting.recipes.fill import Given
from danqing.painting.recipes.masks import edged
from danqing.painting.recipes.parts import MOST, around, painted_at, parts_of
from danqing.pictures.carried import recorded
from danqing.request.names import FILLS
from danqing.request.request import Request
from danqing.types import State


def levels(width, height, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def marked(width, height, *boxes):
    """A mask that is white in the boxes (left, upper, right, lower)."""
    mask = np.zeros((height, width), np.uint8)
    for left, upper, right, lower in boxes:
        mask[upper:lower, left:right] = 255
    return mask


@pytest.fixture
def masked(tmp_path):
    """Writes a picture and its mask, and asks for what is masked only: (levels, mask, fields) -> the request."""

    def request(picture, mask, **options):
        Image.fromarray(picture).save(tmp_path / "picture.png")
        Image.fromarray(mask).save(tmp_path / "mask.png")
        given = {"image": str(tmp_path / "picture.png"), "mask": str(tmp_path / "mask.png")}
        usual = {"recipe": "inpaint", "prompt": "a red fox", "seed": 1, "only_masked": True, "padding": 8}
        return Request(**{**usual, **given, **options})

    return request


def changed(picture, result):
    return (np.asarray(result) != picture).any(-1)


PLACES = {
    "middle": [(90, 60, 110, 75)],
    "corner": [(0, 0, 9, 5)],
    "edge": [(195, 40, 200, 120)],
    "a pixel": [(57, 31, 58, 32)],
    "the last pixel": [(199, 119, 200, 120)],
    "all": [(0, 0, 200, 120)],
    "several": [(10, 10, 30, 30), (150, 80, 170, 100), (100, 0, 101, 1)],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("rim", [0, 6])
@pytest.mark.parametrize("channels", [3, 4])
def test_outside_the_mask_every_byte_stays_and_within_it_changes(painter, masked, place, rim, channels):
    picture, mask = levels(200, 120, channels), marked(200, 120, *PLACES[place])
    result = painter.paint(masked(picture, mask, mask_blur=rim)).image
    assert result.size == (200, 120)
    moved = changed(picture, result)
    assert not moved[mask == 0].any() and moved[mask > 0].mean() > 0.5
    assert all(moved[upper:lower, left:right].any() for left, upper, right, lower in PLACES[place])


def test_the_networks_see_the_same_of_a_mask_whatever_the_size_of_the_picture(painter, masked):
    def calls(side, *corner):
        seen, (x, y) = [], corner
        nets = {
            "denoiser": painter.denoiser.net,
            "encoder": painter.codec.vae.encoder,
            "decoder": painter.codec.vae.decoder,
        }
        hooks = [
            net.register_forward_hook(lambda net, args, out, role=role: seen.append((role, tuple(args[0].shape))))
            for role, net in nets.items()
        ]
        painter.paint(masked(levels(side, side), marked(side, side, (x, y, x + 20, y + 12))))
        for hook in hooks:
            hook.remove()
        return seen

    small = calls(64, 20, 30)
    assert len(small) == 3 + 2 and small == calls(512, 300, 77) == calls(512, 0, 500)


def test_a_part_is_what_inpainting_paints_in_its_crop_alone(painter, masked):
    picture, mask = levels(200, 120), marked(200, 120, (90, 60, 110, 75))
    box = around((90, 60, 110, 75), 8, (32, 32), (200, 120))
    part = painter.paint(masked(picture, mask)).image.crop(box)
    (left, upper, right, lower) = box
    crop, here = picture[upper:lower, left:right], mask[upper:lower, left:right]
    alone = masked(crop, here, only_masked=None, padding=None, width=32, height=32)
    assert box == (82, 49, 118, 85) and painter.paint(alone).image.tobytes() == part.tobytes()


def test_the_parts_are_painted_in_reading_order_each_with_its_steps_and_noise_of_its_own(painter, masked):
    flat = np.full((60, 150, 3), 128, np.uint8)
    boxes = [(120, 30, 130, 40), (20, 30, 30, 40), (70, 5, 80, 15)]
    *states, last = painter.states(masked(flat, marked(150, 60, *boxes)))
    assert [(state.step, state.steps) for state in states] == [(n, 9) for n in range(1, 10)]
    found = np.asarray(last.image)
    first, *others = (found[upper:lower, left:right] for left, upper, right, lower in boxes[::-1])
    assert all((first != other).any() for other in others) and not last.warnings
    (only, _) = parts_of(Image.fromarray(marked(150, 60, *boxes)), 8)
    assert [part.box for part in only] == [boxes[2], boxes[1], boxes[0]]


def test_another_part_leaves_the_first_as_it_is_alone_where_neither_sees_the_other(painter, masked):
    picture, boxes = levels(200, 60), [(10, 10, 20, 20), (150, 30, 160, 40)]
    both = np.asarray(painter.paint(masked(picture, marked(200, 60, *boxes))).image)
    alone = np.asarray(painter.paint(masked(picture, marked(200, 60, boxes[0]))).image)
    assert (both[:, :100] == alone[:, :100]).all()


@pytest.mark.parametrize(("gap", "count"), [(1, 1), (8, 1), (9, 2)])
def test_parts_within_the_padding_of_each_other_are_one_and_that_is_said(painter, masked, gap, count):
    picture = levels(90, 60)
    mask = marked(90, 60, (10, 10, 20, 20), (20 + gap, 10, 30 + gap, 20))
    *states, last = painter.states(masked(picture, mask, width=64, height=64))
    assert len(states) == 3 * count
    assert [told.partition(":")[0] for told in last.warnings] == ["2 parts of the mask were painted as 1"] * (2 - count)


def test_a_part_that_is_painted_smaller_than_it_is_is_told(painter, masked):
    (told,) = painter.paint(masked(levels(200, 120), marked(200, 120, (20, 20, 90, 90)))).warnings
    assert "86×86" in told and "32×32" in told
    assert not painter.paint(masked(levels(200, 120), marked(200, 120, (20, 20, 90, 90)), width=88, height=88)).warnings


def test_a_rim_is_of_the_paste_alone_and_never_widens_the_mask(painter, masked):
    picture, box = levels(64, 64), (0, 20, 24, 44)
    sharp, soft = (painter.states(masked(picture, marked(64, 64, box), mask_blur=rim)) for rim in (0, 5))
    *steps, sharp = sharp
    *same, soft = soft
    assert all((a.x == b.x).all() for a, b in zip(steps, same, strict=True))
    apart = changed(np.asarray(sharp.image), soft.image)
    inner = marked(64, 64, (0, 25, 19, 39)) > 0  # the border of the picture is no edge of the mask
    assert apart.any() and not apart[inner].any() and not apart[marked(64, 64, box) == 0].any()


@pytest.mark.parametrize("only", [True, False])
def test_a_mask_grows_as_far_as_asked_and_no_farther(painter, masked, only):
    picture, mask = levels(64, 64), marked(64, 64, (20, 20, 40, 40))
    moved = changed(picture, painter.paint(masked(picture, mask, only_masked=only, mask_grow=3)).image)
    assert moved[marked(64, 64, (17, 21, 43, 39)) > 0].mean() > 0.9
    assert not moved[marked(64, 64, (17, 17, 43, 43)) == 0].any()
    grey = Image.fromarray(mask // 2)
    assert edged(grey, Request(mask_grow=0)).tobytes() == grey.tobytes()


@pytest.mark.parametrize(("mask", "told"), [(marked(64, 64), "black all over"), (None, "no mask")])
def test_a_mask_with_nothing_in_it_is_refused(painter, masked, mask, told):
    request = masked(levels(64, 64), marked(64, 64) if mask is None else mask)
    with pytest.raises(InvalidInput, match=told):
        painter.paint(request.but(mask=None) if mask is None else request)


def test_more_parts_than_are_painted_are_refused_with_what_helps(painter, masked):
    mask = np.zeros((90, 90), np.uint8)
    mask[::10, ::10] = 255
    request = masked(levels(90, 90), mask, padding=0)
    with pytest.raises(InvalidInput, match=f"81 separate parts.*{MOST}.*padding"):
        painter.paint(request)
    assert len([*painter.states(request.but(padding=10))]) == 3 + 1


def test_what_has_no_effect_is_said_and_what_cannot_be_is_refused(painter, masked, picture):
    mask = marked(64, 64, (20, 20, 40, 40))
    (told,) = painter.paint(masked(levels(64, 64), mask, only_masked=None, width=64, height=64)).warnings
    assert "padding 8 had no effect" in told
    said = painter.paint(Request(recipe="image2image", image=str(picture), only_masked=True, padding=8)).warnings
    assert [word.split()[0] for word in said] == ["only_masked", "padding"]
    with pytest.raises(InvalidInput, match="leave panorama out"):
        painter.paint(masked(levels(64, 64), mask, panorama=True))


def test_every_frame_of_a_clip_keeps_its_bytes_outside(painter, masked):
    picture, mask = levels(90, 60), marked(90, 60, (10, 10, 20, 20), (60, 10, 70, 20))
    frames = painter.paint(masked(picture, mask, frames=2)).frames
    moved = [changed(picture, frame) for frame in frames]
    assert len(frames) == 2 and not any(each[mask == 0].any() or not each.any() for each in moved)
    assert changed(np.asarray(frames[0]), frames[1]).any()


def test_around_a_picture_each_side_is_a_part(painter, picture):
    request = Request(
        recipe="outpaint",
        image=str(picture),
        prompt="a fox",
        seed=1,
        extend=(16, 0, 16, 0),
        only_masked=True,
        padding=4,
    )
    *states, last = painter.states(request)
    assert len(states) == 6 and last.image.size == (64, 32)
    assert last.image.crop((16, 0, 48, 32)).tobytes() == Image.open(picture).tobytes()


# -------------------------------------------------------------------------------------------------------------- fill


def test_each_start_is_another_below_full_strength_and_none_touches_what_is_known(painter, masked):
    picture, mask = levels(64, 64), marked(64, 64, (20, 20, 44, 44))
    found = [np.asarray(painter.paint(masked(picture, mask, strength=0.5, fill=fill)).image) for fill in FILLS]
    assert all((a != b).any() for a, b in itertools.combinations(found, 2))
    assert not any(changed(picture, each)[mask == 0].any() for each in found)


def test_where_noise_leaves_nothing_of_it_a_start_has_no_effect_and_that_is_said(painter, masked):
    picture, mask = levels(64, 64), marked(64, 64, (20, 20, 36, 36))
    plain, said = (painter.paint(masked(picture, mask, fill=fill)) for fill in (None, "blur"))
    assert plain.image.tobytes() == said.image.tobytes() and not plain.warnings
    assert "fill blur had no effect" in said.warnings[0]
    with pytest.raises(UnknownName, match="'blur'"):
        Request(fill="blurr")


def test_a_start_is_the_picture_outside_and_what_its_name_says_within(painter):
    x, noise = painter.blank(painter.resolve(Request())) + 3, lambda: x * 7
    free = (x[:, :1] * 0).index_fill(3, x.new_tensor([1, 2]).long(), 1)
    given = Given(Image.new("RGB", (32, 32), "red"), x, free, noise)
    starts = {name: row.start(painter, given) for name, row in FILLS.items()}
    assert (starts["original"] == x).all() and all((y[..., 4:] == 3).all() for n, y in starts.items() if n != "blur")
    assert (starts["noise"][..., 1:3] == 21).all() and (starts["nothing"][..., 1:3] == 0).all()


def test_a_hole_in_an_even_picture_is_blurred_over_to_nothing(painter):
    even = Image.new("RGB", (32, 32), (200, 90, 40))
    holed = even.copy()
    holed.paste("white", (8, 8, 24, 24))
    x = painter.encode_image(holed)
    free = x[:, :1] * 0
    cells = slice(free.shape[-1] // 4, 3 * free.shape[-1] // 4)
    free[..., cells, cells] = 1
    blurred = FILLS["blur"].start(painter, Given(holed, x, free, lambda: x))
    assert (blurred - painter.encode_image(even)).abs().max() < 1e-5


# ---------------------------------------------------------------------------------------------------------- geometry

spans = st.integers(1, 300)


@settings(max_examples=200, deadline=None)
@given(st.data(), spans, spans, st.integers(0, 40), st.sampled_from([(512, 512), (768, 512), (32, 48)]))
def test_a_crop_holds_its_part_lies_in_the_picture_and_has_the_models_ratio_where_there_is_room(
    data, width, height, padding, shape
):
    left, upper = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = left, upper, data.draw(st.integers(left + 1, width)), data.draw(st.integers(upper + 1, height))
    a, b, c, d = around(box, padding, shape, (width, height))
    assert 0 <= a <= left and 0 <= b <= upper and box[2] <= c <= width and box[3] <= d <= height
    if c - a < width and d - b < height:
        assert abs((c - a) * shape[1] - (d - b) * shape[0]) <= max(shape)
        assert c - a >= box[2] - left + 2 * padding and d - b >= box[3] - upper + 2 * padding


def test_a_crop_of_any_shape_is_painted_in_as_many_pixels_as_the_model_paints():
    for size in ((65, 65), (300, 300), (90, 60), (200, 100)):
        width, height = painted_at(size, (512, 512), 8)
        assert width % 8 == height % 8 == 0 and abs(width * height / 512**2 - 1) < 0.04
        assert abs(width / height / (size[0] / size[1]) - 1) < 0.04
    assert painted_at((71, 71), (512, 512), 8) == (512, 512)


# ------------------------------------------------------------------------------------------------------------ record


def test_it_replays_and_its_record_holds_its_fields_which_no_other_records_do(painter, masked, tiny, tmp_path):
    picture, mask = levels(90, 60), marked(90, 60, (10, 10, 20, 20), (60, 10, 70, 20))
    request = masked(picture, mask, model=str(tiny), padding=None, strength=0.7, fill="noise", mask_blur=2)
    path = painter.paint(request).save(tmp_path / "parts.png")
    stated = recorded(path).stated()
    assert danqing.replay(path).exact
    assert (stated["only_masked"], stated["padding"], stated["fill"], stated["width"]) == (True, 32, "noise", 32)
    plain = painter.paint(request.but(only_masked=None, padding=None, fill=None)).request.stated()
    assert not {"only_masked", "padding", "fill", "mask_grow"} & plain.keys()


def test_it_is_the_same_by_python_and_by_the_command(masked, tiny, tmp_path, run):
    request = masked(levels(90, 60), marked(90, 60, (10, 10, 20, 20)))
    options = {"only_masked": True, "padding": 4, "model": str(tiny), "seed": 3, "device": "cpu", "precision": "fp32"}
    there = danqing.edit(request.image, "a fox", mask=request.edit.mask, **options)
    line = ["--mask", request.edit.mask, "--only-masked", "--padding", "4", "--seed", "3", "--precision", "fp32"]
    code, out, _ = run("edit", request.image, "a fox", *line, "--model", str(tiny), "--device", "cpu", "-o", "x.png")
    assert code == 0 and Image.open(out.strip()).tobytes() == there.image.tobytes()


def test_a_preview_of_any_step_is_of_the_part_that_is_painted(painter, masked):
    picture, mask = levels(90, 60), marked(90, 60, (10, 10, 20, 20), (60, 10, 70, 20))
    states = [state for state in painter.states(masked(picture, mask)) if isinstance(state, State)]
    assert {painter.preview(state).size for state in states} == {(32, 32)}
