"""Laws of the language that the command line speaks: which one, and that nothing but the words changes."""

import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from danqing.cli import app
from danqing.cli.wide import CLOSING, wrapped
from danqing.lang.spoken import NAMED, chosen, said

COMMANDS = ["", *sorted(app.danqing.commands)]
#: Three English words in a row, of lower case.
SENTENCE = re.compile(r"(?<![-\w./'\"])[a-z]+ [a-z]+ [a-z]+(?![-\w./])")


@pytest.fixture
def ask(run, monkeypatch):
    """Run a command where these variables say which language is spoken, and no others."""

    def ask(*args, **variables):
        with monkeypatch.context() as patched:
            for name in NAMED:
                patched.delenv(name, raising=False)
            for name, value in variables.items():
                patched.setenv(name, value)
            return run(*args)

    return ask


@pytest.mark.parametrize(
    "args, variables, language",
    [
        ("", {}, "en"),
        ("", {"LANG": "C"}, "en"),
        ("", {"LANG": "zh_CN.UTF-8"}, "zh"),
        ("", {"LANG": "zh"}, "zh"),
        ("", {"LANG": "zh-Hans"}, "zh"),
        ("", {"LANG": "de_DE.UTF-8"}, "en"),
        ("", {"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ("", {"LC_ALL": "C", "LANGUAGE": "de:zh_CN:en"}, "zh"),
        ("", {"LANGUAGE": "en:zh"}, "en"),
        ("", {"DANQING_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
        ("--lang zh paint x", {"DANQING_LANG": "en"}, "zh"),
        ("paint --help --lang=zh", {}, "zh"),
        ("paint --lang en --lang zh x", {}, "zh"),
        ("paint -- --lang zh", {}, "en"),
        ("paint --lang", {}, "en"),
        ("--lang klingon", {"LANG": "zh_CN.UTF-8"}, "zh"),
    ],
)
def test_the_language_is_that_of_the_option_or_else_of_the_first_variable_that_is_set(args, variables, language):
    assert chosen(args.split(), variables) == language


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_in_chinese_holds_no_english_sentence_and_no_line_that_is_too_long(command, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    app.main([*command.split(), "--help", "--lang", "zh"])
    told, examples = capsys.readouterr().out.split("示例:")
    assert not SENTENCE.findall(re.sub(r"`[^`]*`", "", told))
    assert not re.findall(r"\S {2,}[a-z]+ [a-z]+ [a-z]+", examples)
    assert max(map(cell_len, told.splitlines())) < columns


@pytest.mark.parametrize(
    "args, told",
    [
        (("paint", "a", "--width", "7"), "width: '7' 无效；应为：8 到 4096 的整数，例如 128"),
        (("paint", "a", "--solver", "eulr"), "没有名为 'eulr' 的采样器。您是不是想用 'euler'"),
        (("paint", "a", "--strenght", "1"), "错误：没有选项 '--strenght'。"),
        (("pant",), "没有命令 'pant'。您是不是想用 'paint'？"),
        (("enlarge",), "缺少参数 'IMAGE...'"),
    ],
)
def test_a_refusal_is_told_in_the_language_of_the_system_with_the_same_exit_code(ask, args, told):
    environment = {name: value for name, value in os.environ.items() if name not in NAMED} | {"LANG": "zh_CN.UTF-8"}
    ran = subprocess.run([sys.executable, "-m", "danqing", *args], env=environment, capture_output=True)
    assert told in ran.stderr.decode() and not ran.stdout
    assert ask(*args)[0] == ran.returncode == 2


def test_a_missing_file_is_told_in_chinese(ask, tiny):
    assert ask("edit", "nope.png", "a", "--model", str(tiny), LANG="zh") == (2, "", "danqing: 没有文件 'nope.png'。\n")


def test_a_warning_of_a_picture_is_told_in_chinese_and_recorded_in_english(ask, tiny):
    paint = ("paint", "(fox:1,3)", "--seed", "1", "--model", str(tiny), "-o", "x.png")
    code, _, told = ask(*paint, LANG="zh_CN.UTF-8")
    assert code == 0 and "警告：':1,3)' 按普通文字读取：权重用小数点书写" in told
    recorded = json.loads(ask(*paint, "--json", "--lang", "zh")[1])
    assert any("was read as plain words" in warning for warning in recorded["warnings"])


def test_words_that_were_not_learned_are_told_in_chinese(ask):
    assert ask("words", "qwertyuiop", "--lang", "zh")[1].startswith("qwertyuiop：没有学过；")


@pytest.mark.parametrize("args", [("paint", "--help"), ("paint", "a", "--width", "7"), ("pant",), ("models",)])
def test_english_is_the_same_however_it_is_chosen(ask, args):
    usual = ask(*args)
    assert ask(*args, LANG="C") == usual
    assert ask(*args, LC_ALL="en_US.UTF-8", LANG="zh_CN.UTF-8") == usual
    assert ask(*args, "--lang", "en", LANG="zh_CN.UTF-8") == usual


def test_json_is_the_same_in_any_language(ask, tiny):
    english, chinese = (ask("inspect", str(tiny), "--json", "--lang", language) for language in ("en", "zh"))
    assert english == chinese and json.loads(english[1])


def test_the_language_ends_with_the_command(capsys):
    before = dict(os.environ)
    app.main(["words", "--help", "--lang", "zh"])
    capsys.readouterr()
    assert said("there is no folder x") == "there is no folder x" and dict(os.environ) == before
    app.main(["words", "--help"])
    assert "List what a model can be asked for" in capsys.readouterr().out


@given(st.text("狐狸画。，（“a1 -.\n", max_size=80), st.integers(4, 40))
def test_wrapping_keeps_the_text_within_its_width_and_signs_at_their_words(text, width):
    lines = wrapped(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    whole = re.findall(r"[（“]*(?:[a1.-]+|[狐狸画])?[。，]*", text)  # what is not taken apart
    room = max(width, *map(cell_len, whole))
    assert all(cell_len(line) <= room for line in lines)
    if not re.search(r"\s[。，]", text):
        assert all(line[:1] not in CLOSING for line in lines[1:] if line)
