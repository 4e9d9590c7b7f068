"""All cases in one tree, whose src is on the path: python tree.py TREE GIVEN WORK RESULT [WORD].

A process for each request would take an hour; so they share one, which is as a person uses the Python functions.
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import io
import json
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cases import CASES, Steps
from PIL import Image

#: Fields that are never the same twice: how long it took.
VOLATILE = {"seconds", "first_step", "step_seconds"}
#: Texts that are never the same twice, or say only which tree it is; `Tree.plain` adds the folders and the version.
SECONDS = (
    (re.compile(r"(\b(?:second)?s a picture\b).*"), r"\1 <seconds>"),  # a comparison's lines of seconds
    (re.compile(r"\| \d+\.\d{3} (?=\| \d+\.\dM \|)"), "| <seconds> "),  # and its column of them
)
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
EXIF, COMMENT = 0x8769, 0x9286


class Tree:
    """A tree, from steps to what they say and write."""

    def __init__(self, tree: Path, given: Path):
        import danqing
        from danqing.__main__ import main

        if not Path(danqing.__file__).is_relative_to(tree):
            raise SystemExit(f"{tree} was to be run, but danqing is at {danqing.__file__}")
        self.danqing, self.main = danqing, main
        self.names: dict[str, str] = {}
        self.counts = {"cases": 0, "commands": 0, "calls": 0, "pictures": 0}
        self.given, self.shipped = given, self.folders()
        self.names = {folder: f"<shipped>/{name}" for name, folder in self.shipped.items()}
        self.names |= {str(tree): "<tree>", str(given): "<given>", danqing.__version__: "<version>"}

    def folders(self) -> dict[str, str]:
        """The folder of each model that ships with the tree."""
        listed = self.said(["models", "--json"])["out"]
        return {each["name"]: each["folder"] for each in listed if "folder" in each}

    # ---------------------------------------------------------------------------------------------------------- said

    def plain(self, value: Any) -> Any:
        """A value of JSON without what is volatile."""
        if isinstance(value, dict):
            flat = {key: _flat(v) if key == "request" else v for key, v in value.items() if key not in VOLATILE}
            return {self.plain(key): self.plain(v) for key, v in flat.items()}
        if isinstance(value, list | tuple):
            return [self.plain(each) for each in value]
        if not isinstance(value, str):
            return value
        for name, sign in self.names.items():
            value = value.replace(name, sign)
        for pattern, sign in SECONDS:
            value = pattern.sub(sign, value)
        return value

    def command(self, line: str) -> dict[str, Any]:
        """A command line, before which VARIABLE=value may stand, PWD for the folder: its exit code and what it says."""
        line = re.sub(r"SHIPPED/([\w-]+)", lambda found: self.shipped[found[1]], line.replace("GIVEN", str(self.given)))
        words = shlex.split(line)
        variables = dict(words.pop(0).split("=", 1) for _ in range(len(words)) if re.match(r"[A-Z_]+=", words[0]))
        return self.said(words, variables)

    def said(self, words: list[str], variables: dict[str, str] | None = None) -> dict[str, Any]:
        self.counts["commands"] += 1
        out, err, code, before = io.StringIO(), io.StringIO(), 0, dict(os.environ)
        os.environ |= variables or {}
        sys.argv = ["danqing", *words]
        folder = contextlib.chdir((variables or {}).get("PWD", "."))
        try:
            with folder, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                self.main()
        except SystemExit as stop:
            code = stop.code
        except BaseException as error:  # a command that raises would have been a traceback
            code = f"{type(error).__name__}: {error}"
        finally:
            os.environ.clear()
            os.environ |= before
        return self.plain({"exit": code, "out": _json(out.getvalue()), "err": err.getvalue()})

    # --------------------------------------------------------------------------------------------------------- called

    def called(self, call: Callable[..., Any]) -> dict[str, Any]:
        """A call of a Python function: its pictures, written as PNG, or the error that it raised."""
        self.counts["calls"] += 1
        try:
            given = _each(call(self.danqing, self.given))
            return self.plain({"gave": [self.gave(one, n) for n, one in enumerate(given)]})
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("danqing")]
            return self.plain({"raised": kinds or [type(error).__name__], "message": str(error)})

    def gave(self, one: Any, n: int) -> Any:
        if isinstance(one, self.danqing.Replay):
            return {name: getattr(one, name) for name in ("exact", "max_abs", "mean_abs", "why")}
        if isinstance(one, self.danqing.Picture):
            path = one.save(f"{n}.png")
            return {"file": str(path), "pixels": _pixels(one.image), "warnings": list(one.warnings)}
        return one

    # -------------------------------------------------------------------------------------------------------- written

    def written(self, path: Path) -> Any:
        """What a file holds."""
        if path.suffix in PICTURES:
            return self.plain(_picture(path))
        data = path.read_bytes()
        if path.suffix == ".svg":
            record = re.search(r'danqing:record="([^"]*)"', data.decode())
            curves = re.sub(r"<metadata>.*</metadata>", "", data.decode())
            return self.plain(
                {"curves": _sum(curves.encode()), "record": _json(html.unescape(record[1])) if record else ""}
            )
        try:
            return self.plain(_json(data.decode())) if len(data) < 1 << 20 else _sum(data)
        except UnicodeDecodeError:
            return _sum(data)

    def looked_at(self, names: Iterable[str]) -> dict[str, Any]:
        """What the commands say of files that they wrote; the first picture that has a record is painted again."""
        found: dict[str, Any] = {}
        for name in names:
            if Path(name).suffix in (*PICTURES, ".svg"):
                self.counts["pictures"] += 1
                found[f"inspect {name}"] = said = self.said(["inspect", name, "--json"])
                recorded = isinstance(said["out"], dict) and isinstance(said["out"].get("request"), dict)
                if recorded and Path(name).suffix != ".svg" and not any(key.startswith("replay") for key in found):
                    found[f"replay {name}"] = self.said(["replay", name, "--json"])
        return found

    def case(self, steps: Steps) -> dict[str, Any]:
        """All steps, in an empty folder; what they say, what they leave, and what is said of that."""
        self.counts["cases"] += 1
        steps = (steps,) if isinstance(steps, str) or callable(steps) else steps
        found = {
            f"{n} {step if isinstance(step, str) else step.__name__}": (
                self.command(step) if isinstance(step, str) else self.called(step)
            )
            for n, step in enumerate(steps, 1)
        }
        names = sorted(str(path.relative_to(Path.cwd())) for path in Path.cwd().rglob("*") if path.is_file())
        return {**found, "files": {name: self.written(Path(name)) for name in names}, **self.looked_at(names)}

    def help(self) -> dict[str, Any]:
        """The help of every command, and whether torch is left alone until then."""
        whole = self.said(["--help"])
        listed = whole["out"].partition("Commands:\n")[2].partition("\n\n")[0]
        commands = re.findall(r"^  ([a-z]\S*)", listed, re.MULTILINE)
        found = {"danqing": whole, "nothing": self.said([]), "version": self.said(["--version"])}
        found |= {command: self.said([command, "--help"]) for command in commands}
        return {**found, "public": sorted(self.danqing.__all__), "torch was loaded": "torch" in sys.modules}


def _each(value: Any) -> Iterable[Any]:
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value


def _flat(request: Any) -> Any:
    """A request by the names of its fields without groups, which not every tree has."""
    try:
        from danqing.request.request import Request  # pyright: ignore[reportMissingImports]

        return {name: _plain(value) for name, value in Request(**request).stated().items()}
    except (ImportError, AttributeError, TypeError):
        return request


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _json(text: str) -> Any:
    """JSON, or lines of it, as values; any other text as it is."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            return text


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _pixels(image: Image.Image) -> str:
    return f"{image.format or ''} {image.mode} {image.width}×{image.height} {_sum(image.tobytes())}".strip()


def _picture(path: Path) -> dict[str, Any]:
    """A picture's pixels and all that stands beside them, read by Pillow alone."""
    with Image.open(path) as image:
        texts = dict(getattr(image, "text", {})) if image.format == "PNG" else {}
        xmp, comment = image.info.get("xmp", b""), image.getexif().get_ifd(EXIF).get(COMMENT, b"")
        record = re.search(rb'danqing:record="([^"]*)"', xmp if isinstance(xmp, bytes) else xmp.encode())
        if record:
            texts["danqing"] = html.unescape(record[1].decode())
        if comment:
            texts["parameters"] = comment[8:].decode("utf-16-be")
        profile = _sum(image.info["icc_profile"]) if "icc_profile" in image.info else ""
        return {"pixels": _pixels(image), "profile": profile, **{name: _json(text) for name, text in texts.items()}}


def main() -> None:
    place, given, work, result = (Path(word) for word in sys.argv[1:5])
    word = sys.argv[5] if len(sys.argv) > 5 else ""
    warnings.simplefilter("ignore")
    tree = Tree(place, given)
    found: dict[str, Any] = {"help": tree.help()}
    for n, (name, steps) in enumerate(CASES.items(), 1):
        if word in name:
            folder = work / f"{n:03}-{re.sub('[^0-9A-Za-z]+', '-', name)[:60]}"
            folder.mkdir()
            os.chdir(folder)
            found[name] = tree.case(steps)
    result.write_text(json.dumps({**found, "counts": tree.counts}, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
