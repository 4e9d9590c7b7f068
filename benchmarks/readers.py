"""What programs of others read in the files that danqing writes: exiftool, and ImageMagick or GraphicsMagick, where
they are installed.

    python benchmarks/readers.py

For each format: the size that the other program sees, whether it finds the whole A1111 text, and whether it warns.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from danqing.pictures.picture import Picture
from danqing.request import infotext
from danqing.request.request import Request

PROMPT = "a red fox, 一只红色的狐狸 (sharp:1.2)"


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def exiftool(path: Path, text: str) -> str:
    (found,) = json.loads(output("exiftool", "-json", "-validate", "-all", str(path)))
    texts = (found.get("Parameters", ""), found.get("UserComment", ""))
    whole = any(each.split() == text.split() for each in texts)  # it shows line ends as dots or as they are
    told = found.get("Warning", found.get("Validate", "OK"))
    return f"{found['ImageWidth']}×{found['ImageHeight']}, text {'whole' if whole else 'not found'}, {told}"


def magick(program: str, path: Path) -> str:
    identify = [program, "identify"] if program != "identify" else [program]
    size = output(*identify, "-format", "%wx%h", str(path)).strip()
    said = output(*identify, "-verbose", str(path))
    shown = [name for name in ("parameters:", "User Comment", "Profile-EXIF", "exif:") if name.lower() in said.lower()]
    return f"{size.replace('x', '×')}, {', '.join(shown) or 'no text'} shown"


def main() -> None:
    request = Request(prompt=PROMPT, negative="blurry", seed=3, steps=7).resolve()
    picture = Picture(frames=(Image.new("RGB", (64, 48), "teal"),), request=request, record={"danqing": "0"})
    text = infotext.write(request, picture.record)
    programs = [name for name in ("magick", "gm", "identify") if shutil.which(name)][:1]
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".png", ".jpg", ".webp"):
            path = picture.save(Path(folder) / f"x{suffix}")
            if shutil.which("exiftool"):
                print(f"{suffix}  exiftool {output('exiftool', '-ver').strip()}: {exiftool(path, text)}")
            for program in programs:
                print(f"{suffix}  {program}: {magick(program, path)}")


if __name__ == "__main__":
    main()
