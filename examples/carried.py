"""What the pictures of a folder carry, counted: how many were painted by which model and solver.

python examples/carried.py ~/pictures
"""

import argparse
from collections import Counter
from pathlib import Path

from danqing import InvalidFile
from danqing.pictures.carried import carried_by, recorded

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def carries(path: Path) -> str:
    """What a picture says of its making, in a few words."""
    try:
        found = carried_by(path)
        if found.record is None:
            return "A1111 text alone" if found.parameters else "nothing"
        request = recorded(path)
    except InvalidFile:
        return "cannot be read"
    return f"{request.model}, {request.sampling.solver or 'no solver'}"


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
args = parser.parse_args()

count = Counter(carries(path) for path in args.folder.rglob("*") if path.suffix.lower() in PICTURES)
for what, number in count.most_common():
    print(f"{number:6}  {what}")
