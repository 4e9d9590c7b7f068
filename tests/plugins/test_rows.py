"""Each axis takes a row from one file: requests, the command line, the documentation, records and laws know it, and it
leaves no trace."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from tests.plugins import calm, hint, likeness, mirror, posterize, ralston, threshold, waves

import danqing
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.finish.records import FINISHES
from danqing.painting.adapters.adapters import ATTACHMENTS
from danqing.painting.generators.base import GENERATORS
from danqing.painting.guidance import GUIDANCE
from danqing.request import infotext
from danqing.request.flat import GROUPS
from danqing.request.names import RECIPES
from danqing.request.request import Request
from danqing.solve.solvers import SOLVERS
from danqing.store.model import write_model
from danqing.tables import Table
from danqing.weights import store
from danqing.weights.load import load, save
from danqing.weights.registry import FAMILIES
from solver_orders import looks, order_of

Options = dict[str, Any]


class Toy(NamedTuple):
    """A row, and what of a request shows it.

    Args:
        rows: what its file adds: (table, name, row).
        acts, rests: options with which it changes the picture, and with which it does not.
        shown: what help says of it.
        line: of the documentation's table.
    """

    rows: tuple[tuple[Table[Any], str, Any], ...]
    acts: Options
    rests: Options
    shown: str
    line: str


TOYS = {
    "solver": Toy(
        ((SOLVERS, "ralston", ralston.ROW),),
        {"solver": "ralston"},
        {"solver": "euler"},
        "ralston",
        "| `ralston` | Ralston | 2 | 2 |  |",
    ),
    "guidance": Toy(
        ((GUIDANCE, "threshold", threshold.WRAPPER), (GROUPS, "threshold", threshold.Threshold)),
        {"threshold_limit": 0.5},
        {"threshold_limit": 0},
        "--threshold-limit X Deviations that a guided estimate may leave",
        "| `threshold` | `threshold_limit` | Keeps guided estimates near usual ones. |",
    ),
    "finish": Toy(
        ((FINISHES, "posterize", posterize.Posterize),),
        {"finish": "posterize:levels=3"},
        {"finish": "none"},
        "adjust, posterize, tone",
        "| `posterize` | `levels` a whole number from 2 to 256 | So many levels of each channel are left, at equal",
    ),
    "control": Toy(
        ((ATTACHMENTS, "hint", hint.HINT), (GROUPS, "hint", hint.Hint)),
        {"hint_image": "given.png", "hint_file": "hint.safetensors"},
        {"hint_image": "given.png", "hint_file": "hint.safetensors", "hint_weight": 0},
        "--hint-image TEXT A picture that says where things lie.",
        "| `hint` |  | `hint_image`, `hint_file`, `hint_weight` | Steers by a picture",
    ),
    "image prompt": Toy(
        ((ATTACHMENTS, "likeness", likeness.LIKENESS), (GROUPS, "likeness", likeness.Likeness)),
        {"likeness_image": "given.png", "likeness_file": "likeness.safetensors"},
        {"likeness_image": "given.png"},
        "--likeness-image TEXT A picture to resemble in its colour.",
        "| `likeness` |  | `likeness_image`, `likeness_file` | Resembles a picture",
    ),
    "motion module": Toy(
        ((ATTACHMENTS, "calm", calm.CALM), (GROUPS, "calm", calm.Calm)),
        {"frames": 2, "calm_file": "calm.safetensors"},
        {"frames": 2},
        "--calm-file TEXT The motion module's file.",
        "| `calm` |  | `calm_file` | Draws the frames of a clip towards their mean. |",
    ),
    "recipe": Toy(
        ((RECIPES, "mirror", mirror.RECIPE), (GROUPS, "mirror", mirror.Mirror)),
        {"recipe": "mirror", "mirror_side": "right"},
        {},
        "--mirror-side NAME The half that is kept. One of left, right.",
        "| `mirror` | Paints from words, and mirrors the picture. |",
    ),
}


@pytest.fixture(params=TOYS)
def toy(request, tmp_path, monkeypatch) -> Iterator[Toy]:
    """A toy whose rows are there, in a folder with the files that it asks for."""
    monkeypatch.chdir(tmp_path)
    draw = torch.Generator().manual_seed(0)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save("given.png")
    store.write(Path("hint.safetensors"), {"kernel": torch.randn(16, 3, 1, 1, generator=draw)})
    store.write(Path("likeness.safetensors"), {"project": 3 * torch.randn(16, 3, generator=draw)})
    store.write(Path("calm.safetensors"), {"rate": torch.tensor(1.0)})
    with ExitStack() as rows:
        for table, name, row in TOYS[request.param].rows:
            rows.enter_context(table.added(name, row))
        yield TOYS[request.param]


def paint(tiny: Path, options: Options) -> danqing.Picture:
    return danqing.paint("a red fox", negative="a cat", model=str(tiny), precision="fp32", steps=3, seed=1, **options)


def same(a: danqing.Picture, b: danqing.Picture) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a.frames, b.frames, strict=True))


def test_it_acts_where_it_is_asked_for_and_leaves_no_trace(toy, tiny):
    plain = {name: value for name, value in toy.rests.items() if name == "frames" or name == "solver"}
    before = paint(tiny, plain)
    acted, rested = paint(tiny, toy.acts), paint(tiny, toy.rests)
    assert not acted.warnings and not same(acted, before)
    assert same(rested, before) and same(paint(tiny, plain), before)


def test_help_and_the_documentation_name_it(toy, help_of):
    assert toy.shown in help_of("paint")
    assert toy.line in toy.rows[0][0].markdown()


def test_its_picture_is_painted_again_from_the_record(toy, tiny, tmp_path):
    picture = paint(tiny, toy.acts)
    path = picture.save(tmp_path / "toy.png")
    assert danqing.replay(path).exact
    assert {*toy.acts} - {"finish"} <= Request(**picture.request.data()).stated().keys()


def test_a_given_picture_is_known_by_its_hash(toy, tiny):
    images = [name for name in toy.acts if name.endswith("_image")]
    record = paint(tiny, toy.acts).record
    assert all(len(record[name]) == 64 for name in images)


def test_without_its_row_its_names_are_unknown(tiny):
    for toy in TOYS.values():
        name = next(iter({**toy.acts}))
        if name == "frames":
            continue
        with pytest.raises(UnknownName):
            paint(tiny, {name: toy.acts[name]})


def test_what_it_asks_for_in_vain_is_refused_or_warned_of(toy, tiny):
    for name in toy.acts:
        if name.endswith("_file"):
            with pytest.raises(InvalidFile, match=f"{name}: gone.safetensors is no file"):
                paint(tiny, {**toy.acts, name: "gone.safetensors"})
        if name.endswith(("_limit", "_side")):
            with pytest.raises(InvalidInput, match=f"{name}|unknown"):
                paint(tiny, {**toy.acts, name: "x"})


# What one axis alone has ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
def test_a_solver_is_held_to_the_order_and_the_cost_that_its_row_states():
    assert order_of(ralston.ROW) > ralston.ROW.order - 0.1
    assert looks(ralston.ROW) == ralston.ROW.looks * 5 + 1


def test_a_solver_has_its_name_in_texts_of_a1111():
    with SOLVERS.added("ralston", ralston.ROW):
        text = infotext.write(Request(prompt="a fox", solver="ralston", steps=3))
        assert "Sampler: Ralston" in text
        assert infotext.request_of(infotext.read(text))[0]["solver"] == "ralston"


def test_a_solver_may_be_given_as_an_object(tiny):
    given = paint(tiny, {"solver": ralston.Ralston()})
    assert given.request.sampling.solver == "Ralston"
    assert paint(tiny, {"solver": ralston.Ralston()}).request.sampling.solver == "Ralston"
    with SOLVERS.added("ralston", ralston.ROW):
        assert same(given, paint(tiny, {"solver": "ralston"}))


def test_a_clip_is_drawn_together_wholly_at_rate_1(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.write(Path("calm.safetensors"), {"rate": torch.tensor(1.0)})

    def spread(options: Options) -> float:
        frames = [np.asarray(frame, np.float64) for frame in paint(tiny, {"frames": 3, **options}).frames]
        return float(np.std(frames, axis=0).mean())

    with ATTACHMENTS.added("calm", calm.CALM), GROUPS.added("calm", calm.Calm):
        assert spread({"calm_file": "calm.safetensors"}) < spread({})


def test_a_mirrored_picture_is_its_own_mirror_image(tiny):
    with RECIPES.added("mirror", mirror.RECIPE), GROUPS.added("mirror", mirror.Mirror):
        picture = np.asarray(paint(tiny, {"recipe": "mirror"}).image)
    np.testing.assert_array_equal(picture, picture[:, ::-1])


@pytest.fixture
def rows() -> Iterator[None]:
    with FAMILIES.added("waves toy", waves.FAMILY), GENERATORS.added("waves", waves.WavesPainter):
        yield


def test_a_family_is_known_by_its_file_and_paints(rows, tmp_path, help_of: Callable[[str], str]):
    torch.manual_seed(0)
    folder = tmp_path / "sea"
    folder.mkdir()
    save(waves.Waves(waves.WavesConfig(waves=5)), folder / "generator.safetensors")
    net = load(folder / "generator.safetensors")
    assert isinstance(net, waves.Waves) and net.config == waves.WavesConfig(waves=5)
    parts = {"generator": ("waves", "generator.safetensors", {})}
    write_model(folder, name="sea", components=parts, multiple=16, defaults={})
    picture = danqing.paint(model=str(folder), seed=3)
    assert picture.image.size == (16, 16) and danqing.replay(picture.save(tmp_path / "sea.png")).exact
    assert "| `waves toy` | waves | toy |  |" in FAMILIES.markdown()
    assert "| `waves` | `text2image` |" in GENERATORS.markdown()


def test_without_its_rows_a_family_is_unknown(tmp_path):
    store.write(tmp_path / "a.safetensors", waves.Waves(waves.WavesConfig()).state_dict())
    with pytest.raises(InvalidFile, match="holds no network that is known here"):
        load(tmp_path / "a.safetensors")
