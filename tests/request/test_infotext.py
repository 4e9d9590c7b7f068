"""Laws of the A1111 text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danqing.request import infotext
from danqing.request.names import SPACINGS
from danqing.request.request import Request
from danqing.solve.solvers import SOLVERS

lines = st.sampled_from(
    [
        "a red fox",
        "Negative prompt: x",
        "Steps: 1, Sampler: x",
        "Steps: 1, Sampler: x, Seed: 3",
        '"quoted", \\',
        "一只狐狸",
        "",
        " ",
        "Negative prompt:",
        "a: b, c: d, ee: ff",
        "\t",
        "tail\r",
        "\x00",
        "(x:1.2) AND [a|b]",
    ]
)
prompts = st.lists(lines, max_size=4).map("\n".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(prompts, prompts, st.integers(0, 2**63 - 1), st.integers(1, 1000))
def test_reading_what_was_written_gives_both_prompts_and_the_settings_back(prompt, negative, seed, steps):
    request = Request(prompt=prompt, negative=negative, seed=seed, steps=steps, recipe="text2image").resolve()
    found = infotext.read(infotext.write(request))
    assert (found.prompt, found.negative) == (prompt, negative)
    options, ignored = infotext.request_of(found)
    assert ignored == []
    assert (options["seed"], options["steps"]) == (seed, steps)
    assert (options["width"], options["height"]) == (request.width, request.height)


@given(prompts, prompts)
def test_the_last_line_is_settings_to_the_published_reader(prompt, negative):
    request = Request(prompt=prompt, negative=negative, seed=1).resolve()
    last = infotext.write(request).split("\n")[-1]
    pattern = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    found = dict(pattern.findall(last))
    assert found["Steps"].strip() == str(request.sampling.steps) and found["Seed"].strip() == "1"


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_solver_and_spacing_come_back_apart_or_joined(solver, spacing):
    request = Request(solver=solver, spacing=spacing, seed=1).resolve()
    options, _ = infotext.request_of(infotext.read(infotext.write(request)))
    assert (options["solver"], options["spacing"]) == (solver, spacing)
    joined = infotext.Infotext(settings={"Sampler": f"{SOLVERS[solver].title} {SPACINGS[spacing]}"})
    options, _ = infotext.request_of(joined)
    assert (options["solver"], options["spacing"]) == (solver, spacing)


def test_the_refiner_comes_back_with_its_place_and_without_its_hash():
    request = Request(seed=1, refiner="xl-refiner", refiner_at=0.7).resolve()
    options, ignored = infotext.request_of(infotext.read(infotext.write(request)))
    assert (options["refiner"], options["refiner_at"], ignored) == ("xl-refiner", 0.7, [])
    options, _ = infotext.request_of(
        infotext.Infotext(settings={"Refiner": "xl-refiner [0123456789]", "Refiner switch at": "0.8"})
    )
    assert (options["refiner"], options["refiner_at"]) == ("xl-refiner", 0.8)
    assert "Refiner" not in infotext.write(Request(seed=1).resolve())


def test_a_text_of_another_tool_is_understood_and_what_has_no_place_is_named():
    text = (
        "a castle,\non a hill\nNegative prompt: fog,\nrain\nSteps: 28, Sampler: Euler, Schedule type: "
        "Automatic, CFG scale: 6.5, "
        'Seed: 7, Size: 64x96, Model hash: 45dee52b01, Model: other, Lora hashes: "fine: 1a2b, detail: '
        '3c4d", Version: v1.10.1'
    )
    found = infotext.read(text)
    assert (found.prompt, found.negative) == ("a castle,\non a hill", "fog,\nrain")
    assert found.settings["Lora hashes"] == "fine: 1a2b, detail: 3c4d"
    options, ignored = infotext.request_of(found)
    assert Request(**options).but(seed=7).guidance.scale == 6.5
    assert (options["solver"], options["width"], options["height"]) == ("euler", 64, 96)
    assert options["spacing"] is None  # A1111's "Automatic": the model's own
    assert [line.partition(":")[0] for line in ignored] == ["Lora hashes"]


@given(st.text(max_size=200))
def test_reading_never_fails(text):
    infotext.request_of(infotext.read(text))


def test_no_two_solvers_or_spacings_share_a_label():
    assert len({row.title for row in SOLVERS.values()}) == len(SOLVERS) and len(set(SPACINGS.values())) == len(SPACINGS)


def test_the_text_of_a_picture_that_no_model_painted_states_no_size():
    request = Request(recipe="finish", model="none", image="x.png", finish="tone").resolve({}, ("finish",))
    assert "Size" not in infotext.write(request)
