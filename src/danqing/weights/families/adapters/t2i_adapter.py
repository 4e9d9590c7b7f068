"""T2I-Adapters: diffusers' files, and those of their authors, which number their blocks through."""

from __future__ import annotations

from math import isqrt
from typing import Any

from ...facts import Facts, Shapes, count
from ...family import Family, fixed, has, network
from ...layouts.keymap import KeyMap, Rule

BODY = "adapter.body.{}."


def t2i_adapter_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.t2i_adapter.T2IAdapterConfig`. A hint is grey, or has three channels."""
    light = BODY.format(0) + "out_conv.weight" in shapes
    levels = range(count(shapes, BODY + "resnets.0.block1.weight"))
    out = "out_conv.weight" if light else "resnets.0.block1.weight"
    entering = shapes[BODY.format(0) + "in_conv.weight" if light else "adapter.conv_in.weight"][1]
    channels = 3 if entering % 3 == 0 else 1
    told: dict[str, Any] = {
        "light": light,
        "channels": tuple(shapes[BODY.format(i) + out][0] for i in levels),
        "num_res_blocks": count(shapes, BODY.format(0) + "resnets.{}.block1.weight"),
        "in_channels": channels,
        "downscale_factor": isqrt(entering // channels),
    }
    return Facts(inferred=told)


def published(shapes: Shapes) -> KeyMap:
    """The authors' names: of two blocks a level; light ones hold the blocks of a level together."""
    if "conv_in.weight" not in shapes:
        rules: list[Rule] = [("body.{i}.body.{end*}", "adapter.body.{i}.resnets.{end*}")]
        return KeyMap(((*rules, ("body.{end*}", "adapter.body.{end*}")),))
    rules = [("conv_in.{end}", "adapter.conv_in.{end}")]
    for n in range(count(shapes, "body.{}.block1.weight")):
        rules.append((f"body.{n}.in_conv.{{end}}", f"adapter.body.{n // 2}.in_conv.{{end}}"))
        rules.append((f"body.{n}.{{end*}}", f"adapter.body.{n // 2}.resnets.{n % 2}.{{end*}}"))
    return KeyMap((tuple(rules),))


T2I_ADAPTER = Family(
    "t2i-adapter",
    "diffusers",
    has("adapter.body.0.resnets.0.block1.weight"),
    t2i_adapter_facts,
    network("t2i_adapter.T2IAdapter"),
    fixed(),
)
T2I_ADAPTER_FULL = T2I_ADAPTER._replace(
    layout="its authors", detect=has("conv_in.weight", "body.0.block1.weight", "body.0.block2.weight"), keymap=published
)
T2I_ADAPTER_LIGHT = T2I_ADAPTER._replace(
    layout="its authors, light", detect=has("body.0.in_conv.weight", "body.0.body.0.block1.weight"), keymap=published
)
