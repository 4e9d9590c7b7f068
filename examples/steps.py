"""Each step's preview as the picture is painted, in one sheet.

python examples/steps.py "a red fox, 3d style" --out steps.png
"""

import argparse

from PIL import Image

import danqing

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("prompt", nargs="?", default="a red fox, 3d style")
parser.add_argument("--model", default="danqing-mini")
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--out", default="steps.png")
args = parser.parse_args()

model = danqing.load(args.model)
request = danqing.Request(prompt=args.prompt, model=args.model, seed=1, steps=args.steps, finish=())
previews = []
for state in model.states(request):  # a generator: the work is done as it is asked for, and stops when nobody asks
    if isinstance(state, danqing.Picture):
        previews.append(state.image)
    else:
        print(f"step {state.step} of {state.steps}")
        previews.append(model.preview(state))

side = max(image.height for image in previews)
sheet = Image.new("RGB", (side * len(previews), side))
for n, image in enumerate(previews):
    sheet.paste(image.resize((side, side)), (side * n, 0))
sheet.save(args.out)
