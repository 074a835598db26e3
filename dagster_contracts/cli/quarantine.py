"""``dagster-contracts quarantine``: refused batches, and what becomes of them."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import click

from dagster_contracts.cli.declared import declared_contracts, known_name
from dagster_contracts.cli.lazy_group import USAGE
from dagster_contracts.cli.output import (
    format_option,
    print_hanging,
    print_json,
    print_line,
    print_table,
)
from dagster_contracts.cli.parameters import actor_option, reason_option
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.state import open_existing, open_for_change
from dagster_contracts.cli.words import count
from dagster_contracts.cli.written import told_of
from dagster_contracts.core.circuit import CircuitState
from dagster_contracts.core.contract import Json
from dagster_contracts.errors import PolicyError
from dagster_contracts.resilience.breaker import CircuitBreaker
from dagster_contracts.resilience.publication import after_publishing, publishing_sentence
from dagster_contracts.resilience.quarantine import (
    Quarantine,
    QuarantinedBatch,
    QuarantineState,
    circuit_of,
)
from dagster_contracts.store.database import Store


@click.group(
    epilog="""\
\b
Examples:
  dagster-contracts quarantine list
  dagster-contracts quarantine show 3 --rows 5
  dagster-contracts quarantine publish 3 --reason "refunds are new, not wrong"
  dagster-contracts quarantine release 3 --to orders.parquet --reason "the codes are new, not wrong"
  dagster-contracts quarantine drop 3 --reason "delivered again"
"""
)
def quarantine() -> None:
    """Look at refused batches and decide."""


@quarantine.command("list")
@click.argument("contract", required=False)
@click.option("--all", "everything", is_flag=True, help="Also those that were decided on.")
@format_option()
@pass_places
def list_batches(places: Places, contract: str | None, everything: bool, output: str) -> None:
    """List the refused batches that are held or to be published, newest first."""
    name = known_name(places, contract) if contract else None
    batches: tuple[QuarantinedBatch, ...] = ()
    store = open_existing(places)
    if store is not None:
        with closing(store):
            kept = _quarantine(store, places)
            batches = kept.list(contract=name, state=None if everything else QuarantineState.HELD)
            if not everything:
                waiting = kept.list(contract=name, state=QuarantineState.PUBLISHING)
                batches = tuple(sorted((*batches, *waiting), key=lambda b: b.id, reverse=True))
    if output == "json":
        print_json({"batches": [_batch_json(batch, report=False) for batch in batches]})
        return
    if not batches:
        print_line("no batch is held" if not everything else "no batch was ever refused")
        return
    print_table(
        ("id", "contract", "asset", "rows", "held since", "state", "why"),
        (
            (
                str(batch.id),
                f"{batch.contract}@{batch.contract_version}",
                batch.place,
                f"{batch.rows:,}",
                f"{batch.held_at:%Y-%m-%d %H:%M} UTC",
                batch.state.value,
                _why(batch),
            )
            for batch in batches
        ),
    )


@quarantine.command()
@click.argument("batch_id", type=int, metavar="ID")
@click.option("--rows", type=click.IntRange(0), default=0, help="Also show its first N rows.")
@format_option()
@pass_places
def show(places: Places, batch_id: int, rows: int, output: str) -> None:
    """Show a refused batch, and what refused it."""
    with closing(open_for_change(places)) as store:
        held = _quarantine(store, places)
        batch = held.get(batch_id)
        table = held.load(batch_id).slice(0, rows) if rows else None
        waiting = batch.state is QuarantineState.HELD and output == "text"
        following = _next(store, held, batch) if waiting else None
    if output == "json":
        document = _batch_json(batch, report=True)
        if table is not None:
            document["first_rows"] = [
                {name: None if value is None else str(value) for name, value in row.items()}
                for row in table.to_pylist()
            ]
        print_json(document)
        return
    print_line(f"batch {batch.id} of {batch.place}: {batch.state.value}", bold=True)
    print_line(f"  contract   {batch.contract}@{batch.contract_version}")
    print_line(f"  rows       {batch.rows:,} ({batch.bytes:,} bytes of parquet)")
    print_line(
        f"  held since {batch.held_at:%Y-%m-%d %H:%M:%S} UTC, run {batch.run_id or 'unknown'}"
    )
    if batch.decided_at is not None:
        print_line(
            f"  decided    {batch.decided_at:%Y-%m-%d %H:%M:%S} UTC by {batch.decided_by}: "
            f"{batch.decision_reason}"
        )
    told = publishing_sentence(batch)
    if told is not None:
        print_hanging(f"  publishing {told}", 13)
    for outcome in _broken(batch):
        print_hanging(f"  {outcome}", 4, fg="red")
    if following is not None:
        print_hanging(f"  next       {following}", 13)
    if table is not None:
        print_line()
        print_table(
            table.column_names,
            ([_cell(value) for value in row.values()] for row in table.to_pylist()),
        )


@quarantine.command()
@click.argument("batch_id", type=int, metavar="ID")
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The parquet file to write.",
)
@reason_option
@actor_option
@format_option()
@pass_places
def release(
    places: Places, batch_id: int, target: Path, reason: str, actor: str, output: str
) -> None:
    """Let a refused batch go: verified, and written to a parquet file.

    No consumer reads it there; `publish` makes it the primary instead.
    """
    if target.exists():
        click.echo(f"error: {target} is there already", err=True)
        raise click.exceptions.Exit(USAGE)
    # Arrow takes a quarter of a second to import, and only this command writes a file.
    import pyarrow.parquet as pq

    with closing(open_for_change(places)) as store:
        held = _quarantine(store, places)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            # The file is there before the decision: a full disk, or a death between the two, leaves
            # the batch held. A link, because it never replaces what somebody else put there.
            table = held.load(batch_id)
            with told_of(target):
                pq.write_table(table, temporary)
                os.link(temporary, target)
            try:
                table = held.release(batch_id, actor=actor, reason=reason)
            except BaseException:
                target.unlink()
                raise
        finally:
            temporary.unlink(missing_ok=True)
    if output == "json":
        print_json({"id": batch_id, "state": "released", "to": str(target), "rows": table.num_rows})
        return
    print_line(f"batch {batch_id} released: {count(table.num_rows, 'row')} in {target}")
    print_line("  no consumer reads it: what is delivered again is judged again")


@quarantine.command()
@click.argument("batch_id", type=int, metavar="ID")
@click.option("--reset", is_flag=True, help="Also close its circuit, once it is published.")
@reason_option
@actor_option
@format_option()
@pass_places
def publish(
    places: Places, batch_id: int, reset: bool, reason: str, actor: str, output: str
) -> None:
    """Declare a refused batch right: a run makes it the primary.

    The circuit sensor asks for the run, which does not call the asset's own function. The circuit
    stays as it is without --reset.
    """
    with closing(open_for_change(places)) as store:
        held = _quarantine(store, places)
        _require_declared(held.get(batch_id), places)
        batch = held.publish(batch_id, actor=actor, reason=reason, reset=reset)
        following = after_publishing(store, batch)
    if output == "json":
        print_json(_batch_json(batch, report=False))
        return
    print_line(f"batch {batch.id} of {batch.place} is to be published: {count(batch.rows, 'row')}")
    print_line("  the circuit sensor asks for the run; `quarantine list --all` tells how it went")
    print_hanging(f"  {following}", 2)


@quarantine.command()
@click.argument("batch_id", type=int, metavar="ID")
@reason_option
@actor_option
@format_option()
@pass_places
def drop(places: Places, batch_id: int, reason: str, actor: str, output: str) -> None:
    """Throw a refused batch away; its report and this decision stay."""
    with closing(open_for_change(places)) as store:
        batch = _quarantine(store, places).drop(batch_id, actor=actor, reason=reason)
    if output == "json":
        print_json(_batch_json(batch, report=False))
        return
    print_line(f"batch {batch.id} of {batch.place} dropped; its report stays")


def _quarantine(store: Store, places: Places) -> Quarantine:
    return Quarantine(store, places.archive_folder() / "quarantine")


def _next(store: Store, held: Quarantine, batch: QuarantinedBatch) -> str:
    """What consumers read while the batch is held, and what may be decided about it."""
    with store.read() as conn:
        key = circuit_of(conn, batch)
    circuit = None if key is None else CircuitBreaker(store).circuit(key)
    closed = circuit is None or circuit.effective_state is CircuitState.CLOSED
    said = (
        "consumers read the primary as it was stored last"
        if closed
        else (f"the circuit {key} is not closed: consumers read the first usable fallback")
    )
    number = batch.id
    ways = [f"publish {number}", f"release {number} --to FILE", f"drop {number}"]
    why_not = held.unpublishable(batch)
    if why_not is not None:
        said += f"; it cannot be published: {why_not}"
        del ways[0]
    return f"{said}; {' or '.join(f'`quarantine {way}`' for way in ways)}"


def _require_declared(batch: QuarantinedBatch, places: Places) -> None:
    """``PolicyError`` where the folder of contracts shows that nothing governs the asset now."""
    names = {contract.name for contract in declared_contracts(places)}
    if names and batch.contract not in names:
        raise PolicyError(
            f"batch {batch.id} of {batch.place} cannot be published",
            why=f"there is no contract {batch.contract} any more",
            hint=f"`quarantine release {batch.id} --to FILE` gives its rows",
        )


def _outcomes(batch: QuarantinedBatch) -> list[dict[str, Json]]:
    outcomes = batch.report.get("outcomes")
    found = outcomes if isinstance(outcomes, list) else []
    return [each for each in found if isinstance(each, dict) and each.get("status") == "failed"]


def _why(batch: QuarantinedBatch) -> str:
    rules = [str(outcome.get("rule")) for outcome in _outcomes(batch)]
    more = f" and {len(rules) - 3} more" if len(rules) > 3 else ""
    told = publishing_sentence(batch)
    return "; ".join(part for part in (", ".join(rules[:3]) + more, told) if part)


def _broken(batch: QuarantinedBatch) -> list[str]:
    said = []
    for outcome in _outcomes(batch):
        failed, tested = outcome.get("failed_rows"), outcome.get("rows_tested")
        rows = (
            f"{failed:,} of {tested:,} rows are broken"
            if isinstance(failed, int) and isinstance(tested, int)
            else ""
        )
        threshold = outcome.get("threshold")
        reason = outcome.get("reason") or (f"must be {threshold}" if threshold else "")
        said.append(": ".join(str(part) for part in (outcome.get("rule"), rows, reason) if part))
    return said


def _batch_json(batch: QuarantinedBatch, *, report: bool) -> dict[str, Json]:
    document: dict[str, Json] = {
        "id": batch.id,
        "contract": batch.contract,
        "version": batch.contract_version,
        "asset": batch.asset,
        "partition": batch.partition,
        "state": batch.state.value,
        "rows": batch.rows,
        "bytes": batch.bytes,
        "run_id": batch.run_id,
        "evaluation_id": batch.evaluation_id,
        "held_at": batch.held_at.isoformat(),
        "decided_at": batch.decided_at.isoformat() if batch.decided_at else None,
        "decided_by": batch.decided_by,
        "decision_reason": batch.decision_reason,
        "resets": batch.publish_resets,
        "published_at": batch.published_at.isoformat() if batch.published_at else None,
        "published_by_run": batch.publish_run_id if batch.published_at else None,
        "not_published_because": batch.unpublished_because,
        "broken": [str(outcome.get("rule")) for outcome in _outcomes(batch)],
    }
    if report:
        document["report"] = dict(batch.report)
    return document


def _cell(value: object) -> str:
    return "null" if value is None else str(value)
