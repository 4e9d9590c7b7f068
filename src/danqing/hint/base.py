"""What a hint is: a record of checked parameters that draws a hint of its picture's size.

Records need neither torch nor numpy nor OpenCV until `make` is called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from ..inputs.records import Named

if TYPE_CHECKING:
    from PIL import Image
    from torch import nn

#: From the name or the path of a model's file to its network.
Load = Callable[[str], "nn.Module"]
Warn = Callable[[str], object]
#: (a picture as RGB, or RGBA where something is transparent; what takes a sentence on it) -> its hint, of its size.
Draw = Callable[["Image.Image", Warn], "Image.Image"]
#: What a hint is made of, which says how one that is finished becomes larger or smaller: lines of one pixel, areas of
#: one colour, or smooth levels.
Made = Literal["lines", "areas", "levels"]


class Hint(Named, ABC):
    """The parameters of a hint, its name among them. Frozen.

    Raises:
        InvalidInput: a parameter outside its domain; UnknownName for one that is not there.
    """

    #: As `Made`; and the colour of what lies beside it where it is fitted, None for that of its own border.
    made: ClassVar[Made] = "levels"
    ground: ClassVar[str | None] = None
    #: Whether the picture is a hint already, which is fitted when it is finished; others are drawn at the size wanted.
    finished: ClassVar[bool] = False

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the networks that it runs."""
        return ()

    @abstractmethod
    def make(self, load: Load | None = None, device: str | None = None) -> Draw:
        """What draws it; ``load`` is asked for the networks that it runs, which compute on the device.

        Raises:
            InvalidInput: parameters that contradict each other, or a network is needed and ``load`` is None.
        """
