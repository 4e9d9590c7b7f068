"""Laws of the training of the features: what is unsaid teaches nothing, and coarse pictures are as the comparison makes
them."""

import torch
import torch.nn.functional as F
from experiments.features import UNSAID, Answer, Classifier, Told, answers, coarsened

from danqing.measure import features as shipped
from danqing.nets.features import FeatureConfig
from danqing.noise import keyed

TINY = FeatureConfig(image_size=16, widths=(8, 8), norm_num_groups=4, texture=1, features=6)
ROWS = [
    {"array": "singles", "style": "flat", "subgroup": "clock"},
    {"array": "singles", "style": "3d", "subgroup": "heart"},
    {"array": "portraits", "style": "micah", "attributes": {"hat": {"en": "a cap"}, "skin": {"en": "pale"}}},
]


def test_every_question_has_its_words_and_what_is_unsaid_is_marked():
    told = Told([answers(row) for row in ROWS])
    assert told.words == {
        "hat": ["a cap"],
        "skin": ["pale"],
        "style": ["3d", "flat", "micah"],
        "subject": ["clock", "heart"],
    }
    assert told.labels([2, 0]).tolist() == [[0, 0, 2, UNSAID], [UNSAID, UNSAID, 1, 0]]


def test_the_loss_is_the_cross_entropy_of_what_is_said_and_reaches_every_weight():
    torch.manual_seed(0)
    model, x = Classifier(TINY, 5), torch.rand(2, 3, 16, 16)
    labels = torch.tensor([[0, UNSAID], [2, 1]])
    loss = Answer((3, 2), smoothing=0.0)(model, (x, labels), keyed())["loss"]
    first, second = model(x).split((3, 2), 1)
    want = F.cross_entropy(first, labels[:, 0]) + F.cross_entropy(second[1:], labels[1:, 1]) / 2
    torch.testing.assert_close(loss, want)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_a_coarse_picture_has_the_features_of_one_of_half_the_size():
    net = Classifier(TINY, 1).trunk
    small = torch.randint(0, 256, (2, 3, 8, 8), generator=keyed("small"), dtype=torch.uint8)
    fine = small.repeat_interleave(2, 2).repeat_interleave(2, 3).float() / 127.5 - 1
    noise = torch.rand(2, 3, 8, 8, generator=keyed("noise"))
    grain = torch.stack([noise, -noise, -noise, noise], 2).flatten(1, 2)  # of mean 0 in each block
    grained = fine + F.pixel_shuffle(grain, 2)
    torch.testing.assert_close(coarsened(grained, torch.ones(2, dtype=torch.bool)), fine, atol=1e-5, rtol=0)
    assert torch.equal(coarsened(grained, torch.zeros(2, dtype=torch.bool)), grained)
    with torch.no_grad():
        torch.testing.assert_close(shipped.of(net, small), net(fine))
