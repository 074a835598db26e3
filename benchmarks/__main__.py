"""``python -m benchmarks``: measure the engine, loading contracts, circuits and backtests."""

import sys

from benchmarks import backtest, contracts, engine, resilience

failed = engine.main()
print()
failed = contracts.main(["--check"] if "--check" in sys.argv else []) or failed
print()
failed = resilience.main() or failed
print()
raise SystemExit(backtest.main() or failed)
