"""A backtest as an SVG picture: metrics and thresholds, the circuit, what was served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from html import escape

from dagster_contracts.core.circuit import CircuitState
from dagster_contracts.core.condition import Comparison, comparisons_of, format_quantity, render
from dagster_contracts.resilience.backtest import (
    COLUMNS,
    Backtest,
    CircuitBacktest,
    Point,
    Stretch,
)

MOST_DRAWN = 12
"""How many circuits there is room for."""

_LEFT, _WIDTH, _RIGHT = 200, COLUMNS, 90
_LANE, _BAND, _THIN, _GAP = 86, 22, 10, 16

_STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #333; }
.title { font-size: 15px; font-weight: 600; } .dim { fill: #777; font-size: 11px; }
.right { text-anchor: end; } .frame { fill: none; stroke: #ccc; }
.line { fill: none; stroke: #3465a4; stroke-width: 1.5; } .dot { fill: #3465a4; }
.limit { stroke: #c5303a; stroke-dasharray: 5 3; } .broken { fill: #c5303a; }
.open { fill: #c5303a; } .half { fill: #e0a030; } .closed { fill: #cfe5d4; }
.shade { fill: #c5303a; opacity: .09; }
.gap { fill: none; stroke: #999; stroke-dasharray: 2 4; }
.nothing { fill: #222; } .primary { fill: #cfe5d4; }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd; } .ground { fill: #1c1c20; } .frame { stroke: #555; }
  .line { stroke: #8ab4f8; } .dot { fill: #8ab4f8; } .closed, .primary { fill: #2f5c3c; }
}
.ground { fill: #fff; }
"""
_FALLBACKS = ("#7a5fb5", "#2b8aa0", "#b06a2c", "#8a8a2e", "#a04a7a")


def draw(result: Backtest) -> str:
    """The whole picture as text; it loads nothing from elsewhere."""
    ranked = result.by_trouble
    lines: list[str] = []
    top = 44
    for circuit in ranked[:MOST_DRAWN]:
        drawn, top = _circuit(result, circuit, top)
        lines.extend(drawn)
    if len(ranked) > MOST_DRAWN:
        lines.append(_text(20, top, f"and {len(ranked) - MOST_DRAWN} more circuits", "dim"))
        top += 20
    total = _LEFT + _WIDTH + _RIGHT
    title = f"{result.contract.ref}: when its circuit would have opened"
    size = f'viewBox="0 0 {total} {top + 10}" width="{total}" style="max-width: 100%; height: auto"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style>",
            f'<rect class="ground" width="{total}" height="{top + 10}"/>',
            _text(20, 26, title, "title"),
            *lines,
            "</svg>\n",
        ]
    )


def _circuit(result: Backtest, circuit: CircuitBacktest, top: int) -> tuple[list[str], int]:
    lines = [_text(20, top + 12, str(circuit.key), "title")]
    top += 24
    for metric, comparisons in _watched(result).items():
        points = circuit.curves.get(metric)
        if not points:
            continue
        lines.extend(_lane(result, circuit, metric, comparisons, points, top))
        top += _LANE + _GAP
    for name, stretches in (
        ("circuit", [(s, _state_class(s), s.state.value) for s in circuit.stretches]),
        ("served", [(s, *_level_class(result, s)) for s in circuit.stretches]),
    ):
        lines.append(_text(_LEFT - 10, top + 15, name, "right"))
        bands = ((s.since, s.until, look, label) for s, look, label in stretches)
        lines.extend(_gap(result, circuit.since, top, _BAND))
        lines.extend(_bands(result, bands, top, _BAND))
        top += _BAND + 6
    lines.append(_text(_LEFT - 10, top + 9, "as it really was", "dim right"))
    told = circuit.told_since or circuit.since
    lines.extend(_gap(result, told, top, _THIN))
    lines.append(_band(result, told, result.until, top, _THIN, 'class="closed"', "closed"))
    really = (
        (r.since, r.until or result.until, 'class="open"', r.reason) for r in circuit.recorded
    )
    lines.extend(_bands(result, really, top, _THIN))
    top += _THIN + 6
    lines.append(_text(_LEFT, top + 12, f"{result.since:%Y-%m-%d %H:%M}", "dim"))
    lines.append(_text(_LEFT + _WIDTH, top + 12, f"{result.until:%Y-%m-%d %H:%M} UTC", "dim right"))
    top += 22
    states = [("circuit open", 'class="open"'), ("half-open", 'class="half"')]
    if told > result.since:
        states.append(("not recorded", 'class="gap"'))
    for position, (name, colour) in enumerate([*states, *_legend(result)]):
        x = _LEFT + 150 * position
        lines.append(f'<rect x="{x}" y="{top}" width="10" height="10" {colour}/>')
        lines.append(_text(x + 15, top + 9, name, "dim"))
    return lines, top + 34


def _lane(
    result: Backtest,
    circuit: CircuitBacktest,
    metric: str,
    comparisons: Sequence[Comparison],
    points: Sequence[Point],
    top: int,
) -> Iterator[str]:
    limits = [comparison.quantity.value for comparison in comparisons]
    values = [value for _, value in points]
    low = min(*values, *limits, Fraction(0))
    high = max(*values, *limits)
    span = (high - low) or Fraction(1)

    def y(value: Fraction) -> float:
        return top + _LANE - 4 - float((value - low) / span) * (_LANE - 8)

    dimension = comparisons[0].quantity.dimension
    shades = (
        (o.since, o.until or result.until, 'class="shade"', o.reason) for o in circuit.openings
    )
    yield from _bands(result, shades, top, _LANE)
    yield f'<rect class="frame" x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_LANE}"/>'
    yield _text(_LEFT - 10, top + 16, metric, "right")
    for comparison in comparisons:
        height = y(comparison.quantity.value)
        ends = f'x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{height:.1f}" y2="{height:.1f}"'
        yield f'<line class="limit" {ends}/>'
    for position, text in enumerate(dict.fromkeys(render(c) for c in comparisons)):
        yield _text(_LEFT - 10, top + 32 + 14 * position, _tail(text, metric), "dim right")
    yield _text(_LEFT + _WIDTH + 4, top + 10, format_quantity(high, dimension), "dim")
    path = " ".join(f"{_x(result, at):.1f},{y(value):.1f}" for at, value in points)
    yield f'<polyline class="line" points="{path}"/>'
    for at, value in points:
        said = f"{at:%Y-%m-%d %H:%M}: {format_quantity(value, dimension)}"
        yield (
            f'<circle class="dot" cx="{_x(result, at):.1f}" cy="{y(value):.1f}" r="2">'
            f"<title>{escape(said)}</title></circle>"
        )


def _bands(
    result: Backtest, bands: Iterable[tuple[datetime, datetime, str, str]], top: int, height: int
) -> Iterator[str]:
    """Bands of a lane; of those that fall into one column and look alike, the first."""
    drawn: set[tuple[int, int, str]] = set()
    for since, until, look, label in bands:
        place = (int(_x(result, since)), int(_x(result, until)), look)
        if place not in drawn:
            drawn.add(place)
            yield _band(result, since, until, top, height, look, label)


def _gap(result: Backtest, until: datetime, top: int, height: int) -> Iterator[str]:
    """The time before the records begin, where there is any."""
    if until > result.since:
        yield _band(result, result.since, until, top, height, 'class="gap"', "not recorded")


def _tail(condition: str, metric: str) -> str:
    """``> 5% for 3 checks`` of the whole comparison: the metric stands above it."""
    return condition.removeprefix(metric).strip()


def _watched(result: Backtest) -> dict[str, list[Comparison]]:
    assert result.contract.resilience is not None
    found: dict[str, list[Comparison]] = {}
    for condition in result.contract.resilience.circuit.open_when:
        for comparison in comparisons_of(condition):
            found.setdefault(comparison.metric, []).append(comparison)
    return found


def _state_class(stretch: Stretch) -> str:
    match stretch.state:
        case CircuitState.CLOSED:
            return 'class="closed"'
        case CircuitState.HALF_OPEN:
            return 'class="half"'
        case _:
            return 'class="open"'


def served_words(stretch: Stretch) -> str:
    """``last_valid``, ``nothing``, or ``last_valid or nothing, by partition``."""
    if not stretch.levels:
        return stretch.level or "nothing"
    return f"{' or '.join(name or 'nothing' for name in stretch.levels)}, by partition"


def _level_class(result: Backtest, stretch: Stretch) -> tuple[str, str]:
    label = f"{served_words(stretch)}: {stretch.reason}" if stretch.levels else stretch.reason
    if stretch.level is None:
        return 'class="nothing"', label if stretch.levels else "nothing was usable"
    return dict(_legend(result)).get(stretch.level, 'class="primary"'), label


def _legend(result: Backtest) -> list[tuple[str, str]]:
    """What each level looks like, in the order of the contract."""
    resilience = result.contract.resilience
    assert resilience is not None
    looks = [(resilience.primary.name if resilience.primary else "primary", 'class="primary"')]
    for position, level in enumerate(resilience.fallbacks):
        looks.append((level.name, f'fill="{_FALLBACKS[position % len(_FALLBACKS)]}"'))
    return looks


def _band(
    result: Backtest,
    since: datetime,
    until: datetime,
    top: int,
    height: int,
    look: str,
    label: str,
) -> str:
    left = _x(result, since)
    width = max(_x(result, until) - left, 1.0)
    return (
        f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{height}" {look}>'
        f"<title>{escape(f'{since:%Y-%m-%d %H:%M}: {label}')}</title></rect>"
    )


def _x(result: Backtest, at: datetime) -> float:
    span = max(result.until - result.since, timedelta(seconds=1))
    return _LEFT + min(max((at - result.since) / span, 0.0), 1.0) * _WIDTH


def _text(x: float, y: float, text: str, look: str) -> str:
    return f'<text class="{look}" x="{x}" y="{y}">{escape(text)}</text>'
