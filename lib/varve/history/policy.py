"""How the changes of an entity are read: which columns are what, and what orders them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from varve.model.columns import RESERVED
from varve.model.errors import ContractError
from varve.model.scope import SCOPE_COLUMNS

if TYPE_CHECKING:
    from varve.model.contract import Contract

UPSERT: Final = "upsert"
DELETE: Final = "delete"
RETRACT: Final = "retract"  # of its content, without content of all at its position
RETRACT_NULL: Final = "retract_null"  # of the upsert whose every column is null
RETRACT_DELETE: Final = "retract_delete"
RESTORE: Final = "restore"  # an upsert that holds although its content was retracted before
RESTORE_DELETE: Final = "restore_delete"
RETRACTS: Final = (RETRACT, RETRACT_NULL, RETRACT_DELETE)
RESTORES: Final = (RESTORE, RESTORE_DELETE)
CORRECTIONS: Final = (*RETRACTS, *RESTORES)  # what speaks of another statement
OF_DELETES: Final = (DELETE, RETRACT_DELETE, RESTORE_DELETE)


@dataclass(frozen=True, slots=True)
class Policy:
    """How the changes of an entity are read.

    keys: the business keys; with the scope they are the identity. attributes: tracked, a new value opens a version.
    overwritten: not tracked, a version carries the last value of its run. tie_break: columns that order changes of one
    (valid_from, sequence). domain: `time` orders by valid_from; `sequence` orders by a sequence that has no time of its
    own, valid_from being the moment of extraction.
    """

    keys: tuple[str, ...]
    attributes: tuple[str, ...]
    overwritten: tuple[str, ...] = ()
    tie_break: tuple[str, ...] = ()
    domain: Literal["time", "sequence"] = "time"

    def __post_init__(self) -> None:
        if taken := sorted({*self.keys, *self.payload} & RESERVED):
            raise ContractError(
                f"columns {taken} have names that history needs itself", expected="other names for them"
            )
        if not self.keys:
            raise ContractError("an entity without a key has no history", expected="at least one key column")
        if unknown := set(self.tie_break) - set(self.payload):
            raise ContractError(f"tie-break columns {sorted(unknown)} are no columns of the entity", found=self.payload)

    @classmethod
    def of(cls, contract: Contract) -> Policy:
        """The policy that a silver contract states; its time and sequence columns are carried, not tracked."""
        rules = contract.history
        clock = {rules.valid_from, rules.sequence} if rules else set()
        values = [c for c in contract.columns if c.key_position is None]
        return cls(
            keys=contract.keys,
            attributes=tuple(c.name for c in values if c.tracked and c.name not in clock),
            overwritten=tuple(c.name for c in values if not c.tracked or c.name in clock),
            tie_break=rules.tie_break if rules else (),
            domain=rules.domain if rules else "time",
        )

    @property
    def identity(self) -> tuple[str, ...]:
        """Scope and keys."""
        return (*SCOPE_COLUMNS, *self.keys)

    @property
    def order(self) -> tuple[str, ...]:
        """The columns that order statements across keys."""
        return ("sequence",) if self.domain == "sequence" else ("valid_from", "sequence")

    @property
    def payload(self) -> tuple[str, ...]:
        """Tracked and overwritten columns."""
        return (*self.attributes, *self.overwritten)
