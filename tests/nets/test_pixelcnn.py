"""Laws of the PixelCNN: who sees whom, probabilities that add up, and cached features that are the network's own."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from danqing.errors import InvalidInput, UnknownName
from danqing.nets import discretised
from danqing.nets.pixel_heads import Levels, Mixture, Palette, choose
from danqing.nets.pixelcnn import ART, GatedLayer, PixelCNN, PixelCNNConfig, Walk, sample
from danqing.noise import keyed

TINY = PixelCNNConfig(levels=5, embedding=3, hidden=6, classes=3, width=4, first=3, dilations=(1, 2))
HEADS = {
    "palette": TINY,
    "levels": replace(TINY, head="levels", classes=0, first=5, dilations=(2, 1)),
    "mixture": replace(TINY, head="mixture", levels=256, components=3, dilations=(1, 1)),
}


@pytest.fixture(params=HEADS.values(), ids=HEADS)
def config(request: pytest.FixtureRequest) -> PixelCNNConfig:
    return request.param


def build(config: PixelCNNConfig) -> PixelCNN:
    torch.manual_seed(0)
    net = PixelCNN(config).double()
    if isinstance(net.head, Palette):
        net.head.palette.copy_(torch.randint(0, 256, (config.levels, 3), generator=keyed("palette")))
    return net


def symbols(config: PixelCNNConfig, batch: int, height: int, width: int) -> torch.Tensor:
    channels = 1 if config.head == "palette" else 3
    return torch.randint(0, config.levels, (batch, height, width, channels), generator=keyed("symbols"))


def labels(config: PixelCNNConfig, batch: int) -> torch.Tensor | None:
    return torch.arange(batch) % config.classes if config.classes else None


# Causality ----------------------------------------------------------------------------------------------------------


def test_each_channel_of_each_pixel_depends_on_all_before_it_in_reach_and_on_none_after(config: PixelCNNConfig) -> None:
    """By the gradient of every output by every input, in raster order and then by channel: no leak, and no blind
    spot."""
    net, (height, width) = build(config), (7, 9)
    parts = net.head.read(symbols(config, 1, height, width)).detach().requires_grad_()
    label, reach = labels(config, 1), config.reach
    said = net.head(net.features(parts, label), parts)[0]  # (H, W, C, ...)
    for y, x, c in itertools.product((0, 3, 6), (0, 4, 8), range(said.shape[2])):
        (gradient,) = torch.autograd.grad(said[y, x, c].square().sum(), parts, retain_graph=True)
        felt = gradient[0].abs().sum(-1) > 0  # (H, W, C)
        rows, columns, channels = (torch.arange(n) for n in felt.shape)
        rows, columns, channels = rows[:, None, None], columns[:, None], channels
        before = (rows < y) | ((rows == y) & (columns < x))
        near = (rows >= y - reach) & ((columns - x).abs() <= reach)
        own = (rows == y) & (columns == x) & (channels < c)
        assert torch.equal(felt, (before & near & (channels >= 0)) | own)


def test_the_reach_of_the_model_for_art_is_its_whole_picture() -> None:
    assert ART.reach >= 31


def test_the_vertical_stack_alone_sees_the_rows_above_and_never_its_own() -> None:
    layer = GatedLayer(2, 3, columns=5, dilation=1, strict=True, classes=0).double()
    x = torch.randn(1, 2, 6, 7).double().requires_grad_()
    v, _ = layer(x, x, None)
    (gradient,) = torch.autograd.grad(v[0, :, 4, 3].square().sum(), x)
    felt = gradient[0].abs().sum(0) > 0
    assert felt[2:4, 1:6].all() and felt.sum() == 10


# Probabilities ------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("head", ["palette", "levels"])
def test_the_probabilities_of_all_small_pictures_add_up_to_one(head: str) -> None:
    config = replace(HEADS[head], levels=2, classes=0)
    net, numbers = build(config), 4 if head == "palette" else 6
    shape = (2, 2, 1) if head == "palette" else (1, 2, 3)
    every = torch.tensor(list(itertools.product(range(2), repeat=numbers))).view(-1, *shape)
    torch.testing.assert_close(net(every).sum((1, 2)).logsumexp(0), torch.tensor(0.0).double())


@torch.no_grad()
def test_the_probabilities_of_all_bytes_of_a_channel_add_up_to_one_in_the_mixture() -> None:
    """Of the last channel given the first two: the ratio of P(r, g, b) to its own sum needs no other."""
    head = Mixture(4, 3, 6).double()
    features, x = torch.randn(4, generator=keyed("f")).double(), torch.tensor([12, 200, 0])
    every = x.repeat(256, 1)
    every[:, 2] = torch.arange(256)
    together = head.log_prob(features.expand(256, -1), head.read(every), every).logsumexp(0)
    logits, means, log_scales = head(features, head.read(x)).unbind(-2)
    pair = discretised.log_prob(head.read(x)[:2], means[:2], log_scales[:2], "logistic").sum(0)
    torch.testing.assert_close(together, (logits[0].log_softmax(-1) + pair).logsumexp(-1))


@torch.no_grad()
def test_a_batch_equals_its_singles_and_the_class_matters(config: PixelCNNConfig) -> None:
    net, x, label = build(config), symbols(config, 3, 4, 5), labels(config, 3)
    each = [net(x[i : i + 1], None if label is None else label[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(torch.cat(each), net(x, label))
    if label is not None:
        assert (net(x, label) - net(x, label.flip(0))).abs()[[0, 2]].amin() > 0


def test_every_parameter_gets_a_gradient(config: PixelCNNConfig) -> None:
    net = build(config)
    net(symbols(config, 3, 6, 6), labels(config, 3)).mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


# Drawing ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_at_every_pixel_the_cached_features_are_those_of_the_whole_network(config: PixelCNNConfig) -> None:
    net, x, label = build(config), symbols(config, 2, 6, 7), labels(config, 2)
    whole, walk = net.features(net.head.read(x), label), Walk(net, 2, 7, label)
    for y in range(6):
        walk.row()
        for column in range(7):
            torch.testing.assert_close(walk.features(), whole[:, y, column], rtol=1e-12, atol=1e-12)
            walk.put(x[:, y, column])


@torch.no_grad()
def test_a_drawn_picture_is_the_one_that_naive_drawing_gives(config: PixelCNNConfig) -> None:
    """Naive: the whole network anew for each pixel, on a picture whose pixels from there on are nothing yet."""
    net, label, (height, width) = build(config), labels(config, 2), (4, 5)
    cached = torch.stack(list(sample(net, [keyed(i) for i in range(2)], height, width, label)), 1)
    uniform = torch.stack([torch.rand(height, width, net.head.draws, generator=keyed(i)) for i in range(2)])
    naive = torch.zeros_like(cached)
    for y, x in itertools.product(range(height), range(width)):
        naive[:, y, x] = net.head.draw(net.features(net.head.read(naive), label)[:, y, x], uniform[:, y, x], 1.0)
    assert torch.equal(cached, naive)


def multiplications(net: PixelCNN, height: int, width: int) -> float:
    """What drawing costs a pixel, by torch's own count."""
    with FlopCounterMode(display=False) as counter:
        list(sample(net, [keyed("n")], height, width))
    return counter.get_total_flops() / (height * width)


def test_a_pixel_costs_the_same_in_a_picture_of_any_size_and_as_much_as_in_one_forward_pass() -> None:
    net = build(replace(TINY, classes=0))
    cost = multiplications(net, 2, 3)
    assert multiplications(net, 2, 6) == multiplications(net, 6, 3) == cost
    x = symbols(TINY, 1, 6, 6)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(x)
    assert cost <= counter.get_total_flops() / 36


@torch.no_grad()
def test_a_picture_depends_on_its_own_generator_and_class_alone(config: PixelCNNConfig) -> None:
    net, label = build(config), labels(config, 3)
    many = torch.stack(list(sample(net, [keyed("picture", i) for i in range(3)], 4, 5, label)), 1)
    for i in range(3):
        one = sample(net, [keyed("picture", i)], 4, 5, None if label is None else label[i : i + 1])
        assert torch.equal(torch.stack(list(one), 1)[0], many[i])
    assert not torch.equal(many[0], many[1])


@torch.no_grad()
def test_the_pictures_drawn_are_as_frequent_as_the_network_says() -> None:
    net, count = build(replace(TINY, levels=2, classes=0)), 4000
    drawn = torch.stack(list(sample(net, [keyed(i) for i in range(count)], 1, 3)), 1)
    every = torch.tensor(list(itertools.product(range(2), repeat=3))).view(-1, 1, 3, 1)
    expected = net(every).sum((1, 2)).exp()
    seen = (drawn[:, None] == every).flatten(2).all(2).double().mean(0)
    assert ((seen - expected).abs() < 4 * (expected * (1 - expected) / count).sqrt()).all()


@torch.no_grad()
def test_a_mixture_draws_each_byte_as_often_as_it_says() -> None:
    head, count = Mixture(4, 2, 6).double(), 20_000
    features = torch.randn(4, generator=keyed("f")).double()
    x = head.draw(features.expand(count, -1), torch.rand(count, 4, generator=keyed("u")), 1.0)
    logits, means, log_scales = head(features, head.read(x[0]))[0].unbind(-2)  # of red, which leans on nothing
    bytes_ = torch.arange(256)[:, None] / 127.5 - 1
    probability = (
        (logits.log_softmax(-1) + discretised.log_prob(bytes_, means, log_scales, "logistic")).logsumexp(-1).exp()
    )
    edges = torch.bincount(x[:, 0], minlength=256).cumsum(0) / count - probability.cumsum(0)
    assert edges.abs().max() < 1.95 / count**0.5  # Kolmogorov and Smirnov, one in a thousand


@torch.no_grad()
def test_a_cold_draw_is_the_likeliest_pixel_and_a_given_start_is_kept() -> None:
    net, label = build(TINY), torch.tensor([1, 2])
    start = symbols(TINY, 2, 2, 5)
    rows = torch.stack(list(sample(net, [keyed(1), keyed(2)], 4, 5, label, temperature=1e-6, start=start)), 1)
    assert torch.equal(rows[:, :2], start)
    parts = net.head.read(rows)
    best = net.head(net.features(parts, label), parts).argmax(-1)  # (B, H, W, C)
    assert torch.equal(rows[:, 2:], best[:, 2:])


def test_choosing_by_the_inverse_gives_each_symbol_the_interval_of_its_probability() -> None:
    logits = torch.tensor([0.1, 0.0, 0.5, 0.4]).double().log()
    uniform = torch.tensor([0.0, 0.0999, 0.1001, 0.5999, 0.6001, 0.9999]).double()
    assert choose(logits.expand(6, -1), uniform).tolist() == [0, 0, 2, 2, 3, 3]


# Pictures and symbols -----------------------------------------------------------------------------------------------


def test_symbols_become_bytes_and_come_back(config: PixelCNNConfig) -> None:
    net, x = build(config), symbols(config, 2, 3, 4)
    picture = net.head.picture(x)
    assert picture.dtype == torch.uint8 and picture.shape == (2, 3, 3, 4)
    assert torch.equal(net.head.quantise(picture), x)


def test_quantising_takes_the_nearest_level_so_white_stays_white() -> None:
    head = Levels(4, 16, 2, 4)
    picture = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    back = head.picture(head.quantise(picture)).int() - picture.int()
    assert back.abs().max() == 8 and back[0, 0, -1, -1] == back[0, 0, 0, 0] == 0


def test_the_model_for_art_is_within_its_budget() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in PixelCNN(replace(ART, classes=40)).parameters()) <= 3_000_000


@torch.no_grad()
def test_built_on_meta_and_assigned_equals_built_directly(config: PixelCNNConfig) -> None:
    net, x, label = build(config), symbols(config, 2, 3, 4), labels(config, 2)
    with torch.device("meta"):
        other = PixelCNN(config)
    other.load_state_dict(net.state_dict(), strict=True, assign=True)
    assert torch.equal(other(x, label), net(x, label)) and torch.equal(other.head.picture(x), net.head.picture(x))


def test_what_cannot_be_is_refused() -> None:
    net, x, noises = build(TINY), symbols(TINY, 1, 3, 3), [keyed("n")]
    with pytest.raises(InvalidInput, match=r"\[0, 3\)"):
        net(x)
    with pytest.raises(InvalidInput, match="outside"):
        net(x, torch.tensor([3]))
    with pytest.raises(InvalidInput, match="no classes"):
        build(replace(TINY, classes=0))(x, torch.tensor([0]))
    with pytest.raises(InvalidInput, match="odd"):
        PixelCNN(replace(TINY, first=4))
    with pytest.raises(UnknownName, match="'mixture'"):
        PixelCNN(replace(TINY, head="mixtures"))
    for message, options in (
        ("temperature", {"label": torch.tensor([0]), "temperature": 0.0}),
        ("one each", {"label": torch.tensor([0, 1])}),
        ("start", {"label": torch.tensor([0]), "start": x[:, :, :2]}),
    ):
        with pytest.raises(InvalidInput, match=message):
            list(sample(net, noises, 3, 3, **options))
