"""Which files a path, folder, glob or URL names, wherever they are.

Everything that reads files starts from this list, so that a folder behind ``memory://`` or
``s3://`` is no other folder than a local one. What only fsspec reaches is fetched once, into a
temporary folder of the same shape.
"""

from __future__ import annotations

import atexit
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from dagster_contracts.core.uri import hide_password
from dagster_contracts.engine.scan import UnreadableDataError, first_line

SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".arrow": "arrow_file",
    ".feather": "arrow_file",
    ".ipc": "arrow_file",
}
COMPRESSED = ("csv", "json")
"""The kinds of file that may end with ``.gz`` too."""
_LIKELY = ("parquet", "csv", "json", "arrow_file")
_OF_POLARS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https")
_NO_FOLDERS = ("http", "https")


@dataclass(frozen=True, slots=True)
class FileList:
    """The files, all of one kind, in the order of their names.

    ``place`` is what the caller named, as it may be shown. ``paths`` are local paths, or URLs that
    Polars reads; ``base`` is the folder from which their names are told, and from which folders
    such as ``day=2024-01-01`` are columns. ``close`` removes what was fetched.
    """

    kind: str
    place: str
    paths: list[str]
    base: str = ""
    fetched_from: str | None = None
    close: Callable[[], None] = field(default=lambda: None)

    @property
    def is_local(self) -> bool:
        """Whether the files can be opened here."""
        return not any("://" in path for path in self.paths)

    def name(self, path: str) -> str:
        """How a file is called beside the others: from the folder that they share."""
        short = path.removeprefix(self.base).lstrip("/\\") if self.base else path
        return short or path

    def shown(self, path: str) -> str:
        """The whole path or URL of a file, as the caller would write it."""
        if self.fetched_from is None:
            return hide_password(path)
        name = self.name(path)
        return f"{self.fetched_from.rstrip('/')}/{name}" if len(self.paths) > 1 else self.place

    def folders(self, path: str) -> dict[str, str]:
        """The columns that the folders of a file name, with the text of their values."""
        parts = PurePosixPath(self.name(path).replace("\\", "/")).parts[:-1]
        pairs = [part.partition("=") for part in parts if "=" in part]
        return {name: value for name, _, value in pairs}


def kind_by_name(path: str) -> str | None:
    """``parquet``, ``csv``, ``json`` or ``arrow_file``; ``None`` for other names."""
    lowered = path.lower().rstrip("/")
    plain = lowered.removesuffix(".gz")
    for suffix, kind in SUFFIXES.items():
        if plain.endswith(suffix):
            return kind if plain == lowered or kind in COMPRESSED else None
    return None


def file_kind(path: str) -> str | None:
    """The kind of the files at a path, ``files`` where only looking tells, ``None`` for none.

    Nothing is opened: a local folder is listed, and of a URL the name is read.
    """
    named = kind_by_name(path)
    if named is not None:
        return named
    scheme = path.partition("://")[0] if "://" in path else ""
    if scheme == "file":
        return file_kind(path.removeprefix("file://"))
    if scheme:
        # The name of a file that has another ending is none of a folder.
        ends = PurePosixPath(path).name
        is_folder = path.endswith("/") or "." not in ends
        return "files" if is_folder and _is_reachable(scheme) else None
    try:
        root = Path(path)
        if root.is_dir():
            return _common_kind(_below(root))
        return None if root.exists() else _common_kind(_local(path))
    except PermissionError:
        return "files"
    except (OSError, ValueError):  # a text that can be no path
        return None


def _is_reachable(scheme: str) -> bool:
    if scheme in _OF_POLARS:
        return True
    from fsspec.registry import available_protocols  # type: ignore[import-untyped]  # late: for URLs

    return scheme.partition("::")[0] in available_protocols()


def list_files(place: str) -> FileList:
    """The files at a place; raises :class:`UnreadableDataError` where there are none."""
    scheme = place.partition("://")[0] if "://" in place else ""
    if scheme == "file":
        place, scheme = place.removeprefix("file://"), ""
    try:
        if not scheme:
            return _listed(place, _local(place), _fixed(place))
        if scheme in _OF_POLARS:
            return _in_cloud(place, scheme)
        return _fetched(place)
    except PermissionError as error:
        raise UnreadableDataError(
            f"{hide_password(place)} may not be read: {error.strerror or first_line(error)}",
            hint="give the user that runs this leave to read it and its folders",
        ) from None


def _listed(place: str, paths: Sequence[str], base: str) -> FileList:
    named = kind_by_name(place)
    if not paths:
        raise _nothing(place, is_folder=Path(place).is_dir())
    kind = named if paths == [place] else _common_kind(paths)
    if kind is None:
        raise _nothing(place, is_folder=Path(place).is_dir())
    _refuse_mixed(place, [path for path in paths if path != place])
    return FileList(kind, place, [p for p in paths if p == place or kind_by_name(p) == kind], base)


def _nothing(place: str, *, is_folder: bool) -> UnreadableDataError:
    place = hide_password(place)
    if is_folder:
        return UnreadableDataError(
            f"the folder {place} holds no Parquet, CSV, JSON or Arrow file",
            hint="known: .parquet, .csv, .tsv, .json, .jsonl, .arrow, .feather",
        )
    return UnreadableDataError(
        f"there is no file {place}",
        hint="nothing fits the pattern" if glob.has_magic(place) else None,
    )


def _common_kind(paths: Iterable[str]) -> str | None:
    """Of the kinds that are there, the one that is most likely the data."""
    found: set[str | None] = set()
    for path in paths:
        found.add(kind_by_name(path))
        if _LIKELY[0] in found:
            break
    return next((kind for kind in _LIKELY if kind in found), None)


def _refuse_mixed(place: str, paths: Iterable[str]) -> None:
    """Raise where files of several kinds stand together: one kind alone would be half the data."""
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(kind_by_name(path) or "", path)
    found.pop("", None)
    if len(found) > 1:
        names = " and ".join(PurePosixPath(found[k].replace("\\", "/")).name for k in sorted(found))
        raise UnreadableDataError(
            f"{place} holds files of different kinds: {names}",
            hint="name one kind by a pattern such as "
            f"{place if glob.has_magic(place) else place.rstrip('/') + '/*'}"
            f"{PurePosixPath(next(iter(found.values()))).suffix}, or keep them in folders apart",
        )


def _fixed(place: str) -> str:
    """The folder from which the names of files are told."""
    path = Path(place)
    if path.is_dir():
        return str(path)
    if path.exists() or not glob.has_magic(place):
        return str(path.parent)
    parts = path.parts
    return str(Path(*parts[: next(n for n, part in enumerate(parts) if glob.has_magic(part))]))


def _local(place: str) -> list[str]:
    """The files of a local path, folder or glob; those of folders that a glob finds as well."""
    path = Path(place)
    if path.is_dir():
        return sorted(_below(path))
    if path.exists():
        return [place]
    if not glob.has_magic(place):
        return []
    found: list[str] = []
    matched = sorted(glob.glob(place, recursive=True))
    for one in matched:
        if not Path(one).is_dir():
            found.append(one)
        elif "**" not in place:
            found += sorted(_below(Path(one)))
    return found


def _below(folder: Path) -> Iterator[str]:
    """The files below a folder, without what writers keep beside them (``_SUCCESS``, ``.crc``)."""

    def refuse(error: OSError) -> None:
        raise error  # a part that may not be read is not left out in silence

    for at, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not _is_hidden([name])]
        yield from (str(Path(at, name)) for name in names if not _is_hidden([name]))


def _is_hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith((".", "_")) and "=" not in part for part in parts)


def _in_cloud(place: str, scheme: str) -> FileList:
    """What Polars reads by itself; it lists the files as well, with its own credentials."""
    named = kind_by_name(place)
    many = glob.has_magic(place) or named is None
    if scheme in _NO_FOLDERS or not many:
        return FileList(named or "parquet", hide_password(place), [place], place.rpartition("/")[0])
    parts = place.rstrip("/").split("/")
    at = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    base = "/".join(parts[:at])
    for kind in [named] if named is not None else _LIKELY:
        endings = [end for end, of in SUFFIXES.items() if of == kind]
        if kind in COMPRESSED:
            endings += [f"{end}.gz" for end in endings]
        inner = [f"{place.rstrip('/')}/**/*{end}" for end in endings]
        found: list[str] = []
        for pattern in [place] if named is not None else inner:
            found += _cloud_paths(kind, pattern)
        kept = [p for p in found if not _is_hidden(p.removeprefix(base).strip("/").split("/"))]
        if kept:
            return FileList(kind, hide_password(place), sorted(kept), base)
    raise _nothing(place, is_folder=False)


def _cloud_paths(kind: str, pattern: str) -> list[str]:
    """The objects that fit; of Parquet only the metadata is read, other files are read once."""
    import polars as pl  # late: importing the package must stay cheap

    name = "path"
    if kind == "parquet":
        lazy = pl.scan_parquet(
            pattern,
            include_file_paths=name,
            missing_columns="insert",
            extra_columns="ignore",
            hive_partitioning=False,
        )
    else:
        lazy = pl.scan_lines(pattern, include_file_paths=name)
    try:
        paths = lazy.select(name).unique().collect(engine="streaming").to_series()
    except Exception as error:  # object stores raise what they like
        if isinstance(error, FileNotFoundError) or "paths were empty" in str(error):
            return []
        raise UnreadableDataError(
            f"{hide_password(pattern)} cannot be read: {first_line(error)}",
            hint="see that its files are whole, and that the credentials in the environment are "
            "right",
        ) from error
    return list(paths.to_list())


def _fetched(place: str) -> FileList:
    """What only fsspec reaches, fetched into a temporary folder of the same shape."""
    import fsspec  # type: ignore[import-untyped]  # late: only for what Polars does not know

    try:
        filesystem, root = fsspec.core.url_to_fs(place)
    except ImportError as error:
        scheme = place.partition("://")[0]
        raise UnreadableDataError(f"{scheme}:// needs another package: {error}") from None
    except ValueError as error:
        raise UnreadableDataError(
            f"no file system is known for {hide_password(place)}: {error}"
        ) from None
    found, base = _remote_paths(filesystem, root)
    named = kind_by_name(place)
    kind = named if found == [root] else _common_kind(found)
    kept = [path for path in found if path == root or kind_by_name(path) == kind]
    if not kept or kind is None:
        raise _nothing(place, is_folder=bool(found) or filesystem.isdir(root))
    _refuse_mixed(hide_password(place), [path for path in found if path != root])
    folder = tempfile.mkdtemp(prefix="dagster_contracts_")
    remove = removal(folder)
    try:
        targets = [str(Path(folder, *_parts(path, base))) for path in kept]
        for target in targets:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        for path, target in zip(kept, targets, strict=True):
            filesystem.get_file(path, target)
    except BaseException:
        remove()
        raise
    return FileList(
        kind,
        hide_password(place),
        targets,
        folder,
        hide_password(_url_of(place, root, base)),
        remove,
    )


def _remote_paths(filesystem: Any, root: str) -> tuple[list[str], str]:
    """The files at a path of an fsspec file system, and the folder that they share."""
    if filesystem.isdir(root):
        found = sorted(filesystem.find(root))
        return [p for p in found if not _is_hidden(_parts(p, root))], root
    if filesystem.exists(root):
        return [root], root.rpartition("/")[0]
    if not glob.has_magic(root):
        return [], root
    parts = root.split("/")
    base = "/".join(parts[: next(n for n, part in enumerate(parts) if glob.has_magic(part))])
    found = []
    for one in sorted(filesystem.glob(root)):
        if filesystem.isfile(one):
            found.append(one)
        elif "**" not in root:
            inner = sorted(filesystem.find(one))
            found += [p for p in inner if not _is_hidden(_parts(p, one))]
    return found, base


def _parts(path: str, base: str) -> list[str]:
    return [part for part in path.removeprefix(base).split("/") if part not in ("", ".", "..")]


def _url_of(place: str, root: str, base: str) -> str:
    """The URL of the folder that the files share."""
    start = place.rstrip("/").removesuffix(root.strip("/"))
    return start + base.lstrip("/") if start != place.rstrip("/") else place


def removal(folder: str) -> Callable[[], None]:
    """What removes a temporary folder: when it is called, or when the process ends."""
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(remove)

    def close() -> None:
        remove()
        atexit.unregister(remove)

    return close
