"""Laws of faces: similarities are found exactly, what the restorer leaves stays to the bit, and nothing depends on
where a face is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image

from danqing.errors import InvalidInput
from danqing.finish.align import ERODED, applied, beyond, feather, inverse, moved, template, umeyama
from danqing.finish.detect import MTCNN, Portrait, apart, cut, packaged
from danqing.finish.faces import Face, Faces, Network
from danqing.nets.gfpgan import GFPGAN, GFPGANConfig
from danqing.nets.mtcnn import onet, pnet, rnet
from danqing.nets.restorer import Restorer, RestorerConfig
from danqing.nets.srvgg import VIDEO, SRVGGNetCompact

SIZE = 32


def similarity(scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


class Known:
    """Finds the faces that it is told of, by the similarity that brings the template into the picture."""

    def __init__(self, *places: np.ndarray):
        self.places = places

    def detect(self, picture: np.ndarray) -> list[Face]:
        assert picture.dtype == np.uint8 and picture.shape[2] == 3
        return [Face((0, 0, 1, 1), applied(place, template(SIZE))) for place in self.places]


class Answers:
    """A restorer that is a function."""

    def __init__(self, f: Callable[[np.ndarray], np.ndarray], size: int = SIZE):
        self.f, self.size = f, size

    def __call__(self, face: np.ndarray) -> np.ndarray:
        assert face.shape == (self.size, self.size, 3) and face.dtype == np.float32
        return self.f(face).astype(np.float32)


SAME = Answers(lambda face: face)
NEGATIVE = Answers(lambda face: 1 - face)
MIDDLE = similarity(1.7, 0.3, (30, 20))


def noise(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, np.iinfo(dtype).max, shape).astype(dtype)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / a + c) * np.cos(y / b - c) for a, b, c in ((17, 23, 0), (29, 13, 1), (19, 31, 2))]
    return np.stack(waves, -1).astype(np.uint8)


# ---- similarities --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "angle"), [(1, 0), (0.3, 2.5), (40, -1), (1.5, math.pi)])
def test_umeyama_finds_a_known_similarity_exactly(scale: float, angle: float):
    truth = similarity(scale, angle, (-7, 123))
    found = umeyama(template(512), applied(truth, template(512)))
    np.testing.assert_allclose(found, truth, rtol=1e-9, atol=1e-9 * scale)


def test_umeyama_is_the_best_of_all_similarities():
    rng = np.random.RandomState(0)
    source, target = template(64), template(64) @ np.array([[0.8, 0.1], [-0.3, 1.1]]) + rng.normal(0, 3, (5, 2))
    best = umeyama(source, target)

    def error(matrix: np.ndarray) -> float:
        return float(((applied(matrix, source) - target) ** 2).sum())

    for way in ([[1, 0, 0], [0, 1, 0]], [[0, -1, 0], [1, 0, 0]], [[0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]):
        for step in (1e-3, -1e-3):
            assert error(best) < error(best + step * np.array(way))


def test_umeyama_does_not_mirror():
    mirrored = template(64) * (-1, 1)
    assert np.linalg.det(umeyama(template(64), mirrored)[:, :2]) > 0


def test_the_inverse_comes_back():
    np.testing.assert_allclose(applied(inverse(MIDDLE), applied(MIDDLE, template(64))), template(64), atol=1e-12)


def test_landmarks_in_one_point_are_refused():
    with pytest.raises(InvalidInput, match="one point"):
        umeyama(np.ones((5, 2)), template(512))


@pytest.mark.parametrize("scale", [0.25, 0.6, 1.0, 3.0])
def test_a_plane_that_is_moved_is_the_same_plane(scale: float):
    """Far from its rim: what is linear is kept by interpolation, and by means of whole pixels nearly."""
    y, x = np.mgrid[0:120, 0:120].astype(np.float32)
    matrix = similarity(scale, 0, (3, -5))
    answer = moved(x[..., None] + 2 * y[..., None], matrix, (40, 40))[10:20, 10:20, 0]
    v, u = np.mgrid[10:20, 10:20]
    source = applied(inverse(matrix), np.stack([u, v], -1).astype(float))
    np.testing.assert_allclose(answer, source[..., 0] + 2 * source[..., 1], atol=0.25)


def test_what_becomes_smaller_is_averaged():
    answer = moved(np.indices((64, 64)).sum(0)[..., None].astype(np.float32) % 2, similarity(1 / 8, 0, (0, 0)), (8, 8))
    np.testing.assert_allclose(answer, 0.5, atol=1e-6)


# ---- the mask ------------------------------------------------------------------------------------------------------


def test_the_mask_is_one_in_the_middle_zero_on_the_rim_and_has_no_step():
    line = np.linspace(-0.5, SIZE - 0.5, 301)
    mask = feather(np.stack(np.meshgrid(line, line), -1), SIZE, np.zeros((2, 2), bool))
    rim = (line + 0.5) / SIZE <= ERODED
    assert mask[150, 150] == 1 and not mask[:, rim].any() and not mask[rim].any()
    assert max(np.abs(np.diff(mask, axis=k)).max() for k in (0, 1)) < 0.05
    np.testing.assert_allclose(mask, mask[::-1, ::-1], atol=1e-12)


def test_where_the_picture_ends_there_is_nothing_to_blend_with():
    corners = np.array([[(-0.5, -0.5), (31.5, -0.5)], [(-0.5, 31.5), (31.5, 31.5)]])
    assert beyond(corners, 32, 32).all()
    assert (beyond(corners, 40, 32) == [[True, False], [True, True]]).all()
    assert (beyond(corners + 1, 40, 40) == False).all()  # noqa: E712
    places = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(float)
    assert (feather(places, SIZE, np.ones((2, 2), bool)) == 1).all()


# ---- the finish ----------------------------------------------------------------------------------------------------

PICTURES = {
    "grey": noise(70, 90),
    "grey, alpha": noise(70, 90, 2),
    "colour": noise(70, 90, 3),
    "16 bits": noise(70, 90, 3, dtype=np.uint16),
    "alpha": noise(70, 90, 4),
    "one pixel": noise(1, 1, 3),
    "narrow": noise(200, 3, 3),
}


@pytest.mark.parametrize("name", PICTURES)
def test_an_identity_restorer_changes_no_bit(name: str):
    places = (MIDDLE, similarity(0.4, -1, (60, 50)), similarity(3, 2, (-10, 0)))
    assert (Faces(SAME, Known(*places))(PICTURES[name]) == PICTURES[name]).all()


@pytest.mark.parametrize("name", PICTURES)
def test_outside_of_the_faces_and_in_transparency_no_bit_changes(name: str):
    picture = PICTURES[name]
    answer = Faces(NEGATIVE, Known(MIDDLE))(picture)
    assert answer.shape == picture.shape and answer.dtype == picture.dtype
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    place = (applied(inverse(MIDDLE), np.stack([x, y], -1).astype(float)) + 0.5) / SIZE
    outside = ~((place > ERODED) & (place < 1 - ERODED)).all(-1)
    assert (answer[outside] == picture[outside]).all()
    if name in ("alpha", "grey, alpha"):
        assert (answer[..., -1] == picture[..., -1]).all()
    if not outside.all():
        assert (answer[~outside] != picture[~outside]).any()


def test_what_is_wholly_transparent_keeps_its_hidden_colours():
    picture = noise(70, 90, 4)
    picture[20:60, 30:60, 3] = 0
    answer = Faces(NEGATIVE, Known(MIDDLE))(picture)
    hidden = picture[..., 3] == 0
    assert (answer[hidden] == picture[hidden]).all() and (answer != picture).any()


def test_strength_goes_from_nothing_to_all_in_proportion():
    picture = smooth(70, 90)
    none, half, whole = (Faces(NEGATIVE, Known(MIDDLE), strength=s)(picture).astype(int) for s in (0, 0.5, 1))
    assert (none == picture).all()
    assert np.abs(2 * half - none - whole).max() <= 2
    with pytest.raises(InvalidInput, match="strength: 1.5"):
        Faces(SAME, Known(), strength=1.5)


def test_inside_the_face_is_what_the_restorer_says():
    picture = smooth(90, 90)
    answer = Faces(NEGATIVE, Known(similarity(2, 0.2, (15, 10))))(picture)
    np.testing.assert_allclose(answer[40:50, 40:50], 255 - picture[40:50, 40:50].astype(int), atol=2)


def test_a_border_does_not_show():
    """A restorer that answers white on black leaves a ramp: no two neighbours differ much."""
    white = Answers(np.ones_like)
    for place in (similarity(4, 0.4, (60, 30)), similarity(4, 0, (-40, 10))):
        answer = Faces(white, Known(place))(np.zeros((200, 200, 3), np.uint8)).astype(int)
        assert answer.max() == 255
        assert max(np.abs(np.diff(answer, axis=k)).max() for k in (0, 1)) <= 30  # of 255, over a feather of 16 px


@pytest.mark.parametrize(("dx", "dy"), [(7, 0), (-9, 4)])
def test_where_the_picture_is_moved_the_answer_moves(dx: int, dy: int):
    whole = smooth(130, 150)
    first = Faces(NEGATIVE, Known(similarity(1.3, 0.5, (50, 40))))(whole[20:110, 20:130])
    again = Faces(NEGATIVE, Known(similarity(1.3, 0.5, (50 - dx, 40 - dy))))(
        whole[20 + dy : 110 + dy, 20 + dx : 130 + dx]
    )
    rows, columns = slice(25, 70), slice(25, 80)
    moved_back = again[25 - dy : 70 - dy, 25 - dx : 80 - dx].astype(int)
    np.testing.assert_allclose(moved_back, first[rows, columns], atol=1)


def test_where_the_picture_is_turned_the_answer_turns():
    picture, place = smooth(81, 81), similarity(1.4, 0.25, (20, 12))
    turn = np.array([[0.0, 1, 0], [-1, 0, 80]])  # (x, y) -> (y, 80 - x), as np.rot90 turns
    turned = np.column_stack([turn[:, :2] @ place[:, :2], applied(turn, place[:, 2])])
    first = Faces(NEGATIVE, Known(place))(picture)
    again = Faces(NEGATIVE, Known(turned))(np.ascontiguousarray(np.rot90(picture)))
    np.testing.assert_allclose(again.astype(int), np.rot90(first), atol=2)


def test_faces_far_from_each_other_are_as_each_alone():
    picture = smooth(80, 200)
    places = (similarity(1.2, 0.1, (10, 15)), similarity(1.2, -0.2, (140, 20)))
    both = Faces(NEGATIVE, Known(*places))(picture)
    one = Faces(NEGATIVE, Known(places[1]))(Faces(NEGATIVE, Known(places[0]))(picture))
    assert (both == one).all() and (both[:, :60] != picture[:, :60]).any() and (both[:, 140:] != picture[:, 140:]).any()


def test_no_face_is_said_and_no_byte_changes():
    picture = Image.fromarray(noise(20, 30, 3))
    answer, warnings = Faces(NEGATIVE, Known()).with_warnings(picture)
    assert answer.tobytes() == picture.tobytes() and "no face was found" in warnings[0]


def test_a_face_larger_than_the_restorer_is_said():
    _, warnings = Faces(SAME, Known(MIDDLE)).with_warnings(smooth(90, 90))
    assert "faces of 54 px" in warnings[0]
    assert Faces(SAME, Known(similarity(0.9, 0, (0, 0)))).with_warnings(smooth(90, 90))[1] == ()


def test_landmarks_outside_of_the_picture_change_nothing():
    picture = noise(20, 30, 3)
    assert (Faces(NEGATIVE, Known(similarity(1, 0, (500, 0))))(picture) == picture).all()


def test_a_portrait_is_restored_to_its_rim():
    picture = Image.fromarray(smooth(48, 48))
    answer = Faces(NEGATIVE, Portrait())(picture)
    np.testing.assert_allclose(np.asarray(answer).astype(int), 255 - np.asarray(picture).astype(int), atol=12)
    wide = Faces(NEGATIVE, Portrait())(smooth(48, 80))
    assert (wide[:, :16] == smooth(48, 80)[:, :16]).all() and (wide[0, 40] != smooth(48, 80)[0, 40]).any()


# ---- networks ------------------------------------------------------------------------------------------------------


def test_a_restorer_begins_as_the_identity_and_every_weight_learns():
    torch.manual_seed(0)
    net = Restorer(RestorerConfig(widths=(8, 16), layers_per_block=1))
    x = torch.rand(2, 3, 16, 24) * 2 - 1
    assert torch.equal(net(x), x)
    torch.nn.init.normal_(net.conv_out.weight)
    net(x).square().mean().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    with pytest.raises(InvalidInput, match="multiples of 4"):
        net(x[..., :15])


def test_networks_serve_as_restorers():
    torch.manual_seed(0)
    for net in (
        GFPGAN(GFPGANConfig(resolution=16, w_dim=4, channel_base=64, channel_max=4)),
        Restorer(RestorerConfig(widths=(8,))),
    ):
        restorer = Network(net, device="cpu", precision="fp32")
        face = smooth(restorer.size, restorer.size).astype(np.float32) / 255
        with torch.no_grad():
            want = (net(2 * torch.from_numpy(face).permute(2, 0, 1)[None] - 1)[0].permute(1, 2, 0).clamp(-1, 1) + 1) / 2
        np.testing.assert_allclose(restorer(face), want.numpy(), atol=1e-6)
    with pytest.raises(InvalidInput, match="SRVGGNetCompact restores no face"):
        Network(SRVGGNetCompact(VIDEO), device="cpu")


def test_a_network_in_half_precision_whose_numbers_overflow_goes_on_in_single():
    torch.manual_seed(0)
    net = Restorer(RestorerConfig(resolution=16, widths=(8,), layers_per_block=1))
    torch.nn.init.constant_(net.norm_out.bias, 1e2)
    torch.nn.init.constant_(net.conv_out.weight, 30.0)  # 8 channels, 9 places: above 65504
    restorer = Network(net, device="cpu", precision="fp16")
    assert (restorer(np.zeros((16, 16, 3), np.float32)) == 1).all() and restorer.dtype == torch.float32


# ---- the detector --------------------------------------------------------------------------------------------------


def test_of_overlapping_boxes_the_surest_stays():
    boxes = np.array([(0, 0, 10, 10), (1, 1, 11, 11), (20, 0, 30, 10), (22, 2, 26, 6)], float)
    scores = np.array([0.8, 0.9, 0.7, 0.6])
    assert apart(boxes, scores, 0.5).tolist() == [1, 2, 3]
    assert apart(boxes, scores, 0.5, within=True).tolist() == [1, 2]
    assert apart(boxes[:0], scores[:0], 0.5).tolist() == []


def test_a_cut_is_black_beyond_the_rim():
    picture = noise(10, 10, 3)
    assert (cut(picture, np.array([-2, -3, 6, 5]), 8)[3:, 2:] == picture[:5, :6]).all()
    assert (
        not cut(picture, np.array([-2, -3, 6, 5]), 8)[:3].any() and not cut(picture, np.array([50, 0, 58, 8]), 8).any()
    )


def arrays(net: torch.nn.Module) -> list[np.ndarray]:
    """Weights as Keras lists them."""
    listed = [p.detach() for p in net.parameters()]
    return [(t.permute(2, 3, 1, 0) if t.ndim == 4 else t.T).numpy() if t.ndim > 1 else t.numpy() for t in listed]


def test_the_networks_take_back_their_own_weights_and_refuse_others():
    torch.manual_seed(0)
    for make, side in ((pnet, 12), (rnet, 24), (onet, 48)):
        net, x = make(), torch.rand(2, 3, side, side)
        back = make().fill(arrays(net))
        assert all(torch.equal(a, b) for a, b in zip(net(x), back(x), strict=True))
        assert [len(y[0]) for y in net(x)] == [4, *([10] if make is onet else []), 2]
    with pytest.raises(InvalidInput, match="other shapes"):
        rnet().fill(arrays(pnet()))


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """Grace Hopper, of matplotlib's sample data; public domain."""
    path = str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    return np.asarray(Image.open(path).convert("RGB").resize((256, 300)))


@pytest.fixture(scope="module")
def photographed() -> MTCNN:
    return MTCNN(packaged(), device="cpu", smallest=40)


def test_a_photographed_face_is_found_where_it_is(photograph: np.ndarray, photographed: MTCNN):
    (face,) = photographed.detect(photograph)
    seen = [(111, 95), (153, 93), (132, 119), (115, 137), (151, 136)]  # by eye
    np.testing.assert_allclose(face.landmarks, seen, atol=4)
    assert face.box[0] < 111 and face.box[2] > 153 and face.score > 0.95


def test_the_mirrored_face_is_found_mirrored(photograph: np.ndarray, photographed: MTCNN):
    (face,), (other,) = photographed.detect(photograph), photographed.detect(photograph[:, ::-1])
    mirrored = (other.landmarks * (-1, 1) + (photograph.shape[1] - 1, 0))[[1, 0, 2, 4, 3]]
    np.testing.assert_allclose(mirrored, face.landmarks, atol=6)


def test_in_noise_and_in_nearly_nothing_no_face_is_found(photographed: MTCNN):
    assert photographed.detect(noise(60, 60, 3)) == [] and photographed.detect(noise(3, 5, 3)) == []


def test_a_photograph_is_restored_at_its_face_alone(photograph: np.ndarray, photographed: MTCNN):
    answer = Faces(NEGATIVE, photographed)(photograph)
    assert (answer[90:140, 100:160] != photograph[90:140, 100:160]).mean() > 0.95
    assert (answer[-80:] == photograph[-80:]).all() and (answer[:, :20] == photograph[:, :20]).all()
