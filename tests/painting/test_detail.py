"""Laws of `detail`: what was found is painted anew and nothing else, it is in the record, and it can be done again."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import danqing
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.painting.details import faces
from danqing.painting.details.files import names_of
from danqing.painting.details.finders import FINDERS, Finder, Found, finder, within
from danqing.painting.details.words import gain
from danqing.painting.finishing import file
from danqing.pictures.carried import recorded
from danqing.request.request import Request

BOXES = [(4, 4, 12, 10), (20, 8, 30, 24), (2, 26, 8, 30)]


@pytest.fixture(autouse=True)
def spots():
    """What finds three spots, whatever the picture, and for "none" nothing."""

    def make(what, painter):
        return lambda image: [Found(box, 0.9, "spot") for box in BOXES] if what == "spot" else []

    with FINDERS.added("spot", Finder(knows=lambda what: what in ("spot", "none"), make=make, does="Spots.")):
        yield


def inside(*boxes, size=(32, 32)):
    mask = np.zeros(size[::-1], bool)
    for left, upper, right, lower in boxes:
        mask[upper:lower, left:right] = True
    return mask


def changed(before, after):
    return (np.asarray(before) != np.asarray(after)).reshape(*np.asarray(before).shape[:2], -1).any(-1)


def painted(painter, chain, **options):
    return painter.paint(Request(model=painter.model.source, prompt="a red fox", seed=1, finish=chain, **options))


def detail(**parameters):
    return [{"name": "detail", "what": "spot", "strength": 1.0, "padding": 4, **parameters}]


def test_what_was_found_is_painted_anew_and_all_else_keeps_its_bytes(painter):
    plain, done = painted(painter, ()), painted(painter, detail())
    moved = changed(plain.image, done.image)
    assert not moved[~inside(*BOXES)].any() and all(moved[inside(box)].mean() > 0.5 for box in BOXES)
    (told,) = done.record["found"]
    assert told["by"] == "tiny" and [each["box"] for each in told["found"]] == [list(box) for box in BOXES]
    assert all(each["painted"] and each["sure"] == 0.9 for each in told["found"]) and "found" not in plain.record


def test_where_nothing_is_found_the_picture_is_as_it_was_and_that_is_said(painter):
    plain, done = painted(painter, ()), painted(painter, detail(what="none"))
    assert plain.image.tobytes() == done.image.tobytes() and done.record["found"][0]["found"] == []
    assert done.warnings == ("no none was found: the picture is as it was.",)


@pytest.mark.parametrize(
    ("parameters", "kept", "told"),
    [
        ({"count": 1}, [1], "of which 1 were painted"),
        ({"count": 2, "order": "left"}, [0, 2], "of which 2 were painted"),
        ({"least": 5}, [0, 1], "smaller than 5 px"),
        ({"least": 0.25}, [1], "smaller than 8 px"),
    ],
)
def test_as_many_as_are_asked_for_in_the_order_asked_for(painter, parameters, kept, told):
    plain, done = painted(painter, ()), painted(painter, detail(**parameters))
    moved = changed(plain.image, done.image)
    assert [bool(moved[inside(box)].any()) for box in BOXES] == [n in kept for n in range(3)]
    assert [each["painted"] for each in done.record["found"][0]["found"]] == [n in kept for n in range(3)]
    assert told in done.warnings[0]


def test_it_grows_when_asked_and_stronger_changes_more_and_nought_nothing(painter):
    plain = painted(painter, ()).image
    grown = changed(plain, painted(painter, detail(count=1, grow=2)).image)
    assert not grown[~inside((18, 6, 32, 26))].any() and grown[~inside(BOXES[1])].any()
    done = [np.asarray(painted(painter, detail(strength=strength)).image, int) for strength in (0, 0.3, 1)]
    apart = [np.abs(each - np.asarray(plain)).sum() for each in done]
    assert apart[0] == 0 < apart[1] < apart[2]


def test_each_part_draws_noise_of_its_own_and_takes_the_prompt_it_is_given(painter):
    one, other = (painted(painter, detail(prompt=prompt)).image for prompt in ("", "a blue cat"))
    assert changed(one, other).any()
    assert painted(painter, detail(prompt="a red fox")).image.tobytes() == one.tobytes()


def test_it_replays_from_a_painted_and_from_a_given_picture(painter, tiny, tmp_path):
    painted_too = painted(painter, detail(order="left")).save(tmp_path / "painted.png")
    assert danqing.replay(painted_too).exact and recorded(painted_too).finish[0].order == "left"
    plain = painted(painter, ()).save(tmp_path / "plain.png")
    options = {"device": "cpu", "precision": "fp32"}
    given = danqing.touch_up(plain, detail(model=str(tiny)), **options)
    path = given.save(tmp_path / "given.png")
    assert danqing.replay(path).exact
    assert given.record["finish"].keys() == {f"detail {role}" for role in ("denoiser", "codec", "text")}
    assert given.image.tobytes() == painted(painter, detail()).image.tobytes()


def test_a_given_picture_that_its_record_says_the_model_of_is_painted_in_by_that(painter, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("DANQING_MODELS", str(tiny.parent))
    plain = painted(painter, ()).save(tmp_path / "plain.png")
    given = danqing.touch_up(plain, detail(), device="cpu", precision="fp32")
    assert given.record["found"][0]["by"] == "tiny"
    assert given.image.tobytes() == painted(painter, detail()).image.tobytes()


@pytest.mark.parametrize("mode", ["L", "RGBA", "RGB"])
def test_a_given_picture_keeps_its_mode_and_transparency(tiny, tmp_path, mode):
    levels = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)
    given = Image.fromarray(levels).convert(mode)
    given.save(tmp_path / "x.png")
    done = danqing.touch_up(tmp_path / "x.png", detail(model=str(tiny)), device="cpu", precision="fp32").image
    assert done.mode == mode and not changed(given, done)[~inside(*BOXES)].any() and changed(given, done).any()
    assert mode != "RGBA" or done.getchannel("A").tobytes() == given.getchannel("A").tobytes()


def test_what_cannot_paint_or_be_looked_for_is_refused_before_a_step(painter, generators, tmp_path):
    with pytest.raises(InvalidInput, match="denoises"):
        next(painter.states(Request(finish=detail(model=generators["stylegan2"]))))
    with pytest.raises(UnknownName, match=r"nobody\.onnx"):
        next(painter.states(Request(finish=detail(what=str(tmp_path / "nobody.onnx")))))
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(InvalidFile, match="no detector"):
        next(painter.states(Request(finish=detail(what=str(tmp_path / "broken.onnx")))))
    with pytest.raises(InvalidInput, match="strength"):
        Request(finish="detail:what=face,strength=2".replace(",", ":"))


# ------------------------------------------------------------------------------------------------------------ finders


def network(path, boxes, outlines=None, names="{0: 'hat', 1: \"head\"}"):
    """A detector that says these rows (4 + classes + weights, N), whatever it reads."""
    answers = {"boxes": np.asarray(boxes, np.float32).T[None]}
    answers |= {} if outlines is None else {"outlines": np.asarray(outlines, np.float32)[None]}
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["peak"], keepdims=0),
        helper.make_node("Sub", ["peak", "peak"], ["nought"]),
    ]
    for name in answers:
        nodes.append(helper.make_node("Add", [f"the {name}", "nought"], [name]))
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in answers.items()],
        [numpy_helper.from_array(value, f"the {name}") for name, value in answers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"names": names})
    onnx.save(model, path)
    return str(path)


ROWS = [(16, 32, 8, 8, 0.9, 0.1), (17, 32, 8, 8, 0.8, 0.1), (48, 32, 16, 8, 0.1, 0.7), (32, 32, 9, 9, 0.2, 0.1)]


def test_a_file_finds_its_boxes_once_each_where_they_lie_in_the_picture(painter, tmp_path):
    find = finder(network(tmp_path / "toy.onnx", ROWS), painter)
    found = find(Image.new("RGB", (128, 64)))  # 64×32 of its 64×64, 16 below the upper edge
    assert [(each.label, each.box) for each in found] == [("hat", (24, 24, 40, 40)), ("head", (80, 24, 112, 40))]
    assert [round(each.sure, 5) for each in found] == [0.9, 0.7] and found[0].mask is None
    (head,) = finder(f"{tmp_path}/toy.onnx#head", painter)(Image.new("RGB", (128, 64)))
    assert head.box == (80, 24, 112, 40)
    with pytest.raises(UnknownName, match="'hat'"):
        finder(f"{tmp_path}/toy.onnx#hut", painter)


def test_a_segmenter_gives_outlines_within_its_boxes(painter, tmp_path):
    half = np.full((1, 16, 16), -1.0)
    half[:, :, 4:] = 1  # of 64, from 16 to the right
    rows = [(*row, 1.0) for row in ROWS[:1]]
    (found,) = finder(network(tmp_path / "seg.onnx", rows, half), painter)(Image.new("RGB", (64, 64)))
    mask = np.asarray(found.mask) > 0
    assert found.box == (12, 28, 20, 36) and not mask[~inside(found.box, size=(64, 64))].any()
    assert mask[28:36, 17:20].all() and not mask[28:36, 12:15].any()


def test_a_file_of_another_layout_is_refused_with_the_layout(painter, tmp_path):
    with pytest.raises(InvalidFile, match="4 \\+ classes"):
        finder(network(tmp_path / "odd.onnx", [(1, 2, 3, 4)]), painter)(Image.new("RGB", (64, 64)))
    assert names_of("{0: 'a', 12: \"it's\"}") == {0: "a", 12: "it's"} and names_of("(" * 99_999) == {}


def test_a_detectors_file_paints_and_replays_and_its_hash_is_recorded(painter, tiny, tmp_path):
    path = network(tmp_path / "toy.onnx", [(32, 32, 20, 20, 0.9, 0.1)])
    done = painted(painter, detail(what=path))
    assert done.record["found"][0]["found"][0]["box"] == [11, 11, 21, 21] and path in done.record["finish"]
    assert danqing.replay(done.save(tmp_path / "x.png")).exact and file(path).is_file()


def test_a_strangers_record_has_no_detector_read_that_it_was_not_painted_with(painter, tmp_path):
    path = network(tmp_path / "toy.onnx", [(32, 32, 20, 20, 0.9, 0.1)])
    done = painted(painter, detail(what=path))
    with pytest.raises(InvalidInput, match=r"toy\.onnx, outside the folders of models"):
        danqing.replay(replace(done, record={**done.record, "finish": {}}).save(tmp_path / "x.png"))
    assert Request(finish=detail(what="a/b.onnx#hat", model="c/d")).finish[0].reads == ("a/b.onnx", "c/d")


def test_faces_are_those_of_the_detector_within_the_picture(painter, monkeypatch):
    class Known:
        def detect(self, picture):
            from danqing.finish.faces import Face

            return [Face((-3.2, 4.4, 20.6, 40.0), np.zeros((5, 2)), 0.8)]

    monkeypatch.setattr(faces, "_detector", lambda device: Known())
    (found,) = finder("face", painter)(Image.new("RGB", (32, 32)))
    assert found == Found((0, 4, 21, 32), 0.8, "face") and within((1.5, 2.5, 3.5, 9.0), (3, 3)) == (2, 2, 3, 3)


def test_a_word_gains_nothing_over_itself_and_the_same_each_time(painter):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    assert not gain(painter, image, "").any()
    first, again = gain(painter, image, "fox"), gain(painter, image, "fox")
    assert (first == again).all() and first.abs().max() > 0 and first.shape == painter.encode_image(image).shape[2:]


def test_a_word_is_found_where_the_default_model_knows_its_thing():
    model = danqing.load("danqing-mini", device="cpu", precision="fp32")
    pair = Image.new("RGB", (128, 128), "white")
    for x, prompt in ((0, "a red mushroom, 3d style"), (64, "a blue fish, 3d style")):
        pair.paste(model.paint(Request(prompt=prompt, seed=5, steps=8, finish=())).image.resize((64, 64)), (x, 32))
    left, right = (finder(word, model)(pair)[0].box for word in ("mushroom", "fish"))
    assert left[2] <= 80 and right[0] >= 48
