"""What a new version of a contract changes, whom it breaks, and the version bump it needs.

``contracts`` walks a whole contract and calls the modules named after its parts.
"""

from __future__ import annotations

from dagster_contracts.core.changes import Change, Changes, Ignore, Motion, Verdict, VersionBump
from dagster_contracts.core.compatibility.contracts import diff
from dagster_contracts.core.compatibility.objects import diff_objects

__all__ = [
    "Change",
    "Changes",
    "Ignore",
    "Motion",
    "Verdict",
    "VersionBump",
    "diff",
    "diff_objects",
]
