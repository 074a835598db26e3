"""A contract as JSON values, whichever form its document has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction

from dagster_contracts.core.condition import Both, Comparison, Either, Negation, render
from dagster_contracts.core.contract import Contract, Json
from dagster_contracts.errors import SourceLocation


def contract_json(contract: Contract) -> dict[str, Json]:
    """Every field that says something; names are those of the model, conditions are text.

    Durations are seconds, exact numbers that JSON cannot hold are text.
    """
    document = _value(contract)
    if not isinstance(document, dict):
        raise TypeError("a contract is an object")
    return document


def _value(value: object) -> Json:
    match value:
        case Comparison() | Both() | Either() | Negation():
            return render(value)
        case SourceLocation():
            return str(value)
        case Enum():
            return str(value.value)
        case None | bool() | int() | float() | str():
            return value
        case timedelta():
            return value.total_seconds()
        case date() | datetime() | time():
            return value.isoformat()
        case Fraction():
            return value.numerator if value.denominator == 1 else float(value)
        case Decimal():
            return str(value)
        case Mapping():
            return {str(key): _value(item) for key, item in value.items()}
        case tuple() | list():
            return [_value(item) for item in value]
        case _ if is_dataclass(value):
            return {
                field.name: _value(item)
                for field in fields(value)
                if _says_something(item := getattr(value, field.name))
            }
        case _:
            raise TypeError(f"no JSON for {type(value).__name__}")


def _says_something(value: object) -> bool:
    return value is not None and value != () and value != {}
