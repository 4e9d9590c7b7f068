"""Laws of adaptive augmentation."""

from __future__ import annotations

import pytest
import torch

from danqing.errors import UnknownName
from danqing.learn.data.augment import COLOUR, KINDS, Augment
from danqing.noise import keyed

PICTURES = torch.rand(8, 3, 8, 8, generator=keyed("pictures")) * 2 - 1
GREY = torch.full((3,), 3**-0.5)


def colours(kind: str, count: int = 64) -> torch.Tensor:
    """The 3×4 parts of matrices of one kind of change, always made."""
    return Augment(kinds=(kind,)).colour(count, 1.0, keyed(kind))[0][:, :3].double()


def places(kind: str, count: int = 64, **size: float) -> torch.Tensor:
    return Augment(kinds=(kind,)).geometry(count, 1.0, keyed(kind), **size)[0].double()


def test_with_probability_zero_a_picture_stays_as_it_is_bit_for_bit():
    assert torch.equal(Augment(p=0.0)(PICTURES, keyed("noise")), PICTURES)


def test_the_pictures_that_are_not_chosen_stay_as_they_are_bit_for_bit_beside_those_that_are():
    changed = Augment(kinds=("hue",), p=0.5)(PICTURES.repeat(8, 1, 1, 1), keyed("noise"))
    same = (changed == PICTURES.repeat(8, 1, 1, 1)).flatten(1).all(1)
    assert 16 < same.sum() < 48  # four standard deviations around a half


def test_equal_noise_makes_equal_changes():
    a, b, c = (Augment(p=0.8)(PICTURES, keyed("noise", key)) for key in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_flow_through_each_change_and_are_those_of_a_linear_map(kind):
    """<grad <y, change x>, d> = <y, change (x + d) - change x>, however large d is."""
    augment = Augment(kinds=(kind,), p=1.0)
    d, y = (torch.rand(8, 3, 8, 8, generator=keyed(name)).double() for name in "dy")
    x = PICTURES.double().requires_grad_()
    changed = augment(x, keyed(kind))
    (gradient,) = torch.autograd.grad((changed * y).sum(), x)
    torch.testing.assert_close((gradient * d).sum(), (y * (augment(x + d, keyed(kind)) - changed)).sum())
    assert (gradient.flatten(1).abs().sum(1) > 0).all()


# ---- geometry ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "group"), [("flip", 2), ("quarter", 4)])
def test_flips_and_quarter_turns_are_permutations_of_pixels_each_as_likely(kind, group):
    x = torch.arange(48.0).reshape(1, 3, 4, 4)
    possible = [x, x.flip(-1)] if kind == "flip" else [x.rot90(k, (2, 3)) for k in range(4)]
    made = Augment(kinds=(kind,), p=1.0)(x.expand(400, -1, -1, -1), keyed("which"))
    which = torch.stack([(made - one).abs().flatten(1).amax(1) < 1e-4 for one in possible], 1)
    assert torch.equal(which.sum(1), torch.ones(400, dtype=torch.long))
    torch.testing.assert_close(which.float().mean(0), torch.full((group,), 1 / group), atol=0.1, rtol=0)


def test_what_the_changes_hide_can_be_undone_on_average_for_any_probability_below_one():
    """Of quarter turns the mean picture is (1 - p) x + p (the mean over the group): solved for x, x is there again. The
    smaller 1 - p, the more the noise of the mean is enlarged (Karras et al. 2020, section 2.2 and appendix C)."""
    x, p, count = PICTURES[:1], 0.6, 4000
    made = Augment(kinds=("quarter",), p=p)(x.expand(count, -1, -1, -1), keyed("leak"))
    over_group = torch.stack([x.rot90(k, (2, 3)) for k in range(4)]).mean(0)
    back = (made.mean(0, keepdim=True) - p * over_group) / (1 - p)
    torch.testing.assert_close(back, x, rtol=0, atol=5 / (1 - p) / count**0.5)
    assert (made.mean(0, keepdim=True) - x).abs().max() > 0.2  # which the mean itself is not


def test_turns_and_scales_keep_angles_on_pictures_of_any_shape():
    """In pixels the matrix is a multiple of a rotation."""
    for kind in ("quarter", "rotate", "scale"):
        wide = torch.tensor([2.0, 1.0, 1.0]).double().diag()
        matrix = (wide @ places(kind, ratio=2.0, width=16) @ wide.inverse())[:, :2, :2]
        product = matrix @ matrix.mT
        torch.testing.assert_close(product, product[:, :1, :1] * torch.eye(2).double(), rtol=1e-5, atol=1e-5)


def test_stretching_and_turning_keep_areas():
    for kind in ("flip", "quarter", "rotate", "stretch", "shift", "slide"):
        torch.testing.assert_close(places(kind).det().abs(), torch.ones(64).double(), rtol=1e-5, atol=1e-5)


def test_shifts_move_by_whole_pixels_up_to_an_eighth_of_the_side():
    moved = places("shift", width=32)[:, :2, 2] * 16
    torch.testing.assert_close(moved, moved.round(), rtol=0, atol=1e-5)
    assert moved.abs().max() == 4


# ---- colour --------------------------------------------------------------------------------------------------------


def test_hue_and_saturation_keep_the_grey_of_a_colour():
    for kind in ("hue", "saturation"):
        matrix = colours(kind)
        torch.testing.assert_close(GREY.double() @ matrix[:, :, :3], GREY.double().expand(64, 3), rtol=1e-5, atol=1e-6)
        assert torch.equal(matrix[:, :, 3], torch.zeros(64, 3).double())


def test_hue_and_luma_are_isometries_and_luma_undoes_itself():
    for kind in ("hue", "luma"):
        matrix = colours(kind)[:, :, :3]
        torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3).double().expand(64, 3, 3), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(matrix @ matrix, torch.eye(3).double().expand(64, 3, 3), rtol=1e-5, atol=1e-6)


def test_grey_pictures_stay_grey():
    grey = PICTURES[:, :1].expand(-1, 3, -1, -1)
    made = Augment(kinds=COLOUR, p=1.0)(grey, keyed("grey"))
    torch.testing.assert_close(made, made[:, :1].expand(-1, 3, -1, -1), rtol=1e-5, atol=1e-5)


# ---- the probability -----------------------------------------------------------------------------------------------


def test_the_probability_rises_while_the_discriminator_is_surer_of_real_pictures_than_asked_and_else_falls():
    """Signs of which 9 of 10 are positive have r_t = 0.8; 6 of 10 have 0.2."""
    for positive, rises in ((9, True), (6, False)):
        augment = Augment(p=0.5, target=0.6, speed=100, every=1)
        augment.watch(torch.cat([torch.ones(positive), -torch.ones(10 - positive)]))
        torch.testing.assert_close(augment.p, torch.tensor(0.6 if rises else 0.4))


def test_the_probability_moves_by_one_in_so_many_pictures_and_no_further():
    augment = Augment(speed=1000, every=4)
    seen = []
    for _ in range(150):
        augment.watch(torch.ones(10))
        seen.append(float(augment.p))
    assert seen[3] == pytest.approx(0.04) and seen[2] == 0 and seen[99] == pytest.approx(1.0) and seen[-1] == 1.0
    for _ in range(300):
        augment.watch(-torch.ones(10))
    assert augment.p == 0


def test_outside_of_training_the_probability_rests():
    augment = Augment(p=0.5, every=1).eval()
    augment.watch(torch.ones(10))
    assert augment.p == 0.5


def test_so_many_pictures_are_changed_as_the_probability_says():
    for kind in KINDS:
        drawn = Augment(kinds=(kind,))
        chosen = (
            drawn.colour(2000, 0.3, keyed(kind))[1] if kind in COLOUR else drawn.geometry(2000, 0.3, keyed(kind))[1]
        )
        assert abs(float(chosen.float().mean()) - 0.3) < 0.04  # four standard deviations


def test_an_unknown_change_is_refused_and_the_nearest_offered():
    with pytest.raises(UnknownName, match="rotate"):
        Augment(kinds=("rotation",))
