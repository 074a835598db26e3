"""Circuits and transitions as JSON values, for the store; exact both ways."""

from __future__ import annotations

from collections.abc import Mapping

from dagster_contracts.core.circuit.events import StateTransition
from dagster_contracts.core.circuit.state import Circuit
from dagster_contracts.core.contract import Json


def circuit_to_json(circuit: Circuit) -> dict[str, Json]:
    """A JSON object that :func:`circuit_from_json` reads back as an equal circuit."""
    raise NotImplementedError


def circuit_from_json(document: Mapping[str, Json]) -> Circuit:
    """The circuit that was written; fields added since then take their defaults."""
    raise NotImplementedError


def transition_to_json(transition: StateTransition) -> dict[str, Json]:
    """A JSON object that :func:`transition_from_json` reads back as an equal transition."""
    raise NotImplementedError


def transition_from_json(document: Mapping[str, Json]) -> StateTransition:
    """The transition that was written."""
    raise NotImplementedError
