"""An experiment is a Python file that composes objects; ``danqing learn run FILE`` runs it.

The file defines one class, whose fields are its settings, each with a type and a default:

    @dataclass(frozen=True, kw_only=True)
    class Toy(Experiment):
        "Learn to copy."

        steps: Free[Count] = 2000                          # Free: another value resumes the same run
        batch: Count = 16
        rate: Annotated[float, Field(gt=0)] = 1e-3         # pydantic's Field states a domain
        net: vae.Config = vae.MINI                         # fields of a dataclass are settings too: --set
            net.channels=32

        def training(self) -> Training: ...                # the model, the objective, the batches, the optimisers

        def samples(self, run): ...                        # if it draws: a sheet of pictures
        def evaluate(self, run): ...                       # if it measures: named numbers for the log
        def export(self, run, folder, core_hours): ...     # if others use what it has learned: a folder for them

``training`` seeds torch before it draws weights (``torch.manual_seed``), so that the same settings are the same run.
The settings are kept in the checkpoint, and a run with others is refused when it resumes.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeVar, get_type_hints

from PIL import Image
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from ...errors import InvalidFile, InvalidInput, UnknownName
from .loop import Training

T = TypeVar("T")
FREE = object()
#: A setting that may change when a run resumes, because no step's weights depend on it.
Free = Annotated[T, FREE]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """What every experiment has: how long it runs, and how often it saves, logs and shows.

    Args:
        steps: where it ends.
        save_every: seconds between checkpoints.
        log_every, sample_every, evaluate_every: steps between lines of the log, between sheets of samples, between
            evaluations.
    """

    steps: Free[Count] = 1000
    save_every: Free[float] = 240.0
    log_every: Free[Count] = 20
    sample_every: Free[Count] = 500
    evaluate_every: Free[Count] = 500

    @abstractmethod
    def training(self) -> Training:
        """The training at its first step."""

    def binding(self) -> dict[str, Any]:
        """What a resumed run must share: names and plain values."""
        return settings(self, fixed=True)

    def samples(self, run: Training) -> Image.Image | None:
        """A sheet that shows what the model can do by now; None where there is nothing to see."""
        return None

    def evaluate(self, run: Training) -> Mapping[str, float]:
        """Numbers that say how good the model is by now, on what it does not learn from."""
        return {}

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        """Write what others need to use the model, the averaged weights above all.

        Args:
            run: as it was at its last checkpoint.
            folder: an empty one, whose files count when all are written.
            core_hours: what the training took.

        Raises:
            InvalidInput: this experiment exports nothing.
        """
        raise InvalidInput(f"the experiment {type(self).__name__} exports nothing: give it a method `export`")


def load(path: Path) -> type[Experiment]:
    """The experiment that a file defines. The file is run, as ``python FILE`` would run it.

    Raises:
        InvalidFile: there is no such file, or it does not define one experiment, one exactly.
    """
    if not path.is_file():
        raise InvalidFile(f"there is no file {path}: name the Python file of an experiment")
    module = _imported(path.resolve())
    kinds = [
        v
        for v in vars(module).values()
        if isinstance(v, type) and issubclass(v, Experiment) and v.__module__ == module.__name__
    ]
    if len(kinds) != 1:
        names = ", ".join(kind.__name__ for kind in kinds) or "none"
        raise InvalidFile(
            f"{path} must define one class that derives from {Experiment.__module__}.Experiment, it has {names}"
        )
    if "__dataclass_fields__" not in vars(kinds[0]):
        raise InvalidFile(
            f"{path}: write @dataclass(frozen=True, kw_only=True) over {kinds[0].__name__}, or its settings are none"
        )
    for setting in dataclasses.fields(kinds[0]):
        if setting.default is dataclasses.MISSING and setting.default_factory is dataclasses.MISSING:
            raise InvalidFile(f"{path}: the setting {setting.name} of {kinds[0].__name__} has no default: give it one")
    return kinds[0]


def _imported(path: Path) -> ModuleType:
    """The module of a file: by its dotted name where it lies in a package, so that it finds its neighbours, else by
    itself."""
    root, names = path.parent, [path.stem]
    while (root / "__init__.py").exists():
        root, names = root.parent, [root.name, *names]
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if len(names) > 1:
        return importlib.import_module(".".join(names))
    spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InvalidFile(f"{path} is no Python file: its name must end in .py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def overridden(value: T, changes: Iterable[str]) -> T:
    """A dataclass with other settings.

    Args:
        changes: "NAME=VALUE" each; a dot in the name goes into a setting that is a dataclass itself. None is "none", a
            tuple JSON.

    Raises:
        UnknownName: there is no such setting; the nearest is offered.
        InvalidInput: no equals sign, or a value that is not of the setting's type or out of its domain.
    """
    pairs = []
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or not name.strip():
            raise InvalidInput(f"{change!r} was given; a setting is changed by NAME=VALUE, e.g. steps=100")
        pairs.append((name.strip(), text.strip()))
    return _replaced(value, pairs, "")


def _replaced(value: Any, changes: Iterable[tuple[str, str]], within: str) -> Any:
    hints = get_type_hints(type(value), include_extras=True)
    names = [setting.name for setting in dataclasses.fields(value) if setting.init]
    inner: dict[str, list[tuple[str, str]]] = {}
    for name, text in changes:
        head, _, rest = name.replace("-", "_").partition(".")
        if head not in names or (rest and not dataclasses.is_dataclass(getattr(value, head))):
            raise UnknownName("setting", within + name, [within + each for each in names])
        inner.setdefault(head, []).append((rest, text))
    new = {}
    for head, rest in inner.items():
        deeper = [(name, text) for name, text in rest if name]
        whole = [text for name, text in rest if not name]
        new[head] = _parsed(within + head, hints[head], whole[-1]) if whole else getattr(value, head)
        if deeper:
            new[head] = _replaced(new[head], deeper, f"{within}{head}.")
    return dataclasses.replace(value, **new)


def _parsed(name: str, kind: Any, text: str) -> Any:
    """A value of the setting's type, from what was typed."""
    try:
        adapter = TypeAdapter(kind)
    except PydanticSchemaGenerationError:
        raise InvalidInput(f"{name} is no plain value: change it in the file") from None
    attempts = [lambda: adapter.validate_strings(text), lambda: adapter.validate_json(text)]
    if text.lower() == "none":
        attempts.insert(0, lambda: adapter.validate_python(None))
    refusals: list[ValidationError] = []
    for attempt in attempts:
        try:
            return attempt()
        except ValidationError as error:
            refusals.append(error)
    raise InvalidInput(f"{name}: {text!r} was given; {refusals[-2].errors()[0]['msg']}")


def settings(value: Any, within: str = "", *, fixed: bool = False) -> dict[str, Any]:
    """The settings of a dataclass by their names, as plain values; with ``fixed`` only those that a resumed run must
    share."""
    found: dict[str, Any] = {}
    hints = get_type_hints(type(value), include_extras=True)
    for setting in dataclasses.fields(value):
        held = getattr(value, setting.name)
        if fixed and FREE in getattr(hints[setting.name], "__metadata__", ()):
            continue
        if dataclasses.is_dataclass(held):
            found |= settings(held, f"{within}{setting.name}.", fixed=fixed)
        else:
            found[within + setting.name] = held if isinstance(held, bool | int | float | str | None) else str(held)
    return found
