"""The law of the documentation: each page is reached, each link leads somewhere, each public name is described."""

import re
import tomllib
from pathlib import Path

import pytest

import danqing
import pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for folder, pattern in ((ROOT, "*.md"), (DOCS, "*.md"), (ROOT / "examples", "*.md"), (ROOT / "zoo", "*/*.md"))
    for path in folder.glob(pattern)
)
#: A link or a picture of Markdown: its target.
LINK = re.compile(r"\]\(([^)\s]+)\)")


def leaves(nav):
    """All pages that a navigation names, at any depth."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in leaves(part)]


def test_every_page_stands_once_in_the_navigation_and_in_the_index():
    nav = leaves(tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"])
    pages = sorted(path.name for path in DOCS.glob("*.md"))
    linked = LINK.findall((DOCS / "index.md").read_text("utf-8"))
    assert sorted(nav) == pages
    assert {"index.md", *linked} >= set(pages)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_local_link_leads_to_a_file(page):
    local = [link.partition("#")[0] for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    assert not [link for link in local if link and not (page.parent / link).exists()]


def test_pages_hold_the_tables_and_the_code_that_they_name_as_they_are():
    assert not pages.stale(), "run python benchmarks/pages.py --write"


def test_every_public_name_is_described_and_no_other():
    described = re.findall(r"^::: danqing\.(\S+)$", (DOCS / "api.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(described) == sorted(set(danqing.__all__) - {"__version__"})
    assert all(getattr(danqing, name).__doc__ for name in described)
