"""Laws of choices in prompts as they are painted: each picture draws its own, its record holds both, and what is
settled is not drawn again."""

import json

import pytest

from danqing import api
from danqing.errors import InvalidInput
from danqing.painting.drawing import drawn
from danqing.pictures.carried import carried_by, recorded
from danqing.request.request import Request
from danqing.request.upgrade import upgrade
from danqing.store.own import wildcards

TEXT = "a {red|blue|green|black|white} fox with a {hat|scarf|bag}"


@pytest.fixture
def words(tmp_path, monkeypatch):
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "animal.txt").write_text("fox\nowl\npanda\ncat\ndog\n")
    monkeypatch.setattr(wildcards, "folder", lambda: folder)
    return folder


def test_picture_k_of_a_batch_is_that_seed_and_index_painted_alone_words_included(run, tiny):
    options = ("--model", str(tiny), "--steps", "1", "--seed", "3", "--json")
    code, out, _ = run("paint", TEXT, "--count", "4", "-o", "b/", *options)
    requests = [json.loads(line)["request"] for line in out.splitlines()]
    prompts = [request["prompt"] for request in requests]
    assert code == 0 and len(set(prompts)) > 1
    for request in requests:
        assert drawn(Request(prompt=TEXT, seed=3, index=request["index"])).prompt == request["prompt"]
    assert {request["typed"]["template"] for request in requests} == {TEXT}


def test_every_picture_draws_from_its_own_seed_and_its_record_holds_its_own_text(painter):
    requests = [Request(prompt=TEXT, seed=seed, steps=1) for seed in range(6)]
    together = [painter.paint(request).request.prompt for request in requests]
    assert len(set(together)) > 2
    assert together[::-1] == [painter.paint(request).request.prompt for request in requests[::-1]]


def test_both_prompts_are_drawn_apart_and_what_is_settled_is_not_drawn_again(painter):
    resolved = painter.resolve(Request(prompt=r"a {x|y} \{z\}", negative="{p|q|r}", seed=8))
    assert resolved.typed.template and resolved.typed.negative_template == "{p|q|r}"
    assert "{z}" in resolved.prompt and resolved.negative in "pqr"
    assert painter.resolve(resolved).stated() == resolved.stated()
    assert painter.resolve(resolved.but(index=5, seed=1)).prompt == resolved.prompt


def test_a_picture_replays_without_the_lists_it_was_drawn_from(painter, words, tmp_path, tiny):
    path = painter.paint(Request(prompt="a __animal__", seed=2, steps=1, model=str(tiny))).save(tmp_path / "x.png")
    request = recorded(path)
    assert (
        request.prompt.split()[1] in ("fox", "owl", "panda", "cat", "dog") and request.typed.template == "a __animal__"
    )
    (words / "animal.txt").unlink()
    assert api.replay(path).exact


def test_a_record_from_before_never_draws(painter):
    old = {"danqing": 2, "request": {"recipe": "text2image", "prompt": "{red|blue} __fox__", "seed": 1}}
    request = Request(**upgrade(old)["request"])
    assert painter.resolve(request).prompt == "{red|blue} __fox__"


def test_what_has_no_choices_states_no_template(painter):
    assert "template" not in painter.resolve(Request(prompt="a (red:1.2) fox, C#", seed=1)).stated()


def test_a_missing_list_is_refused_before_anything_is_painted(painter, words):
    with pytest.raises(InvalidInput, match="__animal__"):
        painter.resolve(Request(prompt="a __animl__"))


def test_a_choice_of_one_is_said_to_be_none(painter):
    picture = painter.paint(Request(prompt="{masterpiece}, a fox", seed=1, steps=1))
    assert picture.request.prompt == "masterpiece, a fox"
    assert any("{masterpiece} has nothing else" in warning for warning in picture.warnings)


def test_the_a1111_text_holds_what_came_of_it_and_what_was_typed_as_its_extension_does(painter, tmp_path):
    path = painter.paint(Request(prompt=TEXT, seed=3, steps=1)).save(tmp_path / "x.png")
    text = carried_by(path).parameters
    assert text.startswith(recorded(path).prompt + "\n") and f"Template: {TEXT}" in text
