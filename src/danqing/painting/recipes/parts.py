"""Only what is masked: each part of a mask is cut out with what is around it, painted at the model's own size, and put
back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ...errors import InvalidInput
from ...pictures import read
from ...pictures.picture import Picture
from ...request.request import Resolved
from ...types import State
from ..loaded import Recipe, Size
from ..painter import Painter

Box = tuple[int, int, int, int]
#: How many parts of a mask are painted at most.
MOST = 64


class Canvas(NamedTuple):
    """What is painted in.

    Args:
        source: the picture, RGB or RGBA.
        mask: where it may change, L of its size; 0 keeps every byte.
        clear: whether it keeps its own transparency where it is not repainted.
        stage: of a picture that is painted in several times, each of which draws noise of its own.
    """

    source: Image.Image
    mask: Image.Image
    clear: bool
    stage: str = ""


#: What paints in a canvas: yields each step, and the picture last.
Paint = Callable[[Painter, Resolved, Canvas], Iterator[State | Picture]]


class Part(NamedTuple):
    """A part of a mask: its box (left, upper, right, lower), and which pixels of that are its own, L of 0 and 255."""

    box: Box
    own: Image.Image


def by_parts(recipe: Recipe) -> Recipe:
    """A recipe that paints by a mask, with what is to be refused and said where it paints what is masked only."""

    def check(painter: Painter, request: Resolved) -> None:
        recipe.check(painter, request)
        if request.edit.only_masked and request.tiling.panorama:
            raise InvalidInput("only_masked paints parts of a picture, whose edges do not meet: leave panorama out")

    def notes(painter: Painter, request: Resolved) -> Iterator[str]:
        yield from recipe.notes(painter, request)
        if "padding" in request.stated() and not request.edit.only_masked:
            yield f"padding {request.edit.padding} had no effect: without only_masked the whole picture is painted."

    return replace(
        recipe,
        size=lambda request: None if request.edit.only_masked else recipe.size(request),
        check=check,
        notes=notes,
    )


def in_parts(paint: Paint) -> Paint:
    """What paints in a canvas, in each part of its mask by itself where the request says so."""

    def run(painter: Painter, request: Resolved, canvas: Canvas) -> Iterator[State | Picture]:
        return (_each(paint) if request.edit.only_masked else paint)(painter, request, canvas)

    return run


def _each(paint: Paint) -> Paint:
    """The parts in reading order: each sees what those before it became, and changes no pixel but its own. The first
    draws the noise that it would draw alone."""

    @torch.inference_mode()
    def run(painter: Painter, request: Resolved, canvas: Canvas) -> Iterator[State | Picture]:
        padding, shape = request.edit.padding, (request.width, request.height)
        parts, said = parts_of(canvas.mask, padding)
        start = canvas.source if canvas.clear else read.over_white(canvas.source)
        frames, last, done = [start] * request.frames, None, 0
        for n, part in enumerate(parts):
            box = around(part.box, padding, shape, start.size)
            own = Image.new("L", (box[2] - box[0], box[3] - box[1]))
            own.paste(part.own, (part.box[0] - box[0], part.box[1] - box[1]))
            mask = Image.composite(canvas.mask.crop(box), Image.new("L", own.size), own)
            size = painted_at(own.size, shape, painter.multiple)
            if size[0] * size[1] < own.width * own.height:
                said.append(
                    f"a part of {own.width}×{own.height} was painted at {size[0]}×{size[1]} and is soft; width and "
                    "height state another size."
                )
            crop = Canvas(frames[0].crop(box), mask, canvas.clear, f"part {n} " if n else "")
            steps = 0
            for state in paint(painter, request.but(width=size[0], height=size[1]), crop):
                if isinstance(state, Picture):
                    last = state
                    continue
                steps = state.steps
                yield replace(state, step=done + state.step, steps=len(parts) * steps)
            assert last is not None
            done += steps
            frames = [put_back(frame, painted, box, own) for frame, painted in zip(frames, last.frames, strict=True)]
        assert last is not None
        said = tuple(dict.fromkeys((*last.warnings, *said)))
        yield replace(last, frames=tuple(frames), request=request.but(padding=padding), warnings=said)

    return run


def parts_of(mask: Image.Image, padding: int) -> tuple[list[Part], list[str]]:
    """The parts of a mask in reading order, by their highest and then their leftmost pixel, and what is to be said of
    them. Of two that are no farther from each other than the padding, one is made: much of what they see is the same.

    Raises:
        InvalidInput: there are more than `MOST`.
    """
    import cv2

    given = (np.asarray(mask) > 0).astype(np.uint8)
    apart = cv2.connectedComponents(given)[0] - 1
    near = cv2.dilate(given, np.ones((padding + 1, padding + 1), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(near)
    if count - 1 > MOST:
        raise InvalidInput(
            f"the mask has {count - 1} separate parts, farther from each other than {padding} px; possible are up to "
            f"{MOST}: state a larger padding, or leave only_masked out"
        )
    found = list[Part]()
    for n, (left, upper, width, height, _) in enumerate(boxes[1:], 1):
        place = slice(upper, upper + height), slice(left, left + width)
        own = ((labels[place] == n) & (given[place] > 0)).astype(np.uint8) * 255
        x, y, w, h = cv2.boundingRect(own)
        box = int(left + x), int(upper + y), int(left + x + w), int(upper + y + h)
        found.append(Part(box, Image.fromarray(own[y : y + h, x : x + w])))
    said = f"{apart} parts of the mask were painted as {count - 1}: some are within {padding} px of each other."
    return sorted(found, key=lambda part: (part.box[1], part.box[0])), [said] if apart > count - 1 else []


def around(box: Box, padding: int, shape: Size, size: Size) -> Box:
    """What is seen with a box: so many pixels more to each side, grown to the ratio of ``shape``, and moved into a
    picture of ``size``, or cut where that is smaller."""
    width, height = box[2] - box[0] + 2 * padding, box[3] - box[1] + 2 * padding
    wanted = max(width, -(-height * shape[0] // shape[1])), max(height, -(-width * shape[1] // shape[0]))
    (left, right), (upper, lower) = (_within(*span) for span in zip(box[:2], box[2:], wanted, size, strict=True))
    return left, upper, right, lower


def _within(low: int, high: int, wanted: int, most: int) -> tuple[int, int]:
    """A span of that length, as far as there is room for it, about the middle of another."""
    length = min(wanted, most)
    first = min(max((low + high - length) // 2, 0), most - length)
    return first, first + length


def painted_at(size: Size, shape: Size, multiple: int) -> Size:
    """The size to paint in: the ratio of ``size``, as many pixels as ``shape`` has."""
    share = (shape[0] * shape[1] / (size[0] * size[1])) ** 0.5
    width, height = (max(multiple, round(side * share / multiple) * multiple) for side in size)
    return width, height


def put_back(picture: Image.Image, part: Image.Image, box: Box, own: Image.Image) -> Image.Image:
    """The picture with a part in its box, as far as that is its own."""
    result = picture.copy()
    result.paste(part, box[:2], own)
    return result
