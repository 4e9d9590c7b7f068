"""Single pictures: every icon that shows a known subject, at 128 px on white, and the split that keeps some unseen."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.data.colours import dominant
from experiments.data.names import bare
from experiments.data.plain import NAMES
from experiments.data.sources import ART, Source
from experiments.data.subjects import Finder, Subject, load_subjects

SIZE = 128
SEED = "danqing-1"
HELDOUT_PAIRS = 0.05
HELDOUT_SUBJECTS = 20
STYLES_PER_HELDOUT_SUBJECT = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture to render: the source's SVG text or raster file, and how to lay it on the canvas."""

    hexcode: str
    source: Source
    name: str
    svg: str = ""
    file: str = ""
    flip: str = ""
    turns: int = 0


def version(modules: Path, package: str) -> str:
    """The installed version of a package."""
    return json.loads((modules / package / "package.json").read_text())["version"]


def svg_jobs(modules: Path, source: Source, subjects: dict[str, Subject]) -> Iterator[Job]:
    """The icons of an Iconify set that show a known subject, one for each subject: code points first, then names."""
    folder = modules / source.package
    icons = json.loads((folder / "icons.json").read_text())
    chars = json.loads((folder / "chars.json").read_text())
    finder = Finder(subjects, source.package.split("/")[1])
    drawn, aliases = icons["icons"], icons.get("aliases", {})
    found: dict[str, str] = {}
    candidates = [(finder.code(code), name) for code, name in chars.items()]
    candidates += [(finder.name(name), name) for name in [*drawn, *aliases]]
    for hexcode, name in candidates:
        if hexcode is not None and (name in drawn or name in aliases):
            found.setdefault(hexcode, name)
    for hexcode, name in sorted(found.items()):
        flip, turns, base = "", 0, name
        while base in aliases:  # an alias names its parent and may mirror or turn it
            alias = aliases[base]
            flip += "h" * alias.get("hFlip", False) + "v" * alias.get("vFlip", False)
            turns, base = turns + alias.get("rotate", 0), alias["parent"]
        icon = drawn[base]
        width, height = icon.get("width", icons["width"]), icon.get("height", icons["height"])
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
            f' width="{width}" height="{height}"'
            f' viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">{icon["body"]}</svg>'
        )
        yield Job(hexcode=hexcode, source=source, name=name, svg=svg, flip=flip, turns=turns)


def webp_jobs(modules: Path, source: Source, subjects: dict[str, Subject]) -> Iterator[Job]:
    """The raster files of the 3D set that show a known subject; their names are code points."""
    finder = Finder(subjects, "fluent-emoji-3d")
    for path in sorted((modules / source.package / "assets").glob("*.webp")):
        if hexcode := finder.code(path.stem):
            yield Job(hexcode=hexcode, source=source, name=path.name, file=str(path))


def shrink(picture: Image.Image, box: int) -> Image.Image:
    """The picture fitted to a square of `box` pixels, with premultiplied colours so that rims do not darken."""
    if max(picture.size) == box:
        return picture
    scale = box / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return (
        picture.convert("RGBa")
        .resize(size, Image.Resampling.LANCZOS if scale > 0.4 else Image.Resampling.BOX)
        .convert("RGBA")
    )


def render_svg(svg: str, box: int) -> Image.Image:
    """An SVG drawn as large as fits in a square of `box` pixels, with transparency."""
    import resvg_py

    head = svg[: svg.index(">")]
    width, height = (float(head.split(f' {side}="')[1].split('"')[0]) for side in ("width", "height"))
    scale = box / max(width, height)
    across, down = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.open(io.BytesIO(resvg_py.svg_to_bytes(svg_string=svg, width=across, height=down))).convert("RGBA")


def render(job: Job, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """The picture on white (size, size, 3) and its opacity (size, size), both uint8."""
    box = size - 2 * job.source.margin * size // SIZE
    drawn = render_svg(job.svg, box * job.source.detail) if job.svg else Image.open(job.file).convert("RGBA")
    picture = shrink(drawn, box)
    for axis in job.flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT if axis == "h" else Image.Transpose.FLIP_TOP_BOTTOM)
    picture = picture.rotate(-90 * job.turns, expand=True) if job.turns % 4 else picture
    canvas = Image.new("RGBA", (size, size), (255, 255, 255, 0))
    canvas.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    pixels = np.asarray(canvas, dtype=np.float32)
    alpha = pixels[..., 3:] / 255
    return np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8), np.asarray(canvas)[..., 3].copy()


def rank(*words: str) -> int:
    """A fixed place in a shuffled order: the same for the same words on every machine."""
    return int.from_bytes(hashlib.sha256("|".join((SEED, *words)).encode()).digest()[:8], "big")


def split(pairs: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Train, heldout_pair or heldout_subject for every (subject, style).

    Twenty subjects that exist in six or more styles lose three styles; of the other pairs one in twenty is held out,
    as long as its subject keeps three styles to be learned from. The order is that of a hash, so it never changes.
    """
    styles_of: dict[str, list[str]] = {}
    for subject, style in pairs:
        styles_of.setdefault(subject, []).append(style)
    result = dict.fromkeys(pairs, "train")
    rich = sorted((s for s, styles in styles_of.items() if len(styles) >= 6), key=lambda s: rank("subject", s))
    for subject in rich[:HELDOUT_SUBJECTS]:
        for style in sorted(styles_of[subject], key=lambda st: rank("style", subject, st))[:STYLES_PER_HELDOUT_SUBJECT]:
            result[subject, style] = "heldout_subject"
    left = Counter(subject for subject, _ in pairs)
    wanted, chosen = round(HELDOUT_PAIRS * len(pairs)), set(rich[:HELDOUT_SUBJECTS])
    for subject, style in sorted(pairs, key=lambda pair: rank("pair", *pair)):
        if wanted and subject not in chosen and left[subject] > 3:
            result[subject, style] = "heldout_pair"
            left[subject] -= 1
            wanted -= 1
    return result


def people(record: Mapping[str, Any]) -> bool:
    """Whether a picture shows people: colours of skin are neither told nor turned there."""
    return record["group"] == "people-body"


def described(record: Mapping[str, Any], picture: np.ndarray, opacity: np.ndarray) -> dict[str, Any]:
    """A ledger line with what a caption can say more: the subject's other names, the emoji itself, and the colours that
    are measured on the picture."""
    more: dict[str, Any] = {}
    for lang in ("en", "zh"):
        label = record[f"label_{lang}"]
        names = NAMES.get(record["label_en"], {}).get(lang, ())
        more[f"names_{lang}"] = list(dict.fromkeys((label, *names, bare(label))))
    emoji = "".join(chr(int(code, 16)) for code in record["subject"].split("-"))
    return {**record, **more, "emoji": emoji, "colours": dominant(picture, opacity, people(record))}


def make_singles(modules: Path, out: Path, say: Callable[[str], None], workers: int = 2) -> list[dict[str, Any]]:
    """Renders all single pictures into singles.npy and singles_alpha.npy and returns their ledger lines."""
    subjects = load_subjects(modules)
    jobs: list[Job] = []
    for source in ART:
        find = webp_jobs if source.package.startswith("@lobehub") else svg_jobs
        jobs += find(modules, source, subjects)
    jobs.sort(key=lambda job: (job.hexcode, job.source.style))
    where = split([(job.hexcode, job.source.style) for job in jobs])
    shape = (len(jobs), SIZE, SIZE)
    pictures = np.lib.format.open_memmap(out / "singles.part.npy", "w+", np.uint8, (*shape, 3))
    opacity = np.lib.format.open_memmap(out / "singles_alpha.part.npy", "w+", np.uint8, shape)
    with ProcessPoolExecutor(workers) as pool:
        for index, (picture, alpha) in enumerate(pool.map(render, jobs, chunksize=32)):
            pictures[index], opacity[index] = picture, alpha
            if index % 2000 == 0:
                say(f"singles {index}/{len(jobs)}")
    for array in (pictures, opacity):
        array.flush()
    versions = {source.package: version(modules, source.package) for source in ART}
    lines: list[dict[str, Any]] = []
    for index, job in enumerate(jobs):
        subject, source = subjects[job.hexcode], job.source
        lines.append({
            "kind": "single", "array": "singles", "index": index, "subject": job.hexcode, "label_en": subject.label_en,
            "label_zh": subject.label_zh, "tags_en": subject.tags_en, "tags_zh": subject.tags_zh,
            "group": subject.group,
            "subgroup": subject.subgroup, "style": source.style, "package": source.package,
            "version": versions[source.package],
            "icon": job.name, "licence": source.licence, "author": source.author, "split": where[job.hexcode,
            source.style],
        })  # fmt: skip
    lines = [described(line, pictures[i], opacity[i]) for i, line in enumerate(lines)]
    (out / "singles.part.npy").replace(out / "singles.npy")
    (out / "singles_alpha.part.npy").replace(out / "singles_alpha.npy")
    return lines
