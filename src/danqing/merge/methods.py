"""How files become one: `METHODS`, each a record of checked parameters.

A, B, C are the files in their order, w, v their weights, each a number for every block of the denoiser
(`danqing.merge.blocks`). Records need no torch until `plan` is called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InvalidInput, UnknownName
from ..inputs.fields import Domain, domain, translate
from ..inputs.named import named
from ..tables import Table

if TYPE_CHECKING:
    from torch import Tensor

    from .job import Job, Plan

Share = Annotated[float, Field(gt=0, le=1), Domain(lambda: "a number above 0, and up to 1")]
Rank = Annotated[int, Field(ge=1, le=65536)]
RANK, ENERGY = "The largest rank.", "The least share of a change's squared norm that is kept."


class Method(BaseModel, ABC):
    """The parameters of a method. Frozen.

    Attributes:
        name: of it.
        files: how many it takes, at least and at most.
        weight: the usual one; None where it takes none.
        each: whether every file behind the first has a weight of its own.

    Raises:
        InvalidInput: a parameter outside its domain; UnknownName for one that is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    name: ClassVar[str]
    files: ClassVar[tuple[int, int]] = (2, 16)
    weight: ClassVar[float | None] = 1.0
    each: ClassVar[bool] = True

    if not TYPE_CHECKING:  # checkers keep the generated signature

        def __init__(self, /, **data: Any):
            try:
                super().__init__(**data)
            except ValidationError as error:
                name, fields = self.name, type(self).model_fields
                errors = error.errors(include_url=False)
                raise translate(errors, fields, f"parameter of {name}", where=f"{name}: ") from None

    @abstractmethod
    def plan(self, job: Job) -> Plan:
        """What is to be written.

        Raises:
            InvalidInput, InvalidFile: the files do not fit each other, or are of another kind.
        """


class Mix(Method):
    """What makes a tensor of the tensors of its name: the function of `danqing.merge.formulas` that has its name.

    Attributes:
        whole: whether a tensor's numbers depend on each other.
    """

    whole: ClassVar[bool] = True

    def plan(self, job: Job) -> Plan:
        from .tensorwise import plan

        return plan(self, job)

    def alone(self, weights: Sequence[float]) -> int | None:
        """The number of the file whose tensor comes out as it is, for these weights."""
        return None if any(weights) else 0

    def mix(self, tensors: Sequence[Tensor], weights: Sequence[float], name: str) -> Tensor:
        """A tensor of those of one name, all of one shape and of at least fp32."""
        from . import formulas

        settings = self.model_dump()
        seeded = {"key": name} if "seed" in settings else {}
        return getattr(formulas, self.name.replace("-", "_"))(tensors, weights, **settings, **seeded)


class Sum(Mix):
    """A + w (B − A) + v (C − A) + ...: between A and B, or more of them."""

    name = "sum"
    weight = 0.5
    whole = False

    def alone(self, weights: Sequence[float]) -> int | None:
        return 1 if list(weights) == [1] else super().alone(weights)


class AddDifference(Mix):
    """A + w (B − C): what B learned since C, added to A."""

    name = "add-difference"
    files = (3, 3)
    each = False
    whole = False


class Slerp(Mix):
    """From A to B along the arc between them, whose length goes evenly from A's to B's (Shoemake 1985)."""

    name = "slerp"
    files = (2, 2)
    weight = 0.5

    def alone(self, weights: Sequence[float]) -> int | None:
        return 1 if list(weights) == [1] else super().alone(weights)


class Ties(Mix):
    """A + the mean of w (B − A), v (C − A), ..., each trimmed to its largest, where their signs agree (Yadav 2023)."""

    name = "ties"
    density: Share = Field(default=0.2, description="The share of each difference that is kept.")


class Dare(Mix):
    """A + w (B − A) + v (C − A) + ..., of which some numbers are drawn and made larger for the others (Yu 2024)."""

    name = "dare"
    density: Share = Field(default=0.5, description="The share of each difference that is kept.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of the draw.")


class DareTies(Dare):
    """Drawn as by dare, then the mean where the signs agree, as by ties."""

    name = "dare-ties"


class Fold(Method):
    """A with the LoRAs B, C, ... in its weights, at the strengths w, v, ...."""

    name = "lora"

    def plan(self, job: Job) -> Plan:
        from .fold import plan

        return plan(job)


class Extract(Method):
    """A LoRA that makes B of A, of the rank 64 where nothing is said: the difference's largest singular vectors."""

    name = "extract"
    files = (2, 2)
    weight = None
    rank: Rank | None = Field(default=None, description=RANK)
    energy: Share | None = Field(default=None, description=ENERGY)

    def plan(self, job: Job) -> Plan:
        from .extract import plan

        return plan(job, self.rank, self.energy)


class Resize(Method):
    """The LoRA A at another rank, by its largest singular vectors."""

    name = "resize"
    files = (1, 1)
    weight = None
    rank: Rank | None = Field(default=None, description=RANK)
    energy: Share | None = Field(default=None, description=ENERGY)

    def model_post_init(self, context: Any, /) -> None:
        if self.rank is None and self.energy is None:
            raise InvalidInput("resize needs a rank or an energy: resize:rank=16, or resize:energy=0.95")

    def plan(self, job: Job) -> Plan:
        from .resize import plan

        return plan(job, self.rank, self.energy)


def does(kind: type[Method]) -> str:
    """What a method does, in a sentence: the first line of its record's docstring."""
    return (kind.__doc__ or "").strip().splitlines()[0]


def takes(kind: type[Method]) -> str:
    """How many files a method takes, in words."""
    least, most = kind.files
    return f"{least}" if least == most else f"{least} to {most}"


#: Every method by its name.
METHODS: Table[type[Method]] = Table(
    "merge",
    {kind.name: kind for kind in (Sum, AddDifference, Slerp, Ties, Dare, DareTies, Fold, Extract, Resize)},
    kind="merge.methods:Method",
    columns={
        "files": takes,
        "weight": lambda kind: "–" if kind.weight is None else f"{kind.weight:g}",
        "parameters": lambda kind: ", ".join(f"`{field}` {domain(info)}" for field, info in kind.model_fields.items()),
        "what it does": does,
    },
)


def method(text: str) -> Method:
    """The method of its text, ``ties:density=0.3``.

    Raises:
        UnknownName: no such method or parameter. InvalidInput: a value outside its domain.
    """
    name, settings = named("method", text, "ties:density=0.3")
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    return METHODS[name](**settings)
