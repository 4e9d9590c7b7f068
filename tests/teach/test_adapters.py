"""Laws of ``danqing learn`` of each kind of adapter: it changes nothing before it has learned, comes off
without trace, is read here and by others as it was written, and a stopped run ends as an unbroken one."""

import json
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.painting.test_image_prompts import VISION
from tests.painting.test_image_prompts import draw as draw_weights

from danqing.adapt.base import attached, place
from danqing.adapt.layouts import read
from danqing.adapt.written import kohya
from danqing.cli import app
from danqing.finish.faces import Face
from danqing.identity import analysis
from danqing.learn.training import drive
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.clip import CLIPText, CLIPTextConfig, CLIPVision
from danqing.nets.unet import UNet, UNetConfig
from danqing.store.model import write_model
from danqing.teach.adapters.base import OwnAdapter, together
from danqing.teach.adapters.table import ADAPTERS
from danqing.weights import store
from danqing.weights.load import load, save
from danqing.weights.store import header

#: A training of a moment.
TINY = ["batch=2", "log_every=1", "precision=fp32", "size=16"]
SMALLER = {
    **{"control": ["widths=[4,4,8]"], "lora": ["rank=2"], "word": ["word=zorb"], "image-prompt": []},
    **{"face": ["hidden=8", "heads=1", "depth=1"]},
}
SHOWN = ("image-prompt", "face")
#: Where every picture has a face.
FACE = Face((2, 2, 18, 18), np.array([(7, 8), (13, 8), (10, 11), (8, 14), (12, 14)], float))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Every command begins in an empty folder; curves take most of the time of so short a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drive, "curve", lambda folder: None)
    return tmp_path


@pytest.fixture
def folder(home, monkeypatch):
    """Nine noisy pictures of 24 x 20 px, every other with a caption beside it, and an image tower of the user's."""
    monkeypatch.setenv("DANQING_MODELS", "models")
    monkeypatch.setattr(analysis.Analysis, "detect", lambda self, picture: [FACE])
    (home / "models" / "clip_vision").mkdir(parents=True)
    save(draw_weights(CLIPVision(VISION)), home / "models" / "clip_vision" / "vit.safetensors")
    draw = np.random.default_rng(0)
    for i in range(9):
        file = home / "own" / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(file)
        if i % 2:
            file.with_suffix(".txt").write_text("a red fox,\nzorb")
    return home / "own"


@pytest.fixture(scope="session")
def xl(tmp_path_factory):
    """The folder of a tiny model with two text towers, whose UNet is told sizes, as Stable Diffusion XL's."""
    folder = tmp_path_factory.mktemp("xl")
    torch.manual_seed(0)
    text = CLIPTextConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, projection_dim=8
    )
    unet = UNetConfig(
        block_out_channels=(8, 16),
        layers_per_block=1,
        transformer_layers=(0, 1),
        attention_heads=(2, 2),
        cross_attention_dim=16,
        norm_num_groups=4,
        use_linear_projection=True,
        pooled_channels=8 + 6 * 256,
    )
    codec = AutoencoderKLConfig(
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )
    nets = {
        "denoiser": ("unet", UNet(unet), unet),
        "codec": ("autoencoder-kl", AutoencoderKL(codec), codec),
        "text": ("clip-text", CLIPText(text), text),
        "text_2": ("clip-text", CLIPText(text), text),
    }
    for role, (_, net, _) in nets.items():
        store.write(folder / f"{role}.safetensors", net.state_dict())
    write_model(
        folder,
        name="xl",
        components={
            role: (family, f"{role}.safetensors", asdict(config)) for role, (family, _, config) in nets.items()
        },
        text={"kind": "sdxl"},
        schedule={"kind": "scaled-linear"},
        prediction="eps",
        multiple=8,
        defaults={"width": 16, "height": 16, "steps": 2, "clip_skip": 2},
    )
    return folder


def danqing(capsys, *args: object) -> tuple[int, str, str]:
    code = 0
    try:
        app.main(list(map(str, args)))
    except SystemExit as end:
        code = int(end.code or 0)
    return code, *capsys.readouterr()


def learned(capsys, tiny, kind: str, *changes: str, out: str = "run", more: tuple[str, ...] = ()):
    said = [word for change in (*TINY, *SMALLER[kind], *changes) for word in ("--set", change)]
    return danqing(capsys, "learn", kind, "own", "--model", tiny, "--out", out, *more, *said)


def made(tiny, kind: str, **changes):
    """An experiment, its model and what it learns at step 0."""
    usual = {"folder": Path("own"), "model": str(tiny), "batch": 2, "precision": "fp32", "size": 16}
    usual |= {"lora": {"rank": 2}, "word": {"word": "zorb"}, "face": {"hidden": 8, "heads": 1}}.get(kind, {})
    experiment = ADAPTERS[kind].made()(**{**usual, **changes})
    return experiment, experiment.training()


def stirred(learned: torch.nn.Module) -> torch.nn.Module:
    """Random numbers in every parameter."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in learned.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=draw))
    return learned


def answer(experiment, texts=("a red fox, zorb",), side=4, items=((0, False),)) -> torch.Tensor:
    """What the model that stands still says of noise."""
    with torch.no_grad():
        maps = experiment.more(items)
        cond = experiment.beside(together(experiment.said(texts), maps), items, None)
        x = torch.randn(len(texts), 4, side, side, generator=torch.Generator().manual_seed(1))
        return experiment.frozen.denoiser(x, torch.full((len(texts),), 0.6), cond).x0


def weights(experiment) -> dict[str, torch.Tensor]:
    return {
        f"{role}.{n}": v.clone() for role, net in experiment.frozen.nets.items() for n, v in net.state_dict().items()
    }


@pytest.mark.parametrize("kind", ADAPTERS)
def test_every_kind_learns_a_folder_and_paints_as_the_last_line_says(kind, tiny, folder, capsys):
    code, out, err = learned(capsys, tiny, kind, "steps=2", "sample_every=1", more=("--add",))
    assert (code, err) == (0, "") and "own: 9 pictures of 16×16 px: 9" in out
    assert "and called 'own': 5" in out
    assert {"samples-000001.png", "before-and-after.png"} <= {p.name for p in Path("run").iterdir()}
    line = shlex.split(out.splitlines()[-1])
    code, out, err = danqing(capsys, *line[1:], "-o", "painted/", "--strict", "--steps", "2")
    assert code == 0 and len(list(Path("painted").glob("*.png"))) == 1, err
    assert "ignored" not in out + err and "plain text" not in out + err


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_run_that_was_killed_ends_bit_for_bit_as_an_unbroken_one(kind, tiny, folder, capsys, monkeypatch):
    more = ["prior=a cat", "prior_pictures=2"] if kind in ("lora", "word") else []
    more += ["text=true", "dora=true"] if kind == "lora" else []
    changes = ["mirror=true", "steps=3", "save_every=0", *more]
    assert learned(capsys, tiny, kind, *changes, out="whole")[0] == 0
    loss, calls = OwnAdapter.loss, []

    def killed(self, *args):
        calls.append(args)
        if len(calls) == 3:
            raise RuntimeError("killed")  # in the middle of the last step
        return loss(self, *args)

    monkeypatch.setattr(OwnAdapter, "loss", killed)
    with pytest.raises(RuntimeError, match="killed"):
        learned(capsys, tiny, kind, *changes, out="broken")
    monkeypatch.setattr(OwnAdapter, "loss", loss)
    code, out, _ = learned(capsys, tiny, kind, *changes, out="broken")
    assert code == 0 and "resumed at step 2" in out
    whole, broken = (torch.load(Path(out) / "last.pt", weights_only=True) for out in ("whole", "broken"))
    assert whole["step"] == broken["step"] == 3
    for part in (lambda state: state["model"], lambda state: state["ema"]["model"]):
        assert all(torch.equal(value, part(broken)[name]) for name, value in part(whole).items())
    assert len({file.read_bytes() for out in ("whole", "broken") for file in Path(out).glob("*.safetensors")}) == 1


@pytest.mark.parametrize(
    ("kind", "changes"), [("lora", {}), ("lora", {"text": True}), *((kind, {}) for kind in ("control", *SHOWN))]
)
def test_at_its_beginning_an_adapter_changes_no_bit(kind, changes, tiny, folder):
    experiment, run = made(tiny, kind, **changes)
    with experiment.wearing(None):
        bare = answer(experiment)
    assert torch.equal(answer(experiment), bare)
    stirred(run.model)
    assert not torch.allclose(answer(experiment), bare, atol=1e-3)


def test_at_its_beginning_dora_changes_no_bit_of_a_weight(tiny, folder):
    experiment, run = made(tiny, "lora", dora=True, text=True)
    for role, deltas in run.model.deltas.items():
        for name, delta in deltas.items():
            assert not delta.weight.change(place(experiment.frozen.nets[role], name).here.weight).any()
    with experiment.wearing(None):
        bare = answer(experiment)
    torch.testing.assert_close(answer(experiment), bare)  # as kernels have it, for which weights lie elsewhere


def test_a_word_begins_as_the_words_that_it_begins_with(tiny, folder):
    experiment, run = made(tiny, "word", init="fox", vectors=2)
    said, plain = experiment.said(["zorb"])[0].tokens, experiment.frozen.said(["fox"])[0].tokens
    assert len(experiment.frozen.text.tokenizer.encode("fox")) == 2 and torch.equal(said, plain)
    stirred(run.model)
    assert not torch.allclose(experiment.said(["zorb"])[0].tokens, plain, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "changes"), [("lora", {"text": True}), *((kind, {}) for kind in ("word", "control", *SHOWN))]
)
def test_learning_and_showing_leave_the_model_as_it_was(kind, changes, tiny, folder):
    experiment, run = made(tiny, kind, **changes)
    with experiment.wearing(None):
        before, modules, bare = weights(experiment), str(experiment.frozen.nets), answer(experiment)
    for _ in run.run(2):
        experiment.samples(run)
    with experiment.wearing(None):
        after = weights(experiment)
        assert str(experiment.frozen.nets) == modules and torch.equal(answer(experiment), bare)
    assert before.keys() == after.keys() and all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("dora", [False, True])
def test_what_was_learned_is_what_its_file_does(dora, tiny, folder):
    experiment, run = made(tiny, "lora", dora=dora, text=True, alpha=3.0)
    stirred(run.model)
    there = answer(experiment)
    tensors = kohya(run.model.deltas, torch.float32)
    with experiment.wearing(None):
        nets = experiment.frozen.nets
        lora = read(tensors, nets, strict=True)
        with attached(nets["denoiser"], lora.on("denoiser")), attached(nets["text"], lora.on("text")):
            torch.testing.assert_close(answer(experiment), there, rtol=1e-4, atol=1e-4)


def test_computing_again_changes_no_bit_of_what_is_learned(tiny, folder):
    ends = []
    for recompute in (False, True):
        _, run = made(tiny, "lora", recompute=recompute, text=True)
        list(run.run(2))
        ends.append(run.model.state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_the_prior_is_what_the_model_paints_untouched_and_its_loss_is_added(tiny, folder):
    usual = {"prior": "a cat", "prior_pictures": 3}
    experiment, run = made(tiny, "lora", prior_weight=0.5, **usual)
    stirred(run.model)
    other, _ = made(tiny, "lora", **usual)
    assert torch.equal(experiment._before, other._before) and len(other._before) == 3
    plain, _ = made(tiny, "lora")
    stirred(plain._on[0][0])
    noises = [torch.Generator().manual_seed(5) for _ in range(2)]
    losses = experiment.loss(run.model, experiment.batches(0), noises[0])
    alone = plain.loss(run.model, plain.batches(0), noises[1])
    assert losses["loss"] == alone["loss"] + 0.5 * losses["prior"]


def test_a_control_tells_one_hint_from_another(tiny, folder):
    experiment, run = made(tiny, "control", hint="grey")
    stirred(run.model)
    one, again, other, mirrored = (
        answer(experiment, items=[item]) for item in ((0, False), (0, False), (1, False), (0, True))
    )
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=1e-4) and not torch.allclose(one, mirrored, atol=1e-4)


@pytest.mark.parametrize("kind", SHOWN)
def test_what_is_shown_is_told_apart_and_its_file_says_what_was_learned(kind, tiny, folder):
    experiment, run = made(tiny, kind)
    if kind == "face":  # of nothing but noise the recogniser would say much the same
        experiment.__dict__["_numbers"] = list(torch.randn(9, 1, 128, generator=torch.Generator().manual_seed(0)))
    stirred(run.model)
    one, again, other = (answer(experiment, items=[(i, False)]) for i in (0, 0, 1))
    assert torch.equal(one, again) and not torch.allclose(one, other, atol=1e-4)
    written = load(experiment.write(run.model, Path(), {}), dtype=torch.float32)
    with experiment.wearing(written):
        torch.testing.assert_close(answer(experiment, items=[(0, False)]), one, rtol=0, atol=2e-2)  # a file of fp16
    more, begun = made(tiny, kind, begin=str(next(Path().glob("own-*.safetensors"))))
    assert all(torch.equal(value, begun.model.state_dict()[name]) for name, value in written.state_dict().items())
    assert more.begin


def test_a_face_is_shown_by_another_picture_of_the_same_person(tiny, folder):
    for i in range(9):
        for file in folder.glob(f"{i}.*"):
            (folder / str(i // 3)).mkdir(exist_ok=True)
            file.rename(folder / str(i // 3) / file.name)
    experiment, _ = made(tiny, "face")
    experiment.__dict__["_numbers"] = [torch.full((1, 128), float(i)) for i in range(9)]
    draw = torch.Generator().manual_seed(0)
    shown = {int(experiment.seen((4, False), draw)[0, 0]) for _ in range(20)}
    assert shown == {3, 5} and experiment.seen((4, False), None)[0, 0] == 4


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("image-prompt", ["tower=gone"], "unknown image tower 'gone'"),
        ("face", ["prior=a cat"], "there is nothing to preserve"),
        ("lora", ["targets=nowhere"], "possible are all, attention, transformers"),
        ("lora", ["targets=("], "is no pattern"),
        ("lora", ["size=64"], "own/0.png: 24×20 is smaller than"),
        ("control", ["widths=[4,8]"], "a hint is 4 times as large: 3"),
        ("control", ["hint=edgse"], "Did you mean 'edges'"),
        ("word", ["rank=3"], "unknown setting 'rank'"),
    ],
)
def test_what_cannot_be_learned_is_refused(kind, changes, told, tiny, folder, capsys):
    code, _, err = learned(capsys, tiny, kind, "steps=1", *changes)
    assert code == 2 and told in err and not Path("run/last.pt").exists()


def test_captions_are_the_texts_beside_and_broken_ones_are_named(tiny, folder, capsys):
    experiment, _ = made(tiny, "lora", caption="a thing")
    assert experiment.own.captions[:3] == ("a thing", "a red fox, zorb", "a thing")
    (folder / "1.txt").write_bytes(b"\xff\xfe\x00")
    code, _, err = learned(capsys, tiny, "lora", "steps=1")
    assert code == 2 and "own/1.txt is no caption, a text in UTF-8" in err


@pytest.mark.parametrize(
    ("kind", "changes", "names"),
    [
        ("lora", {"text": True}, ("lora_unet_conv_in.alpha", "lora_te1_", "lora_te2_")),
        ("word", {}, ("clip_g", "clip_l")),
        ("control", {}, ("add_embedding", "controlnet_cond_embedding")),
        ("image-prompt", {}, ("image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight")),
    ],
)
def test_models_of_two_towers_that_are_told_sizes_are_learned_for(kind, changes, names, xl, folder):
    experiment, run = made(xl, kind, **changes)
    with experiment.wearing(None):
        bare = answer(experiment, side=8)
    list(run.run(2))
    file = experiment.file(run, Path())
    keys = header(file).tensors
    assert all(any(key.startswith(name) for key in keys) for name in names)
    stirred(run.model)
    assert not torch.allclose(answer(experiment, side=8), bare, atol=1e-3)


def test_folders_of_peft_lie_beside_where_they_are_asked_for(tiny, folder, capsys):
    assert learned(capsys, tiny, "lora", "steps=1", "peft=true", "text=true")[0] == 0
    for network in ("unet", "text_encoder"):
        config = json.loads(Path("run/own-peft", network, "adapter_config.json").read_text())
        assert config["r"] == 2 and config["peft_type"] == "LORA"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("lora", "gone"), "gone is not there: name a folder"),
        (("control", "few"), "few holds 1 pictures that can be learned, and control needs 8 at least"),
    ],
)
def test_folders_that_cannot_be_learned_are_refused_before_torch_loads(args, told, home):
    Path("few").mkdir()
    Image.new("RGB", (16, 16)).save("few/a.png")
    code = (
        "import sys\nfrom danqing.cli.app import main\ntry:\n    main(sys.argv[1:])\nfinally:\n"
        "    assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, "learn", *args], capture_output=True, text=True)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
