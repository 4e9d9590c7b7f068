"""Write what the documentation takes from the code: tables of rows, and files that run as tests.

    python benchmarks/pages.py            names the pages that differ
    python benchmarks/pages.py --write    and brings them up to date

A page holds ``<!-- table solve.solvers:SOLVERS -->`` or ``<!-- code tests/plugins/ralston.py -->``, what belongs there,
and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from pkgutil import resolve_name

ROOT = Path(__file__).parents[1]
PART = re.compile(r"(<!-- (table|code) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def renewed(page: str) -> str:
    """A page with its parts as they are now."""

    def part(found: re.Match[str]) -> str:
        begin, kind, place, end = found.groups()
        if kind == "table":
            return f"{begin}\n{resolve_name(f'danqing.{place}').markdown()}\n\n{end}"
        return f"{begin}\n```python\n{(ROOT / place).read_text('utf-8')}```\n\n{end}"

    return PART.sub(part, page)


def stale() -> dict[Path, str]:
    """The pages that differ, as they should be."""
    pages = {path: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
    return {path: new for path, page in pages.items() if (new := renewed(page)) != page}


def main() -> None:
    for path, page in stale().items():
        print(path.relative_to(ROOT))
        if "--write" in sys.argv:
            path.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
