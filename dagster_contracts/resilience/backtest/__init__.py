"""Backtests: what was recorded, replayed through the rules of a contract."""

from __future__ import annotations

from dagster_contracts.resilience.backtest.circuit_replay import Stretch
from dagster_contracts.resilience.backtest.curve import COLUMNS, Curve, Point
from dagster_contracts.resilience.backtest.decisions import LeftOut
from dagster_contracts.resilience.backtest.opening import Opening, time_open
from dagster_contracts.resilience.backtest.recorded import recorded_names
from dagster_contracts.resilience.backtest.replay import Backtest, CircuitBacktest, backtest

__all__ = [
    "COLUMNS",
    "Backtest",
    "CircuitBacktest",
    "Curve",
    "LeftOut",
    "Opening",
    "Point",
    "Stretch",
    "backtest",
    "recorded_names",
    "time_open",
]
