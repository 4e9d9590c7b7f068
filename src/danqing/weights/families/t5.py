"""T5's encoder."""

from __future__ import annotations

from ..facts import Facts, Shapes, count
from ..family import Family, has, network
from ..layouts.keymap import KeyMap


def t5_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.t5.T5Config`; no shape tells where distances end."""
    layer = "encoder.block.0.layer.{}"
    buckets, heads = shapes[layer.format(0) + ".SelfAttention.relative_attention_bias.weight"]
    vocabulary, width = shapes["shared.weight"]
    inferred = {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": shapes[layer.format(0) + ".SelfAttention.q.weight"][0] // heads,
        "d_ff": shapes[layer.format(1) + ".DenseReluDense.wi_0.weight"][0],
        "num_layers": count(shapes, "encoder.block.{}.layer.0.SelfAttention.q.weight"),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
    }
    return Facts(inferred=inferred, assumed={"relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6})


def t5_keymap(shapes: Shapes) -> KeyMap:
    """T5's table of tokens has two names in transformers; a file holds one or both."""
    return KeyMap(((("encoder.embed_tokens.weight", None if "shared.weight" in shapes else "shared.weight"),),))


T5 = Family(
    "t5",
    "transformers",
    has(
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "encoder.block.0.layer.1.DenseReluDense.wi_0.weight",
        no=("decoder.", "lora"),
    ),
    t5_facts,
    network("t5.T5"),
    t5_keymap,
)
