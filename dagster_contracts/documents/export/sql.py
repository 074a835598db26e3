"""The schema of a contract as SQL: tables for SQLite, DuckDB and PostgreSQL.

Every rule of the contract's plan is either said in SQL or named in a comment; none is lost in
silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

from dagster_contracts.core.checks import SCHEMA_CHECK, PlannedRule, plan_checks
from dagster_contracts.core.contract import (
    Contract,
    SchemaObject,
    Severity,
    ThresholdOperator,
)
from dagster_contracts.core.outcome import OutcomeKind
from dagster_contracts.core.rules import (
    ColumnOrder,
    Exists,
    Format,
    NoExtraColumns,
    Presence,
    Required,
    TypeMatch,
    Unique,
)
from dagster_contracts.documents.export.sql_check import Unsayable, check_of
from dagster_contracts.documents.export.sql_dialect import SqlDialect
from dagster_contracts.documents.export.sql_type import ColumnType, type_check, type_of
from dagster_contracts.errors import DocumentError


def to_sql(
    contract: Contract,
    dialect: SqlDialect,
    schema_object: SchemaObject | None = None,
) -> str:
    """``CREATE TABLE`` for one object, or for all objects of the contract, those referred to first.

    Raises :class:`DocumentError` where the names of the contract cannot be names in the dialect.
    """
    objects = (schema_object,) if schema_object is not None else contract.objects
    _check_names(contract, objects, dialect)
    tables = [_Table.of(contract, found, objects, dialect) for found in objects]
    ordered, cyclic = _in_order(tables)
    parts = [dialect.comment(f"{contract.name} {contract.version}")]
    for table in ordered:
        if table.name in cyclic and dialect is SqlDialect.DUCKDB:
            table.unsaid += [
                f"{found.words}: the tables refer to each other in a circle"
                for found in table.references
                if found.target != table.name
            ]
            table.references = [x for x in table.references if x.target == table.name]
        parts.append(table.text())
    # PostgreSQL wants both tables to be there first.
    if dialect is SqlDialect.POSTGRESQL:
        parts += [text for table in ordered for text in table.later()]
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class _Reference:
    columns: tuple[str, ...]
    target: str
    to: tuple[str, ...]
    words: str


@dataclass(slots=True)
class _Table:
    """What one table says, before it is text."""

    name: str
    schema: SchemaObject
    dialect: SqlDialect
    description: str | None
    types: dict[str, ColumnType] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    constraints: list[str] = field(default_factory=list)
    references: list[_Reference] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        contract: Contract,
        schema: SchemaObject,
        objects: Sequence[SchemaObject],
        dialect: SqlDialect,
    ) -> _Table:
        table = cls(
            name=table_name(schema),
            schema=schema,
            dialect=dialect,
            description=schema.description
            or (contract.description if len(contract.objects) == 1 else None),
        )
        for prop in schema.properties:
            found = type_of(prop, dialect)
            table.types[prop.column] = found
            table.unsaid += [f"{prop.column}: {note}" for note in found.notes]
            test = type_check(prop, found, dialect)
            if test is not None:
                table.constraints.append(f"CHECK ({test})")
        if schema.primary_key:
            columns = ", ".join(map(dialect.quote, schema.primary_key))
            alias = table.types[schema.primary_key[0]]
            if dialect is SqlDialect.SQLITE and len(schema.primary_key) == 1:
                # An INTEGER PRIMARY KEY would number rows by itself where it is given no value.
                plain = "INT" if alias.text.upper() == "INTEGER" else alias.text
                table.types[schema.primary_key[0]] = replace(alias, text=plain)
            table.constraints.insert(0, f"PRIMARY KEY ({columns})")
        for rule in plan_checks(contract, schema).rules:
            if rule.kind is not OutcomeKind.SLA:
                table._add(rule, objects)
        return table

    def _add(self, rule: PlannedRule, objects: Sequence[SchemaObject]) -> None:
        if rule.check != SCHEMA_CHECK and not _every_row(rule):
            self.unsaid.append(f"quality rule {rule.name}: {rule.description}")
            return
        match rule.test:
            case Presence(path) | TypeMatch(path) if len(path) == 1 or self._is_typed(path):
                return
            case NoExtraColumns() | ColumnOrder():
                return
            case Format(path, "uuid") if self.types[path[0]].is_uuid and len(path) == 1:
                return
            case Required(path) if len(path) == 1:
                self.required.add(path[0])
            case Unique(columns) if columns == self.schema.primary_key:
                return
            case Unique(columns):
                names = ", ".join(map(self.dialect.quote, columns))
                self.constraints.append(f"UNIQUE ({names})")
            case Exists(columns, target, to):
                self._refer(rule, _Reference(columns, target, to, rule.description), objects)
            case test:
                try:
                    said = check_of(test, self.types, self.dialect)
                except Unsayable as reason:
                    why = f" ({reason})" if str(reason) else ""
                    self.unsaid.append(f"{rule.description}{why}")
                else:
                    self.constraints.append(f"CHECK ({said})")

    def _is_typed(self, path: tuple[str, ...]) -> bool:
        return self.types[path[0]].nested

    def _refer(self, rule: PlannedRule, found: _Reference, objects: Sequence[SchemaObject]) -> None:
        wanted = found.target.rpartition(".")[2]
        target = next(
            (o for o in objects if found.target in (o.name, o.physical_name)),
            next((o for o in objects if wanted in (o.name, o.physical_name)), None),
        )
        if target is None:
            self.unsaid.append(f"{rule.description}: that table is none of these")
            return
        far = [target.property_named(name) for name in found.to]
        columns = tuple(prop.column for prop in far if prop is not None)
        unique = len(columns) == 1 and far[0] is not None and far[0].unique
        if len(columns) != len(found.to) or not (
            unique or sorted(columns) == sorted(target.primary_key)
        ):
            self.unsaid.append(f"{rule.description}: what it refers to is no key of its table")
            return
        self.references.append(
            _Reference(found.columns, table_name(target), columns, rule.description)
        )

    def _foreign_key(self, found: _Reference) -> str:
        quote = self.dialect.quote
        near, far = (", ".join(map(quote, names)) for names in (found.columns, found.to))
        return f"FOREIGN KEY ({near}) REFERENCES {quote(found.target)} ({far})"

    def text(self) -> str:
        """The table, and above it what it does not say."""
        quote, comment = self.dialect.quote, self.dialect.comment
        head = [comment(self.description)] if self.description else []
        head += [comment(f"not said here: {words}") for words in self.unsaid]
        if not self.schema.properties and self.dialect is not SqlDialect.POSTGRESQL:
            return "\n".join([*head, comment(f"{self.name} declares no columns: no table")])
        lines: list[tuple[str, str | None]] = []
        for prop in self.schema.properties:
            null = " NOT NULL" if prop.column in self.required else ""
            kind = self.types[prop.column].text
            column = f"{quote(prop.column)} {kind}".rstrip() + null
            lines.append((column, prop.description))
        constraints = [*self.constraints]
        if self.dialect is not SqlDialect.POSTGRESQL:
            constraints += [self._foreign_key(found) for found in self.references]
        lines += [(text, None) for text in dict.fromkeys(constraints)]
        body = []
        for number, (line, note) in enumerate(lines):
            comma = "," if number < len(lines) - 1 else ""
            note = None if self.dialect is SqlDialect.POSTGRESQL else note
            body.append(f"    {line}{comma}" + (f"  {comment(note)}" if note else ""))
        table = f"CREATE TABLE {quote(self.name)} (\n" + "\n".join(body) + "\n);"
        return "\n".join([*head, table, *self._comments()])

    def _comments(self) -> Iterator[str]:
        if self.dialect is not SqlDialect.POSTGRESQL:
            return
        quote, literal, name = (
            self.dialect.quote,
            self.dialect.literal,
            self.dialect.quote(self.name),
        )
        if self.description:
            yield f"COMMENT ON TABLE {name} IS {literal(self.description)};"
        for prop in self.schema.properties:
            if prop.description:
                column = f"{name}.{quote(prop.column)}"
                yield f"COMMENT ON COLUMN {column} IS {literal(prop.description)};"

    def later(self) -> Iterator[str]:
        """The references, once every table is there."""
        for found in self.references:
            yield (
                f"ALTER TABLE {self.dialect.quote(self.name)}\n    ADD {self._foreign_key(found)};"
            )


def table_name(schema: SchemaObject) -> str:
    """The name of an object's table: the physical name where there is one."""
    return schema.physical_name or schema.name


def _every_row(rule: PlannedRule) -> bool:
    """Whether a quality rule must hold for every single row, as a constraint does."""
    threshold = rule.threshold
    return (
        rule.filter is None
        and rule.severity is Severity.ERROR
        and (
            threshold is None
            or (threshold.operator is ThresholdOperator.MUST_BE and not any(threshold.values))
        )
    )


def _in_order(tables: Sequence[_Table]) -> tuple[list[_Table], set[str]]:
    """Tables that others refer to first; the names of those in circles."""
    graph = {
        table.name: {found.target for found in table.references} - {table.name} for table in tables
    }
    by_name = {table.name: table for table in tables}
    try:
        return [by_name[name] for name in TopologicalSorter(graph).static_order()], set()
    except CycleError:
        return list(tables), {name for name, targets in graph.items() if targets}


def _check_names(contract: Contract, objects: Sequence[SchemaObject], dialect: SqlDialect) -> None:
    groups = [("tables", [table_name(found) for found in objects])]
    groups += [
        (f"columns of {found.name!r}", [prop.column for prop in found.properties])
        for found in objects
    ]
    for what, names in groups:
        seen: dict[str, str] = {}
        for name in names:
            if not name or "\0" in name:
                raise DocumentError(
                    f"{name!r} cannot be a name in {dialect.value}",
                    where=contract.location,
                    hint="give it a physical name",
                )
            key = dialect.folded(name)
            if key in seen:
                raise DocumentError(
                    f"two {what} have the same name to {dialect.value}: {seen[key]!r} and {name!r}",
                    where=contract.location,
                    why="it folds the case of letters"
                    if dialect is not SqlDialect.POSTGRESQL
                    else "it cuts names at 63 bytes",
                    hint="give one of them a physical name of its own",
                )
            seen[key] = name
