"""The rules that pandera has checks of its own for, by the same names on pandas and on polars."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.worker import Rule


def own_check(check: Any, rule: Rule) -> Any:
    """The rule as one of the checks of ``check``, pandera's class; ValueError where it has none."""
    named: dict[str, Any] = {"name": rule.name, "error": rule.name}
    match rule.kind:
        case "enum":
            return check.isin(rule.value, **named)
        case "minimum":
            return check.ge(rule.value, **named)
        case "maximum":
            return check.le(rule.value, **named)
        case "exclusive_minimum":
            return check.gt(rule.value, **named)
        case "exclusive_maximum":
            return check.lt(rule.value, **named)
        case "min_length":
            return check.str_length(min_value=rule.value, **named)
        case "max_length":
            return check.str_length(max_value=rule.value, **named)
        case "pattern":
            return check.str_contains(rule.value, **named)
        case _:
            raise ValueError(rule.kind)
