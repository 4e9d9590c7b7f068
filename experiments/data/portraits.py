"""Drawn portraits: people whose parameters are chosen at random, recorded, and told in the captions."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.data.attributes import (
    CLOTHES_COLOURS,
    EXPRESSIONS,
    GROUNDS,
    HAIR,
    HAIR_COLOURS,
    HAIR_WEIGHTS,
    HATS,
    SETS,
    SKINS,
    THINGS,
)  # fmt: skip
from experiments.data.singles import render_svg, version
from experiments.data.sources import PORTRAITS

SIZE = 128
COUNT = 10_000
SEED = 30
Words = dict[str, str]


def _said(pair: tuple[str, ...]) -> Words:
    return {"en": pair[0], "zh": pair[1]}


def _coloured(form: tuple[str, str], colour: str, zh: str) -> Words:
    return {"en": form[0].format(c=colour), "zh": form[1].format(c=zh)}


def person(name: str, rng: random.Random) -> tuple[dict[str, Any], dict[str, Words], str]:
    """One person of a set: the drawing's options, the attributes in words, and the background's colour.

    `rng` decides everything; option lists hold one value each, and what is not drawn has probability 0.
    """
    table = SETS[name]
    sex = rng.choice(("women", "men"))
    said: dict[str, Words] = {
        "person": {"en": "woman", "zh": "女人"} if sex == "women" else {"en": "man", "zh": "男人"}
    }
    options: dict[str, Any] = {}

    def draw(option: str, value: str) -> None:
        options[option] = [value]
        options[f"{option}Probability"] = 100

    # hair or hat, and its colour
    colour = rng.choices(list(HAIR_COLOURS), HAIR_WEIGHTS)[0]
    hats = {**table.get("hats", {}).get(sex, {}), **table.get("hats", {}).get("both", {})}
    hatted = bool(hats) and rng.random() < 0.15
    forms = hats if hatted else table[sex]
    form = rng.choice([f for f, values in forms.items() for _ in range(min(len(values), 4))])
    value = rng.choice(forms[form])
    draw(table["hair"], value)
    fixed = "fixed_hair" in table and value not in table.get("coloured", ())
    shown = table["fixed_hair"] if fixed else colour
    if hatted:
        said["hat"] = _said(HATS[form])
        if table.get("coloured_hats"):
            words = HATS[form]
            said["hat"] = {
                "en": words[0].replace("a ", f"a {colour} ", 1),
                "zh": words[1].replace("戴", f"戴{HAIR_COLOURS[colour][0]}"),
            }
    elif form == "flowers":
        said["hair"] = _coloured(("{c} hair", "{c}头发"), shown, HAIR_COLOURS[shown][0])
        said["extra"] = _said(THINGS["flowers"])
    else:
        said["hair"] = _coloured(HAIR[form], shown, HAIR_COLOURS[shown][0])
    for option in table["hair_colour"]:
        options[option] = [HAIR_COLOURS[colour][1]]
    if "rear" in table:
        options["rearHairProbability"] = 100 * (sex == "women" and form in table["rear"])
        options["rearHair"] = [table["rear"].get(form, "longStraight")]

    # expression
    for option, values in table.get("pin", {}).items():
        options[option] = [rng.choice(values)]
    expression = rng.choice(
        [e for e in table["faces"] for _ in range(2 if e in ("smiling", "laughing", "sad", "angry") else 1)]
    )
    draw(table["mouth"], rng.choice(table["faces"][expression]))
    for option, pinned in table.get("face_pins", {}).get(expression, {}).items():
        options[option] = [pinned]
    if "brows" in table:
        option, brows = table["brows"]
        options[option] = [rng.choice(brows[""])]
    said["expression"] = _said(EXPRESSIONS[expression])

    # things worn, one option at most once
    def wear(slot: str, chance: float, option: str, kinds: dict[str, list[str]]) -> None:
        if (option in options and option != table["hair"]) or slot in said:
            return
        options[f"{option}Probability"] = 0
        if rng.random() < chance:
            kind = rng.choice(list(kinds))
            draw(option, rng.choice(kinds[kind]))
            said[slot] = _said(THINGS[kind])

    order = ["glasses", "beard"]
    rng.shuffle(order)
    for slot in order:
        if slot in table and (slot != "beard" or sex == "men"):
            wear(slot, 0.35, *table[slot])
        elif slot in table:
            options.setdefault(f"{table[slot][0]}Probability", 0)
    if "no_glasses" in table and "glasses" not in said:
        options[table["glasses"][0]] = [rng.choice(table["no_glasses"])]
    if "earrings" in table:
        wear("earrings", 0.45 if sex == "women" else 0.08, *table["earrings"])
    for option, kinds, whose in table.get("extras", ()):
        if whose in (sex, "both"):
            wear("gesture" if option == "gesture" else "extra", 0.2, option, kinds)
        if option not in options:
            options.setdefault(f"{option}Probability", 0)

    # colours of skin, clothes and background
    if "skin" in table and name not in ("lorelei", "croodles"):
        skin = rng.choice(list(SKINS))
        said["skin"] = _said(SKINS[skin][:2])
        options[table["skin"][0]] = [rng.choice(SKINS[skin][2])]
    if "clothes" in table:
        clothes = rng.choice(list(CLOTHES_COLOURS))
        options[table["clothes"][0]] = [CLOTHES_COLOURS[clothes][1]]
        said["clothes"] = {
            "en": f"{'an' if clothes[0] == 'o' else 'a'} {clothes} shirt",
            "zh": f"穿{CLOTHES_COLOURS[clothes][0]}衣服",
        }
    ground = "white" if rng.random() < 0.25 else rng.choice(list(GROUNDS))
    said["background"] = {"en": ground, "zh": GROUNDS[ground][0]}
    options["backgroundColor"] = [GROUNDS[ground][1]]
    options["size"] = SIZE
    if said.get("extra") == _said(THINGS["face mask"]):  # what a mask hides is not told
        said = {slot: words for slot, words in said.items() if slot not in ("expression", "beard")}
    return options, said, GROUNDS[ground][1]


def plan(modules: Path, count: int = COUNT, seed: int = SEED) -> list[dict[str, Any]]:
    """The ledger lines of `count` portraits, the sets in turn, all options and words recorded."""
    rng = random.Random(seed)
    versions = {source.package: version(modules, source.package) for source in PORTRAITS}
    lines = []
    for index in range(count):
        source = PORTRAITS[index % len(PORTRAITS)]
        options, said, _ = person(source.style, rng)
        options["seed"] = f"danqing-{seed}-{index}"
        lines.append({
            "kind": "portrait", "array": "portraits", "index": index, "style": source.style, "attributes": said,
            "options": options,
            "package": source.package, "version": versions[source.package], "licence": source.licence,
            "author": source.author,
            "split": "train", "seed": seed,
        })  # fmt: skip
    return lines


def drawn(modules: Path, lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The SVG of each line, drawn by node, and the colour of its background: what `render` takes."""
    orders = "".join(json.dumps({"set": line["style"], "options": line["options"]}) + "\n" for line in lines)
    script = Path(__file__).resolve().parent.parent / "portraits.mjs"
    svgs = subprocess.run(
        ["node", str(script), str(modules)], input=orders, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [(svg, line["options"]["backgroundColor"][0]) for svg, line in zip(svgs, lines, strict=True)]


def render(job: tuple[str, str]) -> np.ndarray:
    """An SVG on a background colour as (128, 128, 3) uint8."""
    svg, ground = job
    picture = render_svg(svg, SIZE)
    canvas = Image.new("RGBA", (SIZE, SIZE), f"#{ground}")
    canvas.alpha_composite(picture, ((SIZE - picture.width) // 2, (SIZE - picture.height) // 2))
    return np.asarray(canvas.convert("RGB"))


def make_portraits(modules: Path, out: Path, say: Callable[[str], None], workers: int = 2) -> list[dict[str, Any]]:
    """Draws all portraits through node, renders them into portraits.npy and returns their ledger lines."""
    lines = plan(modules)
    jobs = drawn(modules, lines)
    say(f"portraits drawn: {len(jobs)}")
    part = out / "portraits.part.npy"
    array = np.lib.format.open_memmap(part, "w+", np.uint8, (len(lines), SIZE, SIZE, 3))
    with ProcessPoolExecutor(workers) as pool:
        for index, picture in enumerate(pool.map(render, jobs, chunksize=64)):
            array[index] = picture
            if index % 4000 == 0:
                say(f"portraits {index}/{len(lines)}")
    array.flush()
    part.replace(out / "portraits.npy")
    return lines
