"""A job that decides about a circuit by hand: for whoever has the Dagster UI and no shell."""

# No `from __future__ import annotations` here: Dagster reads the type of `config` from the
# annotation itself, and does not resolve one that is text.
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from dagster_contracts.core.condition import parse_duration
from dagster_contracts.errors import ConditionSyntaxError, ContractsError, PolicyError
from dagster_contracts.orchestration.binding import Binding, Bindings
from dagster_contracts.orchestration.bound_circuits import BoundCircuits
from dagster_contracts.resilience.decision import (
    Decision,
    circuit_meant,
    decide,
    next_sentence,
    standing_sentence,
    waiting_reads,
)
from dagster_contracts.resilience.publication import after_publishing

if TYPE_CHECKING:
    from dagster_contracts.orchestration.runtime import ContractsRuntime

JOB_NAME = "operate_circuit"


class OperatorDecision(Enum):
    """What the launchpad offers: each decision about a circuit, and one about a refused batch."""

    FORCE_OPEN = "force_open"
    FORCE_CLOSED = "force_closed"
    METRICS_ONLY = "metrics_only"
    RESET = "reset"
    PUBLISH = "publish"


class CircuitDecision(dg.Config):
    """What the launchpad asks for."""

    contract: str = Field(description="The contract whose circuit it is about.")
    decision: OperatorDecision = Field(
        description="force_open keeps consumers on the fallback, force_closed on the primary, "
        "metrics_only records and does nothing, reset closes and lifts an override, publish makes "
        "a refused batch the primary."
    )
    reason: str = Field(description="Why; it is kept in the history.")
    actor: str = Field(description="Who decides; it is kept in the history.")
    duration: str = Field(
        default="", description="How long an override lasts, such as 2h. Empty: until a reset."
    )
    asset: str = Field(default="", description="The asset, where the contract governs several.")
    partition: str = Field(
        default="",
        description="The partition, where each has its circuit. Empty: all, those to come as well.",
    )
    batch: int = Field(default=0, description="To publish: the number of the batch in quarantine.")
    reset_once_published: bool = Field(
        default=False, description="To publish: also close the circuit, once it is the primary."
    )


def build_operator_job(
    *, bound: BoundCircuits, open_runtime: "Callable[[], ContractsRuntime]"
) -> dg.JobDefinition:
    """The job ``operate_circuit``: force, watch or reset one circuit, as the command line does."""

    @dg.op(
        name="decide",
        description="Carry out an operator's decision about one circuit, and keep who and why.",
        out=dg.Out(dg.Nothing),
    )
    def carry_out(context: dg.OpExecutionContext, config: CircuitDecision) -> None:
        try:
            said = _decide(config, bound, open_runtime(), context.instance)
        except ContractsError as error:
            # A decision that cannot be carried out is a wrong input and is not tried again.
            raise dg.Failure(str(error), allow_retries=False) from None
        context.log.info(said)
        context.add_output_metadata({"circuit": said})

    @dg.job(
        name=JOB_NAME,
        description="Force a contract's circuit open or closed, only watch it, or reset it.",
        executor_def=dg.in_process_executor,
    )
    def operate_circuit() -> None:
        carry_out()

    return operate_circuit


def _decide(
    config: CircuitDecision,
    bound: BoundCircuits,
    runtime: "ContractsRuntime",
    instance: dg.DagsterInstance,
) -> str:
    if config.decision is OperatorDecision.PUBLISH:
        return _publish(config, bound, runtime, instance)
    if config.batch or config.reset_once_published:
        raise PolicyError(
            f"{config.decision.value} is not about a batch",
            hint="leave 'batch' and 'reset_once_published' out, or choose publish",
        )
    decision = Decision(config.decision.value)
    binding = _binding(config, bound.bindings)
    meant = circuit_meant(
        binding.contract.name,
        binding.asset,
        config.partition or None,
        decision=decision,
        governed=(binding.asset,),
        scope=binding.resilience.circuit.scope,
        recorded=runtime.breaker.circuits_of([binding.contract.name]),
        new_partition=True,
    )
    if config.partition:
        # The definitions know which partitions there are and will be.
        bound.require(meant.key, instance)
    lasting = None
    if config.duration:
        if decision is Decision.RESET:
            raise PolicyError("a reset has no duration", hint="leave 'duration' empty")
        try:
            lasting = parse_duration(config.duration)
        except ConditionSyntaxError as error:
            raise PolicyError(
                f"{config.duration!r} cannot be the duration of an override",
                why=error.what,
                hint=error.hint or "write it like 2h, 30min or 1h30min",
            ) from None
    now = runtime.now()
    said: list[str] = []
    verdicts = decide(
        runtime.breaker,
        meant.key,
        decision,
        actor=config.actor,
        reason=config.reason,
        now=now,
        lasting=lasting,
        contract=binding.contract,
    )
    for circuit in (verdict.circuit for verdict in verdicts):
        waiting = waiting_reads(runtime.ledger, circuit.key)
        said.append(f"{standing_sentence(circuit)}; {next_sentence(circuit, waiting)}")
    return "\n".join([*said, meant.remark] if meant.remark else said)


def _publish(
    config: CircuitDecision,
    bound: BoundCircuits,
    runtime: "ContractsRuntime",
    instance: dg.DagsterInstance,
) -> str:
    if config.duration:
        raise PolicyError("a batch is published for good", hint="leave 'duration' empty")
    batch = runtime.quarantine.get(config.batch)
    asked = (config.contract, config.asset or batch.asset, config.partition or batch.partition)
    if asked != (batch.contract, batch.asset, batch.partition):
        raise PolicyError(
            f"batch {batch.id} is one of {batch.contract} for {batch.place}",
            hint="look with `dagster-contracts quarantine list`, and name its own contract",
        )
    bound.require_publishable(batch, instance)
    batch = runtime.quarantine.publish(
        batch.id, actor=config.actor, reason=config.reason, reset=config.reset_once_published
    )
    following = after_publishing(runtime.store, batch)
    return f"batch {batch.id} of {batch.place} is to be published; {following}"


def _binding(config: CircuitDecision, bindings: Bindings) -> Binding:
    protected = [binding for binding in bindings if binding.protects]
    fitting = [
        binding
        for binding in protected
        if binding.contract.name == config.contract and config.asset in ("", binding.asset)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise PolicyError(
            f"{config.contract} governs {len(fitting)} assets here",
            hint=f"name one as 'asset': {', '.join(binding.asset for binding in fitting)}",
        )
    known = ", ".join(sorted(f"{b.contract.name} on {b.asset}" for b in protected)) or "none"
    on = f" on {config.asset}" if config.asset else ""
    raise PolicyError(f"{config.contract}{on} has no circuit here", hint=f"circuits: {known}")
