"""``contract_monitor_sensor``: tells people, foresees breaches, does what contracts asked for.

Three things in each tick: watch the history (a feed that will be late, a batch unlike those before
it), deliver the alerts that wait, and carry out the actions whose threshold was reached. A tick
looks at what is new since the one before it in this process, and at what time has moved.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, assert_never

import dagster as dg

from dagster_contracts.core.circuit import Override
from dagster_contracts.core.contract import CorrectiveActionKind
from dagster_contracts.monitoring.actions import DueAction, claim_action, judge_actions
from dagster_contracts.monitoring.agenda import Agenda, Place, Turn
from dagster_contracts.monitoring.tuning import propose, record_proposals
from dagster_contracts.monitoring.watch import Finding, Watch
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.graph import AssetGraph
from dagster_contracts.orchestration.launching import cannot_run
from dagster_contracts.orchestration.step import ACTION_TAG, HEAL_TAG

if TYPE_CHECKING:
    from dagster_contracts.monitoring.dispatch import Delivered
    from dagster_contracts.orchestration.runtime import ContractsRuntime

RUN_JOB = CorrectiveActionKind.RUN_JOB
_ACTOR = "contract_monitor_sensor"
_LOG = logging.getLogger(__name__)
_AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
"""A moment that has come: what is put off until then is looked at in the next turn."""


def build_monitor_sensor(
    *,
    bindings: Bindings,
    graph: AssetGraph,
    open_runtime: Callable[[], ContractsRuntime],
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds: int = 30,
) -> dg.SensorDefinition:
    """The sensor that monitors."""
    contracts = {b.contract.name: b.contract for b in bindings}

    @lru_cache(maxsize=1)
    def remembered(runtime: ContractsRuntime) -> tuple[Watch, Agenda]:
        """What the ticks of this process have read so far."""
        return Watch(runtime.store, contracts.values()), Agenda(runtime.store, reports=True)

    @dg.sensor(
        name="contract_monitor_sensor",
        description="Delivers alerts of data contracts, foresees breaches, takes actions.",
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        asset_selection=dg.AssetSelection.assets(*graph.keys),
    )
    def contract_monitor_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        runtime = open_runtime()
        dispatcher = runtime.alerts(contracts)
        watched, agenda = remembered(runtime)
        troubles = Troubles()
        findings: tuple[Finding, ...] = ()
        done: Delivered | None = None
        requests: list[dg.RunRequest] = []
        with troubles.caught("watching"):
            findings = watched.look(dispatcher.take, troubled=troubles.of_place)
        with troubles.caught("corrective actions"), agenda.turn(runtime.now()) as turn:
            for binding in _looked_at(bindings, turn):
                with troubles.of(binding, turn):
                    # Jobs are run by a sensor of their own: one sensor targets assets or jobs.
                    for due in _due(runtime, binding, turn):
                        if due.action.kind is not RUN_JOB and claim_action(runtime.store, due):
                            asked = _carry_out(runtime, binding, due, graph)
                            requests.extend(_startable(asked, graph, context.instance, troubles))
                    if turn.is_new(_place(binding)):
                        found = propose(runtime.store, binding.contract, binding.asset)
                        if found:
                            record_proposals(runtime.store, found)
        with troubles.caught("alerts"):
            done = dispatcher.deliver()
        with troubles.caught("retention"):
            runtime.keep_house()
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else _summary(done, findings, troubles.told),
        )

    return contract_monitor_sensor


def _looked_at(bindings: Bindings, turn: Turn) -> Iterator[Binding]:
    """The bindings that ask for actions and that a turn concerns."""
    return (binding for binding in bindings.acting if turn.concerns(_place(binding)))


def _place(binding: Binding) -> Place:
    return binding.contract.name, binding.asset


def _due(runtime: ContractsRuntime, binding: Binding, turn: Turn) -> tuple[DueAction, ...]:
    """The actions that are due on a binding; the turn learns when to look at it again."""
    due, turns = judge_actions(runtime.store, binding.contract, binding.asset)
    turn.again(_place(binding), turns)
    return due


class Troubles:
    """What went wrong in a tick: logged and told, and in nobody else's way."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @contextmanager
    def caught(self, what: str) -> Iterator[None]:
        """Go on after this part of the tick, whatever it raises."""
        try:
            yield
        except Exception as error:
            _LOG.exception("%s: this tick could not finish it", what)
            self.told.append(f"{what}: {type(error).__name__}: {' '.join(str(error).split())}")

    @contextmanager
    def of(self, binding: Binding, turn: Turn) -> Iterator[None]:
        """Go on after this binding, and look at it again in the next turn."""
        known = len(self.told)
        with self.caught(f"{binding.contract.name}/{binding.asset}"):
            yield
        if len(self.told) > known:
            turn.again(_place(binding), _AT_ONCE)

    def of_place(self, place: Place, error: Exception) -> None:
        """One asset's trouble, that somebody else has caught."""
        with self.caught("/".join(place)):
            raise error


def _startable(
    requests: Iterable[dg.RunRequest],
    graph: AssetGraph,
    instance: dg.DagsterInstance,
    troubles: Troubles,
) -> Iterator[dg.RunRequest]:
    """Those that Dagster can start: it refuses all that a tick asks for because of one."""
    for request in requests:
        keys = request.asset_selection or ()
        why_not = cannot_run(graph, instance, keys, request.partition_key)
        if why_not is None:
            yield request
        else:
            _LOG.warning("a corrective action cannot be carried out: %s", why_not)
            troubles.told.append(f"a corrective action cannot be carried out: {why_not}")


def _summary(
    done: Delivered | None, findings: Sequence[Finding], troubles: Sequence[str] = ()
) -> str:
    """One line for the tick's page in the UI."""
    lines = [f"not all could be done: {told}" for told in troubles[:5]]
    if done is not None:
        counts = (
            (done.sent, "sent"),
            (done.failed, "failed, to be tried again"),
            (done.parked, "given up"),
        )
        told = [f"{count} {what}" for count, what in counts if count]
        lines += [f"notifications: {', '.join(told)}"] if told else []
    lines += [finding.summary for finding in findings if not finding.over][:5]
    return "; ".join(lines) or "nothing to tell"


def _carry_out(
    runtime: ContractsRuntime, binding: Binding, due: DueAction, graph: AssetGraph
) -> Iterator[dg.RunRequest]:
    """Do what the contract wants done; runs are requested, the rest is done here."""
    tags = {ACTION_TAG: f"{due.action.kind.value} of {due.contract}"}
    match due.action.kind:
        case CorrectiveActionKind.REMATERIALIZE:
            yield dg.RunRequest(
                asset_selection=graph.selection(binding.asset_key),
                partition_key=due.partition if graph.is_partitioned(binding.asset_key) else None,
                tags=tags,
            )
        case CorrectiveActionKind.FORCE_OPEN:
            runtime.breaker.force(
                binding.circuit_key(due.partition),
                Override.FORCED_OPEN,
                actor=_ACTOR,
                reason=due.explanation,
                contract=binding.contract,
            )
        case CorrectiveActionKind.HEAL:
            for read in runtime.ledger.open_reads(binding.circuit_key(due.partition)):
                key = dg.AssetKey.from_user_string(read.consumer)
                if key not in graph.upstream:
                    continue  # Another code location makes it; the circuit sensor tells if none.
                blamed = [dg.AssetKey.from_user_string(read.upstream)]
                yield dg.RunRequest(
                    run_key=f"heal-action:{due.key}:{read.id}",
                    asset_selection=[*graph.made_with(key, blamed), key],
                    partition_key=read.consumer_partition,
                    tags={**tags, HEAL_TAG: due.contract},
                )
        case CorrectiveActionKind.RUN_JOB:
            yield dg.RunRequest(job_name=due.action.job, tags=tags)
        case _:
            assert_never(due.action.kind)


def job_names(bindings: Bindings) -> tuple[str, ...]:
    """The jobs that contracts want to run as corrective actions."""
    names = {
        action.job
        for binding in bindings
        for action in binding.contract.monitoring.actions
        if action.kind is RUN_JOB and action.job is not None
    }
    return tuple(sorted(names))


def build_action_sensor(
    *,
    bindings: Bindings,
    graph: AssetGraph,
    jobs: Sequence[Any],
    open_runtime: Callable[[], ContractsRuntime],
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds: int = 30,
) -> dg.SensorDefinition:
    """The sensor that runs ``jobs`` where a contract asks for one as a corrective action."""

    @lru_cache(maxsize=1)
    def remembered(runtime: ContractsRuntime) -> Agenda:
        """What the ticks of this process have read so far."""
        return Agenda(runtime.store, reports=True)

    @dg.sensor(
        name="contract_action_sensor",
        description="Runs the jobs that data contracts ask for as corrective actions.",
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        jobs=jobs,
    )
    def contract_action_sensor() -> Iterator[dg.RunRequest | dg.SkipReason]:
        runtime = open_runtime()
        troubles = Troubles()
        requests: list[dg.RunRequest] = []
        with remembered(runtime).turn(runtime.now()) as turn:
            for binding in _looked_at(bindings, turn):
                with troubles.of(binding, turn):
                    for due in _due(runtime, binding, turn):
                        if due.action.kind is RUN_JOB and claim_action(runtime.store, due):
                            requests.extend(_carry_out(runtime, binding, due, graph))
        yield from requests
        if troubles.told and not requests:
            yield dg.SkipReason(f"not all could be done: {'; '.join(troubles.told[:5])}")

    return contract_action_sensor
