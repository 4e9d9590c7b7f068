"""Laws of measuring a machine: the fastest right way is chosen where it is worth it, and one that hangs costs its
patience and nothing else."""

import json
import os
import sys
import time

import pytest
import torch
from torch import nn

from danqing.errors import DanqingError
from danqing.measure.machine import races as of_races
from danqing.measure.machine import tried
from danqing.measure.machine.races import BUDGET, ENDS, FAR, GAIN, Process, Races, fastest
from danqing.measure.machine.tried import Trials, Work
from danqing.run.engine.engines import ENGINES, Engine
from danqing.run.measured import Choice
from danqing.run.native import switch

RULE = Choice(precision="bf16", engine="packed", kernels="on", threads=2)
HERE = {
    "rule": vars(RULE),
    "engines": {"torch": "", "packed": "", "other": "", "elsewhere": "it is not for here"},
    "threads": [1, 2, 4],
}


class Machine:
    """Answers as a machine would on which a call takes 0.1 seconds times these factors."""

    def __init__(self, factors, first=None, distance=None, why=None):
        self.factors, self.first, self.distance, self.why = factors, first or {}, distance or {}, why or {}
        self.asked, self.dropped, self.now = [], [], 0.0

    def __call__(self, choice):
        self.asked.append(choice)
        self.now += 0.01
        said = {choice.precision, choice.engine, f"kernels {choice.kernels}", choice.threads}
        if found := [self.why[each] for each in said if each in self.why]:
            return {"why": found[0]}
        seconds = 0.1
        for each, factor in self.factors.items():
            seconds *= factor if each in said else 1
        works = ("small", "large")
        return {
            "first": dict.fromkeys(works, self.first.get(choice.engine, 0.0) + seconds),
            "seconds": dict.fromkeys(works, seconds),
            "distance": dict.fromkeys(works, self.distance.get(choice.engine, 1e-4)),
        }

    def chosen(self):
        self.races = Races(self, self.dropped.append, lambda: self.now)
        return fastest(HERE, self.races)


@pytest.mark.parametrize(
    ("faster", "expected"),
    [
        ({}, {}),
        ({"fp32": 0.5}, {"precision": "fp32"}),
        ({"other": 0.5}, {"engine": "other"}),
        ({"kernels off": 0.5}, {"kernels": "off"}),
        ({1: 0.5}, {"threads": 1}),
        ({"fp32": 0.7, "other": 0.5, 4: 0.5}, {"precision": "fp32", "engine": "other", "threads": 4}),
        ({"fp32": 1.2, "torch": 0.8, "packed": 0.9}, {"engine": "torch"}),
    ],
)
def test_the_fastest_is_chosen_of_each_kind(faster, expected):
    assert vars(Machine(faster).chosen()) == {**vars(RULE), **expected}


@pytest.mark.parametrize("each", ["fp32", "other", "kernels off", 1])
def test_what_is_usual_stays_unless_another_takes_a_tenth_less(each):
    assert Machine({each: GAIN + 0.01}).chosen() == RULE != Machine({each: GAIN - 0.01}).chosen()


def test_what_gains_in_one_work_and_loses_as_much_in_another_is_not_chosen():
    machine = Machine({})
    answer = lambda choice: {  # noqa: E731
        **machine(choice),
        "seconds": {"small": 0.05, "large": 0.2} if choice.threads == 1 else {"small": 0.1, "large": 0.1},
    }
    assert fastest(HERE, Races(answer, lambda choice: None, lambda: 0.0)) == RULE


def test_the_time_to_make_ready_counts_as_that_of_a_picture():
    # A call of half the time saves 0.95 of 2 seconds.
    assert Machine({"other": 0.5}, first={"other": 0.5}).chosen().engine == "other"
    assert Machine({"other": 0.5}, first={"other": 1.0}).chosen() == RULE


def test_what_answers_otherwise_than_fp32_is_not_chosen():
    machine = Machine({"other": 0.1}, distance={"other": 2 * FAR["bf16"]})
    assert machine.chosen() == RULE
    assert all("differ" in trial.why for choice, trial in machine.races.trials.items() if choice.engine == "other")


def test_what_is_refused_is_asked_once_and_says_why():
    machine = Machine({"fp16": 0.1, "other": 0.1}, why={"fp16": "slow", "other": "it hung"})
    assert machine.chosen() == RULE
    fp16 = [choice for choice in machine.asked if choice.precision == "fp16"]
    assert len(fp16) == 1  # by no other engine
    assert len([choice for choice in machine.asked if choice.engine == "other"]) == 1  # in no other precision
    assert {trial.why for choice, trial in machine.races.trials.items() if choice.engine == "other"} == {"it hung"}
    assert not any(choice.engine == "elsewhere" for choice in machine.asked)


def test_it_ends_in_time_and_what_was_not_reached_says_so():
    machine = Machine({1: 0.1})

    def slowly(choice):
        machine.now += 2.0
        return machine(choice)

    races = Races(slowly, lambda choice: None, lambda: machine.now)
    found = fastest(HERE, races)
    assert machine.now < BUDGET * ENDS[-1] + 2.1 and found in machine.asked
    assert any("no time left" in trial.why for trial in races.trials.values() if not trial.seconds)


def test_nothing_is_chosen_where_the_usual_way_cannot_be_measured():
    assert Machine({}, why={"packed": "it crashed"}).chosen() == RULE


def test_what_is_out_of_the_race_is_let_go():
    machine = Machine({"fp32": 0.5})
    kept = machine.chosen()
    assert set(machine.asked) - set(machine.dropped) <= {kept}


ANSWERS = """if True:
    import json, os, sys, time
    print(json.dumps({"rule": {}, "set": sorted(os.environ)}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        engine = asked["choice"]["engine"]
        if engine == "hangs":
            time.sleep(100)
        if engine == "crashes":
            os._exit(3)
        print(json.dumps({"seconds": {"pid": os.getpid()}, "drop": asked.get("drop", False)}), flush=True)
"""


def process(code=ANSWERS, **more):
    return Process((sys.executable, "-S", "-c", code), **{"start": 30.0, "patience": 0.5, **more})


def test_one_that_hangs_or_crashes_costs_its_patience_and_the_next_is_answered():
    way = lambda engine: Choice(precision="fp32", engine=engine, kernels="on", threads=1)  # noqa: E731
    with process(patience=5.0) as asked:
        first = asked.ask(way("works"))
        assert asked.ask(way("works")) == first
        assert "ended with 3" in asked.ask(way("crashes"))["why"]
        again = asked.ask(way("works"))
        assert again["seconds"] != first["seconds"]
        asked.patience = 0.3
        assert "not ready" in asked.ask(way("hangs"))["why"]
        asked.patience = 5.0
        assert asked.ask(way("works"))["seconds"] not in (first["seconds"], again["seconds"])
        running = asked.running
    assert running is not None and running.returncode is not None  # nothing goes on


def test_variables_that_would_choose_are_not_heard(monkeypatch):
    for name in of_races.VARIABLES:
        monkeypatch.setenv(name, "1")
    with process() as asked:
        assert not set(of_races.VARIABLES) & set(asked.here["set"])
    assert all(os.environ[name] == "1" for name in of_races.VARIABLES)


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "import time; time.sleep(100)"])
def test_a_process_that_does_not_begin_is_an_error_in_a_sentence(code):
    with pytest.raises(DanqingError, match="nothing can be measured"), process(code, start=0.5):
        pass


@pytest.fixture
def works(monkeypatch):
    """Two layers to be tried, and the threads and kernels of whoever runs the tests afterwards."""
    monkeypatch.setenv(switch.VARIABLE, "on")
    monkeypatch.setattr(switch, "_given", "on")
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    with torch.inference_mode():
        yield {"a layer": Work.of(nn.Sequential(nn.Conv2d(4, 8, 3, padding=1)), torch.randn(1, 4, 6, 6))}
    torch.set_num_threads(threads)


def plain(**more):
    return Choice(**{"precision": "fp32", "engine": "torch", "kernels": "on", "threads": 1, **more})


def test_a_way_is_made_ready_once_and_its_answers_held_against_fp32(works):
    trials = Trials(works)
    first, second = trials.run(plain()), trials.run(plain())
    assert first["distance"] == {"a layer": 0.0} and first["first"]["a layer"] > 0 < first["seconds"]["a layer"]
    assert not second["first"] and not second["distance"] and second["seconds"]["a layer"] > 0
    trials.drop(plain())
    assert trials.run(plain())["first"]

    def times(factor):
        def attach(net):
            net.register_forward_hook(lambda net, inputs, answer: answer * factor)
            return lambda: None

        return Engine(attach=attach)

    with ENGINES.added("wrong", times(1.5)), ENGINES.added("broken", times(float("nan"))):
        assert trials.run(plain(engine="wrong"))["distance"]["a layer"] == pytest.approx(0.5, rel=1e-4)
        assert [trials.run(plain(engine="broken")) for _ in range(2)] == 2 * [{"why": "its answers are not finite"}]
    assert trials.run(plain())["seconds"]  # whose networks are its own


def test_what_is_slow_to_make_ready_is_made_so_twice_for_it_may_be_kept(works, monkeypatch):
    monkeypatch.setattr(tried, "COMPILED", 0.01)
    waits = iter((0.03, 0.0, 0.03, 0.03))

    def attach(net):
        time.sleep(next(waits))
        return lambda: None

    with ENGINES.added("kept", Engine(attach=attach)), ENGINES.added("slow", Engine(attach=attach)):
        trials = Trials(works)
        first = [trials.run(plain(engine=name))["first"]["a layer"] for name in ("kept", "slow")]
    assert first[0] < 0.03 <= first[1] and not [*waits]


def test_threads_and_kernels_are_those_that_are_asked_of(works):
    trials = Trials(works)
    trials.run(plain(threads=2, kernels="off"))
    assert torch.get_num_threads() == 2 and switch.given() == "off"
    trials.run(plain())
    assert torch.get_num_threads() == 1 and switch.given() == "on"


def test_a_precision_that_is_many_times_slower_in_single_layers_is_not_tried_in_whole_ones(works, monkeypatch):
    monkeypatch.setattr(tried, "speedup", lambda dtype: 0.01)
    assert "100 times" in Trials(works).run(plain(precision="fp16"))["why"]


def test_the_call_that_is_tried_is_the_one_that_painting_makes(tiny):
    work = tried.small(tiny)
    x, at, tokens = work.inputs
    assert x.shape == (2, 4, 8, 8) and at.shape == (2,) and tokens.shape[0] == 2
    assert work.answer.shape == x.shape and work.distance(work.answer) == 0.0


def test_what_an_engine_raises_is_why_and_the_next_line_is_answered(works, monkeypatch):
    monkeypatch.setattr(tried, "small", lambda: works["a layer"])
    monkeypatch.setattr(tried, "large", lambda: works["a layer"])

    def refuse(net):
        raise RuntimeError("cannot\nat all")

    with ENGINES.added("refuses", Engine(attach=refuse)):
        lines = [json.dumps({"choice": vars(choice)}) for choice in (plain(engine="refuses"), plain())]
        here, refused, right = tried.answers(iter(lines))
    assert refused == {"why": "RuntimeError: cannot"} and right["seconds"]
    assert here["rule"] == vars(tried.rule()) and {"torch", "packed", "refuses"} <= set(here["engines"])
    assert here["threads"][0] == 1
