"""Dagster keeps data contracts."""
