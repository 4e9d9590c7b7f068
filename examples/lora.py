"""A LoRA at several strengths, by a tag in the prompt. It lies in `loras` in a folder of models (DANQING_MODELS).

DANQING_MODELS=~/models python examples/lora.py ink "a fox in the snow" --strengths 0 0.5 1
"""

import argparse

import danqing

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("lora", help="its file's name without the ending")
parser.add_argument("prompt", nargs="?", default="a fox in the snow")
parser.add_argument("--model", default="danqing-mini")
parser.add_argument("--strengths", type=float, nargs="+", default=[0, 0.5, 1])
parser.add_argument("--steps", type=int, default=20)
args = parser.parse_args()

for strength in args.strengths:
    prompt = f"{args.prompt} <lora:{args.lora}:{strength}>"
    picture = danqing.paint(prompt, model=args.model, seed=11, steps=args.steps, finish=())
    print(picture.save(f"{args.lora}-{strength}.png"), *picture.warnings)  # a LoRA that is not there is a warning
