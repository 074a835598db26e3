"""``python -m benchmarks``: measure the engine."""

from benchmarks.engine import main

raise SystemExit(main())
