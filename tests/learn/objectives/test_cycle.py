"""Laws of learning to translate without pairs."""

from __future__ import annotations

import torch
from torch import nn

from danqing.learn.objectives.cycle import Cycle, Pool, Translators
from danqing.nets.cyclegan import CycleGAN, CycleGANConfig, PatchGAN, PatchGANConfig
from danqing.noise import keyed


def numbered(*numbers: float) -> torch.Tensor:
    """Pictures that show a number."""
    return torch.tensor(numbers)[:, None, None, None]


def test_the_pool_shows_what_comes_in_until_it_is_full():
    pool = Pool(4, (1, 1, 1))
    assert torch.equal(pool(numbered(1, 2, 3), keyed(0)), numbered(1, 2, 3))
    assert torch.equal(pool.pictures.flatten(), torch.tensor([1.0, 2.0, 3.0, 0.0]))


def test_from_then_on_nothing_is_lost_and_nothing_shown_twice():
    """What is held and what was shown are, together, what came in and what was held."""
    pool, came, shown = Pool(5, (1, 1, 1)), list(range(5)), []
    pool(numbered(*came), keyed("fill"))
    for step in range(40):
        new = [10.0 * (step + 1) + i for i in range(3)]
        came += new
        shown += pool(numbered(*new), keyed(step)).flatten().tolist()
        assert sorted(shown + pool.pictures.flatten().tolist()) == sorted(came)


def test_half_of_what_is_shown_is_old_and_old_pictures_wait_twice_the_pool_on_average():
    """A picture is stored by a coin, and then stays for 2 size pictures on average."""
    size, count = 10, 4000
    pool = Pool(size, (1, 1, 1))
    pool(numbered(*[-1.0] * size), keyed("fill"))
    ages = []
    for i in range(count):
        seen = float(pool(numbered(float(i)), keyed(i)))
        if seen >= 0:
            ages.append(i - seen)
    old = [age for age in ages if age > 0]
    assert abs(len(old) / len(ages) - 0.5) < 0.04
    assert abs(sum(old) / len(old) - 2 * size) < 3


def test_equal_keys_show_equal_pictures_and_a_copy_goes_on_as_the_pool_would():
    pool, copy = Pool(4, (1, 1, 1)), Pool(4, (1, 1, 1))
    pool(numbered(1, 2, 3, 4), keyed(0))
    copy.load_state_dict(pool.state_dict())
    for step in range(5):
        new = numbered(10.0 + step, 20.0 + step)
        assert torch.equal(pool(new, keyed(step)), copy(new, keyed(step)))


def test_no_pool_shows_what_comes_in():
    assert torch.equal(Pool(0, (1, 1, 1))(numbered(1, 2), keyed(0)), numbered(1, 2))


def translators() -> Translators:
    torch.manual_seed(0)
    one, other = CycleGANConfig(channels=2, blocks=1), PatchGANConfig(channels=2, halvings=1)
    return Translators(
        CycleGAN(one), CycleGAN(one), PatchGAN(other), PatchGAN(other), *(Pool(4, (3, 16, 16)) for _ in "ab")
    )


def batch(size: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = (torch.rand(size, 3, 16, 16, generator=keyed(name)) * 2 - 1 for name in "ab")
    return a, b


def test_every_parameter_gets_a_gradient_of_its_own_networks_loss():
    model = translators()
    losses = Cycle()(model, batch(), keyed("noise"))
    for left, name in ((True, "generator"), (False, "discriminator")):
        parameters = dict(model.get_submodule(name).named_parameters())
        taken = torch.autograd.grad(losses[name], list(parameters.values()), retain_graph=left, allow_unused=True)
        assert [key for key, g in zip(parameters, taken, strict=True) if g is None] == []


def test_the_discriminators_loss_reaches_no_generator():
    model = translators()
    losses = Cycle()(model, batch(), keyed("noise"))
    taken = torch.autograd.grad(losses["discriminator"], list(model.generator.parameters()), allow_unused=True)
    assert all(g is None for g in taken)


class Plus(nn.Module):
    """x -> x + change: a translator with a known inverse."""

    def __init__(self, change: float):
        super().__init__()
        self.change = nn.Parameter(torch.tensor(change))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.change


class Mean(nn.Module):
    """A judge that says the mean: 1 where real pictures are ones."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((1, 2, 3))


def test_of_translators_that_undo_each_other_the_cycle_costs_nothing_and_the_identity_what_they_change():
    pools = [Pool(0, (3, 16, 16)) for _ in "ab"]
    model = Translators(Plus(0.25), Plus(-0.25), Mean(), Mean(), *pools)
    said = Cycle(cycle=8.0, identity=0.5)(model, batch(), keyed("noise"))
    assert said["cycle"] < 1e-6
    torch.testing.assert_close(said["identity"], torch.tensor(0.5))
    torch.testing.assert_close(said["generator"], 2 * said["fooling"] + 8.0 * said["cycle"] + 4.0 * said["identity"])


def test_both_directions_are_treated_alike():
    """Exchange a and b with all that belongs to them: the losses stay."""
    model, (a, b) = translators(), batch()
    turned = Translators(
        model.generator["back"], model.generator["forth"], model.discriminator["b"], model.discriminator["a"],
        *(Pool(4, (3, 16, 16)) for _ in "ab"),
    )  # fmt: skip
    one, other = Cycle()(model, (a, b), keyed("noise")), Cycle()(turned, (b, a), keyed("noise"))
    torch.testing.assert_close(one, other)
