"""What a file is: a picture with its record, a model's folder, or weights."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidFile
from . import files, infotext, zoo

