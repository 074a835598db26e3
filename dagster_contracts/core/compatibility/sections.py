"""What changed in the sections of ODCS that the model keeps as they are: servers, roles, prices.

The model has no place for them, so they are compared entry by entry, each by its own name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from dagster_contracts.core.changes import Motion
from dagster_contracts.core.compatibility.differences import (
    BREAKS,
    MAJOR,
    MINOR,
    WARNS,
    ChangeList,
)
from dagster_contracts.core.contract import Json

_Entry = dict[str, Json]

# What a server's entry may change without moving the data.
_SERVER_NOTES = frozenset({"description", "environment", "roles", "customProperties", "id"})
# Sections whose change is one of meaning: a person decides.
_MEANT = frozenset({"price", "dataProduct", "domain", "tenant", "slaDefaultElement"})
# The key that names an entry of a list, where it is not ``name``.
_KEYS = {
    "servers": "server",
    "roles": "role",
    "support": "channel",
    "customProperties": "property",
    "authoritativeDefinitions": "url",
    "team": "username",
}


def diff_sections(changes: ChangeList, old: Mapping[str, Json], new: Mapping[str, Json]) -> None:
    """Add the changes between the sections of two documents, by name."""
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after and (name in old) == (name in new):
            continue
        seen = len(changes.items)
        if name in _KEYS:
            left, right = _entries(before, _KEYS[name]), _entries(after, _KEYS[name])
            _by_entry(changes, name, left, right)
        if len(changes.items) > seen:
            continue
        if name in _MEANT:
            what, check = f"the section {name}", "what it means for you"
            changes.ask(name, "section", before, after, what, check)
        else:
            message = f"the section {name} changed"
            changes.add(name, "section", Motion.CHANGED, message)


def _entries(section: Json, key: str) -> dict[str, _Entry]:
    """A list of objects by the name that ``key`` (else ``name``, else the place) gives them."""
    if isinstance(section, dict):  # a team, from version 3.1 on, with its members inside
        section = section.get("members")
    entries: dict[str, _Entry] = {}
    for index, entry in enumerate(section if isinstance(section, list) else []):
        if isinstance(entry, dict):
            name = str(entry.get(key) or entry.get("name") or index)
            entries[name if name not in entries else f"{name}[{index + 1}]"] = entry
    return entries


def _by_entry(
    changes: ChangeList, section: str, old: dict[str, _Entry], new: dict[str, _Entry]
) -> None:
    removed, added, changed = _SECTIONS.get(section, (_note_removed, _note_added, _note_changed))
    for name in [*old, *(name for name in new if name not in old)]:
        path = f"{section}.{name}"
        if name not in new:
            removed(changes, path)
        elif name not in old:
            added(changes, path)
        elif old[name] != new[name]:
            changed(changes, path, old[name], new[name])
    changes.reordered(section, list(old), list(new), f"the entries of {section}")


def _name(path: str) -> str:
    return path.partition(".")[2]


def _differing(old: _Entry, new: _Entry) -> Iterator[str]:
    return (key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key))


def _server_removed(changes: ChangeList, path: str) -> None:
    message = f"the server {_name(path)} was removed: whoever reads the data there will fail"
    changes.add(path, "server", Motion.REMOVED, message, consumer=BREAKS, bump=MAJOR)


def _server_added(changes: ChangeList, path: str) -> None:
    changes.add(
        path, "server", Motion.ADDED, f"the data can also be read at {_name(path)}", bump=MINOR
    )


def _server_changed(changes: ChangeList, path: str, old: _Entry, new: _Entry) -> None:
    moved = list(_differing(old, new))
    hard = [key for key in moved if key not in _SERVER_NOTES]
    if not hard:
        changes.add(path, "server_note", Motion.CHANGED, f"{path}: {', '.join(moved)} changed")
        return
    message = (
        f"the server {_name(path)} moved ({', '.join(hard)}): whoever reads or writes the data "
        "there will fail"
    )
    changes.add(
        path, "server", Motion.CHANGED, message, consumer=BREAKS, producer=BREAKS, bump=MAJOR
    )


def _role_removed(changes: ChangeList, path: str) -> None:
    message = f"the role {_name(path)} was removed: whoever reads the data with it loses access"
    changes.add(path, "role", Motion.REMOVED, message, consumer=BREAKS, bump=MAJOR)


def _role_added(changes: ChangeList, path: str) -> None:
    changes.add(path, "role", Motion.ADDED, f"the role {_name(path)} was added", bump=MINOR)


def _role_changed(changes: ChangeList, path: str, old: _Entry, new: _Entry) -> None:
    before, after = old.get("access"), new.get("access")
    if before != after:
        what, check = f"what the role {_name(path)} may do", "that it is still enough for you"
        changes.ask(path, "role", before, after, what, check)
    else:
        keys = ", ".join(_differing(old, new))
        changes.add(path, "role_note", Motion.CHANGED, f"{path}: {keys} changed")


def _support_removed(changes: ChangeList, path: str) -> None:
    message = f"the support channel {_name(path)} was removed: whoever asks there gets no answer"
    changes.add(path, "support", Motion.REMOVED, message, consumer=WARNS, bump=MINOR)


def _support_added(changes: ChangeList, path: str) -> None:
    message = f"help can also be had in the channel {_name(path)}"
    changes.add(path, "support", Motion.ADDED, message)


def _note_removed(changes: ChangeList, path: str) -> None:
    changes.add(path, "entry", Motion.REMOVED, f"{path} was removed")


def _note_added(changes: ChangeList, path: str) -> None:
    changes.add(path, "entry", Motion.ADDED, f"{path} was added")


def _note_changed(changes: ChangeList, path: str, old: _Entry, new: _Entry) -> None:
    keys = ", ".join(_differing(old, new))
    changes.add(path, "entry", Motion.CHANGED, f"{path}: {keys} changed")


_Came = Callable[[ChangeList, str], None]
_Changed = Callable[[ChangeList, str, _Entry, _Entry], None]
_SECTIONS: dict[str, tuple[_Came, _Came, _Changed]] = {
    "servers": (_server_removed, _server_added, _server_changed),
    "roles": (_role_removed, _role_added, _role_changed),
    "support": (_support_removed, _support_added, _note_changed),
}
