"""The layout of OpenCLIP's (and OpenAI's) text towers to that of transformers.

Queries, keys and values of a layer are one projection, and the projection of the summary is a matrix for x W.
Source: the names in mlfoundations/open_clip, src/open_clip/transformer.py and model.py; torch's MultiheadAttention.
"""

from __future__ import annotations

from .keymap import STACKED, TRANSPOSED, Cut, Rule

LAYER = "text_model.encoder.layers.{i}"
TEXT: tuple[Rule, ...] = (
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("transformer.resblocks.{i}.ln_1.{end}", LAYER + ".layer_norm1.{end}"),
    ("transformer.resblocks.{i}.attn.in_proj_{end}", LAYER + ".self_attn.in_proj.{end}"),
    ("transformer.resblocks.{i}.attn.out_proj.{end}", LAYER + ".self_attn.out_proj.{end}"),
    ("transformer.resblocks.{i}.ln_2.{end}", LAYER + ".layer_norm2.{end}"),
    ("transformer.resblocks.{i}.mlp.c_fc.{end}", LAYER + ".mlp.fc1.{end}"),
    ("transformer.resblocks.{i}.mlp.c_proj.{end}", LAYER + ".mlp.fc2.{end}"),
    ("ln_final.{end}", "text_model.final_layer_norm.{end}"),
    ("logit_scale", None),  # of the contrast with an image tower
    ("attn_mask", None),  # the causal mask, which old files hold as a tensor
)
CUTS = (
    Cut("{layer*}.self_attn.in_proj.{end}", tuple(f"{{layer*}}.self_attn.{x}_proj.{{end}}" for x in "qkv"), STACKED),
    Cut("text_projection", ("text_projection.weight",), TRANSPOSED),
)
