"""Pictures that danqing 0.1.0 painted come back from their records, whatever the code became since.

`painted.py` says how each was made; `models` and `library` hold the small networks of random weights that they are by.
Where the machine of a record computes, every pixel is the same. Other processors, other numbers of threads and other
versions of torch add up fp32 in another order: there a level may round to its neighbour, of which a lossy encoder can
make another of its own steps in a block of pixels, and no more than `APART` and `MEAN` say.
"""

import json
import re
from pathlib import Path

import pytest
import torch

import danqing
from danqing.__main__ import main

HERE = Path(__file__).parent
#: What of a record names the machine. What else differs in it is a change of ours.
MACHINE = {"device", "cpu", "instructions", "threads", "torch", "system"}
#: Levels of 255 between two machines, at most, by the file's format; and on average over a picture.
APART, MEAN = {".png": 1, ".jpg": 16, ".webp": 16}, 1.0


def pictures(folder):
    return [
        pytest.param(path.relative_to(HERE), id=path.stem)
        for path in sorted((HERE / folder).iterdir())
        if path.suffix in APART
    ]


def changed(found):
    """What the verdict says that changed since: name -> (then, now)."""
    said = found.why.partition("What changed since: ")[2].rstrip(".")
    return {name: (then, now) for name, then, now in re.findall(r"(\w+): (.*?) then, (.*?) now(?:; |$)", said)}


def same(found, path):
    """Exact, or another machine painted it and it is as near as two machines are."""
    others = changed(found)
    return found.exact or (
        bool(MACHINE & others.keys())
        and others.keys() <= MACHINE | {"danqing"}
        and found.max_abs <= APART[path.suffix]
        and found.mean_abs <= MEAN
    )


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """The folder that the paths in the records start from, and the number of threads that painted them."""
    monkeypatch.chdir(HERE)
    monkeypatch.setenv("DANQING_MODELS", "library")
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("path", pictures("painted"))
def test_a_picture_is_painted_again_from_its_record(path):
    found = danqing.replay(path, device="cpu")
    assert same(found, path), found.why


@pytest.mark.parametrize("path", pictures("shipped"))
def test_a_picture_by_shipped_weights_comes_back_or_the_weights_that_changed_are_named(path):
    found = danqing.replay(path, device="cpu")
    assert {"sha256", "finish"} & changed(found).keys() or same(found, path), found.why


def test_weights_that_were_replaced_since_are_named_by_both_their_sums():
    found = danqing.replay(HERE / "replaced" / "plant.png", device="cpu", trust=True)
    then, now = changed(found)["sha256"]
    described = json.loads((HERE / "models" / "replaced" / "model.json").read_text(encoding="utf-8"))
    assert not found.exact and then != now == described["components"]["generator"]["sha256"]


def test_curves_carry_the_record_of_the_png_beside_which_alone_is_replayed(capsys, monkeypatch):
    def carried(name):
        monkeypatch.setattr("sys.argv", ["danqing", "inspect", f"painted/{name}", "--json"])
        main()
        return json.loads(capsys.readouterr().out)

    curves, pixels = carried("cut-out.svg"), carried("cut-out.png")
    assert all(curves[part] == pixels[part] for part in ("request", "record", "warnings"))
    with pytest.raises(danqing.InvalidFile, match="PNG"):
        danqing.replay("painted/cut-out.svg")
