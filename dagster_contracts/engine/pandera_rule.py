"""Custom rules that are pandera schemas or checks, run by pandera itself."""

from __future__ import annotations

from typing import Any

from dagster_contracts.engine.finding import Finding
from dagster_contracts.engine.frames import convert_table, frame_kind, to_arrow
from dagster_contracts.engine.samples import SampleSource, json_value


def run_pandera(
    target: Any,
    data: Any,
    column: str | None,
    rows: int,
    source: SampleSource,
    samples: int,
) -> Finding:
    """Validate lazily, so that every failure is counted.

    ``target`` is a ``DataFrameSchema``, a ``DataFrameModel`` or, with a column, a ``Check``. The
    failed rows are those that pandera names; failures of the whole frame break the rule.
    """
    import pandera.pandas  # late: only contracts that name pandera need it

    polars_native = "polars" in type(target).__module__ or _is_polars_model(target)
    if isinstance(target, pandera.pandas.Check):
        if column is None:
            return Finding(unmeasured="a pandera check needs the rule to stand at a column")
        target = pandera.pandas.DataFrameSchema(
            {column: pandera.pandas.Column(checks=target, nullable=True)}
        )
    frame = _frame_for(data, "polars" if polars_native else "pandas", _has_index(target))
    try:
        target.validate(frame, lazy=True)
    except (pandera.errors.SchemaErrors, pandera.errors.SchemaError) as error:
        return _failures(error, rows, source, samples)
    return Finding(tested=rows, failed=0)


def failures_in_words(schema: Any, frame: Any) -> list[str]:
    """Each check that a frame breaks, with the number of its rows: ``amount.minimum 2 rows``."""
    import pandera.errors  # late: only for those who ask

    try:
        schema.validate(frame, lazy=True)
    except (pandera.errors.SchemaErrors, pandera.errors.SchemaError) as error:
        cases = getattr(error, "failure_cases", None)
        if cases is None or "index" not in getattr(cases, "columns", ()):
            return [f"pandera: {type(error).__name__}"]
        found = cases.to_dicts() if hasattr(cases, "to_dicts") else cases.to_dict("records")
        rows: dict[str, set[int]] = {}
        for case in found:
            check, column = str(case["check"]), case.get("column")
            if check == "not_nullable":
                check = f"{column}.required"
            elif check == "column_in_dataframe":
                check = f"the column {case['failure_case']} is missing"
            elif check == "column_in_schema":
                check = f"the column {case['failure_case']} is not declared"
            numbers = rows.setdefault(check, set())
            if _is_number(case["index"]):
                numbers.add(int(case["index"]))
        ranked = sorted(rows.items(), key=lambda item: (-len(item[1]), item[0]))
        return [f"{check} {_rows(len(numbers))}" if numbers else check for check, numbers in ranked]
    return []


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _is_polars_model(target: Any) -> bool:
    return isinstance(target, type) and any("polars" in base.__module__ for base in target.__mro__)


def _has_index(target: Any) -> bool:
    """Whether the schema speaks of the index of its frames."""
    schema = target.to_schema() if hasattr(target, "to_schema") else target
    return getattr(schema, "index", None) is not None


def _frame_for(data: Any, kind: str, with_index: bool) -> Any:
    if frame_kind(data) == kind:
        # Where nothing is said of the index, rows are told apart by their number.
        return data.reset_index(drop=True) if kind == "pandas" and not with_index else data
    return convert_table(to_arrow(data), kind)


def _failures(error: Any, rows: int, source: SampleSource, samples: int) -> Finding:
    cases = getattr(error, "failure_cases", None)
    columns = list(getattr(cases, "columns", ()))
    if cases is None or "index" not in columns:
        return Finding(broken=f"pandera: {type(error).__name__}")
    found = cases.to_dicts() if hasattr(cases, "to_dicts") else cases.to_dict("records")
    rowwise = [case for case in found if _is_number(case["index"])]
    if len(rowwise) < len(found):
        whole = next(case for case in found if not _is_number(case["index"]))
        where = f"{whole['column']}: " if isinstance(whole.get("column"), str) else ""
        return Finding(broken=f"pandera: {where}{whole['check']}")
    numbers = {int(case["index"]) for case in rowwise}
    shown = []
    for case in rowwise[:samples]:
        name = str(case.get("column"))
        cleaned = source.clean([{name: case["failure_case"]}], made=True)[0]
        shown.append(
            {"row": int(case["index"]), **cleaned, "check": json_value(str(case["check"]))}
        )
    return Finding(tested=rows, failed=len(numbers), samples=tuple(shown))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and value == value
