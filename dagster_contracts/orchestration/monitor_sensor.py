"""``contract_monitor_sensor``: tells people, foresees breaches, does what contracts asked for.

Three things in each tick: watch the history (a feed that will be late, a batch unlike those before
it), deliver the alerts that wait, and carry out the actions whose threshold was reached. A tick
looks at what is new since the one before it in this process, and at what time has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from dagster_contracts.orchestration.step import ACTION_TAG, HEAL_TAG

if TYPE_CHECKING:
    from dagster_contracts.monitoring.dispatch import Delivered
    from dagster_contracts.orchestration.runtime import ContractsRuntime

RUN_JOB = CorrectiveActionKind.RUN_JOB
_ACTOR = "contract_monitor_sensor"


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
    def contract_monitor_sensor() -> dg.SensorResult:
        runtime = open_runtime()
        dispatcher = runtime.alerts(contracts)
        watched, agenda = remembered(runtime)
        findings = watched.look(dispatcher.take)
        requests: list[dg.RunRequest] = []
        with agenda.turn(runtime.now()) as turn:
            for binding in _looked_at(bindings, turn):
                # Jobs are run by a sensor of their own: one sensor targets assets or jobs.
                for due in _due(runtime, binding, turn):
                    if due.action.kind is not RUN_JOB and claim_action(runtime.store, due):
                        requests.extend(_carry_out(runtime, binding, due, graph))
                if turn.is_new(_place(binding)):
                    found = propose(runtime.store, binding.contract, binding.asset)
                    if found:
                        record_proposals(runtime.store, found)
        done = dispatcher.deliver()
        runtime.keep_house()
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else _summary(done, findings),
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


def _summary(done: Delivered, findings: Sequence[Finding]) -> str:
    """One line for the tick's page in the UI."""
    counts = (
        (done.sent, "sent"),
        (done.failed, "failed, to be tried again"),
        (done.parked, "given up"),
    )
    told = [f"{count} {what}" for count, what in counts if count]
    lines = [f"notifications: {', '.join(told)}"] if told else []
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
    def contract_action_sensor() -> Iterator[dg.RunRequest]:
        runtime = open_runtime()
        with remembered(runtime).turn(runtime.now()) as turn:
            for binding in _looked_at(bindings, turn):
                for due in _due(runtime, binding, turn):
                    if due.action.kind is RUN_JOB and claim_action(runtime.store, due):
                        yield from _carry_out(runtime, binding, due, graph)

    return contract_action_sensor
