"""PixelCNN."""

from __future__ import annotations

from typing import Any

from ..facts import Facts, Shapes, count
from ..family import Family, fixed, has, network


def pixelcnn_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.pixelcnn.PixelCNNConfig`; no shape tells how far apart the cells of a window are."""
    layers = count(shapes, "layers.{}.link.weight")
    inferred: dict[str, Any] = {
        "classes": shapes.get("first.condition.weight", (0,))[0],
        "width": shapes["first.link.weight"][0] // 2,
        "first": shapes["first.vertical.weight"][3],
    }
    assumed: dict[str, Any] = {"dilations": tuple((1, 2, 4)[i % 3] for i in range(layers))}
    if "head.out.weight" in shapes:
        inferred |= {
            "head": "mixture",
            "components": shapes["head.out.weight"][0] // 10,
            "hidden": shapes["head.mix.weight"][0],
        }
        return Facts(inferred=inferred, assumed=assumed)
    inferred["head"] = "palette" if "head.palette" in shapes else "levels"
    inferred["levels"], inferred["embedding"] = shapes["head.tables.0.weight"]
    inferred["hidden"] = shapes["head.mix.0.weight"][0]
    return Facts(inferred=inferred, assumed=assumed)


PIXELCNN = Family(
    "pixelcnn",
    "danqing",
    has("first.vertical.weight", "first.horizontal.weight", "first.link.weight"),
    pixelcnn_facts,
    network("pixelcnn.PixelCNN"),
    fixed(),
)
