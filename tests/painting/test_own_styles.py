"""Laws of styles of one's own: A1111's list is read, what came of it is in the record, and a replay needs no list."""

import pytest

from danqing import api
from danqing.errors import InvalidFile, UnknownName
from danqing.pictures.carried import recorded
from danqing.request.request import Request
from danqing.store.own import styles

LIST = (
    "\ufeffname,prompt,negative_prompt\n"
    "--- mine ---,,\n"
    'ink,"ink drawing of {prompt}, black","colour, {prompt}"\n'
    'soft,"soft light, pastel",harsh\n'
    'either,"{red|blue} tones",\n'
)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    file = tmp_path / "styles.csv"
    file.write_text(LIST, "utf-8")
    monkeypatch.setattr(styles, "path", lambda: file)
    return file


def prompts(painter, style, **options):
    resolved = painter.resolve(Request(prompt="a fox", negative="fog", style=style, seed=1, **options))
    return resolved.prompt, resolved.negative, resolved.style


def test_the_prompt_stands_where_the_style_says_or_before_it(painter):
    assert prompts(painter, "ink")[:2] == ("ink drawing of a fox, black", "colour, fog")
    assert prompts(painter, "soft")[:2] == ("a fox, soft light, pastel", "fog, harsh")
    assert prompts(painter, "soft, ink")[:2] == (
        "ink drawing of a fox, soft light, pastel, black",
        "colour, fog, harsh",
    )


def test_no_other_style_is_added_and_dividing_rows_are_none(painter):
    assert (
        prompts(painter, "ink")[2] == "none"
        or "style" not in painter.resolve(Request(prompt="x", style="ink")).stated()
    )
    with pytest.raises(UnknownName, match="ink"):
        prompts(painter, "--- mine ---")


def test_an_unknown_style_is_named_with_the_nearest_of_both_lists(painter):
    with pytest.raises(UnknownName, match="'ink'"):
        prompts(painter, "inc")


def test_choices_in_a_style_are_drawn_and_a_picture_replays_without_the_list(painter, kept, tiny, tmp_path):
    picture = painter.paint(Request(prompt="a fox", style="either", seed=1, steps=1, model=str(tiny)))
    assert picture.request.prompt in ("a fox, red tones", "a fox, blue tones")
    path = picture.save(tmp_path / "x.png")
    kept.unlink()
    assert recorded(path).prompt == picture.request.prompt and api.replay(path).exact


def test_a_list_without_names_is_refused(painter, kept):
    kept.write_text("a,b\n1,2\n")
    with pytest.raises(InvalidFile, match="no column of names"):
        prompts(painter, "ink")
