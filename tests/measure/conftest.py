"""Art small enough to measure in seconds, and a judge whose weights are random: its laws are not."""

import json

import numpy as np
import pytest
import torch

from danqing.measure import judge as judging
from danqing.nets.features import FeatureConfig
from danqing.nets.recogniser import Recogniser, RecogniserConfig

SIDE = 128
SUBJECTS = [
    ("fox", "狐狸"),
    ("owl", "猫头鹰"),
    ("red heart", "红心"),
    ("house", "房子"),
    ("tree", "树"),
    ("key", "钥匙"),
]
STYLES = ("3d", "flat", "noto")
COLOURS = [(220, 90, 20), (110, 60, 30), (210, 20, 40), (60, 90, 200), (30, 140, 60), (240, 200, 40)]
HAIR = [("short red hair", "红色短发"), ("long black hair", "黑色长发")]
WORDS = {
    "style": [*STYLES, "micah"],
    "beard": ["a beard", "none"],
    "expression": ["sad", "smiling"],
    "glasses": ["glasses", "none"],
    "hair": ["black", "red"],
    "person": ["man", "woman"],
    "subject": [f"S{i}" for i in range(len(SUBJECTS))],
}


def drawn(subject, style, draw):
    """A thing on white, (128, 128, 3) of bytes, and its opacity."""
    y, x = np.mgrid[:SIDE, :SIDE]
    size = 30 + 5 * subject + draw.uniform(-2, 2)
    inside = np.hypot(y - 64, x - 64) < size if subject % 2 else np.maximum(abs(y - 64), abs(x - 64)) < size
    light = {"3d": (y - 64) // 3, "flat": 0 * y, "noto": 40 * (x // 6 % 2)}[style]
    colour = np.clip(np.array(COLOURS[subject]) + light[..., None], 0, 255)
    return np.where(inside[..., None], colour, 255).astype(np.uint8), (255 * inside).astype(np.uint8)


def scene(rows, singles, alpha, ground):
    """Things side by side on a plain background."""
    made = np.broadcast_to(np.array(ground, np.uint8), (SIDE, SIDE, 3)).copy()
    for piece in rows:
        small, mask = singles[piece["index"]][::3, ::3], alpha[piece["index"]][::3, ::3, None] > 0
        top, left = (round(piece[name] * SIDE) - 21 for name in ("y", "x"))
        part = made[top : top + 43, left : left + 43]
        part[:] = np.where(mask, small, part)
    return made


@pytest.fixture(scope="session")
def art(tmp_path_factory):
    """A folder of art."""
    folder, draw = tmp_path_factory.mktemp("art"), np.random.default_rng(0)
    lines, singles, alpha = [], [], []
    for i in range(6 * len(SUBJECTS) * len(STYLES)):
        subject, style = i % len(SUBJECTS), STYLES[i // len(SUBJECTS) % len(STYLES)]
        picture, opacity = drawn(subject, style, draw)
        singles.append(picture)
        alpha.append(opacity)
        split = "heldout_pair" if (subject, style) in ((0, "flat"), (2, "3d"), (3, "noto"), (5, "flat")) else "train"
        labels = {"label_en": SUBJECTS[subject][0], "label_zh": SUBJECTS[subject][1]}
        lines.append(
            {
                "array": "singles",
                "index": i,
                "subject": f"S{subject}",
                "style": style,
                "split": split,
                "group": "objects",
            }
            | labels
        )
    composites = []
    for i, (relation, places) in enumerate(
        [("left", ((0.25, 0.5), (0.75, 0.5))), ("top", ((0.5, 0.25), (0.5, 0.75)))] * 10
    ):
        train = [line for line in lines if line["array"] == "singles" and line["split"] == "train"]
        pieces = [
            {**train[j], "x": x, "y": y} for j, (x, y) in zip(draw.integers(0, len(train), 2), places, strict=True)
        ]
        composites.append(scene(pieces, singles, alpha, (190, 225, 250)))
        ground = {"colours": [{"en": "light blue", "zh": "浅蓝色"}]}
        lines.append({"array": "composites", "index": i, "pieces": pieces, "relation": relation, "style": "3d",
                      "background": ground, "split": "train"})  # fmt: skip
    for i in range(40):
        said = {"person": ("man", "男人"), "expression": ("smiling", "微笑"), "hair": HAIR[i % 2]}
        said |= {"glasses": ("glasses", "戴眼镜")} if i % 3 else {}
        lines.append({"array": "portraits", "index": i, "style": "micah", "split": "train",
                      "attributes": {name: {"en": en, "zh": zh} for name, (en, zh) in said.items()}})  # fmt: skip
    np.save(folder / "singles.npy", np.stack(singles))
    np.save(folder / "singles_alpha.npy", np.stack(alpha))
    np.save(folder / "composites.npy", np.stack(composites))
    np.save(folder / "portraits.npy", draw.integers(0, 256, (40, SIDE, SIDE, 3), np.uint8))
    (folder / "ledger.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    styles = [{"style": s, "en": [f"{s} style"], "zh": [f"{s}风格"]} for s in (*STYLES, "micah")]
    (folder / "styles.json").write_text(json.dumps(styles))
    return folder


@pytest.fixture(scope="session")
def judge():
    """One that has learned nothing."""
    torch.manual_seed(0)
    trunk = FeatureConfig(image_size=32, patch=4, widths=(8, 8, 16), norm_num_groups=4, features=16)
    words = sum(map(len, WORDS.values())) - len(WORDS["style"])
    net = Recogniser(RecogniserConfig(trunk=trunk, styles=len(WORDS["style"]), words=words))
    labels = {f"S{i}": {"en": en, "zh": zh} for i, (en, zh) in enumerate(SUBJECTS)}
    return judging.Judge(net.eval().requires_grad_(False), WORDS, labels)
