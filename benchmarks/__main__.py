"""``python -m benchmarks``: measure the engine, and how fast contracts load and compare."""

import sys

from benchmarks import contracts, engine

failed = engine.main()
print()
raise SystemExit(contracts.main(["--check"] if "--check" in sys.argv else []) or failed)
