"""A checkpoint of your own beside the default model: the same prompt and seed, painted by both.

A single file of SD 1, 2, XL or 3 (.safetensors, .ckpt, .gguf), a folder of diffusers or one of danqing's own will do.

    python examples/checkpoint.py ~/models/mine.safetensors "a castle on a hill"
"""

import argparse

import danqing

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("checkpoint", help="its path, or its name in a folder of models (DANQING_MODELS)")
parser.add_argument("prompt", nargs="?", default="a castle on a hill")
parser.add_argument("--beside", default="danqing-mini")
parser.add_argument("--steps", type=int, default=20)
args = parser.parse_args()

for model, name in ((args.checkpoint, "mine"), (args.beside, "beside")):
    try:
        picture = danqing.paint(args.prompt, model=model, seed=5, steps=args.steps, finish=())
    except danqing.InvalidFile as error:
        raise SystemExit(f"{model} cannot be read: {error}") from None
    print(picture.save(f"{name}.png"), picture.record["model"], picture.record["sha256"][:10])
