"""Control networks of UNets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...facts import Facts, Shapes, count
from ...family import Family, behind, fixed, has, inside, network
from ...layouts import ldm
from ..unet import trunk_facts

#: What a file has that states its network as a change of the UNet that it steers (`danqing.weights.relative`).
RELATIVE = ("lora_controlnet", "difference")
HINT = "controlnet_cond_embedding"


def controlnet_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.controlnet.ControlNetConfig`. What reads no text needs neither its width nor heads."""
    facts = trunk_facts(shapes)
    levels = range(len(facts.inferred["block_out_channels"]))
    norms = {i for i in levels if f"down_blocks.{i}.attentions.0.norm.weight" in shapes}
    within = [f"{HINT}.blocks.{i}.weight" for i in range(0, count(shapes, HINT + ".blocks.{}.weight"), 2)]
    told: dict[str, Any] = {
        "hint_channels": shapes[HINT + ".conv_in.weight"][1],
        "hint_widths": tuple(shapes[name][1] for name in (*within, HINT + ".conv_out.weight")),
        "mid_resnets": count(shapes, "mid_block.resnets.{}.conv1.weight"),
        "hollow": tuple(i for i in sorted(norms) if not facts.inferred["transformer_layers"][i]),
    }
    usual: dict[str, Any] = {"pooled_residuals": False}
    unknown = dict(facts.unknown)
    if not (any(facts.inferred["transformer_layers"]) or facts.inferred["mid_transformer_layers"]):
        del unknown["cross_attention_dim"]
        usual |= {"attention_heads": (1,) * len(levels), "use_linear_projection": True}
    return replace(facts, inferred={**facts.inferred, **told}, assumed={**facts.assumed, **usual}, unknown=unknown)


CONTROLNET = Family(
    "controlnet",
    "diffusers",
    has(f"{HINT}.conv_in.weight", "conv_in.weight", "controlnet_mid_block.weight", no=("task_embedding",)),
    controlnet_facts,
    network("controlnet.ControlNet"),
    fixed(),
)

CONTROLNET_BARE = CONTROLNET._replace(
    layout="LDM",
    detect=has("zero_convs.0.0.weight", "input_hint_block.0.weight", "time_embed.0.weight", no=RELATIVE),
    keymap=ldm.controlnet,
)

CONTROLNET_LDM = CONTROLNET_BARE._replace(
    layout="ControlNet's own",
    detect=lambda keys: (
        inside("control_model.", CONTROLNET_BARE.detect)(keys) and not any(mark in keys for mark in RELATIVE)
    ),
    keymap=behind("control_model.", ldm.controlnet),
)


def controlnet_union_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.controlnet_union.ControlNetUnionConfig`."""
    facts = controlnet_facts(shapes)
    told: dict[str, Any] = {
        "types": shapes["task_embedding"][0],
        "type_layers": count(shapes, "transformer_layes.{}.ln_1.weight"),
    }
    return replace(facts, inferred={**facts.inferred, **told}, assumed={**facts.assumed, "type_heads": 8})


CONTROLNET_UNION = Family(
    "controlnet-union",
    "diffusers",
    has(f"{HINT}.conv_in.weight", "task_embedding", "control_add_embedding.linear_1.bias"),
    controlnet_union_facts,
    network("controlnet_union.ControlNetUnion"),
    fixed(),
)
