"""Laws of adversarial learning: closed forms of losses and regularisers, and gradients."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from danqing.learn.data.augment import Augment
from danqing.learn.objectives.adversarial import (
    HINGE,
    LEAST_SQUARES,
    MIN_MAX,
    NON_SATURATING,
    Adversarial,
    Adversaries,
    Styled,
    orthogonality,
    path_lengths,
    plainly,
    r1,
)
from danqing.learn.training.loop import EMA, Training
from danqing.nets import biggan
from danqing.nets.biggan import BigGAN, BigGANConfig, BigGANDiscriminator, BigGANDiscriminatorConfig
from danqing.nets.stylegan import StyleGAN
from danqing.nets.stylegan2 import StyleGAN2, StyleGAN2Config, StyleGAN2Discriminator, StyleGAN2DiscriminatorConfig
from danqing.noise import keyed

# ---- losses on a toy: two distributions over five values, D a table of five logits
# -----------------------------------------

P = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05], dtype=torch.float64)
Q = torch.tensor([0.1, 0.1, 0.2, 0.25, 0.35], dtype=torch.float64)


def samples(weights: torch.Tensor) -> torch.Tensor:
    """Values as often as they are likely, so that means are expectations."""
    return torch.repeat_interleave(torch.arange(5), (weights * 20).round().long())


def best(loss) -> torch.Tensor:
    """The logits that minimise the discriminator's loss, by Newton's method on a convex function."""
    logits = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        value = loss.discriminator(logits[samples(P)], logits[samples(Q)])
        value.backward()
        return value

    optimiser.step(closure)
    return logits.detach()


def test_the_best_discriminator_says_the_ratio_of_densities_and_its_loss_the_jensen_shannon_divergence():
    """D* = p / (p + q), and -V(D*) = log 4 - 2 JSD (Goodfellow et al. 2014, proposition 1 and theorem 1)."""
    logits = best(MIN_MAX)
    torch.testing.assert_close(logits.sigmoid(), P / (P + Q), rtol=1e-5, atol=1e-6)
    middle = (P + Q) / 2
    jsd = ((P * (P / middle).log()).sum() + (Q * (Q / middle).log()).sum()) / 2
    torch.testing.assert_close(MIN_MAX.discriminator(logits[samples(P)], logits[samples(Q)]), math.log(4) - 2 * jsd)


def test_the_best_least_squares_discriminator_is_the_probability_itself():
    torch.testing.assert_close(best(LEAST_SQUARES), P / (P + Q), rtol=1e-5, atol=1e-6)


def test_the_best_hinge_discriminator_says_which_is_likelier_and_its_loss_is_two_minus_twice_the_total_variation():
    logits = (P - Q).sign()
    loss = HINGE.discriminator(logits[samples(P)], logits[samples(Q)])
    torch.testing.assert_close(loss, 2 - (P - Q).abs().sum())
    for i in range(5):
        for change in (-0.5, 0.5):
            other = logits.clone()
            other[i] += change
            assert HINGE.discriminator(other[samples(P)], other[samples(Q)]) >= loss


def test_the_two_generator_losses_pull_the_same_way_and_only_one_of_them_where_the_discriminator_is_sure():
    """The gradients by the logit are -sigmoid(D) and -(1 - sigmoid(D))."""
    logits = torch.tensor([-20.0, 0.0, 20.0], dtype=torch.float64, requires_grad=True)
    saturating = torch.autograd.grad(3 * MIN_MAX.generator(logits), logits)[0]
    strong = torch.autograd.grad(3 * NON_SATURATING.generator(logits), logits)[0]
    torch.testing.assert_close(saturating, -logits.sigmoid())
    torch.testing.assert_close(strong, logits.sigmoid() - 1)
    assert MIN_MAX.discriminator is NON_SATURATING.discriminator


# ---- regularisers --------------------------------------------------------------------------------------------------


def test_r1_of_a_linear_discriminator_is_half_the_square_of_its_weights():
    weight, x = (
        torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True),
        torch.randn(5, 3, 4, 4, dtype=torch.float64),
    )
    x.requires_grad_()
    value = r1((x * weight).sum((1, 2, 3)), x)
    torch.testing.assert_close(value, weight.square().sum() / 2)
    torch.testing.assert_close(torch.autograd.grad(value, weight)[0], weight)


def test_the_path_length_of_a_linear_generator_is_the_norm_of_the_matrix():
    """E |J^T y|^2 = |J|_F^2 / (H W), of which the length is the root, nearly."""
    matrix = torch.randn(2 * 8 * 8, 64, generator=keyed("matrix"))
    latents = torch.randn(512, 1, 64, generator=keyed("z")).requires_grad_()
    picture = (latents[:, 0] @ matrix.T).unflatten(1, (2, 8, 8))
    lengths = path_lengths(picture, latents, keyed("y"))
    torch.testing.assert_close(lengths.square().mean(), matrix.square().sum() / 64, rtol=0.02, atol=0)


def test_an_orthogonal_generator_has_the_same_path_length_everywhere():
    """J = c Q with more pixels than latents: |J^T y| = c |Q^T y|, whatever the latent; and c changes it in
    proportion."""
    q = torch.linalg.qr(torch.randn(48, 48, generator=keyed("q"), dtype=torch.float64))[0]
    z = torch.randn(4, 48, generator=keyed("z"), dtype=torch.float64).requires_grad_()
    one, two = (path_lengths((c * z @ q.T).unflatten(1, (3, 4, 4)), z, keyed("y")) for c in (1.0, 2.0))
    torch.testing.assert_close(two, 2 * one)
    y = torch.randn(4, 48, generator=keyed("y")).double() / 4
    torch.testing.assert_close(one, y.norm(dim=1))


def test_orthogonality_is_zero_for_orthogonal_filters_of_any_length_and_else_the_sum_of_squared_products():
    layer, table = nn.Conv2d(8, 4, 3).double(), nn.Embedding(5, 8)
    net = nn.ModuleList([layer, table])
    nn.init.orthogonal_(layer.weight)
    with torch.no_grad():
        layer.weight.mul_(torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None, None])
    assert orthogonality(net).abs() < 1e-9
    for filters in (layer, nn.Linear(3, 5).double()):  # fewer than they have weights, and more
        nn.init.normal_(filters.weight)
        rows = filters.weight.flatten(1)
        expected = sum((a @ b).square() for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j)
        torch.testing.assert_close(orthogonality(nn.ModuleList([filters, table])), expected)


# ---- the objective -------------------------------------------------------------------------------------------------

STYLE = StyleGAN2Config(resolution=8, z_dim=6, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8)
JUDGE = StyleGAN2DiscriminatorConfig(resolution=8, mapping_layers=2, channel_base=64, channel_max=8)
REAL = torch.rand(4, 3, 8, 8, generator=keyed("real")) * 2 - 1


def styled(augment: Augment | None = None, generator=StyleGAN2) -> Adversaries:
    torch.manual_seed(0)
    return Adversaries(generator(STYLE), StyleGAN2Discriminator(JUDGE), augment)


def classed() -> Adversaries:
    torch.manual_seed(0)
    one = BigGANConfig(widths=(16, 16), attention=(0,), z_dim=4, shared_dim=4, classes=3)
    other = BigGANDiscriminatorConfig(widths=(16, 16), halvings=1, attention=(0,), classes=3)
    model = Adversaries(BigGAN(one), BigGANDiscriminator(other))
    for module in model.modules():  # which begin as the identity
        if isinstance(module, biggan.Attention):
            nn.init.constant_(module.gamma, 0.5)
    return model


def gradients(model: Adversaries, objective, labels=None) -> dict[str, torch.Tensor | None]:
    """As the loop takes them: each network's by its own loss."""
    losses = objective(model, (REAL, labels), keyed("noise"))
    found = {}
    for left, name in ((True, "generator"), (False, "discriminator")):
        parameters = {f"{name}.{key}": p for key, p in model.get_submodule(name).named_parameters()}
        taken = torch.autograd.grad(losses[name], list(parameters.values()), retain_graph=left, allow_unused=True)
        found |= dict(zip(parameters, taken, strict=True))
    return found


CASES = {
    "stylegan2": (styled, Adversarial(draw=Styled(mixing=1.0), r1=1.0, path=2.0), None),
    "stylegan2, augmented": (lambda: styled(Augment(p=0.9)), Adversarial(draw=Styled(), r1=1.0, path=2.0), None),
    "stylegan": (lambda: styled(generator=StyleGAN), Adversarial(draw=Styled(), r1=1.0), None),
    "biggan": (classed, Adversarial(loss=HINGE, orthogonal=1e-4), torch.tensor([0, 1, 2, 0])),
}


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_gets_a_gradient(case):
    build, objective, labels = CASES[case]
    found = gradients(build(), objective, labels)
    assert [name for name, g in found.items() if g is None or not g.abs().sum() > 0] == []


@pytest.mark.parametrize("loss", [MIN_MAX, NON_SATURATING, HINGE, LEAST_SQUARES])
def test_the_generator_alone_descends_its_loss(loss):
    """A step against the gradient, with the discriminator fixed, lowers what the generator minimises."""
    model, objective = styled().double(), Adversarial(loss=loss, draw=Styled())

    def value() -> torch.Tensor:
        return objective(model, (REAL.double(), None), keyed("noise"))["generator"]

    before = value()
    taken = torch.autograd.grad(before, list(model.generator.parameters()))
    with torch.no_grad():
        for p, g in zip(model.generator.parameters(), taken, strict=True):
            p -= 1e-4 * g / sum(other.square().sum() for other in taken).sqrt()
    assert value() < before


def test_a_lazy_regulariser_has_the_same_mean_weight_as_a_constant_one():
    objective = Adversarial(r1=3.0, path=2.0, r1_every=16, path_every=4)
    steps = [objective.at(step) for step in range(64)]
    assert sum(step.r1 for step in steps) / 64 == 3.0 and sum(step.path for step in steps) / 64 == 2.0
    assert [i for i, step in enumerate(steps) if step.r1] == [0, 16, 32, 48]


def test_the_losses_are_the_sum_of_their_parts():
    plain, full = Adversarial(draw=Styled()), Adversarial(draw=Styled(), r1=3.0, orthogonal=0.5)
    a, b = (objective(styled().double(), (REAL.double(), None), keyed("noise")) for objective in (plain, full))
    torch.testing.assert_close(b["discriminator"], a["discriminator"] + 3.0 * b["r1"])
    torch.testing.assert_close(b["generator"], a["generator"] + 0.5 * b["orthogonal"])


def test_the_moving_mean_of_path_lengths_follows_them():
    """After n equal batches it has come nearer by (1 - decay)^n, and then equal lengths cost nothing."""
    model, objective = styled(), Adversarial(draw=Styled(mixing=0.0), path=1.0, path_decay=0.5, path_share=0.25)
    for _ in range(3):
        said = objective(model, (REAL, None), keyed("noise"))
    torch.testing.assert_close(model.path, said["path"] * (1 - 0.5**3))
    for _ in range(20):
        said = objective(model, (REAL, None), keyed("noise"))
    without = replace(objective, path=0.0)(model, (REAL, None), keyed("noise"))
    torch.testing.assert_close(said["generator"], without["generator"])


def test_equal_noise_draws_equal_pictures_and_mixing_is_as_frequent_as_asked():
    net = styled().generator
    pictures = [Styled(mixing=0.5)(net, None, 2, keyed("x")).picture for _ in range(2)]
    assert torch.equal(*pictures)
    drawn = [Styled(mixing=0.5)(net, None, 1, keyed("mix", i)).latents for i in range(200)]
    two = sum(not torch.equal(ws[:, 0], ws[:, -1]) for ws in drawn)
    assert 75 < two < 125  # 3.5 standard deviations around a half


class Location(nn.Module):
    """z -> z + where: a generator of one number as a picture."""

    config: ClassVar = type("Config", (), {"z_dim": 1})

    def __init__(self):
        super().__init__()
        self.where = nn.Parameter(torch.tensor(3.0))

    def forward(self, z, labels):
        return (z + self.where)[:, :, None, None]


class Slope(nn.Module):
    """x -> slope x + offset."""

    def __init__(self):
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self, x, labels):
        return self.slope * x.flatten(1) + self.offset


def test_the_loop_brings_a_generator_of_a_location_to_the_data_and_r1_makes_it_stay():
    """Both step at once, by their own gradients; without R1 the pair would circle (Mescheder et al. 2018, section
    2)."""

    def trained(gamma: float) -> list[float]:
        model = Adversaries(Location(), Slope())
        run = Training(
            model=model,
            objective=Adversarial(draw=plainly, r1=gamma, r1_every=1),
            batches=lambda step: (torch.randn(64, 1, 1, 1, generator=keyed("data", step)), None),
            optimisers={
                name: torch.optim.SGD(model.get_submodule(name).parameters(), lr=0.1)
                for name in ("generator", "discriminator")
            },
            rate=lambda step: 1.0,
            clip=math.inf,
        )
        where = []
        for _ in run.run(400):
            where.append(float(model.generator.where.detach()))  # type: ignore[reportAttributeAccessIssue]
        return where[-100:]

    tame, wild = trained(1.0), trained(0.0)
    assert max(map(abs, tame)) < 0.35
    assert max(map(abs, wild)) > 2 * max(map(abs, tame))


def test_a_training_that_was_stopped_ends_with_the_weights_of_an_unbroken_one(tmp_path):
    """With all that it remembers: the mean style, the mean path length, the probability of augmentation."""

    def training() -> Training:
        model = styled(Augment(p=0.5, target=0.0, speed=40, every=2))
        return Training(
            model=model,
            objective=Adversarial(draw=Styled(), r1=1.0, path=1.0, r1_every=2, path_every=2),
            batches=lambda step: (torch.rand(4, 3, 8, 8, generator=keyed("real", step)) * 2 - 1, None),
            optimisers={
                name: torch.optim.Adam(model.get_submodule(name).parameters(), lr=1e-3, betas=(0.0, 0.99))
                for name in ("generator", "discriminator")
            },
            ema=EMA(model, 0.9),
        )

    whole, begun, gone_on = training(), training(), training()
    for run, steps in ((whole, 4), (begun, 3)):
        for _ in run.run(steps):
            pass
    begun.save(tmp_path / "last.pt")
    gone_on.resume(tmp_path / "last.pt")
    for _ in gone_on.run(4):
        pass
    assert whole.ema is not None and gone_on.ema is not None
    for one, other in ((whole.model, gone_on.model), (whole.ema.model, gone_on.ema.model)):
        theirs = other.state_dict()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def test_evaluating_the_objective_changes_nothing_of_the_model():
    """No mean, no probability, no statistics."""
    model = styled(Augment(p=0.5, every=1)).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Adversarial(draw=Styled(), path=1.0, r1=1.0)(model, (REAL, None), keyed("noise"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
