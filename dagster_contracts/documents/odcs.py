"""ODCS."""
from dagster_contracts.core.contract import Contract
def is_odcs(node): return False
def read_odcs(node, reading, files, expected) -> Contract: raise NotImplementedError
