"""A picture from words, and what it says of itself.

python examples/paint.py "a red fox, 3d style" --seed 42
"""

import argparse

import danqing

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("prompt", nargs="?", default="a red fox, 3d style")
parser.add_argument("--model", default="danqing-mini")
parser.add_argument("--seed", type=int, default=42)
parser.add_argument("--out", default="fox.png")
args = parser.parse_args()

picture = danqing.paint(args.prompt, model=args.model, seed=args.seed)
path = picture.save(args.out)  # a name that is taken is numbered
print(f"{path}: {picture.image.width} × {picture.image.height}, {picture.request.sampling.steps} steps")
for warning in picture.warnings:
    print(f"warning: {warning}")
print(danqing.replay(path).why)
