"""What the company's own code is to the platform: functions that say, by a decorator, what they are for.

    @conform("claim", feed="es_core_claim")
    def spanish_claims(bronze: DataFrame) -> DataFrame: ...

    @mart("fx_rate", reads=["silver.fx"], codes=["euro_conversion_rate"])
    def fx_rate(fx: DataFrame, conversion_rates: CodeList) -> DataFrame: ...

A conform function is given the bronze rows of its feed, and returns the columns of the entity's contract and CARRIED.
A mart is given what it reads and its code lists, in the order in which the decorator names them, and returns the
columns of its contract and the scope. Both are PURE.

`config` imports the modules that the settings name and collects what their decorators say; the platform imports none of
them. A module that is imported by anybody else (a test) has plain functions: the decorators change nothing.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from varve.model.columns import CARRIED as CARRIED
from varve.model.columns import DELETED as DELETED
from varve.model.columns import PROVENANCE as PROVENANCE
from varve.model.columns import RESCUED as RESCUED
from varve.model.columns import SEQUENCE as SEQUENCE
from varve.model.columns import VALID_FROM as VALID_FROM
from varve.model.errors import ContractError, TransformError, VarveError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_F = TypeVar("_F", bound=Callable[..., "DataFrame"])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a decorator stands. file: the module's absolute path."""

    file: str
    line: int

    @classmethod
    def of(cls, frame: FrameType) -> Place:
        """The place of the line that a frame is at."""
        return cls(frame.f_code.co_filename, frame.f_lineno)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Conforming:
    """A conform function: bronze rows of `feed` -> rows of the silver `entity`."""

    entity: str
    feed: str
    function: Callable[[DataFrame], DataFrame]
    place: Place

    def __call__(self, bronze: DataFrame) -> DataFrame:
        """Its rows. Raises TransformError for whatever goes wrong in it."""
        return _called(self.function, bronze)


@dataclass(frozen=True, slots=True)
class Mart:
    """A function that makes the gold table `table` from the tables `reads` and the code lists `codes`.

    code: a digest of the text of its module and of those modules of the company's own that it imports.
    """

    table: str
    reads: tuple[str, ...]
    codes: tuple[str, ...]
    function: Callable[..., DataFrame]
    place: Place
    code: str = ""

    @property
    def gold(self) -> tuple[str, ...]:
        """The other marts that it reads."""
        return tuple(table.removeprefix("gold.") for table in self.reads if table.startswith("gold."))

    def rows(self, given: Sequence[object]) -> DataFrame:
        """Its rows. given: a frame per table it reads, then its code lists. Raises TransformError as above."""
        return _called(self.function, *given)


Declared = Conforming | Mart


@dataclass(frozen=True, slots=True)
class Transforms:
    """The company's functions that one configuration has. marts: each stands after those that it reads."""

    conforming: Mapping[tuple[str, str], Conforming]  # by entity and feed
    marts: tuple[Mart, ...]

    @property
    def declared(self) -> tuple[Declared, ...]:
        """All of them."""
        return (*self.conforming.values(), *self.marts)

    def conform(self, entity: str, feed: str) -> Conforming | None:
        """The conform function of a feed, None where the contract's columns are enough."""
        return self.conforming.get((entity, feed))


NONE: Final = Transforms({}, ())

_declared: ContextVar[list[Declared] | None] = ContextVar("varve_transforms", default=None)


@contextmanager
def collected() -> Iterator[list[Declared]]:
    """What decorators say while modules are imported inside."""
    found: list[Declared] = []
    token = _declared.set(found)
    try:
        yield found
    finally:
        _declared.reset(token)


def conform(entity: str, *, feed: str) -> Callable[[_F], _F]:
    """The function makes rows of the silver entity from rows of the bronze table `feed`."""
    place = Place.of(sys._getframe(1))
    return _noted(lambda function: Conforming(_text(entity), _text(feed), function, place))


def mart(table: str, *, reads: Sequence[str], codes: Sequence[str] = ()) -> Callable[[_F], _F]:
    """The function makes gold.<table>. reads: silver.<entity> or gold.<mart>; codes: names of lists in conf/codes."""
    place = Place.of(sys._getframe(1))
    return _noted(lambda function: Mart(_text(table), _texts(reads), _texts(codes), function, place))


def _noted(declared: Callable[[_F], Declared]) -> Callable[[_F], _F]:
    def decorate(function: _F) -> _F:
        if not callable(function):
            raise TypeError(f"the decorator stands on {type(function).__name__}, expected a function")
        one, found = declared(function), _declared.get()
        if found is not None:
            found.append(one)
        return function

    return decorate


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a name is expected, not {name!r}")
    return name


def _texts(names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"a list of names is expected, not {names!r}")
    return tuple(_text(name) for name in names)


def _called(function: Callable[..., DataFrame], *given: object) -> DataFrame:
    from pyspark.sql import DataFrame  # not before: who only reads the configuration needs no Spark

    try:
        rows: Any = function(*given)
    except VarveError:
        raise
    except Exception as error:
        raise failed(function, error) from error
    if not isinstance(rows, DataFrame):
        where, name = _place(function, None), _name(function)
        raise ContractError(f"{name} returns no DataFrame", where=where, found=type(rows).__name__)
    return rows


def failed(function: Callable[..., Any], error: Exception, found: str | None = None) -> TransformError:
    """The error of a transform: its kind and its line. Its message may quote somebody's data: it is for the trace.

    found: the kind of the error; absent: its class, and Spark's name of it without parameters.
    """
    if found is None:
        condition = getattr(error, "getCondition", lambda: None)()
        found = type(error).__name__ if condition is None else f"{type(error).__name__} [{condition}]"
    return TransformError(f"{_name(function)} failed", where=_place(function, error), found=found)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _place(function: Callable[..., Any], error: Exception | None) -> str | None:
    """The last line of the function's file that was reached, or where it begins."""
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    frames = traceback.extract_tb(error.__traceback__) if error else ()
    lines = [frame.lineno for frame in frames if frame.filename == code.co_filename]
    return f"{code.co_filename}:{lines[-1] if lines else code.co_firstlineno}"
