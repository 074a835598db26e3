"""Dagster keeps data contracts: checks, circuits and fallbacks declared in the contract itself.

>>> from dagster_contracts import ContractsResource, contract_asset, with_contracts
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster_contracts.core.contract import Contract as Contract
    from dagster_contracts.core.outcome import CheckOutcome as CheckOutcome
    from dagster_contracts.core.outcome import ContractReport as ContractReport
    from dagster_contracts.core.outcome import OutcomeStatus as OutcomeStatus
    from dagster_contracts.documents.folder import load_contract as load_contract
    from dagster_contracts.engine.report import ValidationReport as ValidationReport
    from dagster_contracts.engine.sql_table import SqlTable as SqlTable
    from dagster_contracts.engine.validation import validate as validate
    from dagster_contracts.errors import CircuitOpenError as CircuitOpenError
    from dagster_contracts.errors import ConditionSyntaxError as ConditionSyntaxError
    from dagster_contracts.errors import ContractsError as ContractsError
    from dagster_contracts.errors import DocumentError as DocumentError
    from dagster_contracts.errors import FallbackError as FallbackError
    from dagster_contracts.errors import IncompatibleChangeError as IncompatibleChangeError
    from dagster_contracts.errors import PolicyError as PolicyError
    from dagster_contracts.errors import SchemaTooNewError as SchemaTooNewError
    from dagster_contracts.errors import StoreError as StoreError
    from dagster_contracts.errors import UnknownContractError as UnknownContractError
    from dagster_contracts.errors import UnreadableDataError as UnreadableDataError
    from dagster_contracts.errors import VersionConflictError as VersionConflictError
    from dagster_contracts.errors import WiringError as WiringError
    from dagster_contracts.orchestration.asset_checks import (
        build_contract_checks as build_contract_checks,
    )
    from dagster_contracts.orchestration.asset_decorator import contract_asset as contract_asset
    from dagster_contracts.orchestration.circuit_sensor import (
        build_circuit_sensor as build_circuit_sensor,
    )
    from dagster_contracts.orchestration.dagster_types import dagster_type as dagster_type
    from dagster_contracts.orchestration.definitions import ContractsWarning as ContractsWarning
    from dagster_contracts.orchestration.definitions import with_contracts as with_contracts
    from dagster_contracts.orchestration.io_manager import ContractIOManager as ContractIOManager
    from dagster_contracts.orchestration.resource import ContractsResource as ContractsResource
    from dagster_contracts.orchestration.translator import ContractTranslator as ContractTranslator
    from dagster_contracts.registry.inference import InferredContract as InferredContract
    from dagster_contracts.registry.inference import infer_contract as infer_contract
    from dagster_contracts.registry.pandera_contract import PanderaContract as PanderaContract
    from dagster_contracts.registry.pandera_contract import from_pandera as from_pandera

# Each public name is imported when it is first asked for: `import dagster_contracts` costs nothing,
# and whoever only validates never imports Dagster.
_HOMES = {
    "CheckOutcome": "core.outcome",
    "CircuitOpenError": "errors",
    "ConditionSyntaxError": "errors",
    "Contract": "core.contract",
    "ContractIOManager": "orchestration.io_manager",
    "ContractReport": "core.outcome",
    "ContractTranslator": "orchestration.translator",
    "ContractsError": "errors",
    "ContractsResource": "orchestration.resource",
    "ContractsWarning": "orchestration.definitions",
    "DocumentError": "errors",
    "FallbackError": "errors",
    "IncompatibleChangeError": "errors",
    "InferredContract": "registry.inference",
    "OutcomeStatus": "core.outcome",
    "PanderaContract": "registry.pandera_contract",
    "PolicyError": "errors",
    "SchemaTooNewError": "errors",
    "SqlTable": "engine.sql_table",
    "StoreError": "errors",
    "UnknownContractError": "errors",
    "UnreadableDataError": "errors",
    "ValidationReport": "engine.report",
    "VersionConflictError": "errors",
    "WiringError": "errors",
    "build_circuit_sensor": "orchestration.circuit_sensor",
    "build_contract_checks": "orchestration.asset_checks",
    "contract_asset": "orchestration.asset_decorator",
    "dagster_type": "orchestration.dagster_types",
    "from_pandera": "registry.pandera_contract",
    "infer_contract": "registry.inference",
    "load_contract": "documents.folder",
    "validate": "engine.validation",
    "with_contracts": "orchestration.definitions",
}

__all__ = [
    "CheckOutcome",
    "CircuitOpenError",
    "ConditionSyntaxError",
    "Contract",
    "ContractIOManager",
    "ContractReport",
    "ContractTranslator",
    "ContractsError",
    "ContractsResource",
    "ContractsWarning",
    "DocumentError",
    "FallbackError",
    "IncompatibleChangeError",
    "InferredContract",
    "OutcomeStatus",
    "PanderaContract",
    "PolicyError",
    "SchemaTooNewError",
    "SqlTable",
    "StoreError",
    "UnknownContractError",
    "UnreadableDataError",
    "ValidationReport",
    "VersionConflictError",
    "WiringError",
    "build_circuit_sensor",
    "build_contract_checks",
    "contract_asset",
    "dagster_type",
    "from_pandera",
    "infer_contract",
    "load_contract",
    "validate",
    "with_contracts",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
