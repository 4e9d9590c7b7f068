"""Laws of the comparison: every model is measured alike, on the same classes, against as many real pictures."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image

from danqing import installed
from danqing.cli import app
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.measure import compare as comparing
from danqing.measure import features, table
from danqing.measure.bench import Row
from danqing.measure.compare import Progress, compare, kind, prompts
from danqing.measure.gallery import Gallery, fitted
from danqing.nets.features import FeatureConfig, Features
from danqing.nets.vae import VAE, VAEConfig
from danqing.store.find import find
from danqing.store.model import Component, write_model
from danqing.weights import store
from danqing.weights.load import save

TINY = FeatureConfig(image_size=64, patch=4, widths=(8, 8), norm_num_groups=4, texture=1, features=6)


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """A folder of untrained features."""
    folder = tmp_path_factory.mktemp("installed") / features.NAME
    folder.mkdir()
    torch.manual_seed(0)
    store.write(folder / features.WEIGHTS, Features(TINY).state_dict(), {"config": json.dumps(asdict(TINY))})
    return folder


@pytest.fixture
def art(tmp_path):
    """Seven pictures of two classes, one without class, one that is none and a text."""
    draw = np.random.default_rng(0)
    folder = tmp_path / "art"
    for i, name in enumerate(["a red fox"] * 4 + ["a blue cat"] * 3 + ["."]):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (40, 32, 3), np.uint8)).save(folder / name / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no picture either")
    return folder


@pytest.fixture
def vectors(tmp_path):
    """The folder of an untrained VAE that hears nothing."""
    net = VAE(VAEConfig(image_size=16, latent_dim=4, widths=(4, 4), norm_num_groups=2))
    folder = tmp_path / "vectors"
    folder.mkdir()
    save(net, folder / "generator.safetensors")
    parts = {"generator": ("vae", "generator.safetensors", asdict(net.config))}
    defaults = {"width": 16, "height": 16, "truncation": 0.7}
    write_model(folder, name="vectors", components=parts, defaults=defaults, multiple=16, trained={"core_hours": 1.5})
    return folder


def rows(*args, **options) -> list[Row]:
    return [said for said in compare(*args, **options) if isinstance(said, Row)]


# ------------------------------------------------------------------------------------------------------------ the
# gallery


def test_a_picture_becomes_the_means_of_its_middle_square():
    x = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    want = torch.nn.functional.avg_pool2d(torch.from_numpy(x[:, 2:10]).movedim(-1, 0).double(), 2)
    assert (fitted(Image.fromarray(x), 4) - want).abs().max() <= 1
    assert torch.equal(
        fitted(Image.fromarray(x[:, :8]), 16), torch.from_numpy(x[:, :8].repeat(2, 0).repeat(2, 1)).movedim(-1, 0)
    )
    assert fitted(Image.new("RGBA", (4, 4), (0, 0, 0, 0)), 2).unique().tolist() == [255]


def test_a_gallery_has_the_folders_for_classes_and_names_what_it_skips(art):
    gallery = Gallery.of(art)
    assert sorted(gallery.classes) == [""] + ["a blue cat"] * 3 + ["a red fox"] * 4
    assert all(path.parent.name == (name or "art") for path, name in zip(gallery.paths, gallery.classes, strict=True))
    assert len(gallery.notes) == 1 and "broken.png" in gallery.notes[0]
    assert gallery.pictures(8).shape == (8, 3, 8, 8) and Gallery.of(art).paths == gallery.paths
    assert gallery.first(3).paths == gallery.paths[:3]
    with pytest.raises(InvalidInput, match="at most"):
        gallery.first(9)
    with pytest.raises(InvalidFile, match="8 pictures"):
        Gallery.of(art, least=9)
    with pytest.raises(InvalidFile, match="no folder"):
        Gallery.of(art / "gone")


def test_pictures_alike_are_different_ones_of_the_same_classes(art):
    gallery = Gallery.of(art)
    alike = gallery.like(["a blue cat", "a red fox", "a blue cat"])
    assert alike.classes == ("a blue cat", "a red fox", "a blue cat") and len(set(alike.paths)) == 3
    every = gallery.like(["a blue cat"] * 10)  # three of them there are, then others
    assert len(set(every.paths)) == len(every.paths) == 8 and every.classes[:3] == ("a blue cat",) * 3


# --------------------------------------------------------------------------------------------------------- the
# comparison


def test_a_comparison_has_a_row_of_the_art_and_of_each_model_with_equal_counts(art, tiny, trunk):
    said = list(compare([str(tiny)], art, known=art, folder=trunk))
    real, known, model = (row for row in said if isinstance(row, Row))
    assert (real.count, known.count, model.count) == (8, 8, 8) and model.pictures.shape == (8, 3, 32, 32)
    assert real.kind == known.kind == table.REAL and (model.kind, model.family, model.size) == ("diffusion", "unet", 32)
    # What was trained on is here the art itself: each of its pictures is covered.
    assert (
        known.precision == known.recall == 1
        and known.frechet == pytest.approx(0, abs=1e-3)
        and known.diversity == pytest.approx(1)
    )
    assert model.floor == pytest.approx(0, abs=1e-3) and model.frechet > 0 and model.bits is None and model.seconds > 0
    assert "there are 8" in real.warnings[0] and "broken.png" in real.warnings[1]
    size = sum(np.prod(t.shape) for f in tiny.glob("*.safetensors") for t in store.header(f).tensors.values())
    assert model.parameters == size
    steps = [each.done for each in said if isinstance(each, Progress) and each.what == str(tiny)]
    assert steps == list(range(9))


def test_every_model_paints_the_classes_of_the_art_from_seeds_that_are_its_places(
    art, tiny, trunk, painter, monkeypatch
):
    asked = []
    paint = painter.paint
    monkeypatch.setattr(comparing, "load", lambda name, device: painter)
    monkeypatch.setattr(
        painter, "paint", lambda request: asked.append((request.prompt, request.seed)) or paint(request)
    )
    rows([str(tiny)], art, count=6, folder=trunk)
    classes = Gallery.of(art).classes[:6]
    assert asked == [(classes[0], 0), *zip(classes, range(6), strict=True)]  # the first one warms up


def test_what_is_stated_goes_to_the_models_that_use_it(art, tiny, trunk):
    options = {"count": 5, "folder": trunk, "stated": {"scale": 1.0, "truncation": 0.5}}
    *_, model = rows([str(tiny)], art, **options)
    assert (
        "scale 1.0" in model.settings
        and "steps 3" in model.settings
        and "truncation" not in model.settings
        and not model.warnings
    )
    assert "scale 3.0" in rows([str(tiny)], art, count=5, folder=trunk)[-1].settings


def test_models_of_all_kinds_are_compared_at_the_size_of_the_smallest(art, tiny, vectors, trunk):
    real, large, small = rows([str(tiny), str(vectors)], art, count=5, folder=trunk)
    assert real.pictures.shape == large.pictures.shape == small.pictures.shape == (5, 3, 16, 16) and (
        large.size,
        small.size,
    ) == (32, 16)
    assert (small.kind, small.core_hours, large.core_hours) == ("VAE", 1.5, None) and "truncation 0.7" in small.settings
    assert small.bits is not None and small.bits > 1 and "5 pictures at 16 px" in small.bits_of


def test_a_slow_model_paints_fewer_and_is_held_against_as_few(art, tiny, trunk):
    *_, model = rows([str(tiny)], art, minutes=0, folder=trunk)
    assert model.count == comparing.LEAST == len(model.pictures)
    assert "Of fewer pictures than 8" in table.markdown(rows([str(tiny)], art, minutes=0, folder=trunk))


def test_bad_input_is_refused_before_anything_is_painted(art, tiny, trunk, tmp_path, monkeypatch):
    monkeypatch.setattr(comparing, "load", lambda *_: pytest.fail("nothing may be painted"))
    for options, error, told in (
        ({"models": ["nonesuch"]}, UnknownName, "nonesuch"),
        ({"models": []}, InvalidInput, "no model"),
        ({"count": 1}, InvalidInput, "count: 1"),
        ({"size": 48}, InvalidInput, "size: 48"),
        ({"art": tmp_path / "gone"}, InvalidFile, "no folder"),
        ({"folder": tmp_path}, InvalidFile, "features"),
    ):
        with pytest.raises(error, match=told):
            list(compare(**{"models": [str(tiny)], "art": art, "folder": trunk, **options}))
    translator = replace(find(str(tiny)), components={"generator": Component(family="cyclegan", file="x")})
    monkeypatch.setattr(comparing, "find", lambda name: translator)
    with pytest.raises(InvalidInput, match="leave it out"):
        list(compare(["photos"], art, folder=trunk))
    monkeypatch.undo()
    (tmp_path / "few").mkdir()
    with pytest.raises(InvalidFile, match="no picture"):
        list(compare([str(tiny)], tmp_path / "few", folder=trunk))


def test_a_model_is_asked_in_the_words_that_it_hears(tiny):
    model = find(str(tiny))
    spoken = replace(model, text={"kind": "classes", "names": [["face", "脸"], ["heart", "心"]]})
    assert prompts(spoken, ["heart", "face"]) == ("heart", "face") and prompts(spoken, [""]) == ("",)
    with pytest.raises(UnknownName, match="face, heart"):
        prompts(spoken, ["ship"])
    assert prompts(model, ["ship"]) == ("ship",)
    deaf = replace(model, components={"generator": replace(model.components["denoiser"], family="stylegan2")})
    assert prompts(deaf, ["ship", "heart"]) == ("", "") and kind(deaf) == "GAN"


def test_features_read_pictures_of_every_size_that_divides_theirs(trunk):
    net = features.load(trunk)
    x = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    fine = x.repeat_interleave(8, 2).repeat_interleave(8, 3)
    torch.testing.assert_close(features.of(net, x), features.of(net, fine), atol=1e-4, rtol=1e-4)
    with pytest.raises(InvalidInput, match="48 px"):
        features.of(net, torch.zeros(1, 3, 48, 48, dtype=torch.uint8))


def test_other_features_are_refused(trunk, tmp_path):
    tensors = dict(store.each(trunk / features.WEIGHTS))
    store.write(tmp_path / features.WEIGHTS, tensors, {"config": json.dumps({**asdict(TINY), "features": 7})})
    with pytest.raises(InvalidFile, match="install both again"):
        features.load(tmp_path)


# -------------------------------------------------------------------------------------------------------------- the
# table


def row(name: str, kind: str, **numbers) -> Row:
    return Row(
        name=name,
        kind=kind,
        count=numbers.pop("count", 9),
        size=8,
        pictures=torch.zeros(9, 3, 8, 8, dtype=torch.uint8),
        **numbers,
    )


def test_a_claim_is_confirmed_where_every_pair_is_as_said_and_refuted_where_every_one_is_the_other_way():
    fast = table.Claim(said="", kind="GAN", measure="seconds", more=False)
    gans, vae = [row("a", "GAN", seconds=0.1), row("b", "GAN", seconds=0.3)], row("v", "VAE", seconds=0.2)
    assert fast.verdict([*gans, vae]) == (
        "a 0.1, b 0.3 against v 0.2",
        "undecided: of 2 pairs 1 as said, 1 the other way",
    )
    assert fast.verdict([gans[0], vae])[1] == "confirmed" and fast.verdict([gans[1], vae])[1] == "refuted"
    assert fast.verdict([vae])[1] == fast.verdict(gans)[1] == "not measured"
    near = row("n", "VAE", seconds=0.105)  # no farther than chance
    assert fast.verdict([gans[0], near])[1] == "undecided: of 1 pairs 0 as said, 0 the other way"
    few = replace(fast, measure="recall", equal=True)
    pair = [row("a", "GAN", recall=0.1), row("v", "VAE", recall=0.2, count=5)]
    assert (
        few.verdict(pair)[1] == "not measured" and few.verdict([pair[0], replace(pair[1], count=9)])[1] == "confirmed"
    )
    assert fast.verdict([vae, row("r", table.REAL, seconds=1.0)])[1] == "not measured"


def test_the_table_has_a_cell_for_each_column_and_says_whose_features_it_has():
    said = [
        row("real art", table.REAL),
        row("v", "VAE", family="vae", bits=1.25, bits_error=0.01, bits_of="at most", warnings=("short",)),
    ]
    text = table.markdown(said)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert (
        {line.count("|") for line in lines[:4]} == {len(table.COLUMNS) + 1}
        and "1.25 ± 0.01" in lines[3]
        and "—" in lines[2]
    )
    assert "no published FID" in text and "Bits of v: at most." in text and "- v: short" in text
    assert not re.search(r"nan|None", text)
    assert json.loads(json.dumps(table.plain(said[1])))["bits"] == 1.25 and "pictures" not in table.plain(said[1])


def test_the_sheet_shows_each_row_whole():
    said = [row(name, "GAN") for name in ("one", "another")]
    said[1] = replace(said[1], pictures=said[1].pictures + 200)
    made = np.asarray(table.sheet(said))
    assert made.shape[0] == 2 * (table.CELL + 2)
    shown = made[:, -9 * (table.CELL + 2) :]
    assert (shown == 0).all(2).sum() == (shown == 200).all(2).sum() == 9 * table.CELL**2


# ------------------------------------------------------------------------------------------------------------ the
# command


@pytest.fixture
def command(capsys, monkeypatch, trunk):
    monkeypatch.setattr(installed, "folders", lambda: [trunk.parent])

    def run(*args: object) -> tuple[int, str, str]:
        code = 0
        try:
            app.main(["compare", *map(str, args)])
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


def test_the_command_prints_what_it_measures_and_writes_table_and_sheet(command, art, tiny, tmp_path):
    code, out, _ = command(tiny, "--art", art, "--trained-on", art, "--count", 5, "-o", tmp_path / "made" / "here")
    assert code == 0 and all(title in out for title in list(table.COLUMNS)[1:]) and "autoregression is slow" in out
    written = tmp_path / "made" / "here"
    assert sorted(path.name for path in written.iterdir()) == ["compare.md", "compare.png"]
    assert (written / "compare.md").read_text().startswith("| model | family |")
    assert Image.open(written / "compare.png").height == 3 * (table.CELL + 2)
    code, out, _ = command(tiny, "--art", art, "--count", 5, "--json")
    assert code == 0 and [json.loads(line)["name"] for line in out.splitlines()] == ["real art", "tiny"]


def test_the_command_refuses_in_a_line(command, art, tiny, tmp_path):
    (tmp_path / "file").touch()
    for args, told in (
        (("nonesuch", "--art", art), "nonesuch"),
        ((tiny, "--art", art, "--count", 1), "count: 1"),
        ((tiny,), "--art"),
        ((tiny, "--art", tmp_path / "gone"), "no folder"),
        ((tiny, "--art", art, "-o", tmp_path / "file"), "cannot make the folder"),
    ):
        code, out, err = command(*args)
        assert code == 2 and told in err and not out
