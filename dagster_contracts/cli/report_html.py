"""A validation report as one HTML page: no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape

from dagster_contracts.core.contract import Json
from dagster_contracts.core.outcome import CheckOutcome, ContractReport, OutcomeStatus
from dagster_contracts.engine.report_text import headline

_ORDER = (
    OutcomeStatus.FAILED,
    OutcomeStatus.WARNED,
    OutcomeStatus.NOT_EVALUATED,
    OutcomeStatus.PASSED,
)

_STYLE = """\
:root { color-scheme: light dark; --line: #8884; --failed: #c5303a; --warned: #b07400;
  --not_evaluated: #777; --passed: #2a8a4a; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem;
  border-bottom: 1px solid var(--line); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.status { font-weight: 600; white-space: nowrap; }
.failed { color: var(--failed); } .warned { color: var(--warned); }
.not_evaluated { color: var(--not_evaluated); } .passed { color: var(--passed); }
details { margin: .3rem 0; } summary { cursor: pointer; }
.wide { overflow-x: auto; } code { font-size: 13px; }
"""


def report_html(report: ContractReport) -> str:
    """The whole page."""
    status = report.status.value
    title = f"{report.ref}: {status.replace('_', ' ')}"
    ranked = sorted(report.outcomes, key=lambda outcome: _ORDER.index(outcome.status))
    body = [
        f"<h1>{escape(report.ref)} <span class='{status}'>{_words(report.status)}</span></h1>",
        f"<p>{escape(headline(report))}</p>",
        _facts(report),
        "<h2>Rules</h2>",
        "<div class='wide'><table>",
        _head("status", "rule", "tested", "failed", "what"),
        "<tbody>",
        *(_row(outcome) for outcome in ranked),
        "</tbody></table></div>",
        "<h2>Metrics</h2>",
        *_metrics(report),
    ]
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(title)}</title><style>\n{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>"
    )


def _words(status: OutcomeStatus) -> str:
    return status.value.replace("_", " ")


def _facts(report: ContractReport) -> str:
    facts = {
        "object": report.schema_object,
        "rows": "unknown" if report.rows is None else f"{report.rows:,}",
        "newest event": report.event_time.isoformat() if report.event_time else None,
        "evaluated": f"{report.evaluated_at:%Y-%m-%d %H:%M:%S %Z}",
        "evaluation": report.evaluation_id,
    }
    shown = (f"{name} <b>{escape(value)}</b>" for name, value in facts.items() if value)
    return f"<p>{' · '.join(shown)}</p>"


def _row(outcome: CheckOutcome) -> str:
    what = [escape(outcome.description or outcome.rule)]
    if outcome.threshold:
        what.append(f"<br>allowed: {escape(outcome.threshold)}")
    if outcome.reason:
        what.append(f"<br>{escape(outcome.reason)}")
    if outcome.samples:
        what.append(_samples(outcome.samples))
    tested = "" if outcome.rows_tested is None else f"{outcome.rows_tested:,}"
    failed = "" if outcome.failed_rows is None else f"{outcome.failed_rows:,}"
    return (
        f"<tr><td class='status {outcome.status.value}'>{_words(outcome.status)}</td>"
        f"<td><code>{escape(outcome.rule)}</code></td><td class='number'>{tested}</td>"
        f"<td class='number'>{failed}</td><td>{''.join(what)}</td></tr>"
    )


def _samples(samples: tuple[Mapping[str, Json], ...]) -> str:
    columns = list(dict.fromkeys(name for sample in samples for name in sample))
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(row.get(name)))}</td>" for name in columns) + "</tr>"
        for row in samples
    )
    return (
        f"<details><summary>{len(samples)} of the rows</summary><div class='wide'>"
        f"<table>{_head(*columns)}<tbody>{rows}</tbody></table></div></details>"
    )


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
