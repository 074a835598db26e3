"""Circuits and transitions as JSON values, for the store; exact both ways.

Fractions are written ``"7/100"``, times in ISO 8601 with their offset. A field that a document does
not have takes its default, so that rows written by an earlier release can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from fractions import Fraction
from typing import Any

from dagster_contracts.core.circuit.events import StateTransition, TransitionCause
from dagster_contracts.core.circuit.state import (
    BadPartition,
    Circuit,
    CircuitKey,
    CircuitState,
    Lease,
    Override,
)
from dagster_contracts.core.condition import Observation
from dagster_contracts.core.contract import Json

_KNOWN = frozenset(field.name for field in fields(Circuit))


def circuit_to_json(circuit: Circuit) -> dict[str, Json]:
    """A JSON object that :func:`circuit_from_json` reads back as an equal circuit.

    Fields at their default are left out.
    """
    document: dict[str, Json] = {}
    for field in fields(circuit):
        value = getattr(circuit, field.name)
        if field.default is MISSING or value != field.default:
            document[field.name] = _write(value)
    return document


def circuit_from_json(document: Mapping[str, Json]) -> Circuit:
    """The circuit that was written."""
    present: dict[str, Json] = {}
    fold_changes(present, {"set": document})
    return Circuit(**{n: _read(n, value) for n, value in present.items() if n in _KNOWN})


def changes_between(before: Circuit, after: Circuit) -> dict[str, Json]:
    """How ``after`` differs: values that are ``set``, and ``unset`` ones back at their default."""
    values: dict[str, Json] = {}
    defaults: list[Json] = []
    for field in fields(Circuit):
        old, new = getattr(before, field.name), getattr(after, field.name)
        # An event leaves most as it was: only what it changed is written.
        if new == old:
            continue
        if new == field.default:
            defaults.append(field.name)
        else:
            values[field.name] = _write(new)
    return {
        **({"set": values} if values else {}),
        **({"unset": defaults} if defaults else {}),
    }


def fold_changes(document: dict[str, Json], changes: Mapping[str, Any]) -> None:
    """Apply what :func:`changes_between` wrote to a circuit's document, in this release's form.

    An earlier one knew of one bad partition by name, ``opened_partition``, and no change that is
    written today would unset it: it becomes ``bad_partitions`` as soon as it is met.
    """
    values = dict(changes.get("set", {}))
    opened = values.pop("opened_partition", None)
    document.update(values)
    for name in changes.get("unset", []):
        document.pop("bad_partitions" if name == "opened_partition" else name, None)
    if opened and "bad_partitions" not in values and "opened_at" in document:
        document["bad_partitions"] = [{"name": opened, "at": document["opened_at"]}]


def transition_to_json(transition: StateTransition) -> dict[str, Json]:
    """A JSON object that :func:`transition_from_json` reads back as an equal transition."""
    return {field.name: _write(getattr(transition, field.name)) for field in fields(transition)}


def transition_from_json(document: Mapping[str, Json]) -> StateTransition:
    """The transition that was written."""
    return StateTransition(**{name: _read(name, value) for name, value in document.items()})


def _write(value: object) -> Json:
    match value:
        case None | bool() | int():
            return value
        case str():
            return str(value)  # enums become plain text
        case datetime():
            return value.isoformat()
        case Fraction():
            return str(value)
        case tuple():
            return [_write(item) for item in value]
        case CircuitKey():
            return {
                "contract": value.contract,
                "asset": value.asset,
                "partition": value.partition,
            }
        case Lease():
            return {
                "holder": value.holder,
                "expires_at": value.expires_at.isoformat(),
                "generation": value.generation,
            }
        case BadPartition():
            return {"name": value.name, "at": value.at.isoformat()}
        case Observation():
            metrics: dict[str, Json] = {n: _write(v) for n, v in value.metrics.items()}
            return {"at": value.at.isoformat(), "metrics": metrics, "check": value.check}
        case _:
            raise TypeError(f"{type(value).__name__} is no part of a circuit")


# What was written by this module is read by it: the shapes are known field by field, and a row that
# was tampered with fails loudly (ValueError, KeyError, TypeError), which the store reports.
_TIMES = frozenset(
    {
        "opened_at",
        "next_probe_at",
        "waiting_since",
        "override_until",
        "watermark",
        "partition_time",
        "last_observed_at",
        "last_good_at",
        "at",
    }
)
_STATES = frozenset({"state", "before", "after"})


def _read(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return datetime.fromisoformat(value)
    if name in _STATES:
        return CircuitState(value)
    match name:
        case "key":
            return CircuitKey(**value)
        case "override":
            return Override(value)
        case "cause":
            return TransitionCause(value)
        case "lease":
            return Lease(
                value["holder"], datetime.fromisoformat(value["expires_at"]), value["generation"]
            )
        case "last":
            return _observation(value)
        case "window" | "averaged":
            return tuple(_observation(item) for item in value)
        case "openings":
            return tuple(datetime.fromisoformat(item) for item in value)
        case "failures":
            return tuple((metric, count) for metric, count in value)
        case "bad_partitions" | "suspect":
            return tuple(
                BadPartition(item["name"], datetime.fromisoformat(item["at"])) for item in value
            )
        case "opened_by" | "upstream" | "recent" | "unmeasured":
            return tuple(value)
        case _:
            return value


def _observation(document: Mapping[str, Any]) -> Observation:
    metrics = {
        name: None if value is None else Fraction(value)
        for name, value in document["metrics"].items()
    }
    return Observation(datetime.fromisoformat(document["at"]), metrics, document["check"])
