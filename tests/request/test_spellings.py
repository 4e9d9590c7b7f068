"""Laws of other programs' names: each means one of ours, wherever a request is made, and two never say one thing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danqing.errors import InvalidInput, UnknownName
from danqing.request.names import SPACINGS
from danqing.request.request import Request, fields
from danqing.request.spellings import OPTIONS, sampler_of, spacing_of
from danqing.solve.solvers import SOLVERS


@pytest.mark.parametrize("spacing", ["", *SPACINGS])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_is_known_by_a1111s_name_with_any_schedule_joined_in_any_case(solver, spacing):
    for title in (solver, SOLVERS[solver].title):
        for joined in (f"{title} {SPACINGS.get(spacing, '')}".strip(), f"{title}_{spacing}".strip("_").upper()):
            assert sampler_of(joined) == (solver, spacing)


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        ("euler_ancestral", ("euler-a", "")),  # ComfyUI
        ("dpmpp_2m_sde_gpu", ("dpmpp-2m-sde", "")),
        ("uni_pc_bh2", ("unipc", "")),
        ("dpmpp_2m_k", ("dpmpp-2m", "karras")),  # InvokeAI
        ("k_euler_ancestral", ("euler-a", "")),  # NovelAI
        ("DPMSolverMultistepScheduler", ("dpmpp-2m", "")),  # diffusers
        ("EulerAncestralDiscreteScheduler", ("euler-a", "")),
        ("FlowMatchEulerDiscreteScheduler", ("euler", "")),
        ("PNDMScheduler", ("plms", "")),
        ("restart", ("", "")),
        ("", ("", "")),
    ],
)
def test_other_programs_samplers_are_ours_or_none(said, ours):
    assert sampler_of(said) == ours


def test_schedules_are_ours_or_the_models_own_or_none():
    assert [spacing_of(s) for s in ("normal", "simple", "sgm_uniform", "ddim_uniform", "Automatic", "beta")] == [
        "linspace", "trailing", "sgm-uniform", "leading", None, "",
    ]  # fmt: skip


def test_a_request_by_other_names_is_the_same_request():
    theirs = Request(
        prompt="a fox", negative_prompt="fog", sampler="DPM++ 2M Karras", num_inference_steps=9, cfg_scale=5,
        denoising_strength=0.4, init_image="x.png",
    )  # fmt: skip
    ours = Request(
        prompt="a fox", negative="fog", solver="dpmpp-2m", spacing="karras", steps=9, scale=5, strength=0.4,
        image="x.png",
    )  # fmt: skip
    assert theirs == ours
    assert Request(scheduler="karras").sampling.spacing == "karras"
    assert Request(scheduler="EulerDiscreteScheduler").sampling.solver == "euler"


def test_no_name_of_ours_means_another_and_all_lead_to_fields():
    later = {"variation_seed", "variation_strength"}
    assert not set(OPTIONS) & set(fields()) and set(OPTIONS.values()) - later <= set(fields())


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 3, "num_inference_steps": 4},
        {"cfg": 3, "guidance_scale": 3},
        {"solver": "DPM++ 2M Karras", "spacing": "exponential"},
    ],
)
def test_two_that_say_the_same_thing_are_refused(options):
    with pytest.raises(InvalidInput, match="give one of them"):
        Request(**options)


def test_none_says_nothing():
    assert Request(steps=None, num_inference_steps=4) == Request(steps=4) == Request(num_inference_steps=4, steps=None)


@given(st.text(max_size=300))
def test_any_text_is_a_solver_or_refused_by_its_name(text):
    try:
        assert Request(solver=text).sampling.solver in SOLVERS
    except UnknownName as error:
        assert error.kind == "solver"
