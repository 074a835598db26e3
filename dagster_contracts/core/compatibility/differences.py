"""Collecting changes: the verdicts that a motion usually has, and the words that name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from dagster_contracts.core.changes import Change, Motion, Verdict, VersionBump
from dagster_contracts.core.compatibility.acceptance import Direction
from dagster_contracts.core.contract import Json
from dagster_contracts.core.quantity import Dimension, Quantity, render_quantity

FINE, WARNS, BREAKS = Verdict.FINE, Verdict.WARNS, Verdict.BREAKS
PATCH, MINOR, MAJOR = VersionBump.PATCH, VersionBump.MINOR, VersionBump.MAJOR


@dataclass(slots=True)
class ChangeList:
    """Changes in the making; ``schema_object`` and ``column`` say which element they are about."""

    schema_object: str | None = None
    column: str | None = None
    items: list[Change] = field(default_factory=list)

    def at(self, *, schema_object: str | None = None, column: str | None = None) -> ChangeList:
        """The same list, for changes of another element."""
        return ChangeList(schema_object or self.schema_object, column or self.column, self.items)

    def add(
        self,
        path: str,
        aspect: str,
        motion: Motion,
        message: str,
        *,
        consumer: Verdict = FINE,
        producer: Verdict = FINE,
        bump: VersionBump = PATCH,
        renamed_to: str | None = None,
    ) -> None:
        """Record one change."""
        self.items.append(
            Change(
                path=path,
                kind=f"{aspect}_{motion.value}",
                consumer=consumer,
                producer=producer,
                bump=bump,
                message=message,
                motion=motion,
                schema_object=self.schema_object,
                column=self.column,
                renamed_to=renamed_to,
            )
        )

    def note(self, path: str, aspect: str, old: object, new: object, what: str) -> None:
        """A change that disturbs nobody: documentation, order, spelling."""
        if old != new:
            self.add(path, aspect, motion_of(old, new), f"{what} changed{from_to(old, new)}")

    def settings(self, path: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> None:
        """What the model only carries along; the keys are named, their values may be long."""
        keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        if keys or old.keys() != new.keys():
            named = ", ".join(keys or sorted(old.keys() ^ new.keys()))
            motion = motion_of(old, new)
            self.add(path, "extras", motion, f"{path}: further settings changed ({named})")

    def reordered(self, path: str, old: Sequence[object], new: Sequence[object], what: str) -> None:
        """A list whose common members stand in another order, which disturbs nobody."""
        common = set(old) & set(new)
        if [each for each in old if each in common] != [each for each in new if each in common]:
            self.add(path, "order", Motion.CHANGED, f"{what} stand in another order")

    def ask(
        self,
        path: str,
        aspect: str,
        old: object,
        new: object,
        what: str,
        check: str = "that what reads it still means the same",
    ) -> None:
        """A change of meaning: nothing breaks by itself, and a person decides what to check."""
        if old != new:
            self.add(
                path,
                aspect,
                motion_of(old, new),
                f"{what} changed{from_to(old, new)}: check {check}",
                consumer=WARNS,
                producer=WARNS,
                bump=MINOR,
            )

    def demand(
        self, path: str, aspect: str, way: Direction, what: str, *, advisory: bool = False
    ) -> None:
        """A demand on the data that became stricter, looser, or another one.

        Stricter: producers must deliver better than before. Looser: consumers may see what they
        never saw. ``advisory`` demands warn and refuse nothing, so nobody breaks.
        """
        if way is Direction.SAME:
            return
        hard, most = (WARNS, MINOR) if advisory else (BREAKS, MAJOR)
        match way:
            case Direction.TIGHTENED:
                refused = "warned of" if advisory else "refused"
                tail, motion = f"what was good enough until now may be {refused}", Motion.TIGHTENED
                self.add(path, aspect, motion, f"{what}: {tail}", producer=hard, bump=MINOR)
            case Direction.LOOSENED:
                tail, motion = "consumers may see values they never saw", Motion.LOOSENED
                self.add(path, aspect, motion, f"{what}: {tail}", consumer=hard, bump=most)
            case Direction.CHANGED:
                tail = "neither side can count on what held before"
                self.add(
                    path,
                    aspect,
                    Motion.CHANGED,
                    f"{what}: {tail}",
                    consumer=hard,
                    producer=hard,
                    bump=most,
                )


def motion_of(old: object, new: object) -> Motion:
    """Added, removed or changed, where an empty value means that there is none."""
    if _absent(old):
        return Motion.ADDED
    return Motion.REMOVED if _absent(new) else Motion.CHANGED


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, (str, tuple, Mapping)) and not value)


def from_to(old: object, new: object) -> str:
    """``" from a to b"``, or nothing where the values are too long to read."""
    before, after = show(old), show(new)
    if len(before) + len(after) > 120:
        return ""
    return f" from {before} to {after}"


def show(value: object) -> str:
    """A value as a sentence shows it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Fraction() | Decimal():
            return str(int(value)) if value == int(value) else f"{float(value):.10g}"
        case tuple() | list():
            return ", ".join(show(item) for item in value) or "none"
        case dict():
            return ", ".join(f"{key} {show(item)}" for key, item in value.items()) or "none"
        case timedelta():
            seconds = Fraction(value // timedelta(microseconds=1), 1_000_000)
            return render_quantity(Quantity(seconds, Dimension.DURATION))
        case str():
            return value or "none"
        case _:
            return str(value)
