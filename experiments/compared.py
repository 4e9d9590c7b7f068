"""Put what `danqing compare` wrote into the handbook: each folder's table and sheet at its place in docs/compare.md.

python -m experiments.heldout
danqing compare vae pixelcnn biggan ddpm score --art data/heldout/art --trained-on data/heldout/art-trained -o out/art
danqing compare stylegan2 --art data/heldout/portraits --trained-on data/heldout/portraits-trained -o out/portraits
python -m experiments.compared art=out/art portraits=out/portraits
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from danqing.errors import InvalidFile, InvalidInput

PAGE = Path(__file__).resolve().parents[1] / "docs" / "compare.md"


def placed(page: str, name: str, text: str) -> str:
    """A page with new text between <!-- name --> and <!-- /name -->.

    Raises:
        InvalidInput: the page has no such place.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise InvalidInput(
            f"{name!r} was given; possible are the places of {PAGE.name}, marked as <!-- {name} --> and <!-- "
            f"/{name} -->"
        )
    return f"{before}{begin}{text.rstrip()}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", metavar="PLACE=FOLDER")
    page = PAGE.read_text(encoding="utf-8")
    for place in parser.parse_args().places:
        name, _, folder = place.partition("=")
        table, sheet = Path(folder) / "compare.md", Path(folder) / "compare.png"
        if not (table.is_file() and sheet.is_file()):
            raise InvalidFile(
                f"{folder} holds no compare.md and compare.png: `danqing compare ... -o {folder}` writes them"
            )
        page = placed(
            page,
            name,
            f"![the first pictures of each](pictures/compare-{name}.png)\n\n{table.read_text(encoding='utf-8')}",
        )
        shutil.copy(sheet, PAGE.parent / "pictures" / f"compare-{name}.png")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
