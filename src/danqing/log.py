"""What danqing says of its work to whoever listens, by Python's `logging` under the name "danqing": files that are
opened, and seconds by stage. Nobody is told anything who does not ask."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger("danqing")
log.addHandler(logging.NullHandler())


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how many seconds a stage took, once it is done."""
    began = time.perf_counter()
    yield
    log.info("%s in %.2f s", what, time.perf_counter() - began)


class Lines(logging.Handler):
    """Hands each line to a function."""

    def __init__(self, say: Callable[[str], object]):
        super().__init__(logging.INFO)
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        self.say(record.getMessage())


@contextmanager
def heard(say: Callable[[str], object]) -> Iterator[None]:
    """For a while each line is handed to ``say``."""
    handler, before = Lines(say), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(before)
        log.removeHandler(handler)
