"""Fix one file: one finding after the other, each result checked again, until nothing more can be fixed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint import followed, judging, limits, nesting, source_text, suppressions
from nalu_lint.fixing import documents
from nalu_lint.fixing.common.refused import Refused
from nalu_lint.fixing.planning import Key, Planned, Planner, key, shares_source, with_fixes

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.documents import Document


class Fixed(NamedTuple):
    """The bytes of a file after its fixes, and what was fixed."""

    source: bytes
    findings: tuple[Finding, ...]


class _State(NamedTuple):
    document: Document
    findings: list[Finding]  # that no comment silences
    planner: Planner


# A finding, however the text before it changes: what it is about, and its number among those that are about the same.
_Which = tuple[Key, int]


def fix(source: bytes, path: str, selected: frozenset[str], *, unsafe: bool, follow_imports: bool = False) -> Fixed:
    """Apply the fixes of the selected rules: the safe ones, with `unsafe` also those that change what trains.

    `follow_imports`: as in `engine.check`.

    A second call on the result changes nothing. Raises UnreadableError for what cannot be parsed.
    """
    done: tuple[Finding, ...] = ()
    file = _File(path, selected, unsafe=unsafe, follow_imports=follow_imports)
    if follow_imports:
        followed.project().trim()
    with nesting.room():
        while True:  # one fix may make another possible; each takes away a finding and adds none
            source, found = file.round(source)
            if not found:
                return Fixed(source, done)
            done += found


class _File:
    """One file, and how it is checked and fixed."""

    def __init__(self, path: str, selected: frozenset[str], *, unsafe: bool, follow_imports: bool) -> None:
        self.path = path
        self.selected = selected
        self.levels = ("safe", "unsafe") if unsafe else ("safe",)
        self.follow_imports = follow_imports
        self._last: _State | None = None

    def round(self, source: bytes) -> Fixed:
        """Apply what can be applied."""
        wanted = self._applicable(self._read(source))
        while wanted:
            result, failed = self._apply_all(source, wanted)
            if failed is None:
                return result
            # What would be left behind looks less serious than it is: leave those that share its sources alone, too.
            cause = wanted[failed].finding
            wanted = {k: v for k, v in wanted.items() if k != failed and not shares_source(v.finding, cause)}
        return Fixed(source, ())

    def _applicable(self, state: _State) -> dict[_Which, Planned]:
        limits.extend(limits.SECONDS_PER_FIX * len(state.findings))
        names = {id(finding): which for which, finding in _numbered(state.findings)}
        planned = with_fixes(state.planner, state.findings)
        return {names[id(one.finding)]: one for one in planned if one.fix and one.fix.applicability in self.levels}

    def _apply_all(self, source: bytes, wanted: dict[_Which, Planned]) -> tuple[Fixed, _Which | None]:
        """Fix the wanted findings from the end of each class to its start; and the one that could not be, if any."""
        done: list[Finding] = []
        left = set(wanted)
        while True:
            state = self._read(source)
            last: dict[str | None, tuple[_Which, Finding]] = {}  # of each class
            for which, finding in _numbered(state.findings):
                if which in left:
                    last[finding.module_class] = (which, finding)
            if not last:
                return Fixed(source, tuple(done)), None
            batch = list(last.values())
            # By the rule that found it: what it finds may be an opt-in one by now, see planning.
            edits = state.planner.joint([(finding, wanted[which].finding.code) for which, finding in batch])
            if edits is None:
                batch = batch[-1:]
                ((which, finding),) = batch
                fix = state.planner.plan(finding, by=wanted[which].finding.code).fix
                if fix is None or not fix.edits:
                    return Fixed(source, ()), which
                edits = list(fix.edits)
            try:
                source = state.document.replaced(tuple(edits))
            except Refused:
                return Fixed(source, ()), batch[-1][0]
            for which, _ in batch:
                left.remove(which)
                done.append(wanted[which].finding)

    def _read(self, source: bytes) -> _State:
        if self._last is not None and self._last.document.source == source:
            return self._last
        document = documents.read(source, self.path)
        tree = source_text.parse(document.text)
        codes = self.selected | {"NAL002"} if "NAL001" in self.selected else self.selected
        is_followed = self.follow_imports and document.notebook is None
        path, project = (self.path, followed.project()) if is_followed else ("", None)
        findings = judging.find(document.text, tree, codes, path, project)
        silences = suppressions.read(document.text) if findings else suppressions.NONE
        silenced = [f for f in findings if silences.silences(f.code, f.span.start.row, f.span.end.row)]
        kept = [f for f in findings if f not in silenced]
        text, again = document.text, judging.recheck
        planner = Planner(text, tree, findings, silenced, self.selected, recheck=again, path=path, project=project)
        self._last = _State(document, kept, planner)
        return self._last


def _numbered(findings: list[Finding]) -> list[tuple[_Which, Finding]]:
    """The findings in the order of the text, each with what it is known by.

    Fixed from the end, one of several that say the same leaves the numbers of those before it as they are.
    """
    counts: Counter[Key] = Counter()
    found = []
    for finding in sorted(findings, key=lambda f: f.span):
        about = key(finding)
        found.append(((about, counts[about]), finding))
        counts[about] += 1
    return found
