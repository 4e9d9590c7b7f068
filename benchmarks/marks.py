"""Where on a page a benchmark puts what it has measured: between two marks that only it writes between."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def put(page: str, name: str, text: str) -> None:
    """Replace what stands on a page, by its path in the repository, between ``<!-- name -->`` and ``<!-- /name -->``; a
    page without these marks gets them at its end."""
    path, opening, closing = ROOT / page, f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(opening)
    path.write_text(f"{before}{opening}\n{text}\n{closing}{rest.partition(closing)[2]}", encoding="utf-8")
