"""Laws of names: a prompt's tag finds its file, or says which it might have meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from danqing.adapt.tags import asked, files
from danqing.errors import UnknownName
from danqing.prompt.grammar import parse


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    for name in (
        "a/ink.safetensors",
        "a/styles/Wool.safetensors",
        "a/notes.txt",
        "b/ink.safetensors",
        "b/old.pt",
        "b/v1.5.safetensors",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return [tmp_path / "a", tmp_path / "b", tmp_path / "missing"]


def ask(prompt: str, folders: list[Path]) -> list[tuple[str, float, float]]:
    root = folders[0].parent
    return [(one.path.relative_to(root).as_posix(), one.te, one.unet) for one in asked(parse(prompt).tags, folders)]


@pytest.mark.parametrize(
    "tag, found",
    [
        ("<lora:ink>", ("a/ink.safetensors", 1.0, 1.0)),
        ("<lora:ink:0.5>", ("a/ink.safetensors", 0.5, 0.5)),
        ("<lora:ink:0.5:0.8>", ("a/ink.safetensors", 0.5, 0.8)),
        ("<lora:ink:0:1>", ("a/ink.safetensors", 0.0, 1.0)),
        ("<lyco:wool:-1>", ("a/styles/Wool.safetensors", -1.0, -1.0)),
        ("<lora:styles/Wool>", ("a/styles/Wool.safetensors", 1.0, 1.0)),
        (r"<lora:styles\wool>", ("a/styles/Wool.safetensors", 1.0, 1.0)),
        ("<lora:ink.safetensors>", ("a/ink.safetensors", 1.0, 1.0)),
        ("<lora:old>", ("b/old.pt", 1.0, 1.0)),
        ("<lora:v1.5>", ("b/v1.5.safetensors", 1.0, 1.0)),
    ],
)
def test_a_tag_is_a_file_and_two_strengths(folders, tag, found) -> None:
    assert ask(f"a fox {tag} in snow", folders) == [found]


def test_the_tags_keep_their_order_and_other_kinds_are_left_out(folders) -> None:
    assert [one[0] for one in ask("<lora:old> <hypernet:ink> <lora:ink>", folders)] == ["b/old.pt", "a/ink.safetensors"]
    assert ask("<hypernet:nowhere> a fox", folders) == []


@pytest.mark.parametrize("name", ["inc", "../b/ink", "/etc/passwd", "notes", "styles"])
def test_an_unknown_name_is_refused_with_the_nearest(folders, name) -> None:
    with pytest.raises(UnknownName, match="Possible: Wool, ink, old, v1.5"):
        ask(f"<lora:{name}>", folders)
    with pytest.raises(UnknownName, match="Did you mean 'ink'"):
        ask("<lora:inkk>", folders)


def test_of_two_files_of_one_name_the_earlier_folders_counts(folders) -> None:
    assert files(folders)["ink"].parent.name == "a" and files(folders[::-1])["ink"].parent.name == "b"
