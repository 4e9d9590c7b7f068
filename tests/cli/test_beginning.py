"""Laws of presets and files of prompts: what is said on the line counts first, and a fault is told before painting."""

import json
import os
from pathlib import Path

from danqing.pictures.carried import recorded
from danqing.store.own import presets


def test_a_preset_gives_back_the_options_it_was_saved_with_and_the_line_counts_before_it(run, tiny):
    kept = ("--steps", "2", "--solver", "Euler a", "--model", str(tiny))
    code, _, err = run("paint", "fox", *kept, "--seed", "3", "-o", "a.png", "--save-preset", "mine")
    assert code == 0 and str(presets.folder() / "mine.json") in err
    assert run("paint", "fox", "--preset", "mine", "--seed", "3", "-o", "b.png")[0] == 0
    assert recorded("a.png") == recorded("b.png")
    assert run("paint", "fox", "--preset", "mine", "--steps", "1", "-o", "c.png")[0] == 0
    assert (recorded("c.png").sampling.steps, recorded("c.png").sampling.solver) == (1, "euler-a")
    assert run("edit", "a.png", "owl", "--preset", "mine", "-o", "d.png")[0] == 0
    assert "seed" not in presets.read("mine") and "prompt" not in presets.read("mine")


def test_a_preset_that_is_not_there_or_damaged_or_of_no_name_is_refused(run):
    for name, text in (("good", '{"steps": 3}'), ("bad", '{"stps": 3}'), ("worse", "[")):
        presets.folder().mkdir(parents=True, exist_ok=True)
        (presets.folder() / f"{name}.json").write_text(text)
    for name, message in (("god", "'good'"), ("bad", "'steps'"), ("worse", "no preset")):
        code, _, err = run("paint", "fox", "--preset", name)
        assert code == 2 and message in err
    code, _, err = run("paint", "fox", "--save-preset", "../x")
    assert code == 2 and "cannot be called" in err and not os.listdir()


def test_each_line_of_a_file_is_painted_after_the_prompts_with_the_options_of_the_line(run, tiny):
    Path("x.jsonl").write_text(json.dumps("a cat") + "\n" + json.dumps({"prompt": "an owl", "steps": 1, "seed": 9}))
    code, out, _ = run(
        "paint", "fox", "--from", "x.jsonl", "--steps", "2", "--seed", "3", "--model", str(tiny), "--json"
    )
    said = [json.loads(line)["request"] for line in out.splitlines()]
    assert code == 0
    assert [(each["prompt"], each["seed"], each["sampling"]["steps"]) for each in said] == [
        ("fox", 3, 2), ("a cat", 3, 2), ("an owl", 9, 1),
    ]  # fmt: skip
    Path("y.csv").write_text("prompt,steps\nx,0\n")
    code, _, err = run("paint", "--from", "y.csv")
    assert code == 2 and "y.csv, line 2" in err
