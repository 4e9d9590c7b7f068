"""Laws of the evaluation: whoever paints real art gets real art's score, and what is asked is the same of all."""

import json
from collections import Counter

import pytest
import torch

from danqing.errors import InvalidFile, InvalidInput
from danqing.measure.evaluation import page
from danqing.measure.evaluation.art import Art, counted, noun
from danqing.measure.evaluation.asked import PARTS, apart, asked
from danqing.measure.evaluation.evaluate import Evaluation, evaluate
from danqing.measure.evaluation.measured import Measured
from danqing.measure.evaluation.prompts import CHINESE, ENGLISH, PROMPTS
from danqing.painting.loaded import LoadedModel

KEYS = ("subject", "style", "colour", "two_objects", "chinese_gap", "frechet", "portraits")


@pytest.fixture(scope="session")
def found(tiny, art, judge, tmp_path_factory):
    """An evaluation of the tiny model, and the folder that it lies in."""
    out = tmp_path_factory.mktemp("found")
    *said, last = evaluate(str(tiny), art, out, pictures=40, judge=judge, seen=[1, 3, 60])
    assert isinstance(last, Evaluation) and said[0].done == 0
    page.write(last, out)
    return last, out


def test_every_figure_lies_in_its_interval_and_says_of_how_many_pictures(found):
    said = json.loads((found[1] / page.FILE).read_text())
    assert set(KEYS) <= said.keys()
    for name in found[0].figures:
        figure = said[name]
        assert figure["low"] <= figure["value"] <= figure["high"] and figure["count"] > 0
        assert name in ("frechet", "chinese_gap") or 0 <= figure["low"] <= figure["high"] <= 100
    assert said["prompts"] == {"recognisable": 1, "half": 3, "not": 60}
    assert set(said["open_variance"]) == {"trained", "heldout"} and "samples" in said
    for split in said["open_variance"].values():
        assert split > 0.5  # a network that has learned nothing knows nothing


def test_the_page_shows_every_prompt_and_every_figure(found):
    text = (found[1] / page.PAGE).read_text()
    for prompt in PROMPTS:
        assert f">{prompt}<" in text
    for name in found[0].figures:
        assert page.MEASURES[name][2].split(":")[0] in text
    assert text.count("<img") == sum(len(line) for lines in found[0].shown.values() for line in lines)
    assert (found[1] / page.SHEET).stat().st_size > 0
    table = page.markdown(found[0].plain())
    assert "| subject |" in table and "a person recognised 1," in table


def test_what_was_painted_is_not_painted_again_and_measures_the_same(found, tiny, art, judge, monkeypatch):
    monkeypatch.setattr(LoadedModel, "paint", None)
    *_, again = evaluate(str(tiny), art, found[1], pictures=40, judge=judge)
    assert again.figures == found[0].figures and again.eye is None


def test_whoever_paints_the_real_pictures_gets_their_scores(art, judge):
    whole = Art(art)
    wanted = [one for one in asked(whole, 200) if one.kind != "scene"]
    scenes = whole.of("composites")
    wanted += [type(wanted[0])(kind="scene", lang="en", prompt="", row=row, real=row) for row in scenes]
    painted = torch.cat([whole.pictures([one.real or one.row]) for one in wanted])
    measured = Measured(whole, judge, wanted, painted)
    figures = {**measured.pairs(), **measured.scenes(), **measured.likeness()}
    for name in ("subject", "subject_in_five", "style", "two_objects", "position", "count"):
        assert figures[name].value == figures[name].real, name
    assert figures["count"].value == 100  # the things lie apart
    assert figures["chinese_gap"].value == 0
    assert figures["frechet"].value == pytest.approx(0, abs=1e-6) and figures["frechet"].real > 0
    assert figures["precision"].value == figures["recall"].value == 100
    assert figures["copies_seen"].value == 100
    for mine, theirs in measured.portraits().values():
        assert torch.equal(mine, theirs)


def test_a_colour_is_there_where_it_was_painted(art, judge):
    whole = Art(art)
    wanted = [one for one in asked(whole, 200) if one.kind == "colour"]
    pixels = {"red": (220, 30, 30), "blue": (30, 80, 220)}
    for colour, rgb in pixels.items():
        painted = torch.full((len(wanted), 3, 128, 128), 255, dtype=torch.uint8)
        painted[:, :, 40:90, 30:100] = torch.tensor(rgb, dtype=torch.uint8)[:, None, None]
        figure = Measured(whole, judge, wanted, painted).colours()["colour"]
        share = sum(one.colour == colour for one in wanted) / len(wanted)
        assert figure.value == pytest.approx(100 * share) and figure.real == 100  # the red hearts are red


def test_the_same_is_asked_of_all_and_more_begins_with_the_same(art):
    few, many = asked(Art(art), 40), asked(Art(art), 80)
    assert few == asked(Art(art), 40)
    for kind in PARTS:
        for lang in ("en", "zh"):
            some, more = ([a for a in each if (a.kind, a.lang) == (kind, lang)] for each in (few, many))
            if kind != "scene":  # whose things change places among those that are drawn
                assert some == more[: len(some)]
    twins = Counter(one.row["index"] for one in many if one.kind == "pair")
    assert set(twins.values()) == {2}


def test_no_unseen_caption_was_trained_on(art):
    whole = Art(art)
    trained = {whole.single(row, lang) for row in whole.of("singles", "train") for lang in ("en", "zh")}
    trained |= {whole.scene(row, "en") for row in whole.of("composites") if row["pieces"][0] != row["pieces"][1]}
    unseen = [one.prompt for one in asked(whole, 200) if one.kind in ("pair", "colour")]
    assert unseen and not trained & set(unseen)


def test_captions_say_what_is_asked_in_both_languages(art):
    whole = Art(art)
    single, scene, portrait = (whole.of(name)[0] for name in ("singles", "composites", "portraits"))
    assert whole.single(single, "en") == "a fox, 3d style" and whole.single(single, "zh") == "狐狸，3d风格"
    assert whole.single(single, "en", "orange") == "an orange fox, 3d style"
    assert " to the left of " in whole.scene(scene, "en") and "的左边，3d风格，浅蓝色背景" in whole.scene(scene, "zh")
    assert whole.portrait(portrait, "en") == "a smiling man with short red hair, micah style"
    assert whole.portrait(portrait, "zh") == "一个微笑的男人，红色短发，micah风格"
    assert [noun(name) for name in ("owl", "umbrella", "grapes", "flag: Japan", "unicorn", "glass")] == [
        "an owl", "an umbrella", "grapes", "flag: Japan", "a unicorn", "a glass",
    ]  # fmt: skip
    assert [counted(n, 2, "en") for n in ("cat", "fox", "cherry")] == ["two cats", "two foxes", "two cherries"]
    assert len(ENGLISH) == len(CHINESE) == 32 == len(set(PROMPTS)) // 2


def test_what_cannot_be_measured_is_refused_with_what_to_do(run, tiny, generators, art, tmp_path):
    code, _, err = run("evaluate", str(tiny), "--art", str(tmp_path / "none"))
    assert code == 2 and "experiments.data" in err and "--art" in err
    code, _, err = run("evaluate", generators["vae"], "--art", str(art))
    assert code == 2 and "hears no words" in err and "compare" in err
    code, _, err = run("evaluate", str(tiny), "--art", str(art), "--seen", "1,2,3")
    assert code == 2 and "add up to 64" in err
    assert run("evaluate", str(tiny), "--art", str(art), "--seen", "many")[0] == 2
    assert run("evaluate", str(tiny), "--art", str(art), "--pictures", "3")[0] == 2
    (tmp_path / "damaged").mkdir()
    for name in ("ledger.jsonl", "styles.json", "singles.npy"):
        (tmp_path / "damaged" / name).write_text("{")
    with pytest.raises(InvalidFile, match="damaged"):
        _ = Art(tmp_path / "damaged").rows
    with pytest.raises(InvalidInput):
        next(iter(evaluate(str(tiny), art, tmp_path, pictures=-1)))


def test_of_every_set_of_portraits_that_take_turns_a_tenth_is_kept_from_the_judge() -> None:
    rows = [{"index": i, "style": f"set {i % 10}"} for i in range(1000)]
    kept = [row["style"] for row in rows if apart(row)]
    assert all(kept.count(f"set {n}") == 10 for n in range(10))
