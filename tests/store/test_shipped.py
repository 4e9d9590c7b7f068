"""Laws of the models that ship: whole, small, described, and they hear what is said."""

import numpy as np
import pytest

from danqing.painting.load import load
from danqing.request.request import Request
from danqing.store import shipped
from danqing.store.find import find
from danqing.weights.store import sha256

SHIPPED = shipped.names()


def test_the_default_model_ships():
    assert shipped.DEFAULT in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_files_are_those_that_the_description_and_the_card_name(name):
    model = find(name)
    card = (model.folder / "CARD.md").read_text(encoding="utf-8")
    for part in model.components.values():
        assert sha256(model.path(part.file)) == part.sha256
        assert part.sha256 in card


def test_the_default_model_hears_both_languages_and_its_negative():
    painter = load(precision="fp32")

    def paint(prompt: str, **more) -> np.ndarray:
        return np.asarray(painter.paint(Request(prompt=prompt, seed=3, steps=6, **more)).image, np.float32)

    apple, sea = paint("a red apple, flat style"), paint("a blue wave, flat style")
    pingguo = paint("红苹果，扁平风格")
    assert apple.std() > 10  # no blank sheet
    assert np.abs(apple - pingguo).mean() < np.abs(apple - sea).mean()
    assert np.abs(apple - paint("a red apple, flat style", negative="red")).mean() > 1
