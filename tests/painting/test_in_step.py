"""Pictures that are painted together are those painted alone, in fewer calls, and none takes another with it."""

import threading
from functools import partial

import pytest
import torch

import danqing
from danqing.errors import DanqingError, InvalidInput
from danqing.painting.load import load
from danqing.request.request import Request
from danqing.run import together
from danqing.run.engine import packed

pytestmark = pytest.mark.skipif(bool(packed.reason()), reason=packed.reason() or "it packs")
#: Pictures that differ in all that a request says.
MIXED = [
    {"prompt": "a red fox", "seed": 1},
    {"prompt": "a red fox", "seed": 2, "steps": 2},
    {"prompt": "a blue cat", "seed": 1, "solver": "dpmpp-2m-sde"},
    {"prompt": "a blue cat", "negative": "a tree", "seed": 3, "scale": 1.0},
    {"prompt": "a fox AND a cat", "seed": 4, "width": 48},
    {"prompt": "a [fox:cat:0.5]", "seed": 5, "rescale": 0.5},
    {"prompt": "a fox", "seed": 6, "tile": 32, "width": 64},
]


def requests(model, **more):
    return [Request(**{"model": model, "steps": 4, "engine": "packed", **each, **more}) for each in MIXED]


def bytes_of(pictures):
    return [picture.image.tobytes() for picture in pictures]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_picture_has_the_bytes_of_one_painted_alone(tiny, precision):
    every = requests(str(tiny), precision=precision)
    alone = bytes_of(load(str(tiny)).paint(request) for request in every)
    assert bytes_of(danqing.paint_all(every, device="cpu")) == alone
    assert bytes_of(danqing.paint_all(every[::-1], device="cpu")) == alone[::-1]
    assert bytes_of(danqing.paint_all(iter(every), device="cpu")) == alone


@pytest.fixture
def counted(tiny):
    """How many pictures each call of the network sees."""
    net, sizes = load(str(tiny), "cpu", "fp32", engine="packed").denoiser.net, []  # type: ignore
    hook = net.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    yield sizes
    hook.remove()


def asked_anew(tiny, counted, requests):
    """How many pictures each call sees once it is proved that company changes no byte."""
    list(danqing.paint_all(requests, device="cpu"))
    if not all(load(str(tiny), "cpu", "fp32", engine="packed")._proof.values()):  # type: ignore
        pytest.skip("this machine's kernels give other bytes in company")
    counted.clear()
    list(danqing.paint_all(requests, device="cpu"))
    return list(counted)


def test_so_many_pictures_ask_the_network_as_often_as_one(tiny, counted):
    one = {"prompt": "a fox", "model": str(tiny), "steps": 3, "precision": "fp32", "engine": "packed"}
    alone = asked_anew(tiny, counted, [Request(**one, seed=0)])
    every = asked_anew(tiny, counted, [Request(**one, seed=seed) for seed in range(5)])
    assert every == [5 * size for size in alone]


def test_where_company_changes_bytes_each_is_asked_alone_and_has_its_own(tiny, counted, monkeypatch):
    painter = load(str(tiny), "cpu", "fp32", engine="packed")
    monkeypatch.setattr(painter, "_proof", {})
    one = {"prompt": "a fox", "model": str(tiny), "steps": 3, "precision": "fp32", "engine": "packed"}
    every = [Request(**one, seed=seed) for seed in range(3)]
    alone = bytes_of(map(painter.paint, every))

    def disturbed(_, given, answer):
        return answer + 1e-3 if len(given[0]) > 2 else answer

    hook = painter.denoiser.net.register_forward_hook(disturbed)  # type: ignore
    try:
        assert bytes_of(danqing.paint_all(every, device="cpu")) == alone
    finally:
        hook.remove()
    assert max(counted[-6:]) == 2


def test_an_engine_that_is_not_steady_paints_one_after_another(tiny, counted):
    painter = load(str(tiny), "cpu", "fp32", engine="torch")
    assert painter.abreast(painter.resolve(Request(prompt="a fox"))) == 1


def test_one_call_sees_no_more_than_is_of_use(tiny, counted, monkeypatch):
    one = {"prompt": "a fox", "model": str(tiny), "steps": 1, "precision": "fp32", "engine": "packed"}
    painter = load(str(tiny), "cpu", "fp32", engine="packed")
    cells = 2 * (painter.defaults["width"] // painter.codec.factor) ** 2  # type: ignore
    monkeypatch.setattr(together, "CELLS", 3 * cells)
    found = asked_anew(tiny, counted, [Request(**one, seed=seed) for seed in range(7)])
    assert max(found) == 6 and sum(found) == 14


def test_what_fails_is_raised_in_its_place_and_takes_no_other_with_it(tiny):
    every = requests(str(tiny))
    alone = bytes_of(load(str(tiny)).paint(request) for request in every)
    bad = Request(model=str(tiny), prompt="a fox", width=33)
    found = []
    with pytest.raises(InvalidInput, match="33"):
        for picture in danqing.paint_all([*every[:3], bad, *every[3:]], device="cpu"):
            found.append(picture)
    assert bytes_of(found) == alone[:3]

    def fails(which, work):
        for n, state in enumerate(work()):
            if which == 1 and n == 1:
                raise DanqingError("midway")
            yield state

    painter = load(str(tiny), "cpu")
    works = [partial(painter.states, request) for request in every]
    done = list(together.in_order([partial(fails, i, work) for i, work in enumerate(works)], lambda which, state: None))
    assert str(done.pop(1)) == "midway" and bytes_of(done) == alone[:1] + alone[2:]


def test_an_error_of_one_call_is_each_pictures_own(tiny, counted):
    painter = load(str(tiny), "cpu", "fp32", engine="packed")

    def broken(_, given):
        if len(given[0]) > 2:
            raise RuntimeError("not enough memory")

    hook = painter.denoiser.net.register_forward_pre_hook(broken)  # type: ignore
    try:
        one = {"prompt": "a fox", "model": str(tiny), "steps": 1, "precision": "fp32", "engine": "packed"}
        works = [partial(painter.states, Request(**one, seed=seed)) for seed in range(3)]
        done = list(together.in_order(works, lambda which, state: None))
    finally:
        hook.remove()
    assert all(isinstance(each, danqing.Picture) for each in done)


def test_who_stops_listening_ends_the_work_and_leaves_nothing_on(tiny):
    ended = []

    def work(which):
        try:
            for n in range(5):
                yield n
                assert not torch.is_inference_mode_enabled()
        finally:
            ended.append(which)

    events = together.together([partial(work, which) for which in range(3)])
    assert next(events) == (0, 0)
    events.close()
    assert ended == [0] and not torch.is_inference_mode_enabled() and together.COMPANY.get() is None
    every = [Request(model=str(tiny), prompt="a fox", seed=seed) for seed in range(3)]
    pictures = danqing.paint_all(every, device="cpu")
    next(pictures)
    pictures.close()
    assert not torch.is_inference_mode_enabled()


def test_each_picture_may_be_asked_for_on_another_thread(tiny):
    every = requests(str(tiny))
    pictures = iter(danqing.paint_all(every, device="cpu"))
    found = []
    for _ in every:
        thread = threading.Thread(target=lambda: found.append(next(pictures)))
        thread.start()
        thread.join()
    assert bytes_of(found) == bytes_of(map(load(str(tiny)).paint, every))


def test_an_interrupt_goes_through(tiny):
    def work(which):
        yield which
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(together.together([partial(work, 0), partial(work, 1)]))
