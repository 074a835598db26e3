"""What changed in the sections of ODCS that the model keeps as they are: servers, roles, prices."""

from __future__ import annotations

from collections.abc import Mapping

from dagster_contracts.core.changes import Motion
from dagster_contracts.core.compatibility.differences import (
    BREAKS,
    MAJOR,
    MINOR,
    ChangeList,
)
from dagster_contracts.core.contract import (
    Json,
)

# What a server's entry may change without moving the data.
_SERVER_NOTES = frozenset({"description", "environment", "roles", "customProperties", "id"})


def diff_sections(changes: ChangeList, old: Mapping[str, Json], new: Mapping[str, Json]) -> None:
    """Add the changes between the sections of two documents, by name."""
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        match name:
            case "servers":
                _servers(changes, _entries(before, "server"), _entries(after, "server"))
            case "roles":
                _roles(changes, _entries(before, "role"), _entries(after, "role"))
            case "price" | "contractCreatedTs" | "dataProduct" | "domain" | "tenant":
                what = f"the section {name}"
                if name == "contractCreatedTs":
                    changes.note(name, "section", before, after, what)
                else:
                    changes.ask(name, "section", before, after, what)
            case _:
                changes.note(name, "section", before, after, f"the section {name}")


def _entries(section: Json, key: str) -> dict[str, dict[str, Json]]:
    """A list of objects by the name that ``key`` (else ``name``, else the place) gives them."""
    entries: dict[str, dict[str, Json]] = {}
    for index, entry in enumerate(section if isinstance(section, list) else []):
        if isinstance(entry, dict):
            entries[str(entry.get(key) or entry.get("name") or index)] = entry
    return entries


def _servers(
    changes: ChangeList, old: dict[str, dict[str, Json]], new: dict[str, dict[str, Json]]
) -> None:
    for name in [*old, *(name for name in new if name not in old)]:
        path = f"servers.{name}"
        if name not in new:
            message = f"the server {name} was removed: whoever reads the data there will fail"
            changes.add(path, "server", Motion.REMOVED, message, consumer=BREAKS, bump=MAJOR)
        elif name not in old:
            changes.add(
                path, "server", Motion.ADDED, f"the data can also be read at {name}", bump=MINOR
            )
        else:
            left, right = old[name], new[name]
            moved = sorted(
                key for key in left.keys() | right.keys() if left.get(key) != right.get(key)
            )
            hard = [key for key in moved if key not in _SERVER_NOTES]
            if hard:
                message = (
                    f"the server {name} moved ({', '.join(hard)}): whoever reads or writes the "
                    "data there will fail"
                )
                changes.add(
                    path,
                    "server",
                    Motion.CHANGED,
                    message,
                    consumer=BREAKS,
                    producer=BREAKS,
                    bump=MAJOR,
                )
            elif moved:
                changes.add(
                    path, "server_note", Motion.CHANGED, f"{path}: {', '.join(moved)} changed"
                )


def _roles(
    changes: ChangeList, old: dict[str, dict[str, Json]], new: dict[str, dict[str, Json]]
) -> None:
    for name in [*old, *(name for name in new if name not in old)]:
        path = f"roles.{name}"
        if name not in new:
            message = f"the role {name} was removed: whoever reads the data with it loses access"
            changes.add(path, "role", Motion.REMOVED, message, consumer=BREAKS, bump=MAJOR)
        elif name not in old:
            changes.add(path, "role", Motion.ADDED, f"the role {name} was added", bump=MINOR)
        elif old[name] != new[name]:
            left, right = old[name].get("access"), new[name].get("access")
            if left != right:
                changes.ask(path, "role", left, right, f"what the role {name} may do")
            else:
                changes.add(path, "role_note", Motion.CHANGED, f"{path}: its description changed")
