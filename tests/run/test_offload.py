"""Laws of offload: one network is in memory at a time, and every number of a picture stays what it was."""

import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from danqing.adapt.base import layers
from danqing.adapt.deltas import Delta, Difference
from danqing.adapt.lora import Worn
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.painting import load as loading
from danqing.painting.load import load
from danqing.request.request import Request
from danqing.run import offload
from danqing.run.device import free
from danqing.run.engine.engines import ENGINES
from danqing.run.offload import Offloaded, Room, there

CPU = torch.device("cpu")


def made(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 6)).eval().requires_grad_(False)


def offloaded(net, room, reads=None):
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def read():
        if reads is not None:
            reads.append(1)
        return state

    return Offloaded(net, read, room)


def held(net):
    """Bytes of a network's numbers that are in memory."""
    return sum(tensor.untyped_storage().nbytes() for tensor in net.state_dict().values())


X = torch.linspace(-1, 1, 18).view(3, 6)


@pytest.mark.parametrize("engine", [name for name in ENGINES if not ENGINES[name].keeps])
def test_a_network_computes_the_same_bytes_while_no_other_is_in_memory(engine):
    nets, room = [made(0), made(1)], Room()
    with torch.inference_mode():
        sizes = [held(net) for net in nets]
        for net in nets:
            offloaded(net, room)
        twins = [made(0), made(1)]
        for net in (*nets, *twins):
            ENGINES[engine].attach(net)
        assert all(held(net) < size / 4 for net, size in zip(nets, sizes, strict=True))
        for which in (0, 1, 0, 0, 1):
            assert torch.equal(nets[which](X), twins[which](X))
            assert held(nets[which]) >= sizes[which] and held(nets[1 - which]) < sizes[1 - which] / 4


def test_who_is_called_again_is_not_read_again_and_a_part_brings_in_the_whole():
    net, other, room, reads = made(0), made(1), Room(), []
    offloaded(net, room, reads)
    offloaded(other, room)
    with torch.inference_mode():
        net(X), net[0](X), net(X)
        assert len(reads) == 1
        other(X), net[0](X), net(X)
    assert len(reads) == 2


def test_numbers_that_are_away_pass_for_no_result():
    net = made()
    shapes = {name: (p.shape, p.dtype, p.device) for name, p in net.named_parameters()}
    offloaded(net, Room())
    assert {name: (p.shape, p.dtype, p.device) for name, p in net.named_parameters()} == shapes
    assert nn.functional.linear(X, net[0].weight).isnan().all()


def test_whoever_fails_leaves_the_room_to_others():
    net, other, room = made(0), made(1), Room()
    offloaded(net, room)
    offloaded(other, room)
    with pytest.raises(RuntimeError), torch.inference_mode():
        net(torch.zeros(3, 5))
    done = threading.Event()

    def call():
        with torch.inference_mode():
            other(X)
        done.set()

    threading.Thread(target=call, daemon=True).start()
    assert done.wait(5)


def test_threads_that_call_different_networks_wait_for_each_other():
    nets, twins, room, wrong = [made(0), made(1)], [made(0), made(1)], Room(), []
    for net in nets:
        offloaded(net, room)

    def call(which):
        with torch.inference_mode():
            wrong.extend(1 for _ in range(30) if not torch.equal(nets[which](X), twins[which](X)))

    threads = [threading.Thread(target=call, args=(which,)) for which in (0, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_what_is_folded_into_weights_is_folded_into_those_of_the_file():
    net, twin, other = made(0), made(0), made(1)
    change = {name: Delta(Difference(torch.ones_like(layer.weight))) for name, layer in layers(net).items()}
    worn = Worn(change, 0.5)
    worn.merge(twin)
    for one in (net, other):
        offloaded(one, offload.ROOM)
    with torch.inference_mode():
        other(X)
        there(lambda: worn.merge(net), [net])()
        other(X)
        assert torch.equal(net(X), twin(X))
    assert there(worn.merge, [twin]) == worn.merge  # nothing stands between where nothing is offloaded


@pytest.fixture
def sequential(monkeypatch):
    monkeypatch.setenv(offload.VARIABLE, "sequential")


REQUEST = Request(prompt="a red fox", negative="cat", seed=3, steps=2, width=64, height=32)


def test_a_picture_has_the_same_bytes_and_record(tiny, painter, sequential):
    ours = load(tiny, "cpu", "fp32")
    assert ours is not painter and load(tiny, "cpu", "fp32") is ours
    for request in (REQUEST, REQUEST.but(seed=4), REQUEST):
        one, other = painter.paint(request), ours.paint(request)
        assert one.image.tobytes() == other.image.tobytes() and one.record == other.record
    nets = [ours.codec.vae, *ours.adapters.target.nets.values()]
    assert sum(held(net) > 1000 for net in nets) == 1


def test_a_file_that_is_changed_meanwhile_is_refused(tiny, tmp_path, sequential):
    import shutil

    shutil.copytree(tiny, folder := tmp_path / "m")
    ours = load(folder, "cpu", "fp32")
    ours.paint(REQUEST)
    file = folder / "text.safetensors"
    file.write_bytes(file.read_bytes())
    with pytest.raises(InvalidFile, match="was changed"):
        ours.paint(REQUEST.but(prompt="a cat"))


def test_it_is_chosen_where_a_model_has_no_room(tiny, monkeypatch):
    size = 4 * sum(kinds.total() for kinds in loading.parameters(loading.find(tiny)).values())
    for room, found in ((1.9 * size, "sequential"), (2.1 * size, "none")):
        monkeypatch.setattr(offload, "free", lambda where, room=room: room)
        assert offload.found("auto", CPU, size) == found
        assert offload.found("none", CPU, size) == "none" and offload.found("sequential", CPU, size) == "sequential"
    monkeypatch.setattr(offload, "free", lambda where: 0)
    loading._painter.cache_clear()
    few = load(tiny, "cpu", "fp32")
    assert few.paint(REQUEST).image.tobytes() and held(few.adapters.target.nets["text"]) < 1000
    loading._painter.cache_clear()


def test_another_word_is_refused_and_changes_nothing(monkeypatch):
    monkeypatch.setenv(offload.VARIABLE, "none")
    with pytest.raises(UnknownName, match="sequential"):
        offload.turn("model")
    assert offload.given() == "none"
    monkeypatch.setenv(offload.VARIABLE, "model")
    with pytest.raises(UnknownName, match=offload.VARIABLE):
        offload.given()


def test_free_is_what_the_system_has_within_the_limit_of_the_container(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9000 kB\nMemAvailable:    5000 kB\n")
    assert free(CPU, tmp_path / "none", meminfo) == 5000 * 1024
    for name, text in (("memory.max", "3000000"), ("memory.current", "1000000"), ("memory.stat", "inactive_file 400")):
        (tmp_path / name).write_text(text + "\n")
    assert free(CPU, tmp_path, meminfo) == 2000400
    (tmp_path / "memory.max").write_text("max\n")
    assert free(CPU, tmp_path, meminfo) == 5000 * 1024
    assert free(CPU, tmp_path / "none", Path("/nowhere")) == float("inf")


@pytest.mark.parametrize("other", [{"quantise": "int8"}, {"engine": "openvino"}])
def test_weights_in_a_form_of_their_own_do_not_leave_memory(other, monkeypatch):
    monkeypatch.setenv(offload.VARIABLE, "sequential")
    with pytest.raises(InvalidInput, match=f"sequential was given, and {next(iter(other))}"):
        load("danqing-mini", "cpu", "fp32", **other)
    monkeypatch.setenv(offload.VARIABLE, "auto")
    kept = loading._kept(other.get("engine", "torch"), other.get("quantise", "none"), "auto")
    assert kept[1] == "none"
