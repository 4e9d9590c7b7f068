"""Laws of the art that models are compared on: it was never trained on, and what is measured goes to its place."""

import json

import pytest
import torch
from experiments.compared import PAGE, placed
from PIL import Image

from danqing.errors import InvalidInput
from experiments import heldout


def test_pictures_are_written_whole_into_the_folders_of_their_classes(tmp_path):
    x = torch.randint(0, 256, (3, 3, 4, 4), dtype=torch.uint8)
    heldout.written(tmp_path, "some", x, ["sky", "a dish", "sky"])
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png")) == [
        "a dish/some-00001.png", "sky/some-00000.png", "sky/some-00002.png",
    ]  # fmt: skip
    back = Image.open(tmp_path / "a dish" / "some-00001.png")
    assert list(back.getdata()) == [tuple(pixel) for pixel in x[1].flatten(1).T.tolist()]


def test_strangers_are_of_the_sets_asked_for_and_drawn_as_no_one_in_the_ledger_is(tmp_path, monkeypatch):
    def line(hair: str, seed: str, style: str = "micah") -> dict:
        return {"style": style, "options": {"hair": [hair], "seed": seed}}

    (tmp_path / "ledger_portraits.jsonl").write_text(json.dumps(line("bun", "trained-1")))
    new = [line("bun", "new-1"), line("bob", "new-2", "lorelei"), line("afro", "new-3"), line("long", "new-4")]
    monkeypatch.setattr(heldout, "plan", lambda modules, count, seed: new)
    monkeypatch.setattr(heldout, "drawn", lambda modules, lines: [each["options"]["hair"][0] for each in lines])
    monkeypatch.setattr(heldout, "render", lambda job: job)
    assert list(heldout.strangers(tmp_path, tmp_path, 1, ["micah"])) == ["afro"]


def test_what_is_measured_goes_to_its_place_and_nothing_else_changes():
    page = "a\n<!-- art -->\nold\n<!-- /art -->\nb\n"
    assert placed(page, "art", "new\n\n") == "a\n<!-- art -->\nnew\n<!-- /art -->\nb\n"
    assert placed(placed(page, "art", "x"), "art", "old") == page
    with pytest.raises(InvalidInput, match="portraits"):
        placed(page, "portraits", "new")
    handbook = PAGE.read_text(encoding="utf-8")
    assert all(placed(handbook, name, "new") != handbook for name in ("art", "portraits"))
