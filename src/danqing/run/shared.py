"""One loaded model, several pictures at a time: whose adapters are on, and whose text is remembered, is settled before
each call of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import RLock

from torch import nn

from .textcache import Memory, TextCache

#: Puts an adapter on the networks; what it returns takes it off again, exactly.
Attach = Callable[[], Callable[[], object]]


class Setup:
    """What one picture needs of the networks while they compute for it: its adapters, and a memory of its text."""

    def __init__(self, attachments: Sequence[Attach] = ()):
        self.attachments, self.memory = tuple(attachments), Memory()


class Shared:
    """The networks of a model that several pictures are painted with, in turns.

    Generators in turns and threads may call ``using`` in any order: each call sees the networks as if it were alone.
    No weight is copied: adapters are put on and taken off where the turn goes to a picture with others, and a turn
    lasts as long as a call.

    Args:
        net: the backbone, whose text is projected once a picture.
    """

    def __init__(self, net: nn.Module):
        self._text = TextCache(net)
        self._lock = RLock()
        self._setup: Setup | None = None  # whose turn it is, where it is someone's
        self._on: tuple[Attach, ...] = ()
        self._off = ExitStack()

    @contextmanager
    def setup(self, attachments: Sequence[Attach] = ()) -> Iterator[Setup]:
        """What a picture asks for; it is on at once, so that what does not fit is refused, and off after.

        Raises:
            InvalidInput: an adapter does not fit; then none stays on.
        """
        mine = Setup(attachments)
        try:
            with self.using(mine):
                pass
            yield mine
        finally:
            with self._lock:
                if self._on is mine.attachments:
                    self._put(())
                if self._text.memory is mine.memory:
                    self._text.memory = Memory()

    @contextmanager
    def using(self, setup: Setup) -> Iterator[None]:
        """Within the context, which others wait for, the networks are as the setup asks."""
        with self._lock:
            outer = self._setup
            self._turn(setup)
            try:
                yield
            finally:
                self._setup = outer
                if outer is not None:
                    self._turn(outer)

    def _turn(self, setup: Setup) -> None:
        if self._on != setup.attachments:
            self._put(setup.attachments)
        self._setup, self._text.memory = setup, setup.memory

    def _put(self, attachments: tuple[Attach, ...]) -> None:
        self._on = ()
        self._off.close()
        with ExitStack() as stack:
            for attach in attachments:
                stack.callback(attach())
            self._off = stack.pop_all()
        self._on = attachments
