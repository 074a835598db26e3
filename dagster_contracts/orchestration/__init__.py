"""The only shelf that imports Dagster."""
