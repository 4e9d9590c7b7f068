"""What a very long prompt costs: its encoding by a T5, and one call of an MMDiT that reads it, in windows and whole.

    python benchmarks/long_prompt.py                    prints the table for 8,192, 32,768 and 131,072 tokens
    python benchmarks/long_prompt.py --lengths 8192     for these
    python benchmarks/long_prompt.py --write            and puts it into docs/sd3.md

Each number is of a process of its own, after a short call that is not counted. Memory is how far the call lifts the
process's peak. The MMDiT is the small one (`danqing.nets.mmdit.MINI`, 64 tokens a picture) and the T5 a smaller one
still, both with
random weights: what is measured is how cost grows, not a picture. The whole attention, whose cost grows with the
square, stops at ``--whole-until`` tokens.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

LENGTHS = (8192, 32768, 131072)
BEGIN, END = "<!-- measured -->", "<!-- end measured -->"


class Cost(NamedTuple):
    """Seconds, and megabytes above what the process held before."""

    seconds: float
    megabytes: float


def peak() -> float:
    """The process's largest memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def cost(work: Callable[[int], object], length: int) -> Cost:
    """Of one call, after a short one."""
    with torch.inference_mode():
        work(200)
        before, begin = peak(), time.perf_counter()
        work(length)
        return Cost(time.perf_counter() - begin, peak() - before)


def network(window: int) -> Callable[[int], object]:
    """One call of the small MMDiT on a text of so many tokens; a window of 0 reads it whole."""
    from danqing.nets.longtext import Windowed
    from danqing.nets.mmdit import MINI, MMDiT, whole

    net = MMDiT(MINI).eval()
    net.through = Windowed(window) if window else whole
    x, pooled = torch.randn(1, MINI.in_channels, 16, 16), torch.randn(1, MINI.pooled_projection_dim)
    return lambda length: net(x, torch.tensor([500.0]), torch.randn(1, length, MINI.joint_attention_dim), pooled=pooled)


def encoding() -> Callable[[int], object]:
    """A prompt of so many words, one token each, from text to its conditioning."""
    import tokenizers
    from tokenizers import models, pre_tokenizers

    from danqing.nets.t5 import T5, T5Config
    from danqing.prompt.grammar import plan
    from danqing.prompt.t5 import PieceTokenizer, T5Text

    words = [f"word{k}" for k in range(1000)]
    scores = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>")] + [(f"▁{word}", -5.0) for word in words]
    pieces = tokenizers.Tokenizer(models.Unigram(scores, unk_id=2, byte_fallback=False))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    net = T5(T5Config(vocab_size=len(scores), d_model=256, d_kv=64, d_ff=512, num_layers=4, num_heads=4)).eval()
    text = T5Text(tokenizer=PieceTokenizer(pieces=pieces), net=net)

    def encode(length: int) -> None:
        prompt = " ".join(random.Random(0).choices(words, k=length))
        (encoded,) = text.condition([plan(prompt, 1)], weighting="original")
        assert not encoded.warnings and encoded.at(1)[0][0].tokens.shape[1] >= length

    return encode


WORKS: dict[str, Callable[[], Callable[[int], object]]] = {
    "encoding": encoding,
    "windows": lambda: network(4096),
    "whole": lambda: network(0),
}


def apart(work: str, length: int) -> Cost:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", work, "--lengths", str(length)]
    return Cost(*json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def table(lengths: list[int], whole_until: int) -> str:
    from danqing.run.record import describe

    machine = describe("cpu", torch.float32)
    head = [
        "tokens",
        "encoding by a small T5",
        "a call of the small MMDiT, windows of 4,096",
        "the same, whole attention",
    ]
    lines = [
        f"Measured by `python benchmarks/long_prompt.py` on {machine['cpu']} ({machine['threads']} threads, fp32, "
        f"torch {machine['torch']}); memory is above what the process held before.",
        "",
        *("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head))),
    ]
    for length in lengths:
        row = [f"{length:,}"]
        for work in WORKS:
            if work == "whole" and length > whole_until:
                row.append("–")
                continue
            seconds, megabytes = apart(work, length)
            row.append(f"{seconds:.1f} s, {megabytes:,.0f} MB")
        lines.append("| " + " | ".join(row) + " |")
        print(lines[-1], file=sys.stderr)  # a row may take minutes
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--whole-until", type=int, default=32768)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", choices=WORKS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(cost(WORKS[args.one](), args.lengths[0])))
        return
    text = table(args.lengths, args.whole_until)
    print(text)
    if args.write:
        page = Path(__file__).parents[1] / "docs" / "sd3.md"
        before, rest = page.read_text(encoding="utf-8").split(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
