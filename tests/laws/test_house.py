"""The law of the house: imports go one way (CONTRIBUTING.md has the map)."""

import ast
import subprocess
import sys
from pathlib import Path

import danqing

ROOT = Path(danqing.__file__).parent
CORE = {"types", "errors"}
PROCESS = CORE | {"schedule", "denoise", "solve", "guide", "guides", "codec", "tiles", "noise", "levels"}
#: room -> the rooms it may import from, besides itself
MAY = {
    "errors": set(),
    "tables": {"errors"},
    "inputs": {"errors"},
    "version": set(),
    "lang": set(),
    "installed": {"errors"},
    "atomic": {"errors"},
    "noise": set(),
    "levels": set(),
    "log": set(),
    "types": {"errors"},
    "schedule": CORE,
    "denoise": CORE | {"schedule", "nets"},
    "solve": CORE | {"schedule", "denoise", "noise", "tables"},
    "guide": CORE | {"schedule", "denoise"},
    "guides": CORE | {"guide", "solve"},
    "nets": {"errors"},
    "prompt": CORE | {"nets", "inputs"},
    "adapt": CORE | {"nets"},
    "codec": CORE | {"nets"},
    "tiles": CORE | {"codec", "guide"},
    "finish": {"errors", "installed", "nets", "run", "tables", "inputs"},
    "identity": {"errors", "installed", "finish", "nets", "run", "weights"},
    "hint": {"errors", "identity", "finish", "nets", "run", "tables", "inputs"},
    "vision": {"errors", "levels", "nets", "weights"},
    "learn": CORE | {"nets", "schedule", "denoise", "weights", "atomic", "noise", "levels", "lang"},
    "teach": PROCESS
    | {"learn", "store", "pictures", "prompt", "nets", "weights", "run", "tables"}
    | {"adapt", "atomic", "hint", "identity", "painting"},
    "run": CORE | {"nets", "log", "tables", "version", "atomic", "weights"},
    "weights": {"errors", "nets", "atomic", "tables", "log"},
    "request": {"errors", "inputs", "finish", "solve", "tables", "run"},
    "pictures": {"request", "errors", "inputs", "version", "atomic", "log"},
    "store": {
        "installed",
        "inputs",
        "log",
        "pictures",
        "request",
        "errors",
        "version",
        "run",
        "atomic",
        "nets",
        "prompt",
        "weights",
    },
    "merge": {"errors", "tables", "inputs", "noise", "atomic", "weights", "adapt", "store"},
    "painting": PROCESS
    | {"tables", "inputs", "log"}
    | {"store", "pictures", "request", "version", "nets", "prompt", "adapt", "weights", "run", "finish"}
    | {"hint", "identity", "installed", "vision"},
    "measure": PROCESS
    | {"run", "installed", "painting", "store", "pictures", "request", "version", "nets", "prompt", "weights", "learn"}
    | {"identity", "vision"},
    "api": {"types", "store", "painting", "pictures", "request", "finish", "errors"},
    "cli": {
        "lang",
        "run",
        "solve",
        "weights",
        "inputs",
        "tables",
        "installed",
        "api",
        "measure",
        "merge",
        "painting",
        "store",
        "pictures",
        "request",
        "finish",
        "hint",
        "learn",
        "teach",
        "errors",
        "version",
        "log",
    },
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


def edges() -> dict[Path, set[Path]]:
    """Which files a file imports, at whatever place in it, be it for types alone."""
    modules = {(*path.relative_to(ROOT).with_suffix("").parts,): path for path in ROOT.rglob("*.py")}
    modules = {parts[:-1] if parts[-1] == "__init__" else parts: path for parts, path in modules.items()}
    graph: dict[Path, set[Path]] = {}
    for parts, path in modules.items():
        package = parts if path.name == "__init__.py" else parts[:-1]
        graph[path] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = (*package[: len(package) - node.level + 1], *filter(None, (node.module or "").split(".")))
                found = (modules.get((*base, alias.name)) or modules.get(base) for alias in node.names)
                graph[path] |= {file for file in found if file and file != path}
    return graph


def test_no_files_import_each_other_in_a_circle():
    graph = edges()
    while ends := [path for path, others in graph.items() if not others & graph.keys()]:
        graph = {path: others for path, others in graph.items() if path not in ends}
    assert not graph, "in or above a circle: " + ", ".join(str(path.relative_to(ROOT)) for path in sorted(graph))


def test_no_folder_holds_more_than_sixteen_files():
    folders = {path.parent for path in ROOT.rglob("*.py")} - {ROOT / "nets"}
    crowded = {str(folder.relative_to(ROOT)): n for folder in folders if (n := len(list(folder.glob("[!_]*.py")))) > 16}
    assert not crowded


def test_a_room_says_what_lives_there_and_nothing_else():
    rooms = {path: ast.parse(path.read_text("utf-8")).body for path in ROOT.rglob("*/__init__.py")}
    wrong = [path for path, body in rooms.items() if [*map(type, body)] != [ast.Expr] and path.parent != ROOT]
    assert not wrong


def test_painting_loads_nothing_of_training():
    code = "import sys, danqing.api, danqing.painting.load; print([m for m in sys.modules if 'danqing.learn' in m])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_file_reads_in_one_sitting():
    long = {
        str(path.relative_to(ROOT)): n
        for path in ROOT.rglob("*.py")
        if (n := len(path.read_text("utf-8").splitlines())) > 550
    }
    assert not long
