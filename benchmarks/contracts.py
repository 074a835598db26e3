"""How fast contracts load and compare: against YAML parsing alone, and from the cache.

Run ``python -m benchmarks.contracts --contracts 1000``. Every contract has 40 columns, rules,
service levels and a circuit. Sizes and repetitions are interleaved; what is shown is the fastest of
each, since whatever else the machine does only adds. Parsing alone is PyYAML's C parser over the
same texts: to events, to nodes (``compose``), and to Python values (``load``, what
``yaml.load(text, CSafeLoader)`` takes).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from benchmarks.contender import Target, print_targets
from dagster_contracts.core.compatibility import diff
from dagster_contracts.documents.document import clear_cache
from dagster_contracts.documents.folder import load_contract, read_folder

_KINDS = (
    "{{type: integer, required: true, minimum: {n}}}",
    "{{type: string, max_length: {n}, enum: [new, paid, sent, code_{n}]}}",
    "{{type: number, minimum: 0, maximum: {n}000}}",
    "{{type: timestamp, required: true}}",
    "{{type: string, pattern: '^[A-Z]{{{n}}}$', description: The code number {n}}}",
)


def contract_text(number: int, columns: int, *, step: int = 0) -> str:
    """One contract of the compact form; no two numbers and no two steps give the same text."""
    fields = "\n".join(
        f"      column_{n}: {_KINDS[n % len(_KINDS)].format(n=n + 1 + (step if n % 7 == 0 else 0))}"
        for n in range(columns)
    )
    return f"""\
data_contract:
  name: contract_{number}
  version: 1.{step}.0
  owner: team:shop
  description: What was ordered in shop {number}
  schema:
    fields:
{fields}
  quality:
    - {{name: enough_rows, metric: rowCount, mustBeGreaterThan: {number}}}
  sla:
    freshness: "< {number % 50 + 5}min"
    completeness: "> {number % 9 + 90}.{number % 100:02}%"
  event_time: column_3
  resilience:
    circuit_breaker:
      open_when: [schema_validation_errors > {number % 40 + 1}%, data_freshness > {number}h]
      recovery: {{retry_after: 15min, max_retries: 3}}
    fallback_modes:
      - {{level: primary, source: contract_{number}}}
      - {{level: last_valid, source: last_valid, max_age: {number % 70 + 1}d}}
"""


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; with ``--check``, 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contracts", type=int, default=1000)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    chosen = parser.parse_args(arguments)
    sizes = [chosen.contracts // 4, chosen.contracts // 2, chosen.contracts]
    with tempfile.TemporaryDirectory() as folder:
        texts = [contract_text(number, chosen.columns) for number in range(chosen.contracts)]
        roots = [_written(Path(folder) / str(size), texts[:size]) for size in sizes]
        work: dict[str, Callable[[], object]] = {
            "parse to events": lambda: _each(texts, _events),
            "parse to nodes (compose)": lambda: _each(texts, _compose),
            "parse to values (load)": lambda: _each(texts, _load),
            "load the folder, cold": lambda: read_folder(roots[-1]),
            "load one by one, cold": lambda: _one_by_one(roots[-1]),
        }
        work |= {f"load {size:,}, cold": _reader(roots[i]) for i, size in enumerate(sizes[:-1])}
        cold = _fastest(work, chosen.runs, before=clear_cache)
        read_folder(roots[-1])
        warm = _fastest({"load the folder, cached": lambda: read_folder(roots[-1])}, chosen.runs)
        compared = _diff_seconds(Path(folder), chosen.runs)
    met = _print(cold | warm, compared, sizes, chosen.columns)
    return 1 if chosen.check and not met else 0


def _written(root: Path, texts: list[str]) -> Path:
    for number, text in enumerate(texts):
        folder = root / f"contract_{number}"
        folder.mkdir(parents=True)
        (folder / "1.0.0.yaml").write_text(text, encoding="utf-8")
    return root


def _reader(root: Path) -> Callable[[], object]:
    return lambda: read_folder(root)


def _one_by_one(root: Path) -> None:
    for path in root.glob("*/*.yaml"):
        load_contract(path)


def _each(texts: list[str], parse: Callable[[str], None]) -> None:
    for text in texts:
        parse(text)


def _events(text: str) -> None:
    for _ in yaml.parse(text, Loader=yaml.CSafeLoader):
        pass


def _compose(text: str) -> None:
    yaml.compose(text, Loader=yaml.CSafeLoader)


def _load(text: str) -> None:
    yaml.load(text, Loader=yaml.CSafeLoader)


def _diff_seconds(folder: Path, runs: int) -> dict[str, float]:
    """Two versions of 1,000 columns: every seventh differs, and a second pair where all do."""
    paths = [folder / f"wide_{step}.yaml" for step in (0, 1)]
    for step, path in enumerate(paths):
        path.write_text(contract_text(1, 1000, step=step), encoding="utf-8")
    renamed = folder / "wide_2.yaml"
    text = contract_text(1, 1000, step=2).replace("      column_", "      other_name_")
    renamed.write_text(text.replace("event_time: column_3", "event_time: other_name_3"))
    old, new = map(load_contract, paths)
    other = load_contract(renamed)
    changed = len(diff(old, new))
    return _fastest(
        {
            f"diff of 1,000 columns, {changed} changes": lambda: diff(old, new),
            f"diff of 1,000 columns, {len(diff(old, other)):,} changes": lambda: diff(old, other),
        },
        runs * 3,
    )


def _fastest(
    work: dict[str, Callable[[], object]], runs: int, *, before: Callable[[], None] | None = None
) -> dict[str, float]:
    best = dict.fromkeys(work, float("inf"))
    for _ in range(runs):
        for name, run in work.items():
            if before is not None:
                before()
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return best


def _print(
    seconds: dict[str, float], compared: dict[str, float], sizes: list[int], columns: int
) -> bool:
    base, cold = seconds["parse to values (load)"], seconds["load the folder, cold"]
    print(f"{sizes[-1]:,} contracts of {columns} columns; the fastest of each")
    print()
    print("| what | ms | against parsing (load) | against parsing (compose) |")
    print("|---|---:|---:|---:|")
    for name, took in seconds.items():
        if name.startswith((f"load {sizes[0]:,}", f"load {sizes[1]:,}")):
            continue
        nodes = seconds["parse to nodes (compose)"]
        print(f"| {name} | {took * 1000:,.0f} | {took / base:.2f}x | {took / nodes:.2f}x |")
    for name, took in compared.items():
        print(f"| {name} | {took * 1000:,.1f} | | |")
    print()
    growth = [*(seconds[f"load {size:,}, cold"] for size in sizes[:-1]), cold]
    each = ", ".join(
        f"{size:,}: {took / size * 1000:.2f} ms" for size, took in zip(sizes, growth, strict=True)
    )
    print(f"cold, for each contract: {each}")
    targets = [
        Target("parsing (load), cold", cold / base, 3),
        Target("loading cold, from the cache", seconds["load the folder, cached"] / cold, 0.1),
        Target("0.1 s for a diff of 1,000 columns", max(compared.values()) / 0.1, 1),
    ]
    print()
    return print_targets(targets)


if __name__ == "__main__":
    raise SystemExit(main())
