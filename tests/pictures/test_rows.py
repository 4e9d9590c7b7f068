"""Laws of files of requests: each line is one, and a line that is none is named before anything is painted."""

import pytest

from danqing.errors import InvalidFile, InvalidInput
from danqing.pictures.rows import rows

WANTED = [{"prompt": "a fox, red", "steps": 3}, {"prompt": "an owl"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", 'prompt,steps\n"a fox, red",3\n\nan owl,\n'),
        ("x.tsv", "prompt\tsteps\na fox, red\t3\nan owl\t\n"),
        ("x.jsonl", '{"prompt": "a fox, red", "steps": 3}\n\n"an owl"\n'),
    ],
)
def test_tables_and_json_say_the_same_requests(tmp_path, name, text):
    (tmp_path / name).write_text("\ufeff" + text, "utf-8")
    found = rows(str(tmp_path / name))
    assert [{**row, **({"steps": int(row["steps"])} if "steps" in row else {})} for row in found] == WANTED


def test_a_text_holds_a_prompt_a_line_without_comments(tmp_path):
    (tmp_path / "x.txt").write_text("a fox\n\n# not this\n  一只猫 \n", "utf-8")
    assert rows(str(tmp_path / "x.txt")) == [{"prompt": "a fox"}, {"prompt": "一只猫"}]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("x.csv", "prompt,stps\na,1\n", "line 2: unknown option 'stps'"),
        ("x.csv", "prompt,steps\na,1\nb,0\n", "line 3: steps"),
        ("x.csv", "prompt\na,b,c\n", "line 2: it has more cells"),
        ("x.jsonl", '"a"\n{"prompt": 1\n', "line 2: this is not JSON"),
        ("x.jsonl", '"a"\n\n[1]\n', "line 3: a line is an object"),
    ],
)
def test_a_line_that_is_no_request_is_named(tmp_path, name, text, line):
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=line):
        rows(str(tmp_path / name))


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidFile, match="UTF-8"):
        rows(str(tmp_path / "x.txt"))
