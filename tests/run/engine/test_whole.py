"""Networks compiled whole compute what their layers do, in every state of theirs, and come off without trace."""

import copy
import logging
import os
import shutil
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch._inductor import config

from danqing.adapt.base import layers
from danqing.adapt.deltas import Delta, LowRank
from danqing.adapt.lora import Worn
from danqing.errors import InvalidInput
from danqing.nets.ports import Residuals
from danqing.nets.rrdb import RRDBNet, RRDBNetConfig
from danqing.nets.unet import UNet, UNetConfig
from danqing.run.device import threads
from danqing.run.engine import compiled, openvino, whole, xla
from danqing.run.engine.engines import ENGINES, Engine, find_engine
from danqing.run.textcache import cached_text

CPU = torch.device("cpu")
OWN_BACKEND = compiled.BACKEND
UNET = UNetConfig(
    block_out_channels=(8,), layers_per_block=1, transformer_layers=(1,), attention_heads=(2,),
    cross_attention_dim=16, norm_num_groups=4,
)  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache of one's own; and torch.compile without the minutes that inductor takes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    openvino.ALIVE.clear()
    logging.getLogger("torch.__trace").propagate = False  # whose lines cost more than what they tell of


@pytest.fixture
def engine():
    """What all have in common, which a graph as it was exported shows soonest."""
    build = lambda program, tensors: partial(call, program.module())  # noqa: E731
    return Engine(attach=lambda net: whole.attach(net, build), aside=whole.aside)


def call(module, tensors):
    return module(*tensors)


@pytest.fixture(params=["openvino", "compile", "xla"])
def compiles(request):
    if why := ENGINES[request.param].reason(CPU):
        pytest.skip(why)
    return ENGINES[request.param]


@pytest.fixture
def by_openvino():
    if why := openvino.reason(CPU):
        pytest.skip(why)


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def far(ours, theirs):
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


class Mixed(nn.Module):
    """Layers of each kind that a LoRA changes, ports among the arguments, and parts that have parts."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.enter = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 8, 3, padding=1))
        self.words = nn.Linear(5, 8)

    def forward(self, x, time, *, extra, residuals):
        h = self.enter(x) * torch.cos(time)[:, None, None, None].to(x.dtype)
        h = h + self.words(extra["words"])[..., None, None]
        for one in residuals.down:
            h = h + one
        return self.body(h), (h if residuals.mid is None else residuals.mid)


def asked(net, seed=0, time=0.5, **more):
    dtype = net.words.weight.dtype if hasattr(net.words, "weight") else torch.float32
    given = {
        "extra": {"unread": numbers(2, seed=9), "words": numbers(2, 5, seed=seed, dtype=dtype)},
        "residuals": Residuals(down=(numbers(2, 8, 6, 6, seed=seed + 1, dtype=dtype),)),
    }
    with torch.inference_mode():
        return net(numbers(2, 3, 6, 6, seed=seed, dtype=dtype), torch.full((2,), time), **{**given, **more})


def graphs(net):
    return vars(net)["forward"].graphs


def test_what_comes_in_tuples_mappings_and_dataclasses_is_read_and_the_numbers_are_not_remembered(engine):
    net = Mixed()
    cases = [{"seed": 1}, {"seed": 2}, {"seed": 2, "residuals": Residuals()}, {"seed": 3, "time": 2.0}]
    plain = [asked(net, **case) for case in cases]
    off = engine.attach(net)
    for case, wanted in zip(cases, plain, strict=True):
        assert all(far(ours, theirs) < 1e-5 for ours, theirs in zip(asked(net, **case), wanted, strict=True))
    assert len(graphs(net)) == 2 and engine.aside(net) == "" and all(graph.ask for graph in graphs(net))
    off()
    assert "forward" not in vars(net) and all("forward" not in vars(part) for part in net.children())
    assert all(torch.equal(*both) for both in zip(asked(net, seed=1), plain[0], strict=True))


def lora(net, seed=5):
    found = {}
    for i, (name, layer) in enumerate(layers(net).items()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            shape = layer.weight.shape
            up, down = numbers(shape[0], 2, seed=seed + i), numbers(2, shape[1:].numel(), seed=seed - i)
            found[name] = Delta(LowRank(up, down, scale=0.3))
    return Worn(found, 0.7)


def test_each_engine_computes_the_network_as_it_is_whatever_is_added_to_it(compiles):
    net = Mixed()
    plain = asked(net)
    off = compiles.attach(net)
    assert all(far(*both) < 1e-5 for both in zip(asked(net), plain, strict=True))
    take_off = lora(net).attach(net)
    off()
    wanted = asked(net)
    off = compiles.attach(net)
    assert far(wanted[0], plain[0]) > 0.1 and far(asked(net)[0], wanted[0]) < 1e-5
    assert len(graphs(net)) == 1 and graphs(net)[0].ask and not compiles.aside(net)
    take_off()
    off()
    assert torch.equal(asked(net)[0], plain[0])


@pytest.mark.parametrize("way", ["attach", "merge"])
def test_a_lora_is_in_the_answer_as_long_as_it_is_on_whichever_came_first(engine, way):
    net = Mixed()
    plain, before = asked(net)[0], copy.deepcopy(net.state_dict())
    take_off = getattr(lora(net), way)(net)
    wanted = asked(net)[0]
    off = engine.attach(net)
    assert far(wanted, plain) > 0.1 and far(asked(net)[0], wanted) < 1e-5
    take_off()
    assert far(asked(net)[0], plain) < 1e-5
    take_off = getattr(lora(net), way)(net)
    assert far(asked(net)[0], wanted) < 1e-5
    off()
    take_off()
    assert torch.equal(asked(net)[0], plain)
    assert all(torch.equal(before[name], number) for name, number in net.state_dict().items())


def test_a_weight_that_is_written_to_is_read_anew(engine):
    net = Mixed()
    engine.attach(net)
    asked(net)
    with torch.no_grad():
        net.enter.weight.mul_(2)
    wanted = type(net).forward(net, numbers(2, 3, 6, 6), torch.full((2,), 0.5), extra={"words": numbers(2, 5)},
                               residuals=Residuals(down=(numbers(2, 8, 6, 6, seed=1),)))  # fmt: skip
    assert far(asked(net)[0], wanted[0].detach()) < 1e-5


def test_what_looks_into_the_layers_is_computed_by_torch_and_said(engine):
    net, seen = Mixed(), []
    plain = asked(net)[0]
    engine.attach(net)
    hook = net.enter.register_forward_hook(lambda layer, given, answer: seen.append(answer) or 2 * answer)
    asked(net), asked(net)
    assert len(seen) == 2 and "looks into its layers" in engine.aside(net) and not graphs(net)
    hook.remove()
    assert far(asked(net)[0], plain) < 1e-5 and engine.aside(net) == ""


class Moody(nn.Linear):
    def forward(self, input):
        return super().forward(input) if float(input.sum()) > 0 else -input


def test_a_network_that_no_graph_can_be_of_is_computed_by_torch_and_tried_once(engine, caplog):
    net = Moody(4, 4)
    plain = [net(numbers(2, 4).abs()), net(-numbers(2, 4).abs())]
    engine.attach(net)
    with torch.inference_mode(), caplog.at_level(logging.WARNING, logger="danqing"):
        assert torch.equal(net(numbers(2, 4).abs()), plain[0]) and torch.equal(net(-numbers(2, 4).abs()), plain[1])
    said = [record.getMessage() for record in caplog.records if record.name == "danqing"]
    assert len(said) == 1 and engine.aside(net) in said[0]


def test_gradients_autocast_words_and_other_precisions_are_torchs(engine):
    net, x = Mixed(), numbers(2, 3, 6, 6)
    plain = asked(net)[0]
    engine.attach(net)
    given = {"extra": {"words": numbers(2, 5)}, "residuals": Residuals(down=(numbers(2, 8, 6, 6, seed=1),))}
    y = net(x.requires_grad_(), torch.full((2,), 0.5), **given)[0]
    assert torch.equal(y, plain) and torch.autograd.grad(y.sum(), x)[0].shape == x.shape
    with torch.autocast("cpu", torch.bfloat16):
        assert asked(net)[0].dtype == torch.bfloat16
    words = nn.Embedding(5, 4)
    engine.attach(words)
    with torch.inference_mode():
        assert torch.equal(words(torch.arange(3)), words.weight[:3])
    assert not graphs(net) and not graphs(words)


def test_a_copy_has_graphs_of_its_own(engine):
    net = Mixed()
    engine.attach(net)
    other = copy.deepcopy(net)
    nn.init.zeros_(other.body[2].weight)
    wanted = other.body[2].bias.detach()[None, :, None, None].expand(2, 8, 6, 6)
    assert far(asked(other)[0], wanted) < 1e-5 < far(asked(net)[0], wanted)


def test_only_so_many_graphs_are_kept(engine, monkeypatch):
    monkeypatch.setattr(whole, "HELD", 0)
    net = nn.Linear(3, 3)
    engine.attach(net)
    with torch.inference_mode():
        for rows in (1, 2, 3, 2):
            assert far(net(numbers(rows, 3)), nn.Linear.forward(net, numbers(rows, 3))) < 1e-5
    assert [graph.key for graph in graphs(net)] == [graph.key for graph in graphs(net) if graph.ask]
    assert len(graphs(net)) == 2


CALLS = {
    "unet": (lambda: UNet(UNET), lambda net: net(numbers(2, 4, 8, 12), torch.full((2,), 9.0), numbers(2, 7, 16))),
    "rrdb": (lambda: RRDBNet(RRDBNetConfig(channels=8, growth=4, blocks=1)), lambda net: net(numbers(1, 3, 9, 7))),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_openvino_computes_a_network_of_any_family_as_torch_does(name, by_openvino):
    make, call = CALLS[name]
    torch.manual_seed(0)
    net = make().eval()
    for number in net.parameters():  # some begin as zeros
        nn.init.normal_(number, std=0.2)
    with torch.inference_mode():
        plain = call(net)
        off = ENGINES["openvino"].attach(net)
        with cached_text(net) if name == "unet" else torch.no_grad():
            assert far(call(net), plain) < 1e-5
        asks = [graph.ask for part in (net, *net.children()) if "forward" in vars(part) for graph in graphs(part)]
        assert len(asks) == 1 and isinstance(asks[0], openvino.Answers)
        off()
        assert torch.equal(call(net), plain)


def test_openvino_tells_one_step_from_the_next_in_bfloat16(by_openvino):
    class Timed(nn.Module):
        def __init__(self):
            super().__init__()
            self.read = nn.Linear(2, 2, dtype=torch.bfloat16)

        def forward(self, x: Tensor, time: Tensor) -> Tensor:
            angles = time[:, None] * torch.tensor([1.0, 0.1])
            return x + self.read(torch.cos(angles).to(x.dtype))

    net, x = Timed(), torch.zeros(1, 2, dtype=torch.bfloat16)
    net.read.weight = nn.Parameter(torch.eye(2, dtype=torch.bfloat16))
    nn.init.zeros_(net.read.bias)
    ENGINES["openvino"].attach(net)
    with torch.inference_mode():
        for time in (999.0, 998.0, 500.5):
            wanted = torch.cos(time * torch.tensor([[1.0, 0.1]]))
            assert far(net(x, torch.tensor([time])), wanted) < 4 * torch.finfo(torch.bfloat16).eps


def test_openvino_reads_what_was_kept_and_makes_anew_what_was_spoilt(by_openvino, monkeypatch):
    made, own, folder = [], openvino.Models, openvino.folder()
    monkeypatch.setattr(openvino, "Models", lambda *given, **more: made.append(1) or own(*given, **more))

    def answer(bias):
        openvino.ALIVE.clear()  # as in another process
        net = nn.Linear(3, 3)
        nn.init.eye_(net.weight)
        nn.init.constant_(net.bias, bias)
        ENGINES["openvino"].attach(net)
        with torch.inference_mode():
            found = net(numbers(2, 3))
        return torch.equal(found, numbers(2, 3) + bias) and not ENGINES["openvino"].aside(net), len(made)

    assert answer(0.0) == (True, 1) and answer(0.0) == (True, 1)
    assert answer(1.0) == (True, 2)  # the same graph with other weights
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    assert answer(0.0) == (True, 3) and answer(0.0) == (True, 3)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("no folder")
    assert answer(0.0) == (True, 4)


def test_openvino_keeps_the_newest_of_what_is_too_much(tmp_path, monkeypatch):
    import os

    monkeypatch.setattr(openvino, "KEPT", 250)
    for age, name in enumerate(["newest", "middle", "oldest"]):
        (tmp_path / f"{name}.blob").write_bytes(bytes(100))
        os.utime(tmp_path / f"{name}.blob", (1000 - age, 1000 - age))
    openvino.prune(tmp_path / "newest.blob")
    assert sorted(path.stem for path in tmp_path.glob("*.blob")) == ["middle", "newest"]


def test_openvino_leaves_half_precision_to_torch_and_says_so(by_openvino):
    net = nn.Linear(3, 3, dtype=torch.float16)
    x = numbers(2, 3, dtype=torch.float16)
    plain = net(x)
    ENGINES["openvino"].attach(net)
    with torch.inference_mode():
        assert torch.equal(net(x), plain)
    assert "holds float16" in ENGINES["openvino"].aside(net)


def test_xla_reads_what_was_kept_and_makes_anew_what_was_spoilt(monkeypatch):
    if why := xla.reason(CPU):
        pytest.skip(why)
    made, own, folder = [], xla.function, xla.folder()
    monkeypatch.setattr(xla, "function", lambda *given: made.append(1) or own(*given))

    def answer(bias):
        net = nn.Linear(3, 3)
        nn.init.eye_(net.weight)
        nn.init.constant_(net.bias, bias)
        ENGINES["xla"].attach(net)
        with torch.inference_mode():
            found = net(numbers(2, 3))
        return torch.equal(found, numbers(2, 3) + bias) and not ENGINES["xla"].aside(net), len(made)

    assert answer(0.0) == (True, 1) and answer(0.0) == (True, 1)
    for path in folder.glob("*.stablehlo"):
        path.write_bytes(path.read_bytes()[:-9])
    assert answer(0.0) == (True, 2) and answer(0.0) == (True, 2)
    shutil.rmtree(folder)
    folder.write_text("no folder")
    assert answer(0.0) == (True, 3)


@pytest.mark.parametrize("own", [None, "5"])
def test_xla_starts_as_many_threads_as_torch_has_unless_the_environment_says_how_many(monkeypatch, own):
    monkeypatch.delenv(xla.THREADS, raising=False)
    if own:
        monkeypatch.setenv(xla.THREADS, own)
    read = []
    package = SimpleNamespace(devices=lambda kind: read.append(os.environ[xla.THREADS]))
    monkeypatch.setattr(xla, "import_module", lambda name: package)
    assert xla.jax.__wrapped__() is package
    assert read == [own or str(threads())] and os.environ.get(xla.THREADS) == own


def test_operators_of_other_versions_are_there_by_name_while_torchax_is_imported_and_no_longer():
    prod = torch.ops.aten.prod
    with xla.placeholders():
        assert prod.of_another_version is not None and prod.default is torch.ops.aten.prod.default
        with pytest.raises(AttributeError):
            _ = prod.__of_python__
    with pytest.raises(AttributeError):
        _ = prod.of_another_version


def test_an_engine_whose_package_or_compiler_is_missing_says_what_to_do(monkeypatch):
    monkeypatch.setattr(openvino, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r'pip install "danqing\[openvino\]".*possible here is torch'):
        find_engine(CPU, "openvino")
    monkeypatch.setattr(xla, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r'pip install "danqing\[xla\]".*possible here is torch'):
        find_engine(CPU, "xla")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InvalidInput, match="C\\+\\+ compiler, and no-such-compiler was not found; possible here"):
        find_engine(CPU, "compile")
    with pytest.raises(InvalidInput, match="processors here, not on cuda"):
        find_engine(torch.device("cuda"), "openvino")


def test_compile_is_by_inductor_whose_weights_are_constants():
    """By what it is told: a compiler's run takes longer than all that is tested here."""
    if why := compiled.reason(CPU):
        pytest.skip(why)
    told = []

    def backend(graph, given):
        told.append((config.freezing, len(given)))
        return graph

    assert OWN_BACKEND == "inductor"
    compiled.BACKEND = backend
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    ENGINES["compile"].attach(net)
    with torch.inference_mode():
        for seed in (1, 2):
            x = numbers(3, 4, seed=seed)
            assert far(net(x), nn.Sequential.forward(net, x)) < 1e-5
    assert len(told) == 1 and told[0][0] and not config.freezing and not ENGINES["compile"].aside(net)
