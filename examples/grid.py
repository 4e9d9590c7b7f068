"""A sheet of one prompt and seed: a row for each guidance scale, a column for each number of steps.

python examples/grid.py "a blue cat, flat style" --scales 1 4 8 --steps 5 10 20
"""

import argparse

from PIL import Image

import danqing

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("prompt", nargs="?", default="a blue cat, flat style")
parser.add_argument("--model", default="danqing-mini")
parser.add_argument("--scales", type=float, nargs="+", default=[1, 4, 8])
parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20])
parser.add_argument("--out", default="grid.png")
args = parser.parse_args()

plain = danqing.Request(prompt=args.prompt, model=args.model, seed=7, finish=())
requests = [plain.but(scale=scale, steps=steps) for scale in args.scales for steps in args.steps]
sheet = None
for n, picture in enumerate(danqing.paint_all(requests)):
    image, (row, column) = picture.image, divmod(n, len(args.steps))
    if sheet is None:
        sheet = Image.new("RGB", (image.width * len(args.steps), image.height * len(args.scales)))
    sheet.paste(image, (column * image.width, row * image.height))
    print(f"scale {picture.request.guidance.scale}, {picture.request.sampling.steps} steps")
if sheet is not None:
    sheet.save(args.out)
