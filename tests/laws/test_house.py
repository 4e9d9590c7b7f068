"""The law of the house: imports go one way (CONTRIBUTING.md has the map)."""

import ast
from pathlib import Path

import danqing

ROOT = Path(danqing.__file__).parent
CORE = {"types", "errors"}
#: room -> the rooms it may import from, besides itself
MAY = {
    "errors": set(),
    "version": set(),
    "types": {"errors"},
    "schedule": CORE,
    "denoise": CORE | {"schedule"},
    "solve": CORE | {"schedule", "denoise"},
    "guide": CORE | {"schedule", "denoise"},
    "nets": {"errors"},
    "prompt": CORE | {"nets"},
    "adapt": CORE | {"nets"},
    "codec": CORE | {"nets"},
    "tiles": CORE | {"codec", "guide"},
    "finish": {"errors", "nets", "run"},
    "learn": CORE | {"nets", "schedule", "denoise", "weights"},
    "run": CORE | {"nets"},
    "weights": {"errors", "nets"},
    "easel": CORE
    | {
        "schedule",
        "denoise",
        "solve",
        "guide",
        "nets",
        "prompt",
        "adapt",
        "codec",
        "tiles",
        "weights",
        "run",
        "learn",
        "finish",
    },
    "cli": {"errors", "easel", "learn"},
    "__main__": {"cli"},
}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms of danqing that a file imports from, wherever in the file it does."""
    package = ("danqing", *path.relative_to(ROOT).parts[:-1])
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            names = [f"{source}.{alias.name}" for alias in node.names]
        rooms |= {parts[1] for name in names if (parts := name.split("."))[0] == "danqing" and len(parts) > 1}
    return rooms & set(MAY)


def test_imports_go_one_way():
    wrong = [
        f"{path.relative_to(ROOT)} imports {sorted(extra)}"
        for path in sorted(ROOT.rglob("*.py"))
        if path.name != "__init__.py" or path.parent != ROOT
        if (extra := imported(path) - MAY[room(path)] - {room(path)})
    ]
    assert not wrong, "\n".join(wrong)


def test_every_file_reads_in_one_sitting():
    long = {
        str(path.relative_to(ROOT)): n
        for path in ROOT.rglob("*.py")
        if (n := len(path.read_text("utf-8").splitlines())) > 550
    }
    assert not long
