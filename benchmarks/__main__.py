"""``python -m benchmarks``: measure the engine, and how fast contracts load and compare."""

from benchmarks import contracts, engine

failed = engine.main()
print()
raise SystemExit(contracts.main([]) or failed)
