"""Records of checked parameters that are the rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from .fields import domain, translate


def name_of(kind: type[BaseModel] | BaseModel) -> str:
    """What a record is called, by itself or by its class: the default of its field ``name``."""
    return (kind if isinstance(kind, type) else type(kind)).model_fields["name"].default


def parameters(kind: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a record without its name."""
    return {field: info for field, info in kind.model_fields.items() if field != "name"}


def domains(kind: type[BaseModel]) -> str:
    """The parameters of a record and what each can be, for a table of the documentation."""
    return ", ".join(f"`{field}` {domain(info)}" for field, info in parameters(kind).items())


def does(kind: type[BaseModel]) -> str:
    """What a record does, in a sentence: the first line of its docstring."""
    return (kind.__doc__ or "").strip().splitlines()[0]


class Named(BaseModel):
    """A record of checked parameters, its name among them. Frozen.

    Raises:
        InvalidInput: a parameter outside its domain; UnknownName for one that is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    if not TYPE_CHECKING:  # checkers keep the generated signature

        def __init__(self, /, **data: Any):
            try:
                super().__init__(**data)
            except ValidationError as error:
                name, errors = name_of(type(self)), error.errors(include_url=False)
                raise translate(errors, parameters(type(self)), f"parameter of {name}", where=f"{name}: ") from None
