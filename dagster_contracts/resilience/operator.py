"""Operations by a person: never without who and why."""

from __future__ import annotations

from dagster_contracts.errors import PolicyError


def require_operator(operation: str, actor: str, reason: str) -> None:
    """``PolicyError`` unless both ``actor`` and ``reason`` say something."""
    missing = [name for name, text in (("actor", actor), ("reason", reason)) if not text.strip()]
    if missing:
        raise PolicyError(
            f"to {operation} needs an actor and a reason",
            why=f"no {' and no '.join(missing)} given",
            hint="say who does it and why: both are kept in the history",
        )
