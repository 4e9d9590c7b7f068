"""The commands that painted the pictures here, with danqing 0.1.0, whose records had no version.

This file says how they were made. It is not run again: what comes after has to paint the same from their records.
"""

import os
import shlex
import sys
from pathlib import Path

TINY = "--model models/tiny --seed 1"
SMALL = "--negative 'a tree' --seed 1 --width 32 --height 32"
COMMANDS = f"""
# From words, in every format.
paint "a red fox" {TINY} -o painted/words.png
paint "a red fox" {TINY} -o painted/words.jpg
paint "a red fox" {TINY} -o painted/words.webp
paint 一只红色的狐狸 {TINY} --count 2 --solver heun --spacing karras --negative "a tree" \
    -o "painted/chinese-{{index}}.png"
paint "a red fox" {TINY} --scale 5 --rescale 0.5 --interval 0.1 0.9 -o painted/guided.png
paint "a (red:1.3) [fox|cat] [tree:0.5] [[blue]] AND a cat:0.5" {TINY} --steps 4 --solver dpmpp-2m \
    -o painted/grammar.png
paint "a red fox, a blue cat to the left of a tree BREAK a (blue:0.8) cat, 3d style" {TINY} -o painted/chunks.png
paint "a (red:1.5) fox" {TINY} --emphasis no-norm --clip-skip 2 -o painted/emphasis.png
paint "a red fox" {TINY} --solver ddim --eta 0.5 --spacing exponential -o painted/eta.png
paint "a red fox" {TINY} --solver dpmpp-3m-sde --spacing sgm-uniform --steps 4 -o painted/sde.webp
paint "a red fox" {TINY} --solver unipc --spacing leading --steps 4 --width 40 --height 24 -o painted/unipc.jpg
paint "a red fox <lora:ink:0.7:0.4>" {TINY} -o painted/lora.png
paint "a red fox, mystyle" {TINY} -o painted/learned-word.png
paint "a red fox" {TINY} --refiner models/tiny --refiner-at 0.5 -o painted/refiner.png
# Larger.
paint "a red fox" {TINY} --hires 2 --hires-by lanczos --hires-strength 0.6 -o painted/hires.png
paint "a red fox" {TINY} --hires 1.5 --hires-by two --hires-steps 4 -o painted/hires-by-network.jpg
paint "a red fox" {TINY} --width 64 --tile 32 --panorama -o painted/panorama.png
# Over given pictures.
edit given/picture.png "a blue cat" {TINY} --strength 0.7 -o painted/over.png
edit given/wide.jpg "a blue cat" {TINY} --strength 1 -o painted/over.jpg
edit given/picture.png "a tree" {TINY} --mask given/mask.png --mask-blur 2 -o painted/masked.png
edit given/holes.png "a tree" {TINY} --holes -o painted/holes.webp
outpaint given/picture.png "a tree" {TINY} --left 8 --bottom 16 --mask-blur 2 -o painted/around.png
# Without denoising, and in pixels.
paint --model models/vae --seed 1 --truncation 0.8 -o painted/vae.png
paint 植物 --model models/pixelcnn --seed 1 --truncation 0.9 -o painted/pixelcnn.png
paint --model models/stylegan2 --seed 1 --truncation 0.7 -o painted/stylegan2.png
paint --model models/stylegan2 --seed 2 --mix 9 --mix-from 2 -o painted/stylegan2-mixed.png
paint food --model models/biggan --seed 1 --truncation 0.5 --count 2 -o "painted/biggan-{{index}}.webp"
reconstruct given/picture.png --model models/vae -o painted/reconstructed.png
translate given/picture.png --to noto --model models/cyclegan -o painted/translated.png
translate given/wide.jpg --model models/cyclegan -o painted/translated.jpg
interpolate given/picture.png given/other.png --count 2 --model models/vae -o "painted/between-{{n}}.png"
interpolate painted/stylegan2.png painted/stylegan2-mixed.png --count 1 --model models/stylegan2 -o painted/styles.png
paint animal --model models/ddpm --seed 1 -o painted/ddpm.png
paint 食物 --model models/score --seed 1 -o painted/score.png
# In folders of diffusers.
paint "a red fox" {SMALL} --model models/sd15 --steps 3 -o painted/sd15.png
paint "a red fox" {SMALL} --model models/sdxl --steps 3 -o painted/sdxl.jpg
paint "a red fox" {SMALL} --model models/sd3 --steps 3 -o painted/sd3.png
edit given/picture.png "a red fox" {SMALL} --model models/sd15 --steps 4 --solver ddim -o painted/sd15-over.webp
# Finished.
paint "a red fox" {TINY} --finish "enlarge:model=two:scale=1.5,levels:gamma=1.2" -o painted/finished.png
enlarge given/drawing.png --model library/upscale_models/two.safetensors -o painted/enlarged.png
tone given/picture.png -o painted/toned.png
tone given/holes.png --white-balance grey-world --exposure 0.2 --gamma 1.1 --point 0.5,0.6 -o painted/balanced.webp
# By weights that ship with danqing, which may be trained on.
paint "a red fox, 3d style" --seed 1 --width 64 --height 64 --steps 4 --finish none -o shipped/danqing-mini.png
enlarge given/drawing.png --scale 2 -o shipped/danqing-x4.png
# The generator of this model was replaced by another one afterwards.
paint plant --model models/replaced --seed 1 -o replaced/plant.png
"""


def paint() -> None:
    import numpy as np
    from PIL import Image

    import danqing
    from danqing.__main__ import main

    for line in COMMANDS.splitlines():
        if line and not line.startswith("#"):
            sys.argv = ["danqing", *shlex.split(line)]
            main()
    tiny = {"model": "models/tiny", "seed": 1, "device": "cpu", "strength": 0.5}
    danqing.edit(danqing.paint("a red fox", model="models/tiny", seed=1), "a cat", **tiny).save("painted/in-memory.png")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (130, 130, 3), np.uint8))
    danqing.edit(noise, "a blue cat", width=32, **tiny).save("painted/beside.jpg")
    cut = danqing.touch_up("given/drawing.png", "cut-out:tolerance=0.1", device="cpu")
    cut.save("painted/cut-out.png")
    cut.save("painted/cut-out.svg")


if __name__ == "__main__":
    os.chdir(Path(__file__).parent)
    os.environ |= {"DANQING_PRECISION": "fp32", "DANQING_MODELS": "library", "OMP_NUM_THREADS": "1"}
    for folder in ("painted", "shipped", "replaced"):
        Path(folder).mkdir()
    paint()
