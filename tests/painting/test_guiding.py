"""Ways of guidance by a request: nothing where nothing is asked for, and refused where they mean nothing."""

import pytest

import danqing
from danqing.errors import InvalidInput
from danqing.painting import guidance
from danqing.painting.recipes.hires import second
from danqing.request.request import Request

OPTIONS = {"steps": 3, "seed": 1, "precision": "fp32", "negative": "a cat", "scale": 5.0}
ACTS = {
    "apg": {"apg": 0.0},
    "apg's momentum": {"apg_momentum": -0.5},
    "apg's norm": {"apg_norm": 0.05},
    "cfg++": {"cfgpp": 0.5},
    "cfg-zero*": {"zero_star": True},
    "its first steps": {"zero_steps": 1},
    "pag": {"pag": 3.0},
    "dynamic": {"dynamic": 0.8},
}


def paint(tiny, prompt="a red fox", **options):
    return danqing.paint(prompt, model=str(tiny), **{**OPTIONS, **options})


def same(a, b):
    return a.image.tobytes() == b.image.tobytes()


@pytest.mark.parametrize("options", ACTS.values(), ids=ACTS)
def test_it_acts_and_leaves_no_trace(tiny, options):
    plain, acted = paint(tiny), paint(tiny, **options)
    assert not same(acted, plain) and not acted.warnings and same(paint(tiny), plain)
    assert same(paint(tiny, **options, index=1), next(danqing.paint_all([acted.request.but(index=1)])))


def test_values_that_mean_nothing_are_plain_guidance_byte_for_byte(tiny):
    none = {"apg": 1, "apg_momentum": 0, "apg_norm": 0, "cfgpp": 0, "zero_star": False, "zero_steps": 0, "pag": 0}
    assert same(paint(tiny, **none, dynamic=1), paint(tiny))


def test_without_guidance_there_is_nothing_to_project_or_fit(tiny):
    plain = paint(tiny, scale=1)
    for options in ({"apg": 0.0, "apg_norm": 0.1}, {"zero_star": True}):
        assert same(paint(tiny, scale=1, **options), plain)


def test_cfg_plus_plus_does_not_read_the_scale(tiny):
    assert same(paint(tiny, cfgpp=0.5, scale=1), paint(tiny, cfgpp=0.5, scale=9))


@pytest.mark.parametrize("solver", ["heun", "dpmpp-2m", "lcm"])
def test_cfg_plus_plus_is_refused_for_a_solver_without_its_step(tiny, solver):
    with pytest.raises(InvalidInput, match="possible are ddim, euler and euler-a"):
        paint(tiny, cfgpp=0.5, solver=solver)
    assert not same(paint(tiny, cfgpp=0.5, solver="euler-a"), paint(tiny, solver="euler-a"))


def test_cfg_plus_plus_and_cfg_zero_star_exclude_each_other(tiny):
    with pytest.raises(InvalidInput, match="zero_star"):
        paint(tiny, cfgpp=0.5, zero_star=True)


@pytest.mark.parametrize("scale", [0, 1, 5, -2])
def test_pag_leads_at_every_scale_and_by_the_layers_that_are_named(tiny, scale):
    one = paint(tiny, scale=scale, pag=3.0)
    assert not same(one, paint(tiny, scale=scale))
    assert same(paint(tiny, scale=scale, pag=3.0, pag_layers="mid_block"), one)
    assert not same(paint(tiny, scale=scale, pag=3.0, pag_layers="down_blocks.1, up_blocks"), one)
    with pytest.raises(InvalidInput, match="pag_layers: top was given"):
        paint(tiny, pag=3.0, pag_layers="top")


def test_pag_is_asked_for_in_tiles_second_passes_and_clips_too(tiny):
    for more in ({"width": 64, "tile": 32}, {"hires": 2}, {"frames": 2}):
        assert not same(paint(tiny, pag=3.0, **more), paint(tiny, **more))


def test_cfg_plus_plus_of_a_second_pass_goes_by_the_steps_that_are_walked_there(painter, monkeypatch):
    walked = []
    made = guidance.plusplus
    monkeypatch.setattr(guidance, "plusplus", lambda *args: walked.append(args[3]) or made(*args))
    request = painter.resolve(
        Request(prompt="a red fox", seed=1, cfgpp=0.5, hires=2, hires_steps=6, hires_strength=0.5)
    )
    painter.paint(request)
    assert walked == [painter.points(request), second(painter, request)] and len(walked[1]) == 4


def test_outside_the_interval_no_way_of_guidance_acts(tiny):
    plain = paint(tiny, interval=(0.0, 0.01))
    for options in ({"pag": 3.0}, {"apg": 0.0}, {"dynamic": 0.7}):
        assert same(paint(tiny, interval=(0.0, 0.01), **options), plain)
