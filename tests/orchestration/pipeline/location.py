"""The pipeline as a code location, for processes that Dagster starts itself."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from tests.orchestration.pipeline.assets import build

defs = build(
    Path(os.environ["PIPELINE_ROOT"]),
    os.environ["PIPELINE_STORE"],
    os.environ["PIPELINE_SEEDS"],
    executor=dg.multiprocess_executor.configured(
        {"start_method": {"forkserver": {"preload_modules": ["pandas", "polars"]}}}
    ),
)
