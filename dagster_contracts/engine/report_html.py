"""A report as HTML: a page of its own, or a part of a notebook. No scripts, nothing from elsewhere.

Colours are carried by labels whose own background is dark enough for white letters, and all else
takes the colours of what is around it, so that light and dark themes show both well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from dagster_contracts.core.contract import Json
from dagster_contracts.core.outcome import CheckOutcome, ContractReport, OutcomeStatus
from dagster_contracts.engine.headline import headline
from dagster_contracts.engine.verdict import number_text

_ORDER = (
    OutcomeStatus.FAILED,
    OutcomeStatus.WARNED,
    OutcomeStatus.NOT_EVALUATED,
    OutcomeStatus.PASSED,
)

_STYLE = """\
.contract-report { font: 14px/1.5 system-ui, sans-serif; color: inherit; }
.contract-report h1 { font-size: 1.4em; margin: .2em 0; }
.contract-report p { margin: .4em 0; }
.contract-report table { border-collapse: collapse; margin: .5em 0; font-size: 13px; }
.contract-report th, .contract-report td { text-align: left; vertical-align: top;
  padding: .3em .7em; border: 0; border-bottom: 1px solid #8885; background: none; }
.contract-report td.number { text-align: right; font-variant-numeric: tabular-nums; }
.contract-report .faint { opacity: .75; }
.contract-report .wide { overflow-x: auto; max-width: 100%; }
.contract-report details { margin: .3em 0; }
.contract-report summary { cursor: pointer; }
.contract-report code { font-size: 12.5px; background: none; color: inherit; }
.contract-report .status { display: inline-block; padding: 0 .6em; border-radius: .8em;
  color: #fff; font-size: 12px; font-weight: 600; white-space: nowrap; }
.contract-report .failed { background: #b3261e; }
.contract-report .warned { background: #8a5a00; }
.contract-report .not_evaluated { background: #5f6368; }
.contract-report .passed { background: #1e7a3c; }
"""
_PAGE_STYLE = """\
:root { color-scheme: light dark; }
body { max-width: 76rem; margin: 2rem auto; padding: 0 1rem; background: Canvas;
  color: CanvasText; }
"""


def report_page(report: ContractReport) -> str:
    """The whole page: every rule, its samples, and every metric."""
    unknown = sum(o.status is OutcomeStatus.NOT_EVALUATED for o in report.outcomes)
    beside = f", {unknown:,} not evaluated" if 0 < unknown < len(report.outcomes) else ""
    title = f"{report.ref}: {_words(report.status)}{beside}"
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(title)}</title><style>\n{_PAGE_STYLE}</style></head>\n<body>\n"
        f"{report_fragment(report)}\n</body></html>"
    )


def report_fragment(report: ContractReport) -> str:
    """The report as a part of another page: what did not pass is open, the rest folded."""
    ranked = sorted(report.outcomes, key=lambda outcome: _ORDER.index(outcome.status))
    told = [outcome for outcome in ranked if outcome.status is not OutcomeStatus.PASSED]
    passed = ranked[len(told) :]
    body = [
        f"<style>\n{_STYLE}</style>",
        f"<h1>{escape(report.ref)} {_label(report.status)}</h1>",
        f"<p>{escape(headline(report))}</p>",
        _facts(report),
    ]
    if told:
        body.append(_rules(told))
    if passed:
        count = "1 rule" if len(passed) == 1 else f"{len(passed)} rules"
        body.append(_folded(f"{count} passed", _rules(passed)))
    body.append(_folded("Metrics", "".join(_metrics(report))))
    return "<div class='contract-report'>\n" + "\n".join(body) + "\n</div>"


def _words(status: OutcomeStatus) -> str:
    return status.value.replace("_", " ")


def _label(status: OutcomeStatus) -> str:
    return f"<span class='status {status.value}'>{_words(status)}</span>"


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def _facts(report: ContractReport) -> str:
    facts = {
        "object": report.schema_object,
        "rows": "unknown" if report.rows is None else f"{report.rows:,}",
        "asset": report.asset,
        "partition": report.partition,
        "newest event": report.event_time.isoformat() if report.event_time else None,
        "evaluated": f"{report.evaluated_at:%Y-%m-%d %H:%M:%S %Z}",
        "evaluation": report.evaluation_id,
    }
    shown = (f"{name} <b>{escape(value)}</b>" for name, value in facts.items() if value)
    return f"<p class='faint'>{' · '.join(shown)}</p>"


def _rules(outcomes: Sequence[CheckOutcome]) -> str:
    rows = "".join(_row(outcome) for outcome in outcomes)
    head = _head("status", "rule", "tested", "failed", "what")
    return f"<div class='wide'><table>{head}<tbody>{rows}</tbody></table></div>"


def _row(outcome: CheckOutcome) -> str:
    what = [escape(outcome.description or outcome.rule)]
    if outcome.threshold:
        what.append(f"<br><span class='faint'>allowed: {escape(outcome.threshold)}</span>")
    if outcome.value is not None and outcome.failed_rows is None:
        what.append(f"<br>measured: {escape(number_text(outcome.value))}")
    if outcome.reason:
        what.append(f"<br>{escape(outcome.reason)}")
    if outcome.samples:
        what.append(_samples(outcome.samples))
    shown = OutcomeStatus.WARNED if outcome.only_warns else outcome.status
    tested = "" if outcome.rows_tested is None else f"{outcome.rows_tested:,}"
    failed = "" if outcome.failed_rows is None else f"{outcome.failed_rows:,}"
    return (
        f"<tr><td>{_label(shown)}</td><td><code>{escape(outcome.rule)}</code></td>"
        f"<td class='number'>{tested}</td><td class='number'>{failed}</td>"
        f"<td>{''.join(what)}</td></tr>"
    )


def _samples(samples: tuple[Mapping[str, Json], ...]) -> str:
    columns = list(dict.fromkeys(name for sample in samples for name in sample))
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(row.get(name)))}</td>" for name in columns) + "</tr>"
        for row in samples
    )
    table = f"<div class='wide'><table>{_head(*columns)}<tbody>{rows}</tbody></table></div>"
    return _folded("1 of the rows" if len(samples) == 1 else f"{len(samples)} of the rows", table)


def _metrics(report: ContractReport) -> Iterator[str]:
    yield f"<table>{_head('metric', 'value')}<tbody>"
    for name, value in sorted(report.metrics.items()):
        shown = (
            f"{float(value):,.6g}"
            if value is not None
            else f"unknown: {report.unknown_because.get(name, 'not measured')}"
        )
        yield f"<tr><td><code>{escape(name)}</code></td><td>{escape(shown)}</td></tr>"
    yield "</tbody></table>"


def _head(*names: str) -> str:
    return f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in names)}</tr></thead>"


def _cell(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
