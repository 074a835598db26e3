"""A diff for people, for programs, for a pull request's code and for its conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dagster_contracts.cli.comparison import Comparison
from dagster_contracts.cli.github import ERROR, NOTICE, WARNING, annotation
from dagster_contracts.cli.ignore_file import IdleIgnore
from dagster_contracts.cli.output import Style
from dagster_contracts.cli.words import count
from dagster_contracts.core.changes import Change, Verdict, VersionBump
from dagster_contracts.core.contract import Contract, Json
from dagster_contracts.errors import SourceLocation

_COLOURS = {Verdict.BREAKS: "red", Verdict.WARNS: "yellow", Verdict.FINE: "green"}


def comparisons_json(
    found: Sequence[Comparison], idle: Sequence[IdleIgnore] = ()
) -> dict[str, Json]:
    """One verdict over all pairs, every change, and each pair by itself under ``contracts``."""
    one = found[0].changes.declared_bump if len(found) == 1 else None
    return {
        "ok": all(pair.good for pair in found),
        "consumer": str(max((p.changes.consumer for p in found), default=Verdict.FINE)),
        "producer": str(max((p.changes.producer for p in found), default=Verdict.FINE)),
        "bump": str(max((p.changes.bump for p in found), default=VersionBump.NONE)),
        "declared_bump": None if one is None else str(one),
        "changes": [
            {"contract": pair.name, **change.to_json()} for pair in found for change in pair.changes
        ],
        "contracts": [pair.to_json() for pair in found],
        "idle_ignores": [entry.to_json() for entry in idle],
    }


def text_lines(
    found: Sequence[Comparison], idle: Sequence[IdleIgnore] = ()
) -> Iterator[tuple[str, Style]]:
    """Lines for a terminal: a verdict on each contract, then its changes, the worst first."""
    yield from _compared(found)
    for entry in idle:
        yield str(entry), {"fg": "yellow"}


def _compared(found: Sequence[Comparison]) -> Iterator[tuple[str, Style]]:
    if not any(pair.changes.items for pair in found):
        yield "no changes", {}
        return
    for position, pair in enumerate(found):
        if position:
            yield "", {}
        yield headline(pair), {"bold": True, "fg": None if pair.good else "red"}
        width = max((len(_label(change)) for change in pair.changes), default=0)
        for change in pair.changes:
            label = _label(change).ljust(width)
            yield f"  {label}  {_sentence(change)}", {"fg": _COLOURS[_worst(change)]}
        for impact in pair.impacts:
            if impact.verdict is not Verdict.FINE:
                said = "; ".join(impact.sentences)
                yield f"  {impact.consumer.name} {impact.verdict}: {said}", {}


def headline(pair: Comparison) -> str:
    """``orders 1.0.0 → 1.1.0: consumers break, producers are fine; ...`` and the version bump."""
    if pair.old is None or pair.new is None:
        version = (pair.new or pair.old or _nobody()).version
        return f"{pair.name} {version}: {'added' if pair.old is None else 'removed'}"
    versions = f"{pair.name} {pair.old.version} → {pair.new.version}"
    if not pair.changes.items:
        return f"{versions}: no changes"
    sides = ", ".join(
        f"{side} {_verb(verdict)}"
        for side, verdict in (
            ("consumers", pair.changes.consumer),
            ("producers", pair.changes.producer),
        )
    )
    return f"{versions}: {sides}; {_bumps(pair)}"


def github_lines(found: Sequence[Comparison], idle: Sequence[IdleIgnore] = ()) -> Iterator[str]:
    """Workflow commands of GitHub Actions, at the changed element where it still stands."""
    for pair in found:
        for change in pair.changes.counted:
            worst = _worst(change)
            if worst is not Verdict.FINE:
                level = ERROR if worst is Verdict.BREAKS else WARNING
                at = _place(pair, change)
                yield annotation(
                    level, change.message, at=at, title=f"{pair.name}: {_label(change)}"
                )
        if not pair.enough:
            at = pair.new.location if pair.new else None
            yield annotation(ERROR, headline(pair), at=at, title=f"{pair.name}: version")
    for entry in idle:
        message = f"{entry.entry.path} {entry.why}"
        yield annotation(WARNING, message, at=entry.entry.location, title="agreed changes")
    if all(pair.good for pair in found):
        yield annotation(NOTICE, "nobody breaks", at=None, title="data contracts")


def markdown(found: Sequence[Comparison], idle: Sequence[IdleIgnore] = ()) -> str:
    """A comment for a pull request."""
    listed = [f"- {_cell(str(entry))}" for entry in idle]
    return "\n\n".join(filter(None, (_table(found), "\n".join(listed))))


def _table(found: Sequence[Comparison]) -> str:
    changed = [pair for pair in found if pair.changes.items]
    if not changed:
        return "**Data contracts**: no changes"
    lines = []
    for pair in changed:
        lines += [f"### {'✅' if pair.good else '❌'} {_cell(headline(pair))}", ""]
        lines += ["| consumer | producer | version | change |", "|---|---|---|---|"]
        for change in pair.changes:
            cells = (change.consumer, change.producer, change.bump, _cell(_sentence(change)))
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
        hit = [impact for impact in pair.impacts if impact.verdict is not Verdict.FINE]
        if hit:
            named = ", ".join(f"**{_cell(i.consumer.name)}** ({i.verdict})" for i in hit)
            lines += ["", f"{count(len(hit), 'consumer')} concerned: {named}"]
        lines.append("")
    return "\n".join(lines).rstrip()


def _worst(change: Change) -> Verdict:
    return Verdict.FINE if change.ignored_because else max(change.consumer, change.producer)


def _label(change: Change) -> str:
    if change.ignored_because:
        return "ignored"
    sides = [
        side
        for side, verdict in (("consumer", change.consumer), ("producer", change.producer))
        if verdict is _worst(change)
    ]
    worst = _worst(change)
    return "fine" if worst is Verdict.FINE else f"{worst} {' and '.join(sides)}"


def _sentence(change: Change) -> str:
    if change.ignored_because:
        return f"{change.message} (agreed: {change.ignored_because})"
    return change.message


def _verb(verdict: Verdict) -> str:
    return {Verdict.FINE: "are fine", Verdict.WARNS: "should look", Verdict.BREAKS: "break"}[
        verdict
    ]


def _bumps(pair: Comparison) -> str:
    declared = pair.changes.declared_bump
    says = "no version number" if declared is None else str(declared)
    if pair.needed is VersionBump.NONE:
        return "needs no new version"
    if pair.enough:
        return f"the version bump is {says}, {pair.needed} is needed"
    return f"the version bump is {says}, but {pair.needed} is needed"


def _place(pair: Comparison, change: Change) -> SourceLocation | None:
    if pair.new is None:
        return None
    for schema_object in pair.new.objects:
        if change.schema_object in (None, schema_object.name) and change.column:
            column = schema_object.property_named(change.column)
            if column is not None and column.location is not None:
                return column.location
    return pair.new.location


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _nobody() -> Contract:
    raise AssertionError("a comparison has at least one side")
