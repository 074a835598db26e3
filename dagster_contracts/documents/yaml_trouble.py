"""What YAML's parser complains of, in words that say where the mistake is and how to mend it."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import yaml

from dagster_contracts.errors import DocumentError, SourceLocation

# The stubs of PyYAML give events neither tags nor marks.
Event: TypeAlias = Any

# The pure Python parser is as strict and much slower; it serves where libyaml was not compiled in.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: ``name:orders``, which is one word to YAML.
_GLUED = re.compile(r"\s*(?:- )?([A-Za-z_]\w*):([^\s:/].*)")


def _never_closed(error: yaml.MarkedYAMLError, text: str) -> tuple[Any, str] | None:
    """Where the quote or bracket opens that is not closed where it should be, and what to say."""
    mark, context = error.problem_mark, error.context or ""
    opened = "quoted scalar" in context or "flow" in context
    if opened and error.context_mark and mark and not text[mark.index :].strip():
        what = "quote" if "quoted" in context else "bracket"
        return error.context_mark, f"the {what} that opens here is never closed"
    last: Event = None
    events = LOADER(text)
    try:
        while (event := events.get_event()) is not None:
            last = event if type(event) is yaml.ScalarEvent else last
    except yaml.YAMLError:
        pass
    if mark is None or last is None or last.style not in ("'", '"'):
        return None
    start, end = last.start_mark, last.end_mark
    if start.line < end.line == mark.line:
        return start, f"the quote that opens here closes only in line {end.line + 1}"
    return None


def explain_error(error: yaml.MarkedYAMLError, text: str, path: str) -> DocumentError:
    """What the parser found, with its place in ``text``."""
    unclosed = _never_closed(error, text)
    if unclosed is not None:
        mark, what = unclosed
        return DocumentError(
            f"this is not YAML: {what}",
            where=SourceLocation(path, mark.line + 1, mark.column + 1),
            why=error.problem,
            hint="a quote or a bracket is not closed: close it where its value ends",
        )
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    problem = error.problem or error.context or "unknown trouble"
    lines = text.splitlines()
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    return DocumentError(
        f"this is not YAML: {problem}",
        where=SourceLocation(path, line, column),
        why=error.context if error.context and error.context != problem else None,
        hint=_mend(problem, shown, lines[line - 2] if 1 < line <= len(lines) else ""),
    )


def _mend(problem: str, line: str, before: str) -> str | None:
    """What a person most probably meant, judged by the parser's complaint and the line."""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces: YAML allows no tabs"
    glued = _GLUED.fullmatch(before) or _GLUED.fullmatch(line)
    if glued and ("mapping values" in problem or "expected ':'" in problem):
        return f"write a space behind the colon: '{glued[1]}: {glued[2]}'"
    value = line.partition(":")[2].strip()
    if value.startswith((">", "|")) and value.strip(">|+-0123456789 ") != "":
        return f'quote the value, because {value[0]!r} begins a block of text: "{value}"'
    if value.startswith(("%", "@", "`", "*", "&", "!")):
        return f'quote the value, because {value[0]!r} is a sign of YAML\'s own: "{value}"'
    if "mapping values are not allowed" in problem:
        if ": " in value:
            return f'quote the value, because it holds a colon: "{value}"'
        return "check the indentation of this line and of the one before it"
    if "could not find expected ':'" in problem:
        return f"write a ':' after the key in line {before.strip()!r}" if before.strip() else None
    if "did not find expected key" in problem or "block end" in problem:
        return "check the indentation: this line does not stand where its neighbours do"
    if "unexpected end of stream" in problem or "quoted scalar" in problem:
        return "a quote or a bracket is not closed"
    if "escape" in problem:
        return "write the character itself; what stands in single quotes has no escapes"
    if "directive" in problem:
        return "remove the lines that begin with %"
    if "block sequence entries" in problem:
        return "write a list below its key, each item on a line of its own that begins with '- '"
    return "look at this line and at the one before it; quote values with signs in them"


def explain_character(error: yaml.YAMLError, text: str, path: str) -> DocumentError:
    """The character that the reader does not allow."""
    # libyaml counts bytes and the Python reader characters; both say which character it was.
    odd = next(
        (
            i
            for i, char in enumerate(text)
            if not (char.isprintable() or char in "\n\r\t\x85\ufeff")
        ),
        None,
    )
    where = SourceLocation(path)
    what = "the file cannot be read as YAML"
    if odd is not None:
        where = SourceLocation(path, *position_in(text, odd))
        what = f"the character U+{ord(text[odd]):04X} may not stand in YAML"
    wide = text[1:2] == "\0" or text[:1] == "\0"
    return DocumentError(
        what,
        where=where,
        why=str(error).splitlines()[0],
        hint="save the file as UTF-8: it looks like UTF-16"
        if wide
        else 'remove it; between double quotes it can be written as an escape such as "\\x1b"',
    )


def position_in(text: str, offset: int) -> tuple[int, int]:
    """1-based line and column of a character."""
    before = text[:offset].replace("\r\n", " \n").replace("\r", "\n")
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
