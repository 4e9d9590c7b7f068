"""Names that files of diffusers have had before those of today."""

from __future__ import annotations

#: The names of attention between the cells of a grid before diffusers 0.17.
ATTENTION = tuple(
    (f"{{block*}}.attentions.{{i}}.{old}.{{end}}", f"{{block*}}.attentions.{{i}}.{new}.{{end}}")
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
)
