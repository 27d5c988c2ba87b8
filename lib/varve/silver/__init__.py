"""From bronze to the history of an entity: conform, check, pseudonymise, append to the log, fold."""

from varve.silver.load import EntityLoad
from varve.silver.run import SnapshotDecision, fold_entity, load_entity
from varve.silver.show import plan_of

__all__ = ["EntityLoad", "SnapshotDecision", "fold_entity", "load_entity", "plan_of"]
