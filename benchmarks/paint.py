"""How long a picture takes, cold and warm, beside diffusers with the same weights, steps and guidance in the same run.
All paint 128 px; the command, and one row, go on to 512 px as danqing does by default.

    python benchmarks/paint.py            prints the table
    python benchmarks/paint.py --write    and puts it into README.md

The peer is what a diffusers user would write: UNet2DConditionModel, AutoencoderKL, transformers' CLIPTextModel and
DPMSolverMultistepScheduler, with the default model's weights exported into them, in fp32 as loaded and in the machine's
fast precision with channels-last weights. Ours and theirs take turns, so that a busy moment of the machine hits both.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F

from marks import put

PROMPT, STEPS, SCALE = "a red fox, 3d style", 20, 4.0


def cold(runs: int) -> tuple[float, float]:
    """Median seconds from process start to the file, and the largest peak of memory in GB, of the command line."""
    seconds, peaks = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                "-m",
                "danqing",
                "paint",
                PROMPT,
                "--steps",
                str(STEPS),
                "-o",
                f"{folder}/fox.png",
            ]
            begin = time.perf_counter()
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            seconds.append(time.perf_counter() - begin)
            peaks.append(usage.ru_maxrss / 1e6)
            if status or not Path(folder, "fox.png").exists():
                raise SystemExit(f"{' '.join(command)} failed")
    return statistics.median(seconds), max(peaks)


def imported(runs: int) -> float:
    """Median seconds of ``import danqing`` in a fresh process."""
    code = "import time; t = time.perf_counter(); import danqing; print(time.perf_counter() - t)"
    return statistics.median(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(runs))


def ours(**options: Any) -> Callable[[], object]:
    """One warm picture of danqing, with the default finish unless the options say another."""
    from danqing.painting.load import load
    from danqing.request.request import Request

    painter = load()
    request = Request(prompt=PROMPT, seed=1, steps=STEPS, scale=SCALE, **options)
    return lambda: painter.paint(request)


def peer(
    dtype: torch.dtype, channels_last: bool, prepare: Callable[[Any], object] = lambda net: None
) -> Callable[[], object]:
    """One warm picture of diffusers with the same weights; ``prepare`` is shown its UNet and the codec's decoder."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from PIL import Image
    from transformers import CLIPTextConfig, CLIPTextModel

    from danqing.nets import autoencoder_kl, unet
    from danqing.prompt.tokenize import bilingual_tokenizer, framed
    from danqing.store import shipped
    from danqing.store.find import find
    from danqing.weights.load import load

    model = find(shipped.DEFAULT)
    net, codec, tower = (
        cast(Any, load(model.path(model.components[role].file))) for role in ("denoiser", "codec", "text")
    )
    layout = torch.channels_last if channels_last else torch.contiguous_format
    their_net: Any = UNet2DConditionModel(**unet.diffusers_config(net.config))
    their_net.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("draft.")})
    draft: Any = net.draft  # diffusers has no such layer: it gets ours, once a picture
    their_codec: Any = AutoencoderKL(**autoencoder_kl.diffusers_config(codec.config))
    their_codec.load_state_dict(codec.state_dict())
    shape = {**dataclasses.asdict(tower.config), "pad_token_id": 0, "bos_token_id": tower.config.vocab_size - 2}
    their_tower: Any = CLIPTextModel(CLIPTextConfig(**shape))
    prefix = "" if any(k.startswith("text_model.") for k in their_tower.state_dict()) else "text_model."
    state = {k.removeprefix(prefix): v for k, v in tower.state_dict().items() if k.startswith("text_model.")}
    their_tower.load_state_dict(state)
    for module in (their_net, their_codec, their_tower, draft):
        module.to(dtype=dtype).eval()
    their_net.to(memory_format=layout)
    their_codec.to(memory_format=layout)
    for module in (their_net, their_codec.decoder):
        prepare(module)
    tokenizer = bilingual_tokenizer(model.path(model.tokenizer["file"]))

    @torch.inference_mode()
    def paint() -> Image.Image:
        scheduler: Any = DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0
        )
        scheduler.set_timesteps(STEPS)
        ids = torch.tensor([framed(tokenizer, tokenizer.encode(text)) for text in ("", PROMPT)])
        heard = their_tower(ids)
        tokens, summary = heard.last_hidden_state, {"text_embeds": heard.pooler_output, "time_ids": torch.zeros(2, 0)}
        guess = draft(heard.pooler_output)
        x = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
        for t in scheduler.timesteps:
            both = torch.cat([torch.cat([x, x]).to(dtype), guess], 1)
            out = their_net(both, t, encoder_hidden_states=tokens, added_cond_kwargs=summary).sample.float()
            base, guided = out.chunk(2)
            x = scheduler.step(base + SCALE * (guided - base), t, x).prev_sample
        z = x / codec.config.scaling_factor + codec.config.shift_factor
        image = F.pixel_shuffle(their_codec.decode(z.to(dtype)).sample, codec.config.patch)
        levels = ((image.float().clamp(-1, 1) + 1) * 127.5).round().byte()[0].permute(1, 2, 0)
        return Image.fromarray(levels.numpy())

    return paint


def take_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, run one after the other in every round, after two rounds that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for i in range(rounds + 2):
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            if i >= 2:
                seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    from danqing.run.record import describe

    machine = describe()
    fast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(machine["precision"], torch.float32)
    import_seconds = imported(args.rounds)
    cold_seconds, peak = cold(max(3, args.rounds // 3))
    works = {"danqing": ours(finish=()), "diffusers, fp32": peer(torch.float32, False)}
    works[f"diffusers, {machine['precision']} channels-last"] = peer(fast, True)
    works["danqing, enlarged to 512 px as by default"] = ours()
    warm = take_turns(works, args.rounds)

    lines = [
        f"Measured by `python benchmarks/paint.py` on {machine['cpu']} ({machine['instructions']}, "
        f"{machine['threads']} threads, "
        f"{machine['precision']}, torch {machine['torch']}): 128 px, {STEPS} steps of DPM-Solver++ 2M, "
        f"guidance {SCALE:g}.",
        "",
        "| | |",
        "|---|---|",
        f"| `import danqing` | {import_seconds:.2f} s |",
        f"| cold: process start to file | {cold_seconds:.1f} s, {peak:.2f} GB at the peak |",
        *(f"| a warm picture, {name} | {seconds:.2f} s |" for name, seconds in warm.items()),
    ]
    print("\n".join(lines))
    if args.write:
        put("README.md", f"benchmark {machine['instructions']}", "\n".join(lines))


if __name__ == "__main__":
    main()
