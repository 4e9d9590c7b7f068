"""What an image prompt costs in a step of Stable Diffusion 1.

    python benchmarks/image_prompt.py [--size 512] [--rounds 7] [--kinds base plus full-face]

The UNet at its size with random weights, the text of guidance remembered as in painting. Steps with and without are
taken in turns, so that whatever else the machine does meets both, and timed by the seconds that the process computes;
of the ratio of each pair the median is told.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from danqing.nets.ip_adapter import Branch, places
from danqing.nets.unet import SD1, UNet
from danqing.run.textcache import cached_text

#: How many tokens a picture becomes, by the kind of adapter.
KINDS = {"base": 4, "plus": 16, "full-face": 257}


def branches(net: UNet, tokens: int, dtype: torch.dtype) -> dict[str, Branch]:
    """Random keys and values at every attention to the text."""
    found = dict[str, Branch]()
    for name, layer in places(net).items():
        keys, values = (torch.randn(2, tokens, layer.to_q.in_features, dtype=dtype) for _ in range(2))
        found[name] = Branch("image prompt", keys, values, layer.heads)
    return found


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="of the picture, in pixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=("base", "plus"))
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)
    torch.manual_seed(0)
    net = UNet(SD1).to(dtype).eval()
    x, text = torch.randn(2, 4, *[options.size // 8] * 2, dtype=dtype), torch.randn(2, 77, 768, dtype=dtype)
    t, extra = torch.tensor([500.0, 500.0]), {"image prompt": torch.tensor([0, 1])}

    def step(more: dict[str, Branch]) -> float:
        for name, layer in places(net).items():
            layer.branches.clear()
            if more:
                layer.branches["image prompt"] = more[name]
        begun = time.process_time()
        net(x, t, text, extra=extra)
        return time.process_time() - begun

    every = {kind: branches(net, KINDS[kind], dtype) for kind in options.kinds}
    with cached_text(net):
        step({})
        rounds = [[step({}), *(step(each) for each in every.values())] for _ in range(options.rounds)]
    bare = median(times[0] for times in rounds)
    threads = torch.get_num_threads()
    print(
        f"a step of 2 pictures of {options.size} px, {options.dtype}, {threads} threads: {bare:.3f} s of computing bare"
    )
    for i, kind in enumerate(every, 1):
        ratio = median(times[i] / times[0] for times in rounds)
        print(f"{kind}, {KINDS[kind]} tokens: {median(times[i] for times in rounds):.3f} s, × {ratio:.4f}")


if __name__ == "__main__":
    main()
