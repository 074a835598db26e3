"""A first contract from the data that is there: profiled, guessed, written, and read again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagster_contracts.core.contract import Contract
from dagster_contracts.core.inference import Guess, infer
from dagster_contracts.core.profile import TableProfile
from dagster_contracts.core.reference import is_name
from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.inferred_text import Form, inferred_text
from dagster_contracts.documents.problem import as_error
from dagster_contracts.engine.profiling import profile
from dagster_contracts.errors import DocumentError


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredContract:
    """A contract that nobody wrote yet.

    ``text`` is the document with a comment beside each of the ``guesses``; ``contract`` is what it
    reads as; ``profile`` is what was seen of the data.
    """

    contract: Contract
    guesses: tuple[Guess, ...]
    text: str
    profile: TableProfile


def infer_contract(
    data: Any,
    *,
    name: str,
    version: str = "1.0.0",
    asset: str | None = None,
    form: str = "compact",
    sample: int | None = None,
    source: str | None = None,
    now: datetime | None = None,
    progress: Callable[[str], object] | None = None,
) -> InferredContract:
    """Infer a first contract from data of any kind that :func:`validate` reads.

    The contract loads and lints without problems, and the data keeps it. Each rule has a margin,
    and what rests on too few rows is left out; ``guesses`` say what each rests on.

    Parameters
    ----------
    data:
        A polars, pandas, Arrow, DuckDB or Spark table, or a Parquet, CSV or JSON lines path.
    name, version, asset:
        Of the contract; ``asset`` where the asset that it governs has another name.
    form:
        ``compact`` or ``odcs``.
    sample:
        Look at so many rows only; what is guessed then holds for these.
    source:
        Where the data came from, in words for the head of the document.
    now:
        The moment at which the newest event's age is taken; the clock's by default.
    progress:
        Told each step of long work.

    Raises
    ------
    UnreadableDataError
        ``data`` is no table, or cannot be read.
    DocumentError
        ``name`` cannot name a contract, or the table has more columns than a document can hold.
    """
    if not is_name(name):
        raise DocumentError(
            f"{name!r} cannot name a contract",
            hint="use letters, digits, '_', '-' and '.'",
        )
    wanted = Form(form)
    found = profile(data, sample=sample, progress=progress)
    contract, guesses = infer(
        found, name=name, version=version, asset=asset, now=now or datetime.now(UTC)
    )
    text = inferred_text(contract, guesses, wanted, head=_head(found, source))
    document = read_document(Path(f"{name}.yaml"), text=text)
    if document.contract is None:
        raise as_error(document.errors)
    return InferredContract(contract=document.contract, guesses=guesses, text=text, profile=found)


def name_from(text: str) -> str:
    """The nearest name that a contract may have: ``Orders 2024.csv`` is ``Orders_2024``."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", text.partition(".")[0]).strip("_-")[:100]
    return stem if is_name(stem) else "data"


def _head(found: TableProfile, source: str | None) -> str:
    rows = "1 row" if found.rows == 1 else f"{found.rows:,} rows"
    if found.is_sample:
        rows = f"the first {rows} of {found.all_rows:,}" if found.all_rows else f"the first {rows}"
    columns = len(found.columns)
    width = "1 column" if columns == 1 else f"{columns:,} columns"
    plain = " ".join("".join(c if c.isprintable() else " " for c in source or "data").split())
    return (
        f"A first contract, inferred from {plain} ({rows}, {width}).\n"
        "Behind each guess stands what it rests on: keep it, mend it or drop it."
    )
