"""Why a primary or all levels cannot be read, and what a consumer is told."""

from __future__ import annotations

import dagster as dg

from dagster_contracts.core.circuit import CircuitState
from dagster_contracts.core.contract import OnExhausted
from dagster_contracts.errors import CircuitOpenError, ContractsError, FallbackError
from dagster_contracts.orchestration.binding import Binding
from dagster_contracts.orchestration.router import RoutePreview


def is_fault_of_code(error: BaseException) -> bool:
    """Whether an error speaks of a program that is wrong, and not of data that is not there.

    ``KeyError`` and ``ValueError`` are not among them: stores raise them for what is missing, and
    parsers for what is torn.
    """
    return isinstance(error, _FAULTS_OF_CODE) and not isinstance(error, FallbackError)


_FAULTS_OF_CODE = (
    TypeError,
    AttributeError,
    NameError,
    ImportError,
    NotImplementedError,
    AssertionError,
    SyntaxError,
    # What Dagster says of definitions and calls that are wrong.
    dg.DagsterInvariantViolationError,
    dg.DagsterInvalidDefinitionError,
)


def exhausted(
    binding: Binding, preview: RoutePreview, partition: str | None, never: str | None = None
) -> Exception:
    """What a consumer is told where no level is usable: which circuit, why, and what to do.

    ``never`` says that the partition was never made: then no circuit is to blame.
    """
    circuit, name = preview.circuit, binding.contract.name
    where = f" [{partition}]" if partition else ""
    since = f" since {circuit.opened_at:%Y-%m-%d %H:%M:%S} UTC" if circuit.opened_at else ""
    refused = "; ".join(f"{level}: {why}" for level, why in preview.route.refused)
    look = f"look with `dagster-contracts history {name}`"
    error: ContractsError
    if never is not None:
        error = FallbackError(
            f"{never}, and no level is usable",
            where=binding.contract.ref,
            why=refused or None,
            hint="materialize it before it is read, or read the partitions that are there",
        )
    elif circuit.effective_state is CircuitState.CLOSED:
        error = CircuitOpenError(
            f"{binding.asset}{where} cannot be read though its circuit is closed, "
            "and no level is usable",
            where=binding.contract.ref,
            why=refused or None,
            hint=f"bring back what the primary is loaded from; {look}",
        )
    else:
        state = circuit.effective_state.value.replace("_", "-").lower()
        error = CircuitOpenError(
            f"{binding.asset}{where} cannot be read: its circuit is {state}{since}, "
            "and no level is usable",
            where=binding.contract.ref,
            why="; ".join(part for part in (circuit.reason, refused) if part) or None,
            hint=f"mend the producer and materialize it again; {look}; or, knowing what you do, "
            f"`dagster-contracts force-closed {name} --reason ...`",
        )
    resilience = binding.contract.resilience
    if resilience is not None and resilience.on_exhausted is OnExhausted.SKIP:
        # Dagster lets no input loading skip its step: the nearest thing is a failure that is not
        # retried and says that it is no failure of the consumer.
        return dg.Failure(description=f"skipped: {error}", allow_retries=False)
    return error
