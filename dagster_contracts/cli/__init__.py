"""The terminal: ``dagster-contracts``."""
