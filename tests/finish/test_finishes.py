"""Laws of the records: JSON and back, the same again, and every wrong parameter refused."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from danqing.errors import InvalidInput, UnknownName
from danqing.finish import tone
from danqing.finish.records import FINISHES, Record, Tone, finishing
from danqing.nets.gfpgan import GFPGAN, GFPGANConfig
from danqing.nets.srvgg import VIDEO, SRVGGNetCompact
from danqing.painting.finishing import PAINTED
from danqing.request.request import Request

EXAMPLES: dict[str, dict[str, Any]] = {
    "enlarge": {"model": "small.safetensors", "scale": 2.5, "tile": 64, "precision": "fp32"},
    "faces": {"model": "faces.safetensors", "find": "portrait", "strength": 0.5, "precision": "fp32"},
    "detail": {"what": "hand.onnx#left", "prompt": "a hand, open", "least": 0.1, "order": "left"},
    "cut-out": {"tolerance": 0.1},
    "clahe": {"clip": 3.0, "tiles": 4},
    "white-balance": {"method": "white-patch", "percentile": 95.0, "strength": 0.5},
    "levels": {"black": 0.1, "white": 0.9, "gamma": 1.2},
    "curves": {"points": ((0, 0), (0.5, 0.7), (1, 1)), "red": ((0, 0.1), (1, 1))},
    "adjust": {"exposure": 0.5, "saturation": 1.3},
}


def load(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if name == "faces.safetensors":
        return GFPGAN(GFPGANConfig(resolution=16, w_dim=4, channel_base=64, channel_max=4))
    assert name == "small.safetensors"
    return SRVGGNetCompact(VIDEO.__class__(channels=4, convolutions=1, scale=2))


def test_there_is_an_example_of_each() -> None:
    assert set(EXAMPLES) == set(FINISHES)


@pytest.mark.parametrize("name", FINISHES)
def test_a_record_comes_back_from_its_json(name: str) -> None:
    record = finishing(name, **EXAMPLES[name])
    back = Request.parse(Request(finish=[record]).json_text()).finish[0]
    assert back == record and hash(back) == hash(record)


@pytest.mark.parametrize("name", sorted(FINISHES.keys() - PAINTED.keys()))
def test_a_record_from_its_json_makes_the_same_picture(name: str) -> None:
    record = finishing(name, **EXAMPLES[name])
    back = Request.parse(Request(finish=[record]).json_text()).finish[0]
    levels = np.full((30, 40, 3), 230, np.uint8)
    levels[4:-4, 4:-4] = np.random.RandomState(0).randint(0, [256, 200, 99], (22, 32, 3))
    image = Image.fromarray(levels)
    first, again = record.make(load)(image), back.make(load)(image)
    assert first.tobytes() == again.tobytes() != image.tobytes()


@pytest.mark.parametrize("name", [name for name, kind in FINISHES.items() if issubclass(kind, Tone)])
def test_a_record_has_its_functions_parameters_and_defaults(name: str) -> None:
    wanted = inspect.signature(getattr(tone, name.replace("-", "_"))).parameters
    fields = {field: info.default for field, info in FINISHES[name].model_fields.items() if field != "name"}
    assert fields == {parameter: p.default for parameter, p in wanted.items() if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("clahe", {"clip": 0.5}, "clip: 0.5 was given"),
        ("faces", {"model": "a", "strength": 2}, "strength: 2 was given"),
        ("clahe", {"tiles": 0}, "tiles: 0 was given"),
        ("cut-out", {"tolerance": 1.5}, "tolerance: 1.5 was given"),
        ("clahe", {"clip": float("nan")}, "clip: nan was given"),
        ("enlarge", {"model": ""}, "model: '' was given"),
        ("enlarge", {"model": "a", "scale": 0}, "scale: 0 was given"),
        ("enlarge", {"model": "a", "scale": 100}, "scale: 100 was given"),
        ("levels", {"black": 0.9, "white": 0.1}, "black 0.9 must be below white 0.1"),
        ("curves", {"points": [[0, 0], [0, 1]]}, "different x"),
        ("curves", {"points": [[0, 0], [1, 2]]}, "points: 2 was given; possible is up to 64 points"),
        ("white-balance", {"method": "magic"}, "unknown method 'magic'"),
        ("adjust", {"name": "levels"}, "unknown name 'levels'"),
    ],
)
def test_a_parameter_outside_its_domain_is_refused(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        finishing(name, **parameters)
    with pytest.raises(InvalidInput):
        Request(finish=[{"name": name, **parameters} if "name" not in parameters else {"name": "x"}])


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown finish 'clahee'. Did you mean 'clahe'"):
        finishing("clahee")
    with pytest.raises(UnknownName, match="unknown parameter of clahe 'clop'. Did you mean 'clip'"):
        finishing("clahe", clop=3)


def test_a_record_is_frozen() -> None:
    record: Record = finishing("clahe")
    with pytest.raises(ValidationError, match="frozen"):
        record.clip = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_enlarging_without_a_loader_says_so() -> None:
    with pytest.raises(InvalidInput, match="loads one by its name"):
        finishing("enlarge", model="a").make()
    with pytest.raises(InvalidInput, match="detail paints"):
        finishing("detail").make()


def test_records_need_no_torch() -> None:
    code = (
        "import sys, danqing.finish.records as f; f.finishing('enlarge', model='a'); print({'torch', 'numpy'} & "
        "set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "set()"
    )
