"""What is asked of both trees: `CASES`, by name; a case is one step or several in a folder of their own.

A step is a command line, in which GIVEN is the folder of `given.py` and SHIPPED/NAME that of a model of danqing, or a
function of the package `danqing` and GIVEN.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Step = str | Callable[[Any, Path], Any]
Steps = Step | tuple[Step, ...]

FOX = "'a red fox, 3d style'"
TINY = "--model GIVEN/models/tiny --seed 1"
MINI = "--seed 1 --width 64 --height 64 --steps 2 --finish none"
SMALL = "--seed 1 --width 32 --height 32 --steps 3"
PICTURE, OTHER, MASK, HOLES = (f"GIVEN/given/{name}.png" for name in ("picture", "other", "mask", "holes"))
DRAWING = "GIVEN/given/drawing.png"

SOLVERS = (
    "ddim ddpm euler euler-a heun lms plms dpm2 dpm3 dpmpp-2s dpmpp-2s-a dpmpp-2m dpmpp-3m dpmpp-sde dpmpp-1m-sde"
    " dpmpp-2m-sde dpmpp-3m-sde unipc unipc-3 lcm pc"
)
SPACINGS = "leading trailing linspace karras exponential sgm-uniform"
EMPHASES = "original no-norm comfy ignore"


def each(name: str, values: str | list[str], steps: Steps) -> dict[str, Steps]:
    """The case once for each value, or each word of a text, which takes the place of VALUE."""
    values = values.split() if isinstance(values, str) else values
    steps = (steps,) if isinstance(steps, str) or callable(steps) else steps
    return {
        f"{name} {value}": tuple(step.replace("VALUE", value) if isinstance(step, str) else step for step in steps)
        for value in values
    }


WORDS: Mapping[str, Steps] = {
    **each("solver", SOLVERS, f"paint {FOX} {TINY} --steps 4 --solver VALUE"),
    **each(
        "solver over a picture", SOLVERS, f"edit {PICTURE} 'a blue cat' {TINY} --steps 4 --strength 0.7 --solver VALUE"
    ),
    **each(
        "solver in a mask", "euler dpm2 dpmpp-sde unipc", f"edit {PICTURE} 'a cat' {TINY} --mask {MASK} --solver VALUE"
    ),
    **each("spacing", SPACINGS, f"paint {FOX} {TINY} --steps 4 --solver dpmpp-2m --spacing VALUE"),
    **each("emphasis", EMPHASES, f"paint 'a (red:1.6) [fox], ((3d)) style' {TINY} --emphasis VALUE"),
    **each("eta", ["0", "0.5", "1"], f"paint {FOX} {TINY} --solver ddim --eta VALUE"),
    **each("guidance", ["1", "0", "-2", "9"], f"paint {FOX} {TINY} --negative 'a tree' --scale VALUE"),
    **each("rescale", ["0.7"], f"paint {FOX} {TINY} --scale 8 --rescale VALUE"),
    **each("interval", ["0.2 0.8", "0 0"], f"paint {FOX} {TINY} --steps 4 --interval VALUE"),
    **each("clip skip", ["1", "2", "3"], f"paint {FOX} {TINY} --clip-skip VALUE"),
    **each("size", ["--width 40 --height 24", "--width 64"], f"paint {FOX} {TINY} VALUE"),
    "nothing": f"paint {TINY}",
    "chinese": f"paint 一只红色的狐狸 {TINY}",
    "prompt switches": f"paint '[a cat:a dog:0.5] [tree:2] [fox::1]' {TINY} --steps 4",
    "prompt takes turns": f"paint 'a [fox|cat|] and (more [blue|red]:1.2)' {TINY} --steps 4",
    "prompt composes": f"paint 'a fox AND a cat:0.5 AND a tree:-0.3' {TINY} --negative 'blue'",
    "prompt breaks": f"paint 'a red fox BREAK a blue cat' {TINY}",
    "prompt of many words": f"paint 'a red fox, a blue cat to the left of a tree, a red fox, 3d style' {TINY}",
    "prompt escapes": f"paint 'a \\(red\\) fox \\[x\\] (unbalanced [a:b' {TINY}",
    "prompt with a tag of nothing": f"paint 'a fox <hypernet:x:1> <lora:>' {TINY}",
    "lora": f"paint 'a fox <lora:ink:0.7>' {TINY}",
    "lora of two strengths": f"paint 'a fox <lora:ink:0.7:0>' {TINY} --negative '<lora:odd:0.3>'",
    "lora that is gone again": (f"paint 'a fox <lora:ink:1>' {TINY} -o x.png", "DANQING_MODELS= replay x.png"),
    "lora that is odd": f"paint 'a fox <lora:odd:1>' {TINY}",
    "lora that is odd, strictly": f"paint 'a fox <lora:odd:1>' {TINY} --strict",
    "lora that is not there": f"paint 'a fox <lora:inc:1>' {TINY}",
    "lora that is not there, strictly": f"paint 'a fox <lora:inc:1>' {TINY} --strict",
    "lora and then none": (
        f"paint 'a fox <lora:ink:1>' {TINY} -o with.png",
        f"paint 'a fox' {TINY} -o without.png",
    ),
    "learned word": f"paint 'a fox, mystyle' {TINY} --negative 'mystyle, tree'",
    "refiner": f"paint {FOX} {TINY} --steps 4 --refiner GIVEN/models/tiny --refiner-at 0.5",
    "refiner at the end": f"paint {FOX} {TINY} --refiner GIVEN/models/tiny --refiner-at 1",
    "ignored options": f"paint {FOX} {TINY} --truncation 0.5 --mix 3 --mix-from 1 --hires-steps 3",
    "seeds and counts": f"paint fox 'a cat' {TINY} --seed 2 --count 2 --grid -o pets/",
    "json": f"paint fox 'a <lora:x:1> cat' {TINY} --count 2 --json --preview --grid",
    "names": (
        f"paint fox {TINY} -o x.png",
        f"paint fox {TINY} -o x.png",
        f"paint fox {TINY} --count 2 -o x.png --force",
        f"paint 'A red, Fox!/../' {TINY} -o '{{prompt}}-{{seed}}-{{index}}-{{n}}-{{model}}.webp'",
    ),
    **each("format", ["png", "jpg", "jpeg", "webp"], f"paint '<狐狸> & \"fox\"' {TINY} --negative 'a\\nb' -o x.VALUE"),
    "format svg": f"paint fox {TINY} --width 64 --height 64 -o x.svg",
    "svg beside": f"paint fox {TINY} --svg --json -o x.png",
    "transparent": f"paint fox {TINY} --transparent --finish levels:gamma=1.3 -o x.png",
    "precision": (f"paint fox {TINY} --precision fp32 -o a.png", f"paint fox {TINY} --precision bf16 --json -o b.png"),
}

LARGE: Mapping[str, Steps] = {
    **each(
        "hires by",
        ["latent", "lanczos", "two", "GIVEN/library/upscale_models/two.safetensors"],
        f"paint {FOX} {TINY} --hires 2 --hires-strength 0.6 --hires-by VALUE",
    ),
    "hires steps": f"paint '[a fox:a cat:0.5]' {TINY} --hires 1.5 --hires-steps 5 --hires-strength 0.5",
    "hires over a picture": f"edit {PICTURE} 'a cat' {TINY} --hires 2 --hires-by lanczos",
    "hires in tiles": f"paint {FOX} {TINY} --hires 2 --tile 32",
    "hires of a part": f"edit {PICTURE} 'a cat' {TINY} --mask {MASK} --hires 2",
    "tiles": f"paint {FOX} {TINY} --width 64 --height 48 --tile 32",
    "tile of the whole": f"paint {FOX} {TINY} --tile 32",
    "tiles over a picture": f"edit {PICTURE} 'a cat' {TINY} --width 64 --height 64 --tile 32",
    "tiles in a mask": f"edit {HOLES} 'a cat' {TINY} --holes --width 64 --height 64 --tile 32",
    "panorama": f"paint {FOX} {TINY} --width 64 --panorama",
    "panorama in tiles": f"paint {FOX} {TINY} --width 96 --tile 32 --panorama",
    "too large": f"paint {FOX} {TINY} --width 2048 --height 2048",
}

OVER: Mapping[str, Steps] = {
    **each("strength", ["0", "0.3", "1"], f"edit {PICTURE} 'a blue cat' {TINY} --steps 4 --strength VALUE"),
    **each(
        "edit of",
        ["wide.jpg", "grey.png", "deep.png", "moving.gif", "turned.tif", "holes.png", "profiled.png"],
        f"edit GIVEN/given/VALUE 'a blue cat' {TINY}",
    ),
    "edit at another size": f"edit GIVEN/given/wide.jpg 'a cat' {TINY} --width 64",
    "mask": f"edit {PICTURE} 'a tree' {TINY} --mask {MASK}",
    "mask, blurred": f"edit {PICTURE} 'a tree' {TINY} --mask {MASK} --mask-blur 3 -o x.jpg",
    "mask of a cut-out": f"edit {HOLES} 'a tree' {TINY} --mask {MASK} --strength 0.5",
    "mask at another size": f"edit {PICTURE} 'a tree' {TINY} --mask {MASK} --width 64 --height 64",
    "holes": f"edit {HOLES} 'a tree' {TINY} --holes",
    "blur without a mask": f"edit {PICTURE} 'a tree' {TINY} --mask-blur 3",
    "outpaint": f"outpaint {PICTURE} 'a tree' {TINY} --left 8 --bottom 16",
    "outpaint, blurred": f"outpaint {HOLES} 'a tree' {TINY} --top 8 --right 8 --mask-blur 4",
    "outpaint by nothing": f"outpaint {PICTURE} 'a tree' {TINY}",
    "edit, count and grid": f"edit {PICTURE} fox cat {TINY} --seed 4 --grid",
    "edit of an edit": (
        f"edit {PICTURE} fox {TINY} -o one.png",
        f"edit one.png cat {TINY} -o two.webp",
        "replay two.webp",
    ),
    "replay of a changed picture": (
        f"edit {PICTURE} fox {TINY} -o base.png",
        f"edit base.png cat {TINY} -o x.png",
        f"edit {PICTURE} tree {TINY} -o base.png --force",
        "replay x.png",
        "replay x.png --json",
    ),
}

FAMILIES: Mapping[str, Steps] = {
    **each("vae truncation", ["0", "0.7", "1.3"], "paint --model GIVEN/models/vae --seed 1 --truncation VALUE"),
    **each(
        "pixelcnn of",
        ["''", "植物", "food", "'a plant, 3d'"],
        "paint VALUE --model GIVEN/models/pixelcnn --seed 1 --count 2 --grid",
    ),
    **each("biggan of", ["''", "动物", "plant"], "paint VALUE --model GIVEN/models/biggan --seed 1 --truncation 0.5"),
    "stylegan2": "paint --model GIVEN/models/stylegan2 --seed 7 --seed 8 --truncation 0.7 --grid",
    "stylegan2 mixed": "paint --model GIVEN/models/stylegan2 --seed 7 --mix 9 --mix-from 2",
    "stylegan2 hears nothing": "paint 'a fox' --model GIVEN/models/stylegan2 --seed 7 --steps 3 --scale 2",
    "reconstruct": f"reconstruct {PICTURE} --model GIVEN/models/vae",
    "reconstruct a cut-out": f"reconstruct {HOLES} --model GIVEN/models/vae -o x.webp",
    "translate": f"translate {PICTURE} --to noto --model GIVEN/models/cyclegan",
    "translate any size": "translate GIVEN/given/wide.jpg --model GIVEN/models/cyclegan --width 40 --height 24 --svg",
    "interpolate": f"interpolate {PICTURE} {OTHER} --count 3 --grid --model GIVEN/models/vae",
    "interpolate painted": (
        "paint animal food --model GIVEN/models/biggan --seed 3 -o '{prompt}.png'",
        "interpolate animal.png food.png --count 3 --model GIVEN/models/biggan",
    ),
    "interpolate styles": (
        "paint --model GIVEN/models/stylegan2 --seed 3 --seed 4 -o '{seed}.png'",
        "interpolate 3.png 4.png --count 2 --model GIVEN/models/stylegan2 --json",
    ),
    "interpolate what was not painted": f"interpolate {PICTURE} {OTHER} --model GIVEN/models/stylegan2",
    **each("ddpm by", ["ddpm", "dpmpp-2m", "pc"], "paint animal --model GIVEN/models/ddpm --seed 1 --solver VALUE"),
    **each("score by", ["pc", "euler", "heun"], "paint 食物 --model GIVEN/models/score --seed 1 --solver VALUE"),
    "ddpm over a picture": f"edit {PICTURE} plant --model GIVEN/models/ddpm --seed 1",
    "score in a mask": f"edit {PICTURE} plant --model GIVEN/models/score --seed 1 --mask {MASK}",
    "ddpm of no class": "paint 'a horse' --model GIVEN/models/ddpm --seed 1",
    **each("shipped", ["vae", "stylegan2"], "paint --model VALUE --seed 1 --count 2 --grid"),
    **each(
        "shipped with classes", ["pixelcnn", "biggan", "ddpm", "score"], "paint 脸 --model VALUE --seed 1 --steps 8"
    ),
    "shipped reconstruct": f"reconstruct {DRAWING}",
    "shipped translate": f"translate {DRAWING} --to fluent --width 32 --height 32",
    "shipped interpolate": f"interpolate {DRAWING} {PICTURE} --count 2",
}

SHIPPED: Mapping[str, Steps] = {
    **each("mini by", SOLVERS, f"paint {FOX} {MINI} --solver VALUE"),
    **each("mini spaced", SPACINGS, f"paint 一只红色的狐狸 {MINI} --spacing VALUE"),
    "mini as it comes": "paint 'a red fox' --seed 1 --steps 2 --width 32 --height 32",
    "mini over a picture": f"edit {DRAWING} 'a blue cat' {MINI} --strength 0.5",
    "mini in a mask": f"edit {DRAWING} 'a tree' --seed 1 --steps 2 --mask {DRAWING}",
    "mini around": f"outpaint {DRAWING} 'a tree' --seed 1 --steps 2 --right 32",
    "mini in two passes": f"paint {FOX} {MINI} --hires 2 --hires-by danqing-x4",
    "mini in tiles": f"paint {FOX} {MINI} --width 96 --tile 64 --panorama",
    "mini grammar": f"paint '(a red:1.3) [fox|cat] AND a tree:0.4' {MINI} --negative 'blue' --clip-skip 2",
    "sheet": f"sheet fox 猫 --style '3d style' {MINI} --columns 1 --gap 4 --svg -o set/",
    "sheet from a file": f"sheet owl --from GIVEN/given/subjects.txt {TINY} --transparent -o set/ --json",
    "sheet of nothing": "sheet -o set/",
}

FINISHES: Mapping[str, Steps] = {
    **each(
        "finish",
        [
            "none",
            "tone",
            "enlarge",
            "enlarge:scale=2",
            "enlarge:scale=1.5:tile=64",
            "faces",
            "faces:strength=0.4",
            "faces:find=photographed",
            "cut-out",
            "cut-out:tolerance=0.2",
            "clahe:clip=3:tiles=4",
            "white-balance",
            "white-balance:method=white-patch:percentile=95:strength=0.5",
            "levels:black=0.1:white=0.9:gamma=1.4:low=0.05",
            "adjust:exposure=0.5:gamma=1.2:saturation=0.3",
            "cut-out,enlarge:scale=2,levels:gamma=0.8,tone",
        ],
        f"paint fox {TINY} --width 64 --height 64 --finish VALUE",
    ),
    **each(
        "tone",
        [
            "",
            "--clahe 3",
            "--white-balance grey-world",
            "--white-balance white-patch --exposure 0.3",
            "--saturation 0 --black 0.05 --white 0.95 --gamma 1.1",
            "--point 0.25,0.2 --point 0.75,0.8",
        ],
        f"tone {DRAWING} {HOLES} VALUE",
    ),
    **each("tone of", ["grey.png", "deep.png", "moving.gif", "profiled.png", "wide.jpg"], "tone GIVEN/given/VALUE"),
    "enlarge": f"enlarge {DRAWING} --scale 2",
    "enlarge by a name": f"enlarge {HOLES} --model two -o x.webp",
    "enlarge a folder": "enlarge GIVEN/given/art/round 'GIVEN/given/art/square/*.png' --scale 1 --json -o large/",
    "enlarge with a bad one": f"tone {PICTURE} GIVEN/given/none.png GIVEN/given/cut.png gone.png",
    "faces": f"faces {DRAWING} --strength 0.5",
    "finish while editing": f"edit {PICTURE} fox {TINY} --finish levels:gamma=1.2 --mask {MASK}",
    "finish curves by JSON": lambda d, given: d.touch_up(
        given / "given" / "picture.png",
        [{"name": "curves", "points": [(0, 0), (0.5, 0.6), (1, 1)], "red": [(0, 0.1), (1, 0.9)]}, "tone"],
    ),
}

OTHERS: Mapping[str, Steps] = {
    **each(
        "folder",
        ["sd15", "sd2", "sdxl", "sd3", "inpainting", "instructed"],
        (f"paint {FOX} --negative tree --model GIVEN/models/VALUE {SMALL}", "inspect GIVEN/models/VALUE --json"),
    ),
    **each(
        "folder over a picture",
        ["sd15", "sd2", "sdxl", "sd3", "inpainting", "instructed"],
        f"edit {PICTURE} 'a cat' --model GIVEN/models/VALUE {SMALL} --scale 3",
    ),
    **each(
        "folder in a mask",
        ["sd15", "sdxl", "sd3", "inpainting"],
        f"edit {PICTURE} 'a cat' --model GIVEN/models/VALUE {SMALL} --mask {MASK}",
    ),
    "folder follows a picture": f"edit {PICTURE} snow --model GIVEN/models/instructed {SMALL} --image-scale 2",
    "folder refined": f"paint fox --model GIVEN/models/sdxl {SMALL} --refiner GIVEN/models/refiner --refiner-at 0.5",
    "folder in tiles": f"paint fox --model GIVEN/models/inpainting {SMALL} --width 64 --tile 32",
    "folder around": f"outpaint {PICTURE} fox --model GIVEN/models/sd15 {SMALL} --left 16 --width 48",
    "folder with chunks": f"paint 'a red fox, {'a blue cat, ' * 30}' --model GIVEN/models/sdxl {SMALL} --clip-skip 1",
    "folder that lacks parts": ("paint fox --model GIVEN/models/lacking", "inspect GIVEN/models/lacking"),
    "single file": (
        "convert GIVEN/models/wide single.safetensors",
        f"paint {FOX} --model single.safetensors {SMALL} -o x.png",
        f"edit x.png cat --model single.safetensors {SMALL} -o y.png",
        "inspect single.safetensors --json",
        "convert single.safetensors half.safetensors --dtype fp16 --prune",
        "convert single.safetensors folder",
        "convert single.safetensors ours --layout danqing --dtype bf16",
        "inspect ours --json",
    ),
    "convert": (
        "convert GIVEN/models/sd15 ours --layout danqing",
        "convert ours theirs",
        "convert ours theirs",
        "convert ours theirs --force --dtype fp32",
        f"paint fox --model theirs {SMALL} -o x.png",
        f"paint fox --model ours {SMALL} -o x.png",
    ),
    "convert what cannot be": (
        "convert GIVEN/models/tiny x.ckpt",
        "convert GIVEN/models/tiny x.safetensors",
        "convert GIVEN/models/vae x",
        "convert GIVEN/models/tiny x --dtype fp12",
        "convert GIVEN/models/tiny x --layout comfy",
        "convert GIVEN/models/gone x",
        "convert GIVEN/given/weights.pt x.safetensors",
    ),
}

#: What there is to say of each of these files.
LOOKED_AT = [
    *(f"models/{name}" for name in ("tiny", "vae", "pixelcnn", "biggan", "stylegan2", "cyclegan", "ddpm", "score")),
    *("models/damaged", "models/sd3", "models/tiny/text.safetensors", "models/sdxl/unet", "library"),
    "models/sdxl/unet/diffusion_pytorch_model.safetensors",
    *(
        "library/loras/ink.safetensors",
        "library/embeddings/mystyle.safetensors",
        "library/upscale_models/two.safetensors",
    ),
    *("given/a1111.png", "given/deep.png", "given/weights.pt", "given/none.png", "given/cut.png", "given/gone.png"),
    *("given/subjects.txt", "painted/beside.jpg", "painted/cut-out.svg", "painted/lora.png", "replaced/plant.png"),
]
STORE: Mapping[str, Steps] = {
    **each("inspect", LOOKED_AT, ("inspect GIVEN/VALUE", "inspect GIVEN/VALUE --json")),
    **each("inspect what ships", ["danqing-mini", "vae", "cyclegan", "score"], ("inspect SHIPPED/VALUE --json",)),
    "models": ("DANQING_MODELS= models", "models", "models --hash", "models --json"),
    "models of many": ("DANQING_MODELS=GIVEN/models:GIVEN/gone models", "DANQING_MODELS=GIVEN/models models --json"),
    "models by name": (
        f"DANQING_MODELS=GIVEN/models paint fox --model sd15 {SMALL}",
        "DANQING_MODELS=GIVEN/models paint fox --model sd51",
        "DANQING_MODELS=GIVEN/models convert tiny copy --layout danqing",
    ),
    "settings": (
        "DANQING_MODELS= XDG_CONFIG_HOME=GIVEN/settings/good models --json",
        "XDG_CONFIG_HOME=GIVEN/settings/bad models",
    ),
    **each(
        "replay",
        ["painted/words.webp", "painted/beside.jpg", "painted/cut-out.svg", "replaced/plant.png"],
        ("PWD=GIVEN replay VALUE", "PWD=GIVEN replay VALUE --json", "replay GIVEN/VALUE"),
    ),
    "compare": (
        "compare vae biggan --art GIVEN/given/art --count 6 --size 16 -o table",
        "compare GIVEN/models/ddpm --art GIVEN/given/art --trained-on GIVEN/given/art --count 6 --scale 1 --json",
    ),
    "compare nothing": ("compare vae --art GIVEN/given/gone", "compare gone --art GIVEN/given/art", "compare"),
}

WRONG: Mapping[str, Steps] = each("wrong", [
    "pant fox", "paint fox --stps 3", "paint fox --steps -3", "paint fox --steps many", "paint fox --scale nan",
    "paint fox --solver eulr", "paint fox --solver 'DPM++ 2M'", "paint fox --spacing karas", "paint fox --emphasis x",
    "paint fox --width 33 --model GIVEN/models/tiny", "paint fox --width -5", "paint fox --seed x",
    "paint fox --count 0", "paint fox -o x.gif", "paint fox -o '{sed}.png'", "paint fox -o no/where/x.png",
    "paint fox -o fox", "paint fox --device gpu", "paint fox --precision fp12", "paint fox --interval 1 0",
    "paint fox --finish enlrge", "paint fox --eta 0.5 --solver heun --model GIVEN/models/tiny",
    "paint fox --finish levels:black=0.9:white=0.1", "paint fox --finish enlarge:model=gone",
    "paint fox --model gone", "paint fox --model GIVEN/given/picture.png", "paint fox --model GIVEN/library",
    "paint --model GIVEN/models/damaged", "paint fox --refiner gone", "paint fox --hires 9",
    "paint fox --hires-by gone --hires 2 --model GIVEN/models/tiny", "paint --mix -1",
    "paint --model GIVEN/models/cyclegan", "paint --model GIVEN/models/vae --width 24",
    "paint --model GIVEN/models/pixelcnn --truncation 0",
    "paint --model GIVEN/models/stylegan2 --mix 1 --mix-from 60", "edit gone.png fox",
    "edit GIVEN/given/none.png fox", "edit GIVEN/given/cut.png fox", "edit GIVEN/given fox",
    "edit GIVEN/given/picture.png --holes --mask m.png", "edit GIVEN/given/picture.png fox --holes",
    "edit GIVEN/given/picture.png fox --mask GIVEN/given/black.png --model GIVEN/models/tiny",
    "edit GIVEN/given/picture.png fox --mask GIVEN/given/small-mask.png --model GIVEN/models/tiny",
    "edit GIVEN/given/picture.png fox --model GIVEN/models/vae", "reconstruct GIVEN/given/picture.png --model biggan",
    "translate GIVEN/given/picture.png --to oil", "interpolate GIVEN/given/picture.png",
    "interpolate GIVEN/given/picture.png GIVEN/given/other.png --count 0", "replay gone.png",
    "replay GIVEN/given/picture.png", "replay GIVEN/given/a1111.png", "tone",
    "tone GIVEN/given/picture.png --point 3", "enlarge GIVEN/given/picture.png --scale 0",
    "enlarge GIVEN/given/picture.png --model realesrgan-x4",
    "faces GIVEN/given/picture.png --model GIVEN/library/upscale_models/two.safetensors", "enlarge GIVEN/settings",
    "sheet fox --columns 0", "sheet --from gone.txt", "outpaint GIVEN/given/picture.png --left x", "inspect",
    "models x", "pull no/such/name/there", "HF_ENDPOINT=x pull sd1.5", "learn gone.py",
    "learn GIVEN/given/subjects.txt", "paint --solver 'x y' --steps 0 --scale 1000",
], "VALUE")  # fmt: skip


def tiny(given: Path, **options: Any) -> dict[str, Any]:
    """The options of a small picture."""
    return {"model": str(given / "models" / "tiny"), "seed": 1, "device": "cpu", **options}


def between(d: Any, given: Path) -> Any:
    ends = [given / "given" / f"{name}.png" for name in ("picture", "other")]
    return list(d.interpolate(*ends, count=3, model=str(given / "models" / "vae")))


def painted_over(d: Any, given: Path) -> Any:
    first = d.paint("a fox", **tiny(given))
    return [first, d.edit(first, "a cat", strength=0.5, **tiny(given)), d.edit(first.image, "a cat", **tiny(given))]


def several(d: Any, given: Path) -> Any:
    asked = [d.Request(prompt="fox", index=i, solver=solver, **{k: v for k, v in tiny(given).items() if k != "device"})
             for i in (1, 0) for solver in ("euler", "heun")]  # fmt: skip
    return list(d.paint_all(asked, device="cpu"))


def replayed(d: Any, given: Path) -> Any:
    with contextlib.chdir(given):
        return [d.replay(path) for path in ("replaced/plant.png", "painted/sd15-over.webp", "painted/in-memory.png")]


def written(d: Any, given: Path) -> Any:
    picture = d.paint("a fox", **tiny(given))
    lossy = {"x.jpg": 50, "x.webp": 100}
    names = [picture.save(name, quality=quality) for name, quality in lossy.items()]
    return [str(name) for name in (*names, *map(picture.save, ("x.png", "x.png", "x.svg")))]


PYTHON: Mapping[str, Steps] = {
    "python paints": lambda d, given: d.paint("a fox [a|b]", **tiny(given, steps=2, finish="tone")),
    "python edits in memory": painted_over,
    "python in a mask": lambda d, given: d.edit(
        given / "given" / "picture.png", "a tree", mask=given / "given" / "mask.png", **tiny(given)
    ),
    "python repaints holes": lambda d, given: d.edit(
        given / "given" / "holes.png", "a tree", recipe="inpaint", **tiny(given)
    ),
    "python outpaints": lambda d, given: d.outpaint(given / "given" / "picture.png", "tree", right=8, **tiny(given)),
    "python reconstructs": lambda d, given: d.reconstruct(given / "given" / "picture.png"),
    "python translates": lambda d, given: d.translate(
        given / "given" / "picture.png", to="noto", model=str(given / "models" / "cyclegan")
    ),
    "python interpolates": between,
    "python touches up": lambda d, given: d.touch_up(given / "given" / "holes.png", "enlarge:scale=2,tone"),
    "python paints several": several,
    "python writes": written,
    "python replays": replayed,
    "python request": lambda d, given: d.Request.parse(d.Request(prompt="狐狸", finish="tone").json_text()).json_text(),
    **{
        f"python refuses {n}": (lambda d, given, call=call: call(d, given))
        for n, call in enumerate([
            lambda d, given: d.paint("fox", stps=3),
            lambda d, given: d.paint("fox", solver="eulr", steps=0),
            lambda d, given: d.paint("fox", image="x.png"),
            lambda d, given: d.edit(3, "fox"),
            lambda d, given: d.edit("gone.png", "fox"),
            lambda d, given: d.outpaint(given / "given" / "picture.png"),
            lambda d, given: d.touch_up(given / "given" / "picture.png", "enlrge"),
            lambda d, given: d.paint("fox", model="gone"),
            lambda d, given: d.paint("fox", device="gpu"),
            lambda d, given: d.Request.parse("[1]"),
            lambda d, given: d.paint("fox", **tiny(given)).save("x.gif"),
            lambda d, given: d.paint("fox", **tiny(given)).save("x.jpg", quality=0),
        ])
    },
}  # fmt: skip

CASES: Mapping[str, Steps] = {
    **WRONG, **WORDS, **LARGE, **OVER, **FAMILIES, **FINISHES, **PYTHON, **STORE, **SHIPPED, **OTHERS,
}  # fmt: skip
