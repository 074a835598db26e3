"""``python -m benchmarks``: measure the engine, the loading of contracts, and circuits."""

import sys

from benchmarks import contracts, engine, resilience

failed = engine.main()
print()
failed = contracts.main(["--check"] if "--check" in sys.argv else []) or failed
print()
raise SystemExit(resilience.main() or failed)
