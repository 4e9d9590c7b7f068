"""A part of a picture painted anew: its upper half, drawn here as a mask. Every byte outside the mask stays.

python examples/edit.py fox.png "a fox with a red hat"
"""

import argparse

from PIL import Image, ImageChops, ImageDraw

import danqing

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("picture")
parser.add_argument("prompt", nargs="?", default="a fox with a red hat")
parser.add_argument("--model", default="danqing-mini")
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--out", default="edited.png")
args = parser.parse_args()

before = Image.open(args.picture).convert("RGB")
mask = Image.new("L", before.size, "black")
ImageDraw.Draw(mask).rectangle((0, 0, before.width, before.height // 2 - 1), fill="white")

after = danqing.edit(before, args.prompt, mask=mask, model=args.model, seed=3, steps=args.steps, finish=())
after.save(args.out)
print("changed:", ImageChops.difference(before, after.image).getbbox())
