"""How much faster the PixelCNN draws from cached features than by the whole network anew for each pixel.

    python benchmarks/pixelcnn.py
    python benchmarks/pixelcnn.py --batch 16 --side 32 --threads 2

A naive pixel costs one forward pass of the whole picture, wherever it is; so a few are timed, and a picture's time is
their mean times its pixels. The cached drawing is timed whole. The naive way draws the same pixels: the tests hold it
to that.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time

import torch

from danqing.nets.pixelcnn import ART, PixelCNN, sample
from danqing.noise import keyed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32, help="of the pictures, in pixels")
    parser.add_argument("--batch", type=int, default=1, help="pictures at once")
    parser.add_argument("--naive", type=int, default=8, help="how many naive pixels are timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    net = PixelCNN(dataclasses.replace(ART, classes=36)).eval().to(args.device)
    label = torch.arange(args.batch, device=args.device) % 36
    noises = [keyed("picture", i) for i in range(args.batch)]

    def now() -> float:
        if args.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    list(sample(net, noises, 2, args.side, label))  # not counted: the first calls choose kernels
    begin = now()
    drawn = torch.stack(list(sample(net, noises, args.side, args.side, label)), 1)
    cached = now() - begin

    seconds = []
    with torch.inference_mode():
        for _ in range(args.naive + 1):
            begin = now()
            net.head.draw(
                net.features(net.head.read(drawn), label)[:, 0, 0], torch.rand(args.batch, 1, device=args.device), 1.0
            )
            seconds.append(now() - begin)
    naive = statistics.mean(seconds[1:]) * args.side**2
    print(
        f"{args.batch} picture(s) of {args.side} x {args.side} px, "
        f"{sum(p.numel() for p in net.parameters()) / 1e6:.1f}M parameters"
    )
    print(
        f"cached {cached:.2f} s, naive {naive:.1f} s ({args.naive} of {args.side**2} pixels timed): "
        f"{naive / cached:.0f} times faster"
    )


if __name__ == "__main__":
    main()
