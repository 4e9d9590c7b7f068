"""What prompts ask a model to wear: LoRAs by tag, learned words by name."""

from __future__ import annotations

import random
import threading
from functools import partial

import numpy as np
import pytest
import torch

from danqing.adapt.base import layers
from danqing.errors import InvalidFile, UnknownName
from danqing.nets.ports import Residuals
from danqing.painting.adapters.adapters import ATTACHMENTS
from danqing.painting.adapters.attachment import Asked, Attachment, tags_of
from danqing.request.request import Request
from danqing.weights import store


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's folder of models."""
    monkeypatch.setenv("DANQING_MODELS", str(tmp_path))
    for name in ("loras", "embeddings"):
        (tmp_path / name).mkdir()
    return tmp_path


def lora(net: torch.nn.Module, prefix: str, seed: int, rank: int = 2) -> dict[str, torch.Tensor]:
    """A LoRA of every linear layer, in kohya's layout."""
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, layer in layers(net).items():
        if isinstance(layer, torch.nn.Linear):
            stem = prefix + name.replace(".", "_")
            tensors[f"{stem}.lora_down.weight"] = torch.randn(rank, layer.in_features, generator=draw)
            tensors[f"{stem}.lora_up.weight"] = torch.randn(layer.out_features, rank, generator=draw)
    return tensors


def pixels(painter, prompt: str, **options) -> np.ndarray:
    return np.asarray(painter.paint(Request(prompt=prompt, seed=1, steps=2, **options)).image)


def test_a_lora_changes_the_picture_by_its_strength_and_leaves_no_trace(painter, folder):
    plain = pixels(painter, "a fox")
    store.write(folder / "loras" / "wild.safetensors", lora(painter.adapters.target.nets["denoiser"], "lora_unet_", 0))
    whole, half = pixels(painter, "a fox <lora:wild:1>"), pixels(painter, "a fox <lora:wild:0.5>")
    assert (whole != plain).any() and (half != plain).any() and (half != whole).any()
    np.testing.assert_array_equal(pixels(painter, "a fox <lora:wild:0>"), plain)
    np.testing.assert_array_equal(pixels(painter, "a fox"), plain)


def test_the_strengths_of_text_and_picture_are_two(painter, folder):
    nets = painter.adapters.target.nets
    store.write(
        folder / "loras" / "both.safetensors",
        lora(nets["denoiser"], "lora_unet_", 0) | lora(nets["text"], "lora_te_", 1),
    )
    store.write(folder / "loras" / "text.safetensors", lora(nets["text"], "lora_te_", 1))
    np.testing.assert_array_equal(pixels(painter, "a fox <lora:both:0.7:0>"), pixels(painter, "a fox <lora:text:0.7>"))


def test_an_interrupted_picture_takes_the_lora_off(painter, folder):
    plain = pixels(painter, "a fox")
    store.write(folder / "loras" / "wild.safetensors", lora(painter.adapters.target.nets["denoiser"], "lora_unet_", 0))
    states = painter.states(Request(prompt="a fox <lora:wild:1>", seed=1, steps=2))
    next(states)
    states.close()
    np.testing.assert_array_equal(pixels(painter, "a fox"), plain)


def test_tensors_that_change_nothing_are_named_or_refused(painter, folder):
    tensors = lora(painter.adapters.target.nets["denoiser"], "lora_unet_", 0) | {
        "lora_unet_elsewhere.lora_down.weight": torch.ones(2, 3)
    }
    store.write(folder / "loras" / "odd.safetensors", tensors)
    request = Request(prompt="a fox <lora:odd:1>", seed=1, steps=1)
    assert any("lora_unet_elsewhere" in warning for warning in painter.paint(request).warnings)
    with pytest.raises(InvalidFile, match="lora_unet_elsewhere"):
        painter.paint(request.but(strict=True))


def test_a_lora_that_is_not_there_is_told_with_the_nearest_name_or_refused(painter, folder):
    store.write(
        folder / "loras" / "watercolour.safetensors", lora(painter.adapters.target.nets["denoiser"], "lora_unet_", 0)
    )
    request = Request(prompt="a fox <lora:watercolor:1>", seed=1, steps=1)
    assert any("Did you mean 'watercolour'" in warning for warning in painter.paint(request).warnings)
    with pytest.raises(UnknownName, match="Did you mean 'watercolour'"):
        painter.paint(request.but(strict=True))


def test_a_learned_word_speaks_where_its_name_stands_and_nowhere_else(painter, folder):
    plain, unknown = pixels(painter, "a fox"), pixels(painter, "a fox, mystyle")
    store.write(folder / "embeddings" / "mystyle.safetensors", {"emb_params": torch.randn(2, 16)})
    assert (pixels(painter, "a fox, mystyle") != unknown).any()
    np.testing.assert_array_equal(pixels(painter, "a fox"), plain)
    (folder / "embeddings" / "mystyle.safetensors").unlink()
    np.testing.assert_array_equal(pixels(painter, "a fox, mystyle"), unknown)


def test_a_learned_word_speaks_by_the_name_that_stands_in_its_file(painter, folder):
    plain = pixels(painter, "a <sks> fox")
    (folder / "embeddings" / "one").mkdir()
    store.write(folder / "embeddings" / "one" / "learned_embeds.safetensors", {"<sks>": torch.randn(2, 16)})
    learned = pixels(painter, "a <sks> fox")
    assert (learned != plain).any()
    np.testing.assert_array_equal(learned, pixels(painter, "a learned_embeds fox"))
    assert not painter.paint(Request(prompt="a <sks> fox, learned_embeds", steps=2)).warnings


def test_a_learned_word_of_another_model_is_read_as_text_and_said_so(painter, folder):
    unknown = pixels(painter, "a fox, mystyle")
    store.write(folder / "embeddings" / "mystyle.safetensors", {"emb_params": torch.randn(2, 24)})
    picture = painter.paint(Request(prompt="a fox, mystyle", seed=1, steps=2))
    np.testing.assert_array_equal(np.asarray(picture.image), unknown)
    assert any("mystyle" in warning for warning in picture.warnings)


# A kind of one's own --------------------------------------------------------------------------------------------------


def test_a_damaged_learned_word_is_read_as_text_and_said_so_or_refused(painter, folder):
    plain = pixels(painter, "a mystyle fox")
    (folder / "embeddings" / "mystyle.pt").write_bytes(bytes(range(256)) * 16)
    picture = painter.paint(Request(prompt="a mystyle fox", seed=1, steps=2))
    np.testing.assert_array_equal(np.asarray(picture.image), plain)
    assert any("'mystyle' was read as plain text" in line for line in picture.warnings)
    with pytest.raises(InvalidFile, match="mystyle"):
        painter.paint(Request(prompt="a mystyle fox", seed=1, steps=2, strict=True))


def test_arguments_of_a_tag_that_mean_nothing_here_are_said(painter, folder):
    store.write(folder / "loras" / "wild.safetensors", lora(painter.adapters.target.nets["denoiser"], "lora_unet_", 0))
    picture = painter.paint(Request(prompt="a fox <lora:wild:0,5:lbw=MIDD>", seed=1, steps=1))
    assert any("0,5, lbw=MIDD was ignored" in line for line in picture.warnings)


def test_another_kind_is_a_row_of_the_table(painter, folder):
    """A control asked for by ``<glow:name:strength>``, whose file holds what it adds to the middle of the UNet."""
    store.write(folder / "loras" / "warm.safetensors", {"warmth": torch.full((1, 16, 1, 1), 3.0)})

    def find(request, warn):
        for tag in tags_of(request, {"glow"}):
            yield Asked(folder / "loras" / f"{tag.name}.safetensors", tag.name, tag.unet)

    def attach(attached, found, target, warn):
        for asked, warmth in found:
            control = partial(lambda mid, *_: Residuals(mid=mid), asked.how * warmth)
            attached = attached.add(asked.path, partial(target.denoiser.add_control, control))
        return attached

    read = lambda asked, target, strict: store.read(asked.path)["warmth"]  # noqa: E731
    glow = Attachment(find=find, read=read, attach=attach, does="Glows.", tags={"glow"})
    plain = pixels(painter, "a fox")
    with ATTACHMENTS.added("glow", glow):
        assert (pixels(painter, "a fox <glow:warm:1>") != plain).any()
        np.testing.assert_array_equal(pixels(painter, "a fox <glow:warm:0>"), plain)
        np.testing.assert_array_equal(pixels(painter, "a fox"), plain)
        assert not painter.paint(Request(prompt="a fox <glow:warm:1>", steps=1)).warnings
    assert painter.paint(Request(prompt="a fox <glow:warm:1>", steps=1)).warnings


# Several pictures at a time -------------------------------------------------------------------------------------------


@pytest.fixture
def requests(painter, folder) -> list[Request]:
    """Pictures that differ in their prompts, adapters and tiles."""
    nets = painter.adapters.target.nets
    unet, text = lora(nets["denoiser"], "lora_unet_", 0), lora(nets["text"], "lora_te_", 1)
    store.write(folder / "loras" / "wild.safetensors", unet)
    store.write(folder / "loras" / "both.safetensors", lora(nets["denoiser"], "lora_unet_", 2) | text)
    store.write(folder / "embeddings" / "mystyle.safetensors", {"emb_params": torch.randn(2, 16)})
    prompts = [
        "a fox",
        "a fox <lora:wild:1>",
        "a [fox:cat:0.5] <lora:wild:0.5>",
        "a fox, mystyle",
        "a cat <lora:both:1>",
    ]
    requests = [Request(prompt=prompt, seed=1, steps=2) for prompt in prompts]
    return [*requests, requests[1].but(seed=2), requests[0].but(prompt="a cat"), requests[4].but(width=32, tile=16)]


def bytes_alone(painter, requests: list[Request]) -> list[bytes]:
    alone = [painter.paint(request).image.tobytes() for request in requests]
    assert len(set(alone)) == len(requests)
    return alone


@pytest.mark.parametrize("seed", range(3))
def test_pictures_painted_in_any_turns_are_those_painted_alone(painter, requests, seed):
    alone, order = bytes_alone(painter, requests), random.Random(seed)
    running = {i: painter.states(request) for i, request in enumerate(requests)}
    last = {}
    while running:
        i = order.choice(list(running))
        if (state := next(running[i], None)) is None:
            del running[i]
        else:
            last[i] = state
    assert [last[i].image.tobytes() for i in range(len(requests))] == alone


def test_pictures_painted_in_eight_threads_are_those_painted_alone(painter, requests):
    alone, begin, found = bytes_alone(painter, requests), threading.Barrier(8), {}

    def paint(worker: int) -> None:
        begin.wait()
        for i in range(worker, worker + 2):
            found[worker, i] = painter.paint(requests[i % len(requests)]).image.tobytes()

    workers = [threading.Thread(target=paint, args=(worker,)) for worker in range(8)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    assert len(found) == 16 and all(picture == alone[i % len(requests)] for (_, i), picture in found.items())
