"""Laws of clips: every recipe paints all frames, finishes do each, and files hold and replay them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageSequence

import danqing
from danqing.errors import InvalidInput
from danqing.pictures.carried import carried_by
from danqing.request.request import Request

F = 3


@pytest.fixture(params=["text2image", "hires", "image2image", "inpaint", "outpaint", "tiles"])
def request_of(request, picture, mask, tiny) -> Request:
    given = {"image": str(picture), "strength": 1.0}
    options = {
        "text2image": {},
        "hires": {"hires": 2, "hires_by": "lanczos"},
        "image2image": {"recipe": "image2image", **given},
        "inpaint": {"recipe": "inpaint", "mask": str(mask), **given},
        "outpaint": {"recipe": "outpaint", "extend": (0, 0, 16, 0), **given},
        "tiles": {"width": 48, "tile": 16},
    }[request.param]
    return Request(model=str(tiny), prompt="a red fox", seed=1, steps=2, precision="fp32", **options)


def levels(frames) -> np.ndarray:
    return np.stack([np.asarray(frame.convert("RGB"), np.int16) for frame in frames])


def test_a_clip_of_any_recipe_begins_with_its_still_and_every_frame_is_another(painter, request_of):
    still, clip = painter.paint(request_of), painter.paint(request_of.but(frames=F))
    assert len(clip.frames) == F and clip.image is clip.frames[0] and still.frames == (still.image,)
    assert np.abs(levels(clip.frames[:1]) - levels(still.frames)).max() <= 2  # kernels round by the batch
    assert len({frame.tobytes() for frame in clip.frames}) == F
    assert clip.warnings == still.warnings and clip.record == still.record
    assert "frames" not in still.request.stated() and clip.request.frames == F


def test_what_is_not_painted_is_the_given_picture_in_every_frame(painter, picture, mask, tiny):
    options = {"recipe": "inpaint", "image": str(picture), "mask": str(mask), "model": str(tiny)}
    clip = painter.paint(Request(prompt="fox", seed=1, frames=F, steps=2, **options))
    kept = np.asarray(Image.open(mask).convert("L")) == 0
    given = levels([Image.open(picture)])[0]
    assert kept.any() and (levels(clip.frames)[:, kept] == given[kept]).all()
    unchanged = painter.paint(Request(prompt="fox", seed=1, frames=F, strength=0, **options))
    assert (levels(unchanged.frames) == given).all() and len(unchanged.frames) == F


def test_a_finish_is_done_to_every_frame(painter, tiny):
    request = Request(model=str(tiny), prompt="a fox", seed=1, steps=1, frames=F, finish="clahe")
    plain, finished = painter.paint(request.but(finish=())), painter.paint(request)
    assert all((a != b).any() for a, b in zip(levels(plain.frames), levels(finished.frames), strict=True))


def test_each_step_yields_all_frames_and_the_preview_shows_the_first(painter, tiny):
    *states, clip = painter.states(Request(model=str(tiny), prompt="a fox", seed=1, steps=2, frames=F))
    assert all(len(state.x) == len(state.x0) == F for state in states)
    assert np.abs(levels([painter.preview(states[-1])]) - levels(clip.frames[:1])).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_file_holds_the_frames_and_its_record_replays_them(painter, tiny, tmp_path, suffix):
    clip = painter.paint(Request(model=str(tiny), prompt="a fox", seed=1, steps=1, frames=F))
    path = clip.save(tmp_path / f"x{suffix}")
    assert Request(**carried_by(path).record["request"]) == clip.request
    with Image.open(path) as file:
        read = levels(ImageSequence.Iterator(file))
    assert read.shape == levels(clip.frames).shape and (suffix == ".webp" or (read == levels(clip.frames)).all())
    assert danqing.replay(path).exact
    last = Image.fromarray(np.asarray(clip.frames[-1]) ^ 16)
    found = danqing.replay(replace(clip, frames=(*clip.frames[:-1], last)).save(tmp_path / f"y{suffix}"))
    assert not found.exact and "not exact" in found.why
    short = danqing.replay(replace(clip, frames=clip.frames[:-1]).save(tmp_path / f"z{suffix}"))
    assert not short.exact and "of 2 frames" in short.why and "of 3 frames" in short.why


def test_a_format_that_holds_no_clip_is_refused_before_anything_is_painted(painter, tiny, tmp_path, run, monkeypatch):
    clip = painter.paint(Request(model=str(tiny), prompt="a fox", seed=1, steps=1, frames=F))
    with pytest.raises(InvalidInput, match=r"clip of 3 frames; possible are \.png and \.webp"):
        clip.save(tmp_path / "x.jpg")
    monkeypatch.setattr(type(painter), "states", lambda *_: pytest.fail("something was painted"))
    code, _, err = run("paint", "a fox", "--model", tiny, "--frames", "3", "-o", "x.jpg")
    assert code == 2 and "possible are .png and .webp" in err
