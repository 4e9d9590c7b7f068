"""The older layouts of ESRGAN's network to that of Real-ESRGAN, and what the shapes of both of Real-ESRGAN's networks
tell.

The first files number the layers of one nested list: 0 the first convolution, 1 the trunk, then three for each doubling
(nearest, convolution, activation), then the convolution, activation, convolution of the end. Those of BSRGAN and RealSR
have names of their own. Source: the names in xinntao/ESRGAN (RRDBNet_arch.py and the old_arch files), cszn/BSRGAN and
xinntao/Real-ESRGAN.
"""

from __future__ import annotations

import math

from ..facts import Facts, Shapes, count
from ..family import Family, fixed, has, network
from ..layouts.keymap import KeyMap, Rule

#: Of BSRGAN, RealSR and ESRGAN's own repository.
NAMED: tuple[Rule, ...] = (
    ("RRDB_trunk.{i}.RDB{j}.{conv}.{end}", "body.{i}.rdb{j}.{conv}.{end}"),
    ("trunk_conv.{end}", "conv_body.{end}"),
    ("upconv{k}.{end}", "conv_up{k}.{end}"),
    ("HRconv.{end}", "conv_hr.{end}"),
)


def numbered(shapes: Shapes) -> KeyMap:
    """The map of the first files, by how often they double the grid."""
    last = max(int(part) for name in shapes if name.startswith("model.") and (part := name.split(".")[1]).isdecimal())
    ups = (last - 4) // 3
    rules: tuple[Rule, ...] = (
        ("model.0.{end}", "conv_first.{end}"),
        ("model.1.sub.{i}.RDB{j}.{conv}.0.{end}", "body.{i}.rdb{j}.{conv}.{end}"),
        (f"model.1.sub.{count(shapes, 'model.1.sub.{}.RDB1.conv1.0.weight')}.{{end}}", "conv_body.{end}"),
        *((f"model.{3 * k}.{{end}}", f"conv_up{k}.{{end}}") for k in range(1, ups + 1)),
        (f"model.{3 * ups + 2}.{{end}}", "conv_hr.{end}"),
        (f"model.{3 * ups + 4}.{{end}}", "conv_last.{end}"),
    )
    return KeyMap((rules,))


def rrdb_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.rrdb.RRDBNetConfig`. Where 4 or 16 times as many channels go in as come out, pixels are folded."""
    channels, read, *_ = shapes["conv_first.weight"]
    written = shapes["conv_last.weight"][0]
    fold = {4: 2, 16: 4}.get(read // written if read % written == 0 else 0, 1)
    return Facts(
        inferred={
            "in_channels": read // fold**2,
            "out_channels": written,
            "channels": channels,
            "growth": shapes["body.0.rdb1.conv1.weight"][0],
            "blocks": count(shapes, "body.{}.rdb1.conv1.weight"),
            "ups": next(k for k in range(9) if f"conv_up{k + 1}.weight" not in shapes),
            "unshuffle": fold,
        }
    )


def srvgg_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.srvgg.SRVGGNetCompactConfig`. The picture that comes out has as many channels as the one that goes
    in."""
    channels, read, *_ = shapes["body.0.weight"]
    layers = count(shapes, "body.{}.weight")
    last = shapes[f"body.{layers - 1}.weight"][0]
    scale = math.isqrt(last // read)
    if not layers % 2 or scale**2 * read != last or len(shapes["body.1.weight"]) != 1:
        raise ValueError(f"{layers} layers that end in {last} channels make no picture of {read} channels")
    return Facts(
        inferred={
            "in_channels": read,
            "out_channels": read,
            "channels": channels,
            "convolutions": (layers - 3) // 2,
            "scale": scale,
        }
    )


RRDB = Family(
    "rrdb",
    "Real-ESRGAN",
    has("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight", "conv_last.weight"),
    rrdb_facts,
    network("rrdb.RRDBNet"),
    fixed(),
)

RRDB_BSRGAN = RRDB._replace(
    layout="BSRGAN",
    detect=has("conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight", "trunk_conv.weight"),
    keymap=fixed(NAMED),
)

RRDB_ESRGAN = RRDB._replace(
    layout="ESRGAN", detect=has("model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"), keymap=numbered
)

SRVGG = Family(
    "srvgg",
    "Real-ESRGAN",
    has("body.0.weight", "body.1.weight", "body.2.weight", no=("lora",)),
    srvgg_facts,
    network("srvgg.SRVGGNetCompact"),
    fixed(),
)
