"""Laws of what the shell completes: options, names and files, at once and without torch."""

import os
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

import danqing
from danqing.cli.app import danqing as group
from danqing.solve.solvers import SOLVERS
from danqing.store import settings, short


def completed(*words):
    """What the last of the words may become: values, or the kind of files that the shell looks up."""
    found = ShellComplete(group, {}, "danqing", "_DANQING_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [item.value if item.type == "plain" else item.type for item in found]


def test_commands_and_their_options_are_completed():
    assert completed("pai") == ["paint"] and "--verbose" in completed("--v")
    assert completed("paint", "--guid") == [] and completed("paint", "--sca") == ["--scale"]
    assert completed("edit", "fox.png", "a fox", "--thr") == ["--threads"]


def test_names_are_completed_where_help_says_name_or_model():
    assert completed("paint", "--model", "DANQING-") == ["danqing-mini"]
    assert completed("paint", "--refiner", "") == completed("compare", "vae", "") == danqing.models()
    assert len(danqing.models()) == len(set(danqing.models()))
    assert completed("paint", "--solver", "") == list(SOLVERS) and completed("paint", "--precision", "b") == ["bf16"]
    assert completed("pull", "sd") == list(short.SHORT)
    assert completed("finish", "enl") == ["enlarge"] and "danqing-x4" in completed("enlarge", "x.png", "--model", "d")


def parameters():
    return [
        pytest.param(command, param, id=f"{name} {param.name}")
        for name, command in group.commands.items()
        for param in command.get_params(click.Context(command))
        if (param.metavar or param.name.upper()).strip("[].")
        in ("FILE", "FOLDER", "PATH", "IMAGE", "OTHER", "MODEL", "PICTURE", "SOURCE", "TARGET", "CHAIN")
    ]


@pytest.mark.parametrize(("command", "param"), parameters())
def test_a_parameter_that_is_a_file_or_a_model_by_its_help_completes_as_one(command, param):
    found = param.shell_complete(click.Context(command), "no-name-begins-so")
    assert [item.type for item in found] == ["file"]


def test_models_of_folders_that_cannot_be_looked_up_are_not_completed_and_nothing_breaks(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "place", lambda kind: tmp_path)
    (tmp_path / settings.FILE).write_text("models = 3")
    assert completed("paint", "--model", "dan") == ["file"]


def test_the_shell_is_answered_by_its_own_protocol_without_torch():
    code = """if True:
        import sys
        sys.argv = ["danqing"]
        from danqing.__main__ import main
        try:
            main()
        finally:
            assert "torch" not in sys.modules
    """
    for shell, words in (("bash", ("danqing paint --model danqing-m", "3")), ("zsh", ("danqing paint --model d", "3"))):
        said = {"_DANQING_COMPLETE": f"{shell}_complete", "COMP_WORDS": words[0], "COMP_CWORD": words[1]}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **said})
        assert "danqing-mini" in done.stdout and not done.stderr
