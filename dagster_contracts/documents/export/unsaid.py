"""What a schema of single records cannot say of a contract: it is true of several of them."""

from __future__ import annotations

from dagster_contracts.core.contract import SchemaObject


def of_several_records(schema: SchemaObject) -> list[str]:
    """Keys, columns that never repeat, references and quality rules, in words."""
    said: list[str] = []
    if schema.primary_key:
        said.append(f"primary key ({', '.join(schema.primary_key)})")
    said += [f"{prop.column} never repeats" for prop in schema.properties if prop.unique]
    said += [
        f"{', '.join(found.columns)} refers to {', '.join(found.to)}"
        for found in schema.relationships
    ]
    return said + [f"quality rule {rule.name}" for rule in schema.all_quality()]


def comment(said: list[str]) -> str | None:
    """The comment of a document that leaves these out; ``None`` where nothing is left out."""
    return "not said here: " + "; ".join(said) if said else None
