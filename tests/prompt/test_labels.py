"""Laws of prompts that are classes: each text is a one-hot, and the grammar chooses among them."""

import pytest
import torch

from danqing.errors import UnknownName
from danqing.prompt.classes import Classes
from danqing.prompt.grammar import parse, plan
from danqing.prompt.labels import NONE, ClassText, one_hot

TEXT = ClassText(classes=Classes((("cat", "猫"), ("hot dog", "热狗"), ("dog", "狗"))))


def heard(*prompts: str, steps: int = 4, text: ClassText = TEXT):
    return text.condition([plan(parse(prompt), steps) for prompt in prompts], skip=0, weighting="original")


def labels(encoded, step: int) -> list[tuple[list[float], float]]:
    return [(said.pooled[0].tolist(), weight) for said, weight in encoded.at(step)]


def test_a_label_is_one_at_its_place_and_none_is_zeros():
    said = one_hot(torch.tensor([2, NONE, 0]), 3)
    assert said.pooled is not None and said.pooled.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert said.batch == 3 and said.cat(said).batch == 6 and said.tokens.numel() == 0


def test_every_name_is_heard_as_its_class_and_an_empty_prompt_as_none():
    for prompt, place in (("cat", 0), ("一只猫", 0), ("a hot dog", 1), ("DOG", 2)):
        (encoded,) = heard(prompt)
        assert labels(encoded, 1) == [([float(i == place) for i in range(3)], 1.0)]
    assert labels(heard("")[0], 1) == [([0, 0, 0], 1)]


def test_and_composes_and_a_switch_turns():
    (encoded,) = heard("cat AND dog:0.5")
    assert labels(encoded, 1) == [([1, 0, 0], 1.0), ([0, 0, 1], 0.5)] and encoded.warnings == ()
    (encoded,) = heard("[cat:dog:0.5]")
    assert [labels(encoded, step)[0][0].index(1) for step in (1, 2, 3, 4)] == [0, 0, 2, 2]


def test_what_has_no_effect_is_warned_of():
    (encoded,) = heard("a (cat:1.3) <lora:x:0.5>")
    said = " ".join(encoded.warnings)
    assert labels(encoded, 1) == [([1, 0, 0], 1.0)]
    assert '"a"' in said and "emphasis" in said and "<lora:x:0.5>" in said
    assert heard("cat")[0].warnings == ()


def test_a_text_that_names_no_class_offers_the_names():
    for prompt in ("fox", "cat AND fox", "[cat:fox:2]"):
        with pytest.raises(UnknownName, match="Possible: cat, dog, hot dog"):
            heard(prompt)
    with pytest.raises(UnknownName, match="weighting"):
        TEXT.condition([], skip=0, weighting="comic")


def test_a_network_without_classes_hears_nothing_and_says_so():
    (spoken, silent) = heard("a cat", "", text=ClassText(classes=None))
    assert "ignored" in spoken.warnings[0] and silent.warnings == ()
    assert labels(spoken, 1) == labels(silent, 1) == [([], 1.0)]
