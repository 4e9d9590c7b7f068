"""Laws of exports: a run's averaged weights become a model folder, whole or not at all, whose card says what it was
made of."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from danqing.cli import app
from danqing.errors import InvalidFile
from danqing.learn.training import drive
from danqing.learn.training.experiment import load as load_experiment
from danqing.learn.training.export import core_hours, export
from danqing.store.find import find
from danqing.weights.load import load
from experiments import cards, ddpm, pixelcnn, score, vae

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "learn" / "training" / "tiny.py"
#: Of each experiment: the settings of a tiny run, what sizes are multiples of, and the names of its networks in the
#: checkpoint.
RUNS = {
    "vae": (["net.image_size=8", "net.widths=[8, 8]", "net.latent_dim=4", "steps=2"], 8, {"generator": ""}),
    "pixelcnn": (
        ["net.width=8", "net.dilations=[1]", "net.levels=8", "net.hidden=8", "steps=2"],
        32,
        {"generator": ""},
    ),
    "biggan": (
        [
            "net.widths=[8, 8]",
            "net.attention=[]",
            "net.z_dim=4",
            "net.shared_dim=4",
            "judge.widths=[8]",
            "judge.halvings=1",
            "judge.attention=[]",
            "steps=2",
        ],
        8,
        {"generator": "generator."},
    ),
    "stylegan2": (
        [
            'sets=["micah"]',
            "net.resolution=8",
            "net.channel_max=8",
            "net.z_dim=4",
            "net.w_dim=4",
            "net.mapping_layers=1",
            "judge.resolution=8",
            "judge.channel_max=8",
            "steps=2",
        ],
        8,
        {"generator": "generator."},
    ),
    "cyclegan": (
        ["net.channels=4", "net.blocks=1", "judge.channels=4", "steps=2"],
        64,
        {"generator": "generator.forth."},
    ),
    **{
        name: (
            [
                "net.block_out_channels=[8, 8]",
                "net.attention_heads=[0, 0]",
                "net.mid_attention_heads=1",
                "net.norm_num_groups=2",
                "steps=2",
            ],
            32,
            {"denoiser": "net."},
        )
        for name in ("ddpm", "score")
    },
}
CLASSES = {"kind": "classes", "names": [["clock", "钟"], ["heart", "心"]]}
STYLES = {"kind": "styles", "names": ["fluent"]}
#: What a model hears, if anything.
HEARD = {"cyclegan": STYLES, "pixelcnn": CLASSES, "biggan": CLASSES, "ddpm": CLASSES, "score": CLASSES}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Forty pictures of 64 px: singles of two styles and two classes, of which four subjects are held out in one, and
    portraits."""
    folder = tmp_path_factory.mktemp("data")
    made = dict(version="1", licence="MIT", author="Ann")
    singles = [
        dict(
            array="singles",
            index=i,
            subject=str(i // 2),
            subgroup="heart" if i < 16 else "time",
            style="flat" if i % 2 else "noto",
            package="pencil",
            split="heldout_pair" if i % 8 == 1 else "train",
            **made,
        )
        for i in range(32)
    ]
    sets = enumerate(["micah", "dylan"] * 4)
    portraits = [
        dict(array="portraits", index=i, style=style, split="train", package=style, **made) for i, style in sets
    ]
    (folder / "ledger.jsonl").write_text("\n".join(map(json.dumps, singles + portraits)))
    draw = np.random.default_rng(0)
    for name, rows in (("singles", singles), ("portraits", portraits)):
        np.save(folder / f"{name}.npy", draw.integers(0, 256, (len(rows), 64, 64, 3), dtype=np.uint8))
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Curves and evaluations take most of the time of so short a run."""
    monkeypatch.setattr(drive, "curve", lambda folder: None)
    for module, name in ((vae, "APART"), (pixelcnn, "APART"), (ddpm, "STRATA"), (score, "STEPS")):
        monkeypatch.setattr(module, name, 2)


def learn(capsys, *args: object) -> tuple[int, str]:
    code = 0
    try:
        app.main(["learn", *map(str, args)])
    except SystemExit as end:
        code = int(end.code or 0)
    return code, capsys.readouterr().err


def options(changes: list[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


@pytest.mark.parametrize("name", RUNS)
def test_an_export_is_a_model_of_the_averaged_weights_in_bf16(name, data, tmp_path, capsys):
    changes, size, parts = RUNS[name]
    said = [
        ROOT / "experiments" / f"{name}.py",
        "--out",
        tmp_path / "run",
        *options([*changes, f"data={data}", "batch=4", "log_every=1"]),
    ]
    assert learn(capsys, *said) == (0, "")
    assert learn(capsys, *said, "--export", tmp_path / "model") == (0, "")
    model, state = (
        find(tmp_path / "model"),
        torch.load(tmp_path / "run" / "last.pt", weights_only=True)["ema"]["model"],
    )
    assert (
        model.name == name and set(model.components) == set(parts) and model.multiple == model.defaults["width"] == size
    )
    for role, prefix in parts.items():
        model.verify(role)
        net = load(model.path(model.components[role].file), dtype=torch.float32)
        wanted = {
            key.removeprefix(prefix): value.bfloat16().float() for key, value in state.items() if key.startswith(prefix)
        }
        torch.testing.assert_close(net.state_dict(), wanted, rtol=0, atol=0)
    assert model.text == HEARD.get(name, {})
    assert model.trained["steps"] == 2 and model.trained["pictures"] == (16 if name == "cyclegan" else 8)
    text = (tmp_path / "model" / "CARD.md").read_text()
    seen = (
        "| micah | 1 | MIT | Ann | 4 |"
        if name == "stylegan2"
        else f"| pencil | 1 | MIT | Ann | {24 if name == 'cyclegan' else 28} |"
    )
    assert seen in text and all(part.sha256 in text for part in model.components.values())
    assert {path.name for path in tmp_path.iterdir()} == {"run", "model"}


def test_what_cannot_be_exported_is_told_and_leaves_nothing(tmp_path, capsys):
    run, model = tmp_path / "run", tmp_path / "model"
    code, told = learn(capsys, TINY, "--out", run, "--export", model)
    assert code == 2 and "there is no checkpoint" in told and f"danqing learn run {TINY} --out {run}" in told
    assert learn(capsys, TINY, "--out", run, "--set", "steps=1")[0] == 0
    code, told = learn(capsys, TINY, "--out", run, "--set", "net.dropout=0.1", "--export", model)
    assert code == 2 and "net.dropout was 0.5 and is 0.1" in told
    code, told = learn(capsys, TINY, "--out", run, "--export", model)
    assert code == 2 and "Tiny exports nothing" in told
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_generator_that_is_trained_on_rests_until_its_judge_has_learned_and_counts_what_it_took_before(
    data, tmp_path, capsys
):
    file, (changes, *_) = ROOT / "experiments" / "stylegan2.py", RUNS["stylegan2"]
    first, second = tmp_path / "first", tmp_path / "second"
    begun = [*options([*changes, f"data={data}", "batch=4", "log_every=1"]), "--out"]
    assert learn(capsys, file, *begun, first / "run") == (0, "")
    assert learn(capsys, file, *begun, first / "run", "--export", first / "model") == (0, "")
    begun = [*options([f"start={first / 'model'}", "alone=2"]), *begun]
    wanted = load(first / "model" / "generator.safetensors", dtype=torch.float32).state_dict()
    for steps, moved in ((2, False), (3, True)):
        assert learn(capsys, file, *begun, second / "run", "--set", f"steps={steps}") == (0, "")
        state = torch.load(second / "run" / "last.pt", weights_only=True)["model"]
        assert (
            any(
                not torch.equal(state[f"generator.{name}"], value)
                for name, value in wanted.items()
                if "w_avg" not in name
            )
            is moved
        )
    assert learn(capsys, file, *begun, second / "run", "--export", second / "model") == (0, "")
    assert find(second / "model").trained["steps"] == 2 + 3


@pytest.mark.parametrize(
    "made", [lambda path: path.touch(), lambda path: path.mkdir(), lambda path: (path.mkdir(), (path / "x").touch())]
)
def test_what_is_no_model_is_not_replaced(made, tmp_path):
    made(tmp_path / "mine")
    with pytest.raises(InvalidFile, match="name another folder"):
        export(load_experiment(TINY)(), tmp_path / "run", tmp_path / "mine", "")
    assert os.listdir(tmp_path) == ["mine"]


def test_core_hours_are_the_steps_times_what_each_took(tmp_path):
    log = tmp_path / "log.jsonl"
    assert core_hours(log, 5) == 0
    rows = [
        dict(step=20, seconds=2.0, cores=3),
        dict(step=20, bits=1.0),
        dict(step=40, seconds=1.0),
        dict(step=60, seconds=9.0),
    ]
    log.write_text("\n".join(map(json.dumps, rows)))
    assert core_hours(log, 50) == pytest.approx((20 * 2 * 3 + 30 * torch.get_num_threads()) / 3600)


def test_a_card_counts_pictures_by_source():
    ann, bob = (dict(package=name, version="1", licence="CC0-1.0", author=name.title()) for name in ("ann", "bob"))
    assert cards.sources([bob, ann, bob]) == "| ann | 1 | CC0-1.0 | Ann | 1 |\n| bob | 1 | CC0-1.0 | Bob | 2 |"
    words = cards.Words(summary="{art}", about="of {art}", limits="")
    assert words.of(art="birds") == cards.Words(summary="birds", about="of birds", limits="")
    assert cards.licence([bob, ann | {"licence": "MIT"}]) == "Apache-2.0; trained on CC0-1.0, MIT art"
