"""Laws of the Python face: what it offers, and that its roads lead to the same picture."""

import typing

import pytest

import danqing


def test_every_public_name_is_there_and_none_is_missing_from_the_list():
    assert all(getattr(danqing, name) is not None for name in danqing.__all__)
    assert set(danqing.__dir__()) == set(danqing.__all__)


def test_the_callback_sees_every_step_and_changes_nothing(tiny):
    seen = []
    options: dict[str, typing.Any] = {"model": str(tiny), "seed": 1, "steps": 3}
    picture = danqing.paint("a red fox", callback=seen.append, **options)
    assert [state.step for state in seen] == [1, 2, 3] and all(isinstance(state, danqing.State) for state in seen)
    assert picture.image.tobytes() == danqing.paint("a red fox", **options).image.tobytes()


def test_what_the_callback_raises_ends_the_painting(tiny):
    seen = []

    def stop(state):
        seen.append(state.step)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        danqing.paint("a red fox", model=str(tiny), steps=3, callback=stop)
    assert seen == [1]


def test_states_end_with_the_picture_that_paint_gives(tiny):
    request = danqing.Request(prompt="a red fox", model=str(tiny), seed=1, steps=3)
    *steps, picture = danqing.states(request)
    assert len(steps) == 3 and isinstance(picture, danqing.Picture)
    assert picture.image.tobytes() == danqing.load(tiny).paint(request).image.tobytes()


def test_the_models_that_are_listed_are_found(tiny, monkeypatch):
    from danqing.store import find

    monkeypatch.setenv("DANQING_MODELS", str(tiny.parent))
    assert {"danqing-mini", "tiny"} <= set(danqing.models())
    assert all(find.find(name).name for name in danqing.models())
