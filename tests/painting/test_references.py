"""References by a request: what they change, when, and that they come off without trace."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import UNET
from tests.parity.test_mmdit import SD3_LIKE

import danqing
from danqing.errors import DanqingError, InvalidInput
from danqing.nets.controlnet import ControlNet, ControlNetConfig
from danqing.nets.mmdit import MMDiT
from danqing.painting.adapters.reference import settled
from danqing.request.reference import Reference
from danqing.request.request import Request
from danqing.weights.load import save

OPTIONS = {"steps": 3, "seed": 1, "precision": "fp32"}


@pytest.fixture
def paint(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, size in (("fox.png", (40, 40)), ("cat.png", (32, 32)), ("wide.png", (60, 30))):
        drawn = np.random.default_rng(list(name.encode())).integers(0, 256, (*size[::-1], 3), np.uint8)
        Image.fromarray(drawn).save(name)

    def paint(*references, **options):
        given = {"model": str(tiny), "references": list(references) or None, **OPTIONS, **options}
        return danqing.paint(given.pop("prompt", "a red fox"), **given)

    return paint


def same(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a.frames, b.frames, strict=True))


def test_a_reference_acts_by_what_it_is_and_leaves_no_trace(paint):
    plain = paint()
    pictures = [paint("fox.png"), paint("cat.png"), paint("wide.png"), paint("fox.png", "cat.png")]
    pictures += [paint("fox.png,fidelity=0"), paint("fox.png,fidelity=1")]
    assert len({one.image.tobytes() for one in (plain, *pictures)}) == 7
    assert not any(one.warnings for one in pictures) and same(paint(), plain)


def test_a_weight_of_0_is_nothing_and_is_said(paint):
    free = paint("fox.png,weight=0")
    assert same(free, paint()) and free.warnings == ("a reference changes nothing: its weight is 0.",)


def test_a_hundred_times_on_and_off_every_weight_is_as_it_was(painter, paint):
    paint()
    before = {name: value.clone() for name, value in painter.denoiser.state_dict().items()}
    request = painter.resolve(Request(prompt="a red fox", references="fox.png"))
    hooks = [len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in painter.denoiser.modules()]
    for _ in range(100):
        with painter.attached(request):
            pass
    assert hooks == [len(one._forward_hooks) + len(one._forward_pre_hooks) for one in painter.denoiser.modules()]
    assert all(torch.equal(value, before[name]) for name, value in painter.denoiser.state_dict().items())


def test_times_split_the_steps(paint):
    plain, whole = paint(), paint("fox.png")
    early, late = paint("fox.png,to=0.34"), paint("fox.png,from=0.34")
    assert len({one.image.tobytes() for one in (plain, whole, early, late)}) == 4
    none = paint("fox.png,to=0.1")
    assert same(none, plain) and none.warnings == ("a reference changes nothing: none of 3 steps lies in its times.",)


@pytest.mark.parametrize(
    "more",
    [
        {"width": 64, "tile": 32},
        {"hires": 2},
        {"frames": 2},
        {"scale": 1},
        {"pag": 3.0},
        {"regions": "left: a blue cat", "width": 64},
    ],
    ids=str,
)
def test_a_reference_is_seen_whole_whatever_part_of_the_picture_is_painted(paint, more):
    assert not same(paint("fox.png", **more), paint(**more))


def test_each_picture_of_a_count_looks_as_alone_and_in_turns(paint, painter):
    looked, plain = paint("fox.png").request, paint().request
    first, other, second = danqing.paint_all([looked, plain, looked.but(index=1)])
    assert same(first, paint("fox.png")) and same(other, paint()) and same(second, paint("fox.png", index=1))
    turns = [painter.states(looked), painter.states(plain)]
    ends = [[], []]
    for states in zip(*turns, strict=True):
        for end, state in zip(ends, states, strict=True):
            end.append(state)
    assert same(ends[0][-1], first) and same(ends[1][-1], other)


def test_a_control_lies_over_the_picture_alone(paint, tmp_path):
    torch.manual_seed(0)
    net = ControlNet(ControlNetConfig(**asdict(UNET), hint_widths=(4, 6, 8)))
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn(p.shape))
    save(net, tmp_path / "net.safetensors")
    control = {"controls": f"edges@{tmp_path / 'net.safetensors'}:cat.png,ready"}
    both = paint("wide.png", **control)
    assert not same(both, paint("wide.png")) and not same(both, paint(**control))


def test_a_reference_goes_where_a_picture_is_painted_over(paint, tiny, picture):
    paint()
    given = {"model": str(tiny), "strength": 0.7, **OPTIONS}
    assert not same(
        danqing.edit(picture, "a fox", references="fox.png", **given), danqing.edit(picture, "a fox", **given)
    )


def test_it_is_in_the_record_and_replays(paint, tmp_path):
    painted = paint("fox.png,fidelity=0.3")
    assert "references 0" in painted.record
    assert danqing.replay(painted.save(tmp_path / "x.png")).exact


def test_a_picture_that_changed_is_read_again(paint):
    before = paint("fox.png")
    Image.open("cat.png").save("fox.png")
    assert same(paint("fox.png"), paint("cat.png")) and not same(paint("fox.png"), before)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gone.png", "gone.png"),
        ("fox.png,weight=2", "weight"),
        ("fox.png,fidelity=-1", "fidelity"),
        ("fox.png,from=0.8,to=0.2", "the first before"),
        ("fox.png,weigth=1", "'weight'"),
        ("fox.png,weight=1,weight=0", "twice"),
        (",weight=1", "no picture"),
        ({"weight": 1}, "image was not given"),
    ],
)
def test_what_is_no_reference_is_refused_with_what_is_possible(paint, given, said):
    with pytest.raises(DanqingError, match=said):
        paint(given)


def test_a_model_that_cannot_look_is_named(generators, picture):
    ignored = danqing.paint("", model=generators["vae"], references=str(picture))
    assert any("references" in line and "ignored" in line for line in ignored.warnings)


def test_a_network_without_attentions_that_look_is_refused_before_anything_is_painted(picture):
    request = Request(prompt="a fox", references=str(picture))
    with pytest.raises(InvalidInput, match="self-attentions of a UNet"):
        settled(request, MMDiT(SD3_LIKE), "sd3")
    assert settled(Request(references=f"{picture},weight=0"), MMDiT(SD3_LIKE), "sd3").references


def test_a_picture_with_commas_and_equals_in_its_name_is_read():
    def read(text):
        return Request(references=text).references[0]

    assert read("a,b.png,weight=0.5") == Reference(image="a,b.png", weight=0.5)
    assert read("a=b.png") == Reference(image="a=b.png")
    with pytest.raises(InvalidInput):
        read("a.png,weight=")
