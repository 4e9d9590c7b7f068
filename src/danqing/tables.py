"""The table of an axis: what can be named there, ours in one explicit mapping, then the rows of other packages.

Another package adds a row by an entry point of the group ``danqing.AXIS``: its name is the row's, its value where the
row lies, ``package.module:ROW``. Nothing of the package is imported before the row is looked up; a row that cannot be
used is named by a `PluginWarning`, and the others work.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from typing import Any, TypeVar

from .errors import InvalidInput

Row = TypeVar("Row")


class PluginWarning(UserWarning):
    """A row of another package that cannot be used, and why."""


class Table(Mapping[str, Row]):
    """Name -> row of one axis.

    Args:
        axis: what a row is: "solver".
        rows: ours; a text is the place of one, ``module:ROW`` within danqing, imported when it is looked up.
        kind: the place of the class that a row is an instance or a subclass of.
        check: refuses a row of another package that does not fit, by InvalidInput: (name, row) -> None.
        columns: of `markdown`: the head of a column -> its text in a row.
    """

    def __init__(
        self,
        axis: str,
        rows: Mapping[str, Row | str],
        *,
        kind: str,
        check: Callable[[str, Any], object] = lambda name, row: None,
        columns: Mapping[str, Callable[[Row], str]] = {},
    ):
        self.axis, self._rows, self._kind, self._check, self._columns = axis, dict[str, Any](rows), kind, check, columns
        self._found: dict[str, EntryPoint] | None = None
        self._broken = dict[str, InvalidInput]()

    def __getitem__(self, name: str) -> Row:
        """Raises KeyError: there is none. InvalidInput: it cannot be used."""
        row: Any = self._rows[name] if name in self._rows else self._read(self._others[name])
        self._rows[name] = row = _at(row) if isinstance(row, str) else row
        return row

    def __iter__(self) -> Iterator[str]:
        return iter({**self._rows, **self._others})

    def __len__(self) -> int:
        return len({**self._rows, **self._others})

    def __contains__(self, name: object) -> bool:
        return name in self._rows or name in self._others

    def usable(self) -> dict[str, Row]:
        """The rows that can be used; of the others it is warned, once."""
        return {name: row for name in self if name not in self._broken and (row := self._tried(name)) is not None}

    def known(self) -> dict[str, Row]:
        """Ours, and those of others that were looked up."""
        return dict(self._rows)

    @contextmanager
    def added(self, name: str, row: Row) -> Generator[Row, None, None]:
        """One row more for a while.

        Raises:
            InvalidInput: its name is taken, or it does not fit.
        """
        self.add(name, row)
        try:
            yield row
        finally:
            del self._rows[name]

    def add(self, name: str, row: Row) -> None:
        """One row more, as long as the process lives. Raises as `added`."""
        if name in self:
            raise InvalidInput(f"the {self.axis} {name!r} is there already: choose another name")
        self._fits(name, row)
        self._rows[name] = row

    def markdown(self) -> str:
        """The table of the documentation."""
        lines = [["name", *self._columns], ["---"] * (len(self._columns) + 1)]
        lines += [[f"`{name}`", *(text(row) for text in self._columns.values())] for name, row in self.usable().items()]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    @property
    def _others(self) -> dict[str, EntryPoint]:
        """What other packages name; of two of one name the first."""
        if self._found is None:
            self._found = {}
            for entry in entry_points(group=f"danqing.{self.axis}"):
                if entry.name in self:
                    _warn(f"{self._title(entry)} is left out: the name is taken")
                else:
                    self._found[entry.name] = entry
        return self._found

    def _read(self, entry: EntryPoint) -> Any:
        if entry.name in self._broken:
            raise self._broken[entry.name]
        try:
            row = entry.load()
            self._fits(entry.name, row)
        except Exception as error:  # foreign code may raise anything
            why = f"{type(error).__name__}: {error}"
            broken = InvalidInput(f"{self._title(entry)} cannot be used: {why}. Mend or uninstall it")
            self._broken[entry.name] = broken
            raise broken from error
        return row

    def _fits(self, name: str, row: Any) -> None:
        if not isinstance(row, kind := _at(self._kind)) and not (isinstance(row, type) and issubclass(row, kind)):
            raise InvalidInput(f"it is {row!r:.50}; possible is a danqing.{self._kind.replace(':', '.')}")
        self._check(name, row)

    def _tried(self, name: str) -> Row | None:
        try:
            return self[name]
        except InvalidInput as error:
            _warn(str(error))
            return None

    def _title(self, entry: EntryPoint) -> str:
        package = f"the package {entry.dist.name}" if entry.dist else "another package"
        return f"the {self.axis} {entry.name!r} of {package} ({entry.value})"


def _at(place: str) -> Any:
    return resolve_name(f"danqing.{place}")


def _warn(message: str) -> None:
    warnings.warn(message, PluginWarning, stacklevel=3)
