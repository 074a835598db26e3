"""JUnit XML, which every CI system shows as test results."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JunitCase:
    """One test: failed with ``failures`` (message and text), skipped with a reason, or passed."""

    name: str
    failures: tuple[tuple[str, str], ...] = ()
    skipped: str | None = None
    output: str = ""


@dataclass(frozen=True, slots=True)
class JunitSuite:
    """The tests of one file or contract."""

    name: str
    cases: tuple[JunitCase, ...]
    properties: tuple[tuple[str, str], ...] = ()


def junit_xml(suites: Sequence[JunitSuite]) -> str:
    """The document, with an XML declaration."""
    root = ET.Element("testsuites", {"name": "dagster-contracts", **_totals(suites)})
    for suite in suites:
        element = ET.SubElement(root, "testsuite", {"name": _clean(suite.name), **_totals([suite])})
        if suite.properties:
            listed = ET.SubElement(element, "properties")
            for name, value in suite.properties:
                ET.SubElement(listed, "property", name=_clean(name), value=_clean(value))
        for case in suite.cases:
            _case(element, suite, case)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode")


def _case(parent: ET.Element, suite: JunitSuite, case: JunitCase) -> None:
    element = ET.SubElement(
        parent, "testcase", classname=_clean(suite.name), name=_clean(case.name)
    )
    for message, text in case.failures:
        failure = ET.SubElement(element, "failure", message=_clean(message))
        failure.text = _clean(text)
    if case.skipped is not None and not case.failures:
        ET.SubElement(element, "skipped", message=_clean(case.skipped))
    if case.output:
        ET.SubElement(element, "system-out").text = _clean(case.output)


def _totals(suites: Sequence[JunitSuite]) -> dict[str, str]:
    cases = [case for suite in suites for case in suite.cases]
    return {
        "tests": str(len(cases)),
        "failures": str(sum(bool(case.failures) for case in cases)),
        "skipped": str(sum(case.skipped is not None and not case.failures for case in cases)),
        "errors": "0",
    }


def _clean(text: str) -> str:
    # XML 1.0 has no way to write most control characters, not even escaped.
    return "".join(
        char
        if char in "\t\n\r"
        or "\x20" <= char <= "\ud7ff"
        or "\ue000" <= char <= "\ufffd"
        or char > "\uffff"
        else "\ufffd"
        for char in text
    )
