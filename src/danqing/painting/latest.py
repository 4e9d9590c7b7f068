"""What was made latest, kept by key."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Latest(Generic[K, V]):
    """At most ``count`` values, the oldest of which gives way to a new one; threads may ask at once."""

    def __init__(self, count: int):
        self._count, self._values, self._lock = count, dict[K, V](), Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of a key, made where it is not known."""
        with self._lock:
            if key in self._values:
                return self._values[key]
        value = make()
        with self._lock:
            if key not in self._values and len(self._values) >= self._count:
                del self._values[next(iter(self._values))]
            return self._values.setdefault(key, value)
