"""Rules that are the team's own code: a Python function, a pandera schema or check.

A Python function gets the data as the asset returned it, and ``column=`` where the rule has a
column. It returns ``True`` or ``False``, or the number of rows that break the rule, or a mapping
with ``failed_rows`` and, if it likes, ``rows_tested``, ``reason`` and ``samples``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dagster_contracts.core.contract import Json
from dagster_contracts.core.rules import Custom
from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.pandera_rule import run_pandera
from dagster_contracts.engine.samples import SampleSource
from dagster_contracts.engine.scan import first_line
from dagster_contracts.engine.sources import kind_of

_PYTHON_ENGINES = frozenset({"python", "function", "dagster_contracts"})


class UnusableRuleError(Exception):
    """The implementation names nothing that can be run; the text says why."""


@dataclass(frozen=True, slots=True)
class Code:
    """What custom rules may run: ``given`` by name, and what stands in ``allowed`` modules.

    An allowed module brings all that are below it.
    """

    given: Mapping[str, Callable[..., object]]
    allowed: tuple[str, ...] = ()

    def allows(self, module: str) -> bool:
        """Whether a rule may have this module imported."""
        return any(module == name or module.startswith(f"{name}.") for name in self.allowed)

    def find(self, implementation: Json) -> Any:
        """The object that an implementation names: a given one, or ``module:name``."""
        named = implementation
        if isinstance(named, dict):
            named = next((named[k] for k in ("function", "schema", "check") if k in named), None)
        if not isinstance(named, str) or not named.strip():
            raise UnusableRuleError("the implementation must name a function as module:function")
        named = named.strip()
        if named in self.given:
            return self.given[named]
        module, colon, path = named.partition(":")
        if not colon:
            known = f" (given: {', '.join(sorted(self.given))})" if self.given else ""
            raise UnusableRuleError(f"{named!r} is not written as module:function{known}")
        if not self.allows(module):
            raise UnusableRuleError(
                f"code of the module {module!r} is not allowed to run here; "
                f"the deployment allows it with allow_code=[{module!r}]"
            )
        try:
            found: Any = importlib.import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
                if isinstance(found, ModuleType) and not self.allows(found.__name__):
                    # What an allowed module has imported for itself is not allowed with it.
                    raise UnusableRuleError(
                        f"code of the module {found.__name__!r} is not allowed to run here"
                    )
        except (ImportError, AttributeError) as error:
            raise UnusableRuleError(f"{named!r} cannot be imported: {first_line(error)}") from error
        return found


def measure_custom(
    test: Custom,
    data: object,
    rows: int,
    code: Code,
    source: SampleSource,
    samples: int,
) -> Finding:
    """Run the rule; whatever it raises becomes the reason why it was not evaluated."""
    try:
        engine = test.engine.lower()
        if engine != "pandera" and engine not in _PYTHON_ENGINES:
            return Finding(unmeasured=f"the engine {test.engine!r} is not known here")
        target = code.find(test.implementation)
        if engine == "pandera":
            return run_pandera(target, data, test.column, rows, source, samples)
        if not callable(target):
            return Finding(unmeasured=f"{test.implementation!r} is no function")
        return _finding(_call(target, data, test.column), rows, source, samples)
    except UnusableRuleError as error:
        return Finding(unmeasured=str(error))
    except (Exception, SystemExit) as error:  # the team's code may raise anything, or want to leave
        reason = f"the rule raised {type(error).__name__}"
        return Finding(unmeasured=reason, quoted=first_line(error))


def _call(function: Callable[..., Any], data: object, column: str | None) -> Any:
    parameters = inspect.signature(function).parameters.values()
    takes_column = any(
        p.name == "column" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters
    )
    own = _own(data)
    return function(own, column=column) if takes_column else function(own)


def _own(data: Any) -> Any:
    """A frame that the function may change: it shares its values until something is written."""
    match kind_of(data):
        case "polars":
            return data.clone()
        case "pandas":
            return data.copy(deep=_writes_through())
        case _:
            return data


def _writes_through() -> bool:
    """Whether pandas lets a shallow copy change the frame that it was made of."""
    import pandas as pd  # late: the data is a pandas frame, so that it is loaded already

    return int(pd.__version__.partition(".")[0]) < 3 and not pd.options.mode.copy_on_write


def _finding(returned: Any, rows: int, source: SampleSource, samples: int) -> Finding:
    if isinstance(returned, Mapping):
        failed: Any = returned.get("failed_rows")
        tested: Any = returned.get("rows_tested", rows)
        if not _is_count(failed) or not _is_count(tested):
            raise UnusableRuleError("the function's mapping has no whole number failed_rows")
        _require_so_many(failed, tested)
        reason = returned.get("reason")
        shown = [dict(row) for row in list(returned.get("samples") or ())[:samples]]
        return Finding(
            tested=int(tested),
            failed=int(failed),
            quoted=str(reason) if reason is not None else None,
            samples=source.clean(shown, made=True),
        )
    if type(returned).__name__ in ("bool", "bool_"):
        return Finding(broken=None if returned else "the function returned False")
    if _is_count(returned):
        _require_so_many(returned, rows)
        return Finding(tested=rows, failed=int(returned))
    raise UnusableRuleError(
        f"the function returned {type(returned).__name__}, "
        "not a bool, a number of rows or a mapping"
    )


def _require_so_many(failed: Any, tested: Any) -> None:
    if failed > tested:
        raise UnusableRuleError(f"the function says that {failed} of {tested} rows break the rule")


def _is_count(value: Any) -> bool:
    whole = type(value).__name__.rstrip("0123456789") in ("int", "uint") and value >= 0
    return bool(whole)
