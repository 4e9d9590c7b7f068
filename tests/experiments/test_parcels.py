"""Trainings that travel: weights in 8 bits, pictures, pieces, and folders that miss no file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments.draft import Drafting
from experiments.parcels import narrowed, pieces, read_pictures, seal, unsealed, webp, widened, write_pictures

from danqing.errors import InvalidFile, InvalidInput
from danqing.nets import clip
from danqing.weights import store
from experiments import away, pack, unpack


def test_eight_bits_are_half_a_step_off_at_most_and_vectors_keep_sixteen() -> None:
    torch.manual_seed(0)
    known = {"w": torch.randn(6, 5), "k": torch.randn(4, 3, 3, 3) * 100, "b": torch.randn(7), "none": torch.zeros(2, 3)}
    wide = widened(narrowed(known))
    assert list(wide) == list(known)
    for name in ("w", "k", "none"):
        step = known[name].flatten(1).abs().amax(1) / 127
        assert bool(((wide[name] - known[name]).flatten(1).abs() <= 0.501 * step[:, None] + 1e-30).all())
    assert torch.equal(wide["b"], known["b"].bfloat16().float())


def test_eight_bits_taken_twice_are_those_taken_once() -> None:
    once = narrowed({"w": torch.randn(9, 4, 3, 3)})
    twice = narrowed(widened(once))
    assert torch.equal(once["w"], twice["w"])


def test_pieces_hold_everything_once_in_order_and_no_more_than_they_may() -> None:
    tensors = {f"t{i}": torch.zeros(i + 1, dtype=torch.int8) for i in range(20)}
    parts = pieces(tensors, 32)
    assert [name for part in parts for name in part] == list(tensors)
    assert all(sum(t.numel() for t in part.values()) <= 32 for part in parts)
    with pytest.raises(InvalidFile, match="t19 has 20 bytes"):
        pieces(tensors, 19)


def test_pictures_come_back_in_order_and_white_where_nothing_is_drawn(tmp_path: Path) -> None:
    plain = [np.full((16, 16, 3), level, np.uint8) for level in range(0, 240, 20)]
    write_pictures(tmp_path / "plain.zip", plain, 90)
    for mine, theirs in zip(read_pictures(tmp_path / "plain.zip"), plain, strict=True):
        assert np.abs(mine.astype(int) - theirs).max() <= 3
    clear = np.full((16, 16, 4), 255, np.uint8)
    clear[..., 3] = 0
    clear[4:12, 4:12] = (200, 30, 30, 255)
    write_pictures(tmp_path / "clear.zip", [clear, np.full((16, 16, 4), 255, np.uint8)], 90)
    seen, opaque = read_pictures(tmp_path / "clear.zip")
    assert opaque.shape == clear.shape and (opaque == 255).all()
    assert (seen[seen[..., 3] == 0, :3] == 255).all()
    assert np.abs(seen[6:10, 6:10, :3].astype(int) - (200, 30, 30)).max() <= 12
    assert np.abs(seen[..., 3].astype(int) - clear[..., 3]).max() <= 8


def test_how_large_pictures_will_be_is_known_within_a_tenth(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    drawn = [np.repeat(np.repeat(draw.integers(255, size=(8, 8, 3), dtype=np.uint8), 4, 0), 4, 1) for _ in range(400)]
    write_pictures(tmp_path / "some.zip", drawn, 60)
    assert pack.expected(drawn, 60) == pytest.approx((tmp_path / "some.zip").stat().st_size, rel=0.1)
    assert len(webp(drawn[0], 20)) < len(webp(drawn[0], 90))


def test_a_folder_that_lost_or_changed_a_file_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.txt", "in/b.txt"):
        (tmp_path / name).write_text(name)
    seal(tmp_path, {"quality": 60})
    (tmp_path / "new.txt").write_text("came later")
    assert unsealed(tmp_path)["quality"] == 60
    (tmp_path / "a.txt").write_text("other")
    with pytest.raises(InvalidFile, match=r"a\.txt otherwise than packed"):
        unsealed(tmp_path)
    (tmp_path / "in" / "b.txt").unlink()
    with pytest.raises(InvalidFile, match=r"has lost in/b\.txt"):
        unsealed(tmp_path)
    with pytest.raises(InvalidFile, match=r"no manifest\.json"):
        unsealed(tmp_path / "in")


def test_what_a_training_learned_comes_home_and_what_stood_still_is_taken_from_here(tmp_path: Path) -> None:
    torch.manual_seed(0)
    stood = unpack.standing(tmp_path / "runs")
    state = {
        **stood,
        "denoiser.net.conv_in.weight": torch.randn(8, 16, 3, 3),
        "denoiser.net.conv_in.bias": torch.ones(8),
    }
    torch.save({"step": 4, "ema": {"model": state}}, tmp_path / "last.pt")
    log = tmp_path / "log.jsonl"
    log.write_text('{"samples": 64}\n{"step": 4}\n{"samples": 128}\n')
    sent = away.learned(tmp_path / "last.pt", "painter")
    assert set(sent) == {"denoiser.net.conv_in.weight", "denoiser.net.conv_in.bias"}
    away.leave(tmp_path / "home", sent, "painter", log, piece=away.HEADER + 2304)
    assert len(list((tmp_path / "home").glob("*.safetensors"))) == 2
    found = torch.load(unpack.unpack(tmp_path / "home", tmp_path / "runs"), weights_only=True)["ema"]["model"]
    assert set(found) == set(state)
    assert all(torch.equal(found[name], stood[name]) for name in stood)
    assert torch.equal(found["denoiser.net.conv_in.weight"], state["denoiser.net.conv_in.weight"].bfloat16().float())
    with pytest.raises(InvalidInput, match="is there already"):
        unpack.unpack(tmp_path / "home", tmp_path / "runs")


def test_more_than_may_go_home_goes_in_eight_bits(tmp_path: Path) -> None:
    away.leave(tmp_path, {"w": torch.ones(1024, 1024).bfloat16()}, "draft", tmp_path / "none", limit=2 * away.MIB)
    assert store.header(tmp_path / "weights-00.safetensors").tensors["w"].dtype == "I8"


def test_a_draft_that_travelled_is_what_the_painter_stands_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Drafting(clip.CLIPText(clip.MINI_TEXT))
    torch.save({"step": 1, "ema": {"model": model.state_dict()}}, tmp_path / "last.pt")
    (tmp_path / "log.jsonl").write_text(json.dumps({"samples": 7}) + "\n")
    away.leave(tmp_path / "home", away.learned(tmp_path / "last.pt", "draft"), "draft", tmp_path / "log.jsonl")
    assert unpack.unpack(tmp_path / "home", tmp_path).parent.name == "cooled-000000007"
    stood = unpack.standing(tmp_path)
    for name, tensor in model.draft.state_dict().items():
        assert torch.equal(stood[f"denoiser.net.draft.{name}"], tensor.bfloat16().float())


def test_a_branch_goes_home_unless_the_run_has_gone_on(tmp_path: Path) -> None:
    (tmp_path / "cooled-000000020").mkdir()
    for file, step in (("last.pt", 10), ("cooled-000000020/last.pt", 12)):
        torch.save({"step": step}, tmp_path / file)
    assert away.newest(tmp_path).parent.name == "cooled-000000020"
    torch.save({"step": 13}, tmp_path / "last.pt")
    assert away.newest(tmp_path) == tmp_path / "last.pt"


def test_packing_refuses_a_folder_that_is_there_and_data_that_are_not(tmp_path: Path) -> None:
    from danqing.store.model import read_model
    from danqing.store.shipped import DEFAULT, folders

    model = read_model(folders()[DEFAULT])
    with pytest.raises(InvalidInput, match="is there already"):
        pack.pack(tmp_path, model, tmp_path, tmp_path, 3, pack.MIB)
    with pytest.raises(InvalidFile, match=r"holds no ledger\.jsonl"):
        pack.pack(tmp_path / "new", model, tmp_path, tmp_path, 3, pack.MIB)
    assert not (tmp_path / "new").exists()
