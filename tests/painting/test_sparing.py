"""Steps that are not computed, by a request: nothing where all are, else fewer calls of the network in every recipe."""

import pytest
from PIL import Image

import danqing
from danqing.errors import InvalidInput
from danqing.painting import painter as painters
from danqing.painting.load import load
from danqing.pictures.carried import recorded
from danqing.run.engine import packed

OPTIONS = {"steps": 7, "seed": 1, "precision": "fp32", "negative": "a cat", "scale": 5.0}
SPARES = {
    "forecast": {"forecast": 3},
    "base": {"base_every": 3},
    "deep": {"deep_every": 3},
    "merge": {"merge_tokens": 0.5},
}


def paint(tiny, prompt="a red fox", **options):
    return danqing.paint(prompt, model=str(tiny), **{**OPTIONS, **options})


def same(a, b):
    return a.image.tobytes() == b.image.tobytes()


@pytest.fixture
def looks(monkeypatch):
    """How many pictures the denoiser was shown, a call each."""
    counts, ask = list[int](), painters.Painter._ask

    def counted(self, x, t, cond):
        counts.append(len(x))
        return ask(self, x, t, cond)

    monkeypatch.setattr(painters.Painter, "_ask", counted)
    return counts


@pytest.mark.parametrize("options", SPARES.values(), ids=SPARES)
def test_it_acts_and_leaves_no_trace(tiny, options):
    plain, spared = paint(tiny), paint(tiny, **options)
    assert not same(spared, plain) and not spared.warnings and same(paint(tiny), plain)
    assert same(spared, paint(tiny, **options))


def test_values_that_compute_all_are_the_plain_picture_byte_for_byte(tiny):
    plain = paint(tiny)
    for none in (
        {"forecast": 1, "base_every": 1, "deep_every": 1, "merge_tokens": 0},
        {"base_every": 2, "base_below": 0},
    ):
        assert same(paint(tiny, **none), plain)
    assert same(paint(tiny, steps=2, forecast=2), paint(tiny, steps=2))


def test_calls_of_the_network_are_those_of_the_computed_steps(tiny, looks):
    for options, shown in (
        ({}, [2] * 7),
        ({"forecast": 3}, [2] * 3),  # 0, 3 and 6
        ({"forecast": 4}, [2] * 3),  # 0, 4 and 6
        ({"base_every": 3}, [2, 1, 1, 2, 1, 1, 2]),
        ({"forecast": 2, "base_every": 2}, [2, 1, 2, 1]),
        ({"scale": 1, "base_every": 3}, [1] * 7),
        ({"forecast": 3, "pag": 3.0}, [2, 1] * 3),
    ):
        looks.clear()
        paint(tiny, **options)
        assert looks == shown, options


def test_outside_the_interval_forecasts_begin_anew(tiny, looks):
    paint(tiny, forecast=7, interval=(0.5, 1.0), solver="ddim")
    assert looks == [2, 1, 1]  # guided, then the first without guidance and the last


@pytest.mark.parametrize(
    "more",
    [
        {"width": 64, "tile": 32},
        {"frames": 2},
        {"regions": "left: a blue cat"},
        {"solver": "heun"},
        {"solver": "euler-a"},
        {"apg": 0.0, "apg_momentum": -0.5},
        {"cfgpp": 0.5, "solver": "ddim"},
        {"hires": 2},
        {"prompt": "[a fox:a cat:0.5]"},
    ],
    ids=str,
)
def test_it_goes_with_all_else(tiny, looks, more):
    plain = paint(tiny, **more)
    counted = len(looks)
    looks.clear()
    spared = paint(tiny, **more, forecast=2)
    assert not same(spared, plain) and len(looks) < counted
    assert same(paint(tiny, **more), plain)


def test_a_second_pass_begins_anew_and_ends_computed(tiny, looks):
    paint(tiny, forecast=7, hires=2, hires_strength=1.0)
    assert looks == [2] * 4


def test_pictures_painted_in_step_have_the_bytes_that_they_have_alone(tiny):
    requests = [danqing.Request(prompt="a fox", model=str(tiny), **OPTIONS, forecast=n) for n in (1, 2, 3)]
    for together, request in zip(danqing.paint_all(requests), requests, strict=True):
        assert same(together, next(danqing.paint_all([request])))


@pytest.mark.parametrize("vain", [{"forecast_order": 1}, {"base_below": 0.5}, {"deep_outer": 1}], ids=str)
def test_how_to_spare_is_refused_where_nothing_is_spared(tiny, vain):
    with pytest.raises(InvalidInput, match=f"{next(iter(vain))} was given"):
        paint(tiny, **vain)


@pytest.fixture
def depths(tiny):
    """Of each call of the network whether its middle was computed, and how many pictures it was shown."""
    net, seen = load(str(tiny), "cpu", "fp32").denoiser.net, list[tuple[bool, int]]()  # type: ignore
    hooks = [
        net.register_forward_pre_hook(lambda _, given: seen.append((False, len(given[0])))),
        net.mid_block.register_forward_hook(lambda *_: seen.append((True, seen.pop()[1]))),
    ]
    yield seen
    for hook in hooks:
        hook.remove()


def computed(depths):
    """Which calls computed the middle; and none are left."""
    found = [int(whole) for whole, _ in depths]
    depths.clear()
    return found


def test_the_deep_layers_are_called_in_every_so_manieth_step(tiny, depths):
    for options, whole in (
        ({}, [1] * 7),
        ({"deep_every": 3}, [1, 0, 0] * 2 + [1]),
        ({"deep_every": 1000}, [1] + [0] * 6),
        ({"deep_every": 2, "forecast": 2}, [1, 0, 1, 0]),  # of the steps 0, 2, 4 and 6, that are asked for
        ({"deep_every": 2, "pag": 3.0}, [1, 1, 0, 0] * 3 + [1, 1]),
        (
            {"deep_every": 3, "solver": "heun"},
            [1] + [0] * 3 + [1, 1] + [0] * 4 + [1, 1],
        ),  # but the first, each looks ahead
        ({"deep_every": 3, "width": 64, "tile": 32}, ([1] * 3 + [0] * 6) * 2 + [1] * 3),
        ({"deep_every": 3, "frames": 2}, [1, 0, 0] * 2 + [1]),
        ({"deep_every": 4, "hires": 2, "hires_strength": 1.0}, [1, 0, 0, 0, 1, 0, 0] * 2),
        ({"deep_every": 3, "scale": 1.0}, [1, 0, 0] * 2 + [1]),
    ):
        paint(tiny, **options)
        assert computed(depths) == whole, options


@pytest.mark.parametrize(
    "more",
    [
        {"width": 64, "tile": 32},
        {"frames": 2},
        {"regions": "left: a blue cat"},
        {"solver": "heun"},
        {"solver": "euler-a"},
        {"apg": 0.0, "apg_momentum": -0.5},
        {"pag": 3.0},
        {"base_every": 2},
        {"prompt": "a fox AND a cat"},
        {"prompt": "[a fox:a cat:0.5]"},
        {"hires": 2},
    ],
    ids=str,
)
def test_the_outermost_layers_go_with_all_else(tiny, depths, more):
    plain = paint(tiny, **more)
    depths.clear()
    spared = paint(tiny, **more, deep_every=2)
    whole = computed(depths)
    assert not same(spared, plain) and sum(whole) < 0.7 * len(whole)
    assert same(spared, paint(tiny, **more, deep_every=2)) and same(paint(tiny, **more), plain)


def test_pictures_of_which_some_compute_less_have_the_bytes_that_they_have_alone(tiny, depths):
    many = [
        danqing.Request(prompt="a fox", model=str(tiny), **{**OPTIONS, "seed": seed, "steps": steps}, deep_every=n)
        for seed, (n, steps) in enumerate([(1, 7), (2, 7), (2, 7), (3, 7), (2, 5)])
    ]
    alone = [next(danqing.paint_all([request])) for request in many]
    depths.clear()
    for together, one in zip(danqing.paint_all(many), alone, strict=True):
        assert same(together, one)


@pytest.mark.skipif(bool(packed.reason()), reason=packed.reason() or "it packs")
def test_pictures_that_compute_the_same_less_are_asked_for_in_one_call(tiny, depths):
    many = [
        danqing.Request(prompt="a fox", model=str(tiny), **{**OPTIONS, "seed": seed}, deep_every=3, engine="packed")
        for seed in range(3)
    ]
    list(danqing.paint_all(many))
    if not all(load(str(tiny), "cpu", "fp32", engine="packed")._proof.values()):  # type: ignore
        pytest.skip("this machine's kernels give other bytes in company")
    depths.clear()
    list(danqing.paint_all(many))
    assert depths == [(step % 3 == 0, 6) for step in range(7)]


def test_so_many_layers_as_the_network_has_not_are_refused_before_anything_is_painted(tiny, looks):
    with pytest.raises(InvalidInput, match="deep_outer: 99 was given; possible with this UNet is 1 to"):
        paint(tiny, deep_every=2, deep_outer=99)
    assert not looks


def test_fast_states_its_fields_and_is_replayed(run, tiny):
    kept = ("--steps", "9", "--model", str(tiny), "--seed", "3")
    assert run("paint", "fox", *kept, "--fast", "-o", "a.png")[0] == 0
    said = recorded("a.png").stated()
    assert {name: said[name] for name in danqing.FAST} == dict(danqing.FAST)
    assert run("replay", "a.png")[0] == 0
    by_name = danqing.paint("fox", model=str(tiny), steps=9, seed=3, **danqing.FAST)
    assert by_name.image.tobytes() == Image.open("a.png").convert("RGB").tobytes()
    assert run("paint", "fox", *kept, "--fast", "--forecast", "2", "-o", "b.png")[0] == 0
    assert recorded("b.png").acceleration.forecast == 2
