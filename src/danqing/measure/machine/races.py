"""How this machine paints fastest, measured: precision, engine, kernels, threads.

Ways are tried on the calls that painting is made of, in a process beside this one, in turns, so that what else the
machine does slows all alike; the least time of each counts. A way is chosen in place of what is usual where a picture
of twenty steps, making ready included, takes a tenth less, and its answers are those of fp32 up to the rounding of its
precision.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import IO, Any, cast

from ...errors import DanqingError
from ...run.measured import Choice

#: Seconds in which all is measured, once the process is there, and those in which one way has to answer.
BUDGET, PATIENCE = 14.0, 5.0
#: Which part of the time is over when a race ends: of precisions, threads, kernels, engines, their precisions.
ENDS = (0.25, 0.4, 0.45, 0.65, 0.75)
#: Seconds in which the process has to be there; kernels may have to be compiled in it.
START = 120.0
#: How often each way is timed; one that takes longer than the best by this factor, no more.
ROUNDS, HOPELESS = 5, 1.5
#: What is chosen takes less than this part of the time of what is usual.
GAIN = 0.9
#: The calls of a picture.
STEPS = 20
#: How far from fp32's an answer may be, in parts of it: bf16 was found at 0.004, eight bits at 0.03.
FAR = {"fp32": 1e-3, "bf16": 0.05, "fp16": 0.05}
#: Variables that would choose in place of the measurement.
VARIABLES = ("DANQING_PRECISION", "DANQING_ENGINE", "DANQING_KERNELS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
#: Of the process in which ways are tried.
COMMAND = (sys.executable, "-m", "danqing.measure.machine.tried")
#: A way -> its answer as `tried.Trials.run` gives it; ``why`` where there is none.
Ask = Callable[[Choice], Mapping[str, Any]]


@dataclass
class Trial:
    """A way to compute, and what was measured of it.

    Args:
        first: seconds of making ready and the first call, by the work. seconds: the least of the later calls.
        distance: the largest from fp32's answer, in parts of it.
        why: why it is not chosen, whatever its time.
    """

    choice: Choice
    first: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    distance: float = 0.0
    why: str = ""

    def add(self, answer: Mapping[str, Any]) -> None:
        """Take one answer in."""
        self.first |= answer.get("first", {})
        for name, seconds in answer.get("seconds", {}).items():
            self.seconds[name] = min(seconds, self.seconds.get(name, math.inf))
        self.distance = max(self.distance, *answer.get("distance", {}).values(), 0.0)
        wrong = f"its answers differ from those of fp32 by {self.distance:.0%}"
        self.why = answer.get("why") or (wrong if self.distance > FAR[self.choice.precision] else "")

    def picture(self, work: str) -> float:
        """Seconds of a picture's calls of a work."""
        return self.first[work] + (STEPS - 1) * self.seconds[work]

    def against(self, other: Trial) -> float:
        """The time of a picture in parts of that by another way, the geometric mean over the works; infinity for one
        that is not to be chosen."""
        if self.why or not self.seconds:
            return math.inf
        logs = [math.log(self.picture(work) / other.picture(work)) for work in self.seconds]
        return math.exp(sum(logs) / len(logs))


class Races:
    """Ways against each other.

    Args:
        ask: one of them. drop: is told what is asked no more.
        clock: in seconds.
    """

    def __init__(self, ask: Ask, drop: Callable[[Choice], object], clock: Callable[[], float]):
        self.ask, self.drop, self.clock = ask, drop, clock
        self.trials: dict[Choice, Trial] = {}

    def best(self, usual: Choice, others: Iterable[Choice], end: float) -> Choice:
        """The fastest of the others, where it takes less than `GAIN` of the time of the usual one; else that.

        Args:
            end: when the clock says so, no more is asked.
        """
        base, *runners = still = [self.trials.setdefault(each, Trial(each)) for each in (usual, *others)]
        for _ in range(ROUNDS):
            for trial in still:
                if self.clock() < end:
                    trial.add(self.ask(trial.choice))
            if not base.seconds:
                break
            least = min(trial.against(base) for trial in still)
            still = [base, *(each for each in runners if each in still and each.against(base) <= HOPELESS * least)]
            for trial in runners:
                if trial not in still:
                    self.drop(trial.choice)
        for trial in (base, *runners):
            if not trial.seconds:
                trial.why = trial.why or "there was no time left for it"
        if not base.seconds or not runners:
            return usual
        found = min(runners, key=lambda trial: trial.against(base))
        taken = found if found.against(base) < GAIN else base
        for trial in (base, *runners):
            if trial is not taken:
                self.drop(trial.choice)
        return taken.choice


def fastest(here: Mapping[str, Any], races: Races) -> Choice:
    """The fastest way: of the precisions, of numbers of threads, without kernels, and last, for they may be long in
    coming, of the engines, in each precision those that came.

    Args:
        here: what there is, as `tried.here` gives it.
    """
    usual, begin = Choice(**here["rule"]), races.clock()
    ends = [begin + BUDGET * part for part in ENDS]
    own = races.best(usual, [replace(usual, precision=each) for each in FAR if each != usual.precision], ends[0])
    # What a precision is refused for by one engine is the processor's.
    sane = [each for each in FAR if races.trials[replace(usual, precision=each)].seconds and each != own.precision]
    own = races.best(own, [replace(own, threads=n) for n in here["threads"] if n != own.threads], ends[1])
    if own.engine == "packed":  # which alone computes by them
        own = races.best(own, [replace(own, kernels="off")], ends[2])
    others = [replace(own, engine=name) for name, why in here["engines"].items() if not why and name != own.engine]
    best = races.best(own, others, ends[3])
    there = [each for each in others if races.trials[each].seconds]
    return races.best(best, [replace(each, precision=name) for each in there for name in sane], ends[4])


class Ended(Exception):
    """The process that tries gave no answer, and why."""


class Process:
    """The process in which ways are tried; it is begun anew after one that hung or crashed.

    Args:
        command: of it.
        start: seconds in which it has to be there. patience: those in which it has to answer.
    """

    def __init__(self, command: tuple[str, ...] = COMMAND, start: float = START, patience: float = PATIENCE):
        self.command, self.start, self.patience = command, start, patience
        self.running: subprocess.Popen[str] | None = None
        self.lines = queue.Queue[str | None]()
        self.reader = threading.Thread()
        self.here: Mapping[str, Any] = {}

    def __enter__(self) -> Process:
        """Begin.

        Raises:
            DanqingError: it does not.
        """
        try:
            self._begin()
        except Ended as reason:
            self._end()
            raise DanqingError(f"nothing can be measured: {reason}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._end()

    def ask(self, choice: Choice) -> Mapping[str, Any]:
        """What is measured of a way; ``why`` where that is nothing."""
        try:
            if self.running is None:
                self._begin()
            return self._say({"choice": asdict(choice)})
        except Ended as reason:
            self._end()
            return {"why": str(reason)}

    def drop(self, choice: Choice) -> None:
        """Let go of what was made ready for a way."""
        if self.running is not None:
            try:
                self._say({"choice": asdict(choice), "drop": True})
            except Ended:
                self._end()

    def _begin(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        self.running = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,
        )
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=_read, args=(self.running.stdout, self.lines), daemon=True)
        self.reader.start()
        self.here = self._answer(self.start)

    def _say(self, what: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self.running is not None and self.running.stdin is not None
        with suppress(OSError):  # where it has ended, the answer is that
            print(json.dumps(what), file=self.running.stdin, flush=True)
        return self._answer(self.patience)

    def _answer(self, patience: float) -> Mapping[str, Any]:
        assert self.running is not None
        try:
            line = self.lines.get(timeout=patience)
        except queue.Empty:
            raise Ended(f"it was not ready within {patience:.0f} s") from None
        if line is None:
            raise Ended(f"its process ended with {self.running.wait()}")
        return json.loads(line)

    def _end(self) -> None:
        if self.running is not None:
            with suppress(OSError):
                if os.name == "posix":  # with what it has begun, as compilers
                    os.killpg(self.running.pid, signal.SIGKILL)
                self.running.kill()
            self.running.wait()
            self.reader.join(1.0)
            for stream in (self.running.stdin, *([] if self.reader.is_alive() else [self.running.stdout])):
                with suppress(OSError):
                    cast(IO[str], stream).close()
            self.running = None


def _read(lines: Iterable[str], into: queue.Queue[str | None]) -> None:
    """Lines as they come; None is the end."""
    for line in lines:
        into.put(line)
    into.put(None)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was found.

    Args:
        chosen: the fastest way. rule: what is usual.
        trials: of every way, in the order in which they were tried.
        busy: how many processors other work took up just before. seconds: how long it took.
    """

    chosen: Choice
    rule: Choice
    trials: tuple[Trial, ...]
    busy: float
    seconds: float

    def record(self) -> dict[str, Any]:
        """For a file, or for whoever reads JSON."""
        return asdict(self)


def measured() -> Measured:
    """Measure this machine, in `BUDGET` seconds and those that the process takes to begin.

    Raises:
        DanqingError: the process in which ways are tried does not begin.
    """
    begin = time.monotonic()
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    with Process() as process:
        races = Races(process.ask, process.drop, time.monotonic)
        chosen = fastest(process.here, races)
        rule = Choice(**process.here["rule"])
    return Measured(
        chosen=chosen,
        rule=rule,
        trials=tuple(races.trials.values()),
        busy=round(busy, 2),
        seconds=round(time.monotonic() - begin, 2),
    )
