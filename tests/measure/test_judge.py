"""Laws of the judge."""

import pytest
import torch

from danqing.errors import InvalidFile, UnknownName
from danqing.measure import judge as judging
from danqing.noise import keyed


def pictures(count=5, side=32):
    return torch.randint(0, 256, (count, 3, side, side), generator=keyed(count, side), dtype=torch.uint8)


def test_each_question_is_answered_by_its_own_words_and_they_add_up(judge):
    found = judge.answers(pictures())
    for question, words in judge.words.items():
        assert set(found.first(question)) <= set(words)
        torch.testing.assert_close(found.probability(question).sum(1), torch.ones(5))
        assert found.probability(question).shape == (5, len(words))


def test_the_first_guess_is_right_of_itself_and_all_guesses_hold_any_word(judge):
    found = judge.answers(pictures())
    assert found.right("subject", found.first("subject")).all()
    assert found.right("subject", ["S0"] * 5, among=len(judge.words["subject"])).all()
    assert found.at([3, 1]).first("style") == [found.first("style")[i] for i in (3, 1)]


def test_a_picture_is_told_alone_as_among_others(judge):
    whole = judge.answers(pictures(70)).logits["subject"]
    torch.testing.assert_close(judge.answers(pictures(70)[65:66]).logits["subject"], whole[65:66])


def test_a_larger_picture_of_the_same_pixels_is_told_the_same(judge):
    small = pictures(3)
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    found, wanted = (judge.answers(each).probability("subject") for each in (large, small))
    assert (found - wanted).abs().max() < 0.1


def test_what_is_saved_is_what_is_loaded(judge, tmp_path):
    judging.save(tmp_path / judging.WEIGHTS, judge)
    back = judging.load(tmp_path)
    assert (back.words, back.labels) == (judge.words, judge.labels)
    for name, tensor in back.net.state_dict().items():
        assert torch.equal(tensor, judge.net.state_dict()[name].bfloat16().float())
    again = tmp_path / "again.safetensors"
    judging.save(again, back)
    assert again.read_bytes() == (tmp_path / judging.WEIGHTS).read_bytes()


def test_a_judge_that_is_missing_or_damaged_and_a_word_that_it_lacks_are_named(judge, tmp_path):
    with pytest.raises(InvalidFile, match="the judge is missing"):
        judging.load(tmp_path)
    (tmp_path / judging.WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(InvalidFile):
        judging.load(tmp_path)
    with pytest.raises(UnknownName, match="Possible: S0"):
        judge.answers(pictures()).right("subject", ["S99"] * 5)
