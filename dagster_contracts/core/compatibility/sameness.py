"""Whether two parts of a contract are the same, by which yes and 1 are two values.

Python holds ``True == 1``, so that two lists of allowed values may be equal and not the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dagster_contracts.core.contract import QualityRule, SchemaProperty, TypeOptions


def exact(value: object) -> tuple[bool, object]:
    """A value that only equals what is the same value."""
    return isinstance(value, bool), value


def same_property(old: SchemaProperty, new: SchemaProperty) -> bool:
    """Whether nothing about a property changed, at any depth."""
    return old == new and list(_of_property(old)) == list(_of_property(new))


def same_rule(old: QualityRule, new: QualityRule) -> bool:
    """Whether nothing about a quality rule changed."""
    return old == new and list(_of_rule(old)) == list(_of_rule(new))


def same_options(old: TypeOptions, new: TypeOptions) -> bool:
    """Whether nothing about the constraints on values changed."""
    return old == new and list(_truths(old.enum)) == list(_truths(new.enum))


def _truths(values: Iterable[object]) -> Iterator[bool]:
    return (isinstance(value, bool) for value in values)


def _of_property(prop: SchemaProperty) -> Iterator[bool]:
    yield from _truths(prop.options.enum)
    for rule in prop.quality:
        yield from _of_rule(rule)
    for inner in prop.properties:
        yield from _of_property(inner)
    if prop.items is not None:
        yield from _of_property(prop.items)


def _of_rule(rule: QualityRule) -> Iterator[bool]:
    yield from _truths(rule.valid_values)
    yield from _truths(rule.missing_values)
    if rule.options is not None:
        yield from _truths(rule.options.enum)
