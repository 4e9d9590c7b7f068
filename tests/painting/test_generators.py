"""Laws of the models that paint without denoising, on random weights: one picture depends on its request alone, and
replays."""

import numpy as np
import pytest
import torch
from PIL import Image

import danqing
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.nets.vae import slerp
from danqing.painting.load import load
from danqing.pictures import read
from danqing.request.request import Request
from danqing.types import State

FAMILIES = ["vae", "pixelcnn", "stylegan2", "biggan", "cyclegan"]
SEEDED = ["vae", "pixelcnn", "stylegan2", "biggan"]
REMEMBERING = ["stylegan2", "biggan"]


@pytest.fixture
def easels(generators):
    return lambda family: load(generators[family], "cpu", "fp32")


def pixels(picture):
    return np.asarray(picture.image, np.int16)


def saved(painter, path, **options):
    """The file of a picture that a model painted."""
    return str(painter.paint(Request(model=painter.model.source, **options)).save(path, overwrite=True))


# ------------------------------------------------------------------------------------------------------- the seeds


@pytest.mark.parametrize("family", SEEDED)
def test_a_picture_depends_on_its_seed_and_index_and_not_on_its_neighbours(generators, family):
    every = [
        Request(model=generators[family], seed=seed, index=index, precision="fp32")
        for seed in (1, 2)
        for index in (0, 1)
    ]
    forwards = [p.image.tobytes() for p in danqing.paint_all(every)]
    assert [p.image.tobytes() for p in danqing.paint_all(every[::-1])] == forwards[::-1] and len(set(forwards)) == 4
    assert danqing.paint(model=generators[family], seed=2, index=1, precision="fp32").image.tobytes() == forwards[3]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_recipe_replays_exactly(generators, family, precision, picture, tmp_path):
    painter = load(generators[family], "cpu", precision)
    ends = {}
    if family in REMEMBERING:
        ends = {
            "image": saved(painter, tmp_path / "a.png", seed=1),
            "other": saved(painter, tmp_path / "b.png", seed=2),
        }
    given = {
        "text2image": {"seed": 3},
        "interpolate": {"image": str(picture), "other": str(picture), "between": 0.3, **ends},
    }
    for recipe in painter.recipes:
        asked = Request(**{"recipe": recipe, "model": generators[family], **given.get(recipe, {"image": str(picture)})})
        painted = painter.paint(asked)
        assert painted.request.precision == precision == painted.record["precision"]
        assert painter.resolve(painted.request) == painted.request
        for name in ("x.png", "x.jpg"):
            assert danqing.replay(painted.save(tmp_path / name, overwrite=True)).exact


def test_a_painted_picture_says_nothing_of_denoising(easels):
    stated = easels("stylegan2").paint(Request(seed=1)).request.stated()
    assert not {"steps", "solver", "scale", "mix_from"} & stated.keys() and stated["truncation"] == 1.0


@pytest.mark.parametrize("family", ["vae", "stylegan2", "biggan"])
def test_truncation_0_gives_every_seed_the_same_picture_and_1_does_not(easels, family):
    for truncation, count in ((0.0, 1), (1.0, 3)):
        each = {
            easels(family)
            .paint(Request(prompt="food" * (family == "biggan"), seed=s, truncation=truncation))
            .image.tobytes()
            for s in range(3)
        }
        assert len(each) == count


def test_a_prior_scaled_is_its_latent_scaled(easels):
    whole, half = (easels("vae").drawn(Request(seed=1, truncation=t)) for t in (1.0, 0.5))
    torch.testing.assert_close(half, whole / 2)


# ------------------------------------------------------------------------------------------------------- the styles


def test_mixing_from_layer_0_is_the_others_picture_and_behind_the_last_its_own(easels):
    painter = easels("stylegan2")
    own, other = (pixels(painter.paint(Request(seed=seed))) for seed in (7, 9))
    last = painter.net.config.layers
    mixed = [pixels(painter.paint(Request(seed=7, mix=9, mix_from=layer))) for layer in range(last + 1)]
    assert (mixed[0] == other).all() and (mixed[last] == own).all() and (own != other).any()
    assert len({m.tobytes() for m in mixed}) > 2


def test_mixing_begins_in_the_middle_where_nothing_is_said(easels):
    painter = easels("stylegan2")
    half, said = (
        painter.paint(Request(seed=7, mix=9, mix_from=layer)) for layer in (painter.net.config.layers // 2, None)
    )
    assert said.request == half.request and said.image.tobytes() == half.image.tobytes()


def test_a_layer_that_is_not_there_is_refused(easels):
    with pytest.raises(InvalidInput, match=r"mix_from: 40.*0 to 6"):
        easels("stylegan2").paint(Request(seed=7, mix=9, mix_from=40))


# ----------------------------------------------------------------------------------------------------------- between


@pytest.mark.parametrize("family", REMEMBERING)
def test_the_way_between_two_painted_pictures_ends_in_them(easels, tmp_path, family):
    painter, prompts = easels(family), ("animal", "food") if family == "biggan" else ("", "")
    options = [
        {"seed": seed, "prompt": prompt, "truncation": 0.8} for seed, prompt in zip((1, 2), prompts, strict=True)
    ]
    if family == "stylegan2":
        options[1]["mix"] = 5
    ends = [saved(painter, tmp_path / f"{i}.png", **each) for i, each in enumerate(options)]
    way = list(danqing.interpolate(*ends, count=3, model=painter.model.source, precision="fp32"))
    assert all(way[i].image.tobytes() == read.picture(end).tobytes() for i, end in ((0, ends[0]), (2, ends[1])))
    assert way[1].image.tobytes() not in (way[0].image.tobytes(), way[2].image.tobytes())


def test_pictures_in_memory_remember_their_latents(generators):
    first, second = (danqing.paint(model=generators["stylegan2"], seed=seed) for seed in (1, 2))
    (one,) = danqing.interpolate(first, second, count=1, model=generators["stylegan2"])
    assert one.request.interpolation.between == 0.5 and one.image.tobytes() not in (
        first.image.tobytes(),
        second.image.tobytes(),
    )


def test_the_way_between_any_two_pictures_of_a_vae_is_the_arc_between_their_means_and_ends_in_their_reconstructions(
    easels, generators, picture, tmp_path
):
    painter = easels("vae")
    Image.open(picture).rotate(90).save(tmp_path / "turned.png")
    ends = [str(picture), str(tmp_path / "turned.png")]
    way = [pixels(p) for p in danqing.interpolate(*ends, count=5, model=generators["vae"], precision="fp32")]
    kept = [pixels(danqing.reconstruct(end, model=generators["vae"], precision="fp32")) for end in ends]
    assert all(np.abs(a - b).max() <= 1 for a, b in ((way[0], kept[0]), (way[4], kept[1])))
    a, b = (
        painter.net.encode(painter.levels(Image.open(end).resize((16, 16), Image.Resampling.LANCZOS))).mean
        for end in ends
    )
    middle = pixels_of(painter, painter.net.decode(slerp(a, b, torch.tensor([0.5]))[0]))
    assert np.abs(way[2] - middle).max() <= 1


def pixels_of(painter, levels):
    return np.asarray(painter.image(levels), np.int16)


@pytest.mark.parametrize("family", REMEMBERING)
def test_a_picture_that_the_model_did_not_paint_has_no_latent(easels, generators, picture, tmp_path, family):
    foreign = saved(easels("vae"), tmp_path / "foreign.png", seed=1)
    for given in (str(picture), foreign):
        with pytest.raises(InvalidInput, match="--model vae"):
            next(danqing.interpolate(given, given, model=generators[family]))


# ---------------------------------------------------------------------------------------------------- given pictures


def test_a_reconstruction_is_the_mean_latents_picture(easels, picture):
    painter = easels("vae")
    given = painter.levels(Image.open(picture).resize((16, 16), Image.Resampling.LANCZOS))
    made = painter.paint(Request(recipe="reconstruct", image=str(picture)))
    assert (pixels(made) == pixels_of(painter, painter.net.decode(painter.net.encode(given).mean))).all()
    (warning,) = made.warnings
    assert "32×32" in warning and "16×16" in warning


def test_a_picture_of_another_shape_is_cut_and_not_stretched(easels, tmp_path):
    middle = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    wide = np.pad(middle, ((0, 0), (8, 8), (0, 0)))
    for name, image in (("middle", middle), ("wide", wide)):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    one, two = (
        easels("vae").paint(Request(recipe="reconstruct", image=str(tmp_path / n))) for n in ("middle.png", "wide.png")
    )
    assert (pixels(one) == pixels(two)).all() and one.warnings == () and "cut off" in two.warnings[0]


def test_a_translation_goes_into_the_style_named_and_keeps_the_shape(easels, tmp_path):
    painter = easels("cyclegan")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 22, 3), np.uint8)).save(tmp_path / "x.png")
    made = {
        to: painter.paint(Request(recipe="translate", image=str(tmp_path / "x.png"), to=to))
        for to in (None, "fluent", "noto")
    }
    assert made["fluent"].image.size == (20, 12) or made["fluent"].image.size == (24, 12)
    assert made[None].request == made["fluent"].request and made[None].image.tobytes() == made["fluent"].image.tobytes()
    assert (pixels(made["noto"]) != pixels(made["fluent"])).any()
    assert "22×12" in made["noto"].warnings[0]


def test_translators_into_styles_without_names_are_called_by_their_roles(generator, tmp_path, picture):
    folder = generator(tmp_path / "m", "cyclegan", text=None)
    assert danqing.translate(picture, model=str(folder), to="back").request.translation.to == "back"
    with pytest.raises(UnknownName, match="generator"):
        danqing.translate(picture, model=str(folder), to="fluent")


def test_an_unknown_style_offers_the_nearest(generators, picture):
    with pytest.raises(UnknownName, match="Did you mean 'fluent'"):
        danqing.translate(picture, model=generators["cyclegan"], to="fluant")


# ----------------------------------------------------------------------------------------------------------- classes


@pytest.mark.parametrize("family", ["pixelcnn", "biggan"])
def test_a_prompt_chooses_the_class_in_both_languages_and_none_is_any(easels, family):
    painter = easels(family)
    paint = {p: painter.paint(Request(prompt=p, seed=1)) for p in ("food", "食物", "animal", "plant", "a blue food")}
    assert paint["food"].image.tobytes() == paint["食物"].image.tobytes() == paint["a blue food"].image.tobytes()
    assert len({paint[p].image.tobytes() for p in ("food", "animal", "plant")}) == 3
    assert paint["food"].warnings == () and "blue" in paint["a blue food"].warnings[0]
    assert {int(painter.label(Request(seed=seed))) for seed in range(20)} == {0, 1, 2}


@pytest.mark.parametrize("family", ["pixelcnn", "biggan"])
def test_an_unknown_class_offers_the_nearest(generators, family):
    with pytest.raises(UnknownName, match="Did you mean 'plant'"):
        danqing.paint("plants", model=generators[family])


def test_a_description_with_other_classes_than_the_network_is_refused(generator, tmp_path):
    for i, names in enumerate(([["animal"]], "animal", [[], [], []], None)):
        folder = generator(tmp_path / str(i), "biggan", text={"kind": "classes", "names": names})
        with pytest.raises(InvalidFile, match="class"):
            danqing.paint(model=str(folder))


# --------------------------------------------------------------------------------------------------------------- rows


def test_the_steps_of_a_pixelcnn_are_its_rows_and_each_shows_those_so_far(easels):
    painter = easels("pixelcnn")
    *states, painted = painter.states(Request(prompt="food", seed=1))
    assert all(isinstance(state, State) for state in states) and [s.step for s in states] == list(range(1, 9))
    assert {s.steps for s in states} == {8} and states[-1].t == 0
    for state in states:
        seen = np.asarray(painter.preview(state), np.int16)
        assert (seen[: state.step] == pixels(painted)[: state.step]).all() and (seen[state.step :] == 255).all()


def test_a_low_temperature_paints_likelier_pixels_and_none_is_refused(easels):
    painter = easels("pixelcnn")

    def likelihood(truncation):
        with torch.no_grad():
            drawn = [
                painter.levels(painter.paint(Request(prompt="food", seed=s, truncation=truncation)).image)
                for s in range(6)
            ]
            x = painter.net.head.quantise(((torch.cat(drawn) + 1) * 127.5).round().byte())
            return float(painter.net(x, torch.full((6,), 2)).mean())

    assert likelihood(0.2) > likelihood(1.0) > likelihood(2.0)
    with pytest.raises(InvalidInput, match="above 0"):
        painter.paint(Request(seed=1, truncation=0))


# -------------------------------------------------------------------------------------------------- what is not
# possible


def test_a_generator_refuses_an_edit_with_what_is_possible(generators, picture):
    with pytest.raises(
        InvalidInput, match=r"image2image was given; possible with vae is text2image, reconstruct, interpolate"
    ):
        danqing.edit(picture, "a fox", model=generators["vae"])


def test_a_denoiser_refuses_what_a_generator_does_and_is_no_generator(tiny, generators, picture):
    with pytest.raises(InvalidInput, match="possible with tiny is text2image, image2image, inpaint"):
        danqing.reconstruct(picture, model=str(tiny))
    with pytest.raises(InvalidInput, match="vae paints without denoising"):
        danqing.paint(model=str(tiny), refiner=generators["vae"])


@pytest.mark.parametrize("family", SEEDED)
def test_another_size_than_its_own_is_refused(generators, family):
    with pytest.raises(InvalidInput, match="paints (16×16|8×8) pixels and no other"):
        danqing.paint(model=generators[family], width=32)


def test_what_a_model_has_no_use_for_is_named_and_changes_nothing(easels, painter):
    asked = {"seed": 1, "steps": 9, "solver": "euler", "negative": "blue", "prompt": "a fox", "mix_from": 3}
    told, plain = easels("stylegan2").paint(Request(**asked)), easels("stylegan2").paint(Request(seed=1))
    assert told.image.tobytes() == plain.image.tobytes() and plain.warnings == ()
    assert sorted(warning.split()[0] for warning in told.warnings) == [
        "mix_from",
        "negative",
        "prompt",
        "solver",
        "steps",
    ]
    asked = {"truncation": 0.5, "mix": 3, "mix_from": 2, "other": "x.png", "between": 0.5, "to": "noto"}
    told, plain = painter.paint(Request(seed=1, **asked)), painter.paint(Request(seed=1))
    assert told.image.tobytes() == plain.image.tobytes() and plain.warnings == ()
    assert {warning.split()[0] for warning in told.warnings} == set(asked)


def test_interpolation_wants_two_pictures(generators, picture):
    with pytest.raises(InvalidInput, match="second was not given"):
        next(danqing.paint_all([Request(recipe="interpolate", model=generators["vae"], image=str(picture))]))
    with pytest.raises(InvalidInput, match="count: 0"):
        danqing.interpolate(picture, picture, count=0, model=generators["vae"])


@pytest.mark.parametrize("family", ["pixelcnn", "cyclegan"])
def test_a_network_of_any_size_wants_a_description_that_states_one(generator, tmp_path, family):
    with pytest.raises(InvalidFile, match="width and height"):
        danqing.paint(model=str(generator(tmp_path / "m", family, defaults={})))


@pytest.mark.parametrize("harm", ["gone", "cut", "flipped"])
def test_damaged_weights_are_refused(generator, tmp_path, harm):
    folder = generator(tmp_path / "m", "vae")
    weights = folder / "generator.safetensors"
    data = weights.read_bytes()
    weights.unlink()
    if harm != "gone":
        weights.write_bytes(data[:-100] if harm == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InvalidFile, match="safetensors"):
        danqing.paint(model=str(folder))


def test_a_model_without_a_network_that_paints_and_one_of_an_unknown_family_are_refused(generator, tmp_path):
    folder = generator(tmp_path / "m", "vae")
    described = (folder / "model.json").read_text()
    for old, new, told in (
        ('"generator": {', '"painter": {', "no denoiser and no"),
        ('"family": "vae"', '"family": "va"', "vae"),
    ):
        assert old in described
        (folder / "model.json").write_text(described.replace(old, new))
        with pytest.raises((InvalidFile, UnknownName), match=told):
            danqing.paint(model=str(folder))


def test_a_field_that_is_stated_to_be_nothing_is_not_told_to_be_ignored(generators):
    said = danqing.paint("", model=generators["stylegan2"], seed=1, index=0, panorama=False, steps=3).warnings
    assert len(said) == 1 and said[0].startswith("steps '3' was ignored")
