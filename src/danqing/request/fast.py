"""Nearly the same picture sooner: fields of a request, chosen by measurement (`benchmarks/fast.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What `--fast` states: ``danqing.paint("a red fox", **danqing.FAST)``.
FAST: Mapping[str, Any] = {"forecast": 3}
