"""The finish `detail`: find, paint anew what was found, as inpainting of what is masked only, one after another."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageDraw

from ...errors import DanqingError, InvalidInput
from ...finish.detail import Detail
from ...noise import number
from ...pictures import encode, read
from ...request.request import Request, Resolved
from ...store.replayed import request_of
from ...store.shipped import DEFAULT
from ..finishing import Tells, Told
from ..loaded import LoadedModel
from ..painter import Painter
from .finders import Found, finder

#: The rim that a part has within its mask: this part of its smaller side.
RIM = 12
#: Modes whose pixels outside of what is painted stay as they are.
KEPT = ("RGB", "RGBA", "L")
#: What a request says of the whole picture, and a part of it does not share.
WHOLE = frozenset(
    ("recipe", "image", "mask", "extend", "width", "height", "frames", "tile", "panorama", "finish", "other", "between")
) | {"hires", "hires_steps", "hires_strength", "hires_by", "strength", "fill", "mask_grow", "mask_blur", "regions"}
#: What another model than that of the picture is told of it.
WORDS = frozenset(("prompt", "negative"))


class Detailer(Tells):
    """What paints parts of a picture anew, by a record.

    Args:
        record: which, and how.
        model: what paints the picture, or gives it as it is.
        request: of the picture, whose words, seed and sampling the parts share.

    Raises:
        DanqingError: what is looked for cannot be, or no model paints.
    """

    def __init__(self, record: Detail, model: LoadedModel, request: Resolved):
        self.record = record
        self.origin, self.notes = _origin(request), list[str]()
        self.painter = self._painter(model, request)
        self.find = finder(record.what, self.painter)

    def _painter(self, model: LoadedModel, request: Resolved) -> Painter:
        named = self.record.model
        if not named and isinstance(model, Painter):
            return model
        if not named and self.origin is not None:
            try:
                painter = model.sibling(self.origin.model, request.computed)
            except DanqingError as error:
                self.notes.append(f"{self.origin.model} cannot paint here, so {DEFAULT} does: {error}")
            else:
                if isinstance(painter, Painter):
                    return painter
        painter = model.sibling(named or DEFAULT, request.computed)
        if not isinstance(painter, Painter):
            raise InvalidInput(f"detail: {named} paints without denoising; possible is a model that denoises")
        return painter

    def told(self, image: Image.Image) -> Told:
        """The picture with what was found painted anew; where nothing is, the picture itself."""
        seen = read.over_white(read.plain(image))
        every = self.find(seen)
        chosen, said = self.chosen(every, image.size)
        record = {
            "by": self.painter.model.name,
            "found": [
                {"box": list(each.box), "sure": round(each.sure, 3), "label": each.label, "painted": each in chosen}
                for each in every
            ],
        }
        if not chosen:
            return Told(image, (*self.notes, *said), record)
        result, hashes = image.copy() if image.mode in KEPT else read.plain(image), dict[str, str]()
        for n, found in enumerate(chosen):
            mask = found.mask or _box(found, image.size)
            picture = self.painter.paint(self.request(n, seen, mask, found))
            said.extend(picture.warnings)
            hashes |= {f"detail {role}": sha256 for role, sha256 in picture.record["weights"].items()}
            changed = _differing(seen, picture.image)
            seen = picture.image
            result.paste(seen.convert("RGB" if result.mode == "RGBA" else result.mode), (0, 0), changed)
        if image.mode == "RGBA":
            result.putalpha(image.getchannel("A"))
        return Told(result, tuple(dict.fromkeys((*self.notes, *said))), record, hashes)

    def chosen(self, found: list[Found], size: tuple[int, int]) -> tuple[list[Found], list[str]]:
        """Those of what was found that are painted, in their order, and what is to be said of the others."""
        least = self.record.least * min(size) if self.record.least < 1 else self.record.least
        large = [each for each in found if min(_sides(each)) >= max(least, 1)]
        rank = {
            "largest": lambda each: -_sides(each)[0] * _sides(each)[1],
            "left": lambda each: each.box[0],
        }[self.record.order]
        chosen = sorted(large, key=rank)[: self.record.count]
        what, said = self.record.what, list[str]()
        if not found:
            said.append(f"no {what} was found: the picture is as it was.")
        if len(large) < len(found):
            said.append(
                f"{len(found) - len(large)} of {len(found)} ({what}) are smaller than {least:g} px: left as they were."
            )
        if len(chosen) < len(large):
            said.append(f"{len(large)} ({what}) were found, of which {len(chosen)} were painted: count says so.")
        return chosen, said

    def request(self, n: int, image: Image.Image, mask: Image.Image, found: Found) -> Request:
        """The n-th part as a request of its own; each draws noise of its own."""
        record, origin = self.record, self.origin or Request()
        own = origin.model == self.painter.model.source or origin.model == self.painter.model.name
        stated = {
            name: value for name, value in origin.stated().items() if (name not in WHOLE if own else name in WORDS)
        }
        prompt = record.prompt or origin.prompt or ("" if record.networks else record.what)
        part: dict[str, Any] = {
            "recipe": "inpaint",
            "model": self.painter.model.source,
            "prompt": prompt,
            "seed": number(origin.seed or 0, origin.index, "detail", n),
            "index": 0,
            "image": encode.data_uri(image),
            "mask": encode.data_uri(mask),
            "only_masked": True,
            "strength": record.strength,
            "padding": record.padding,
            "mask_grow": record.grow,
            "mask_blur": min(256, min(_sides(found)) // RIM),
            "finish": (),
            **self.painter.computed,
        }
        return Request(**{**stated, **part})


def _origin(request: Resolved) -> Request | None:
    """What a picture was painted by, as far as is known: a given one's own record, where what it names may be read."""
    if request.recipe != "finish":
        return request
    try:
        return request_of(request.image)
    except (DanqingError, OSError, ValueError):
        return None


def _sides(found: Found) -> tuple[int, int]:
    left, upper, right, lower = found.box
    return right - left, lower - upper


def _box(found: Found, size: tuple[int, int]) -> Image.Image:
    mask = Image.new("L", size)
    left, upper, right, lower = found.box
    ImageDraw.Draw(mask).rectangle((left, upper, right - 1, lower - 1), fill=255)
    return mask


def _differing(before: Image.Image, after: Image.Image) -> Image.Image:
    """Where two pictures differ, L of 0 and 255."""
    import numpy as np

    apart = (np.asarray(before) != np.asarray(after)).any(-1)
    return Image.fromarray((apart * 255).astype(np.uint8))
