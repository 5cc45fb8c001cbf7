"""JUnit's XML, which most CI servers show as test results: a failed test for each finding."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from nalu_lint.output.concise import place
from nalu_lint.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.output import View

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(diagnostics: Sequence[Diagnostic], view: View) -> str:
    n_found = str(len(diagnostics))
    root = ET.Element("testsuites", name="nalu-lint", tests=n_found, failures=n_found, errors="0")
    if not diagnostics:
        suite = ET.SubElement(root, "testsuite", name="nalu-lint", tests="1", failures="0", errors="0")
        ET.SubElement(suite, "testcase", name="no findings", classname="nalu-lint")
        root.set("tests", "1")
    for path, group in groupby(diagnostics, key=lambda diagnostic: diagnostic.path):
        found = list(group)
        n_here = str(len(found))
        suite = ET.SubElement(
            root, "testsuite", name=_xml(path), tests=n_here, failures=n_here, errors="0", skipped="0"
        )
        for diagnostic in found:
            _add_case(suite, diagnostic, view)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _add_case(suite: ET.Element, diagnostic: Diagnostic, view: View) -> None:
    finding = diagnostic.finding
    start, _ = view.in_file(diagnostic, diagnostic.span)
    case = ET.SubElement(
        suite,
        "testcase",
        name=f"{finding.code} {finding.name}",
        classname=_xml(diagnostic.path),
        file=_xml(diagnostic.path),
        line=str(start.row),
    )
    failure = ET.SubElement(case, "failure", message=_xml(finding.message), type=finding.code)
    failure.text = _xml(f"{place(diagnostic)}: {finding.code} {finding.message}")


def _xml(text: str) -> str:
    """XML 1.0 has no way to write some characters."""
    return _NOT_XML.sub("\ufffd", printable(text))
