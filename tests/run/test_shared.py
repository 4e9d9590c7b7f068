"""Laws of what pictures share: painted in any turns, in generators or in threads, each is as if alone."""

import gc
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from danqing.adapt.base import layers
from danqing.adapt.deltas import Delta, LowRank
from danqing.adapt.lora import Worn
from danqing.denoise import Denoiser
from danqing.errors import InvalidInput
from danqing.guide import compose
from danqing.nets.ports import Residuals
from danqing.nets.unet import SD1, CrossAttention, UNet
from danqing.noise import Noise
from danqing.run.shared import Attach, Setup, Shared
from danqing.schedule import Flow, sgm_uniform
from danqing.solve import core, solvers
from danqing.types import Conditioning, Denoised

TINY = replace(
    SD1,
    block_out_channels=(8, 16),
    transformer_layers=(1, 0),
    attention_heads=(2, 2),
    norm_num_groups=4,
    cross_attention_dim=12,
    layers_per_block=1,
)
KEY = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
SOLVERS = ("dpmpp-2m", "heun", "euler-a", "unipc", "dpmpp-2m", "pc")


def lora(net: nn.Module, seed: int, *names: str) -> Worn:
    draw, known = torch.Generator().manual_seed(seed), layers(net)

    def change(layer: nn.Module) -> Delta:
        height, width = layer.weight.shape[0], layer.weight[0].numel()  # type: ignore[union-attr, index]
        return Delta(LowRank(*(torch.randn(*s, generator=draw) / 4 for s in ((height, 2), (2, width)))))

    return Worn({name: change(known[name]) for name in names})


class Alone:
    """In the place of `Shared`: adapters are on from the first to the last, and no text is remembered."""

    @contextmanager
    def setup(self, attachments: Sequence[Attach]) -> Iterator[None]:
        with ExitStack() as stack:
            for attach in attachments:
                stack.callback(attach())
            yield

    def using(self, setup: None) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass
class Bench:
    """A model, and pictures that differ in their prompts, adapters, controls and solvers."""

    denoiser: Denoiser
    shared: Any

    def attachments(self, picture: int) -> list[Attach]:
        net = self.denoiser.net
        ink, oil = lora(net, 1, KEY, "conv_in"), lora(net, 2, KEY, "time_embedding.linear_1", "conv_out")
        hint = partial(self.denoiser.add_control, lambda x, time, cond: Residuals(mid=torch.full((1, 16, 1, 1), 0.3)))
        asked = [[], [ink], [replace(ink, strength=0.5)], [oil, ink], [], []][picture]
        return [*(partial(one.attach, net) for one in asked), *([hint] if picture == 5 else [])]

    def paint(self, picture: int) -> Iterator[Tensor]:
        """The samples after each step; the picture's own turn is around each call of the network alone."""
        draw = torch.Generator().manual_seed(picture)
        term, base = (Conditioning(tokens=torch.randn(1, 5, 12, generator=draw)) for _ in range(2))
        points = core.points(Flow(), sgm_uniform(Flow(), 4))
        noise = Noise.of(3, [picture])
        with self.shared.setup(self.attachments(picture)) as setup:

            def asked(x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
                with self.shared.using(setup):
                    return self.denoiser(x, t, cond)

            guided = compose(asked, [(term, 3.0)], base)
            start = noise(torch.zeros(1, 4, 8, 8))
            for state in core.sample(guided, solvers.solver(SOLVERS[picture]), points, start, noise):
                yield state.x


def build(shared: Callable[[nn.Module], Any] = Shared) -> Bench:
    torch.manual_seed(0)
    net = UNet(TINY).requires_grad_(False)
    return Bench(Denoiser(net, Flow(), "flow"), shared(net))


@pytest.fixture(scope="module")
def bench() -> Bench:
    return build()


@pytest.fixture(scope="module")
def alone() -> list[Tensor]:
    """Each picture with nobody else there."""
    bench = build(lambda net: Alone())
    found = [torch.stack(list(bench.paint(picture))) for picture in range(6)]
    assert all(not torch.allclose(one, other) for i, one in enumerate(found) for other in found[:i])
    return found


@pytest.mark.parametrize("seed", range(4))
def test_generators_in_any_turns_give_each_picture_that_it_is_alone(bench: Bench, alone: list[Tensor], seed: int):
    order = random.Random(seed)
    running = {picture: (bench.paint(picture), list[Tensor]()) for picture in range(6)}
    done = dict[int, Tensor]()
    while running:
        picture = order.choice(list(running))
        steps, states = running[picture]
        try:
            states.append(next(steps))
        except StopIteration:
            done[picture] = torch.stack(running.pop(picture)[1])
    assert all(torch.equal(done[picture], want) for picture, want in enumerate(alone))


def test_threads_give_each_picture_that_it_is_alone(bench: Bench, alone: list[Tensor]):
    done, begin = dict[int, Tensor](), threading.Barrier(12)

    def paint(worker: int) -> None:
        begin.wait()
        done[worker] = torch.stack(list(bench.paint(worker % 6)))

    workers = [threading.Thread(target=paint, args=(worker,)) for worker in range(12)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    assert all(torch.equal(done[worker], alone[worker % 6]) for worker in range(12))


def trace(net: nn.Module) -> dict[str, int]:
    return {name: id(part) for name, part in (*net.named_modules(), *net.named_parameters())}


def test_pictures_that_end_or_are_left_unfinished_leave_nothing_on(bench: Bench):
    before = trace(bench.denoiser.net)
    left, ended = bench.paint(1), bench.paint(3)
    next(left), next(ended)
    assert trace(bench.denoiser.net) != before
    list(ended)
    del left
    gc.collect()
    assert trace(bench.denoiser.net) == before and bench.denoiser.controls == ()


def test_an_adapter_that_does_not_fit_is_refused_at_once_and_leaves_nothing_on(bench: Bench):
    net, before = bench.denoiser.net, trace(bench.denoiser.net)
    good = partial(lora(net, 1, KEY).attach, net)
    wrong = partial(Worn({KEY: Delta(LowRank(torch.ones(3, 1), torch.ones(1, 3)))}).attach, net)
    with pytest.raises(InvalidInput, match="cannot take this change"), bench.shared.setup([good, wrong]):
        pytest.fail("it was taken")
    assert trace(net) == before


def test_a_turn_within_a_turn_gives_it_back(bench: Bench, alone: list[Tensor]):
    net = bench.denoiser.net
    with bench.shared.setup([partial(lora(net, 1, KEY).attach, net)]) as mine, bench.shared.using(mine):
        before = trace(net)
        assert torch.equal(torch.stack(list(bench.paint(4))), alone[4])
        assert trace(net).keys() == before.keys()


def test_the_text_of_a_picture_is_projected_once_whatever_is_painted_in_between():
    bench, made = build(), list[nn.Module]()
    attention = [layer for layer in bench.denoiser.net.modules() if isinstance(layer, CrossAttention)]
    for layer in attention:
        layer.to_k.inner.register_forward_hook(lambda module, *_: made.append(module))  # behind the cache
    list(bench.paint(0))
    once = len(made)
    assert once == len(attention)
    for _ in zip(bench.paint(0), bench.paint(4), strict=True):
        pass
    assert len(made) == 3 * once


def test_a_turn_that_changes_nothing_costs_less_than_twenty_microseconds(bench: Bench):
    setup = Setup()

    def seconds() -> float:
        start = perf_counter()
        for _ in range(1000):
            with bench.shared.using(setup):
                pass
        return perf_counter() - start

    assert min(seconds() for _ in range(9)) / 1000 < 20e-6
