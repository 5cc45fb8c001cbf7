"""Fix one file: one finding after the other, each result checked again, until nothing more can be fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nalu_lint import suppressions
from nalu_lint.fixing import documents
from nalu_lint.fixing.code import Refused
from nalu_lint.fixing.planning import Key, Planned, Planner, key, with_fixes

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


class _Job(NamedTuple):
    """How a file is checked."""

    path: str
    selected: frozenset[str]
    follow_imports: bool


def fix(source: bytes, path: str, selected: frozenset[str], *, unsafe: bool, follow_imports: bool = False) -> Fixed:
    """Apply the fixes of the selected rules: the safe ones, with `unsafe` also those that change what trains.

    `follow_imports`: as in `engine.check`.

    A second call on the result changes nothing. Raises engine.UnreadableError for what cannot be parsed.
    """
    done: tuple[Finding, ...] = ()
    job = _Job(path, selected, follow_imports)
    while True:  # one fix may make another possible; each takes away a finding and adds none
        source, found = _round(source, job, unsafe=unsafe)
        if not found:
            return Fixed(source, done)
        done += found


def _round(source: bytes, job: _Job, *, unsafe: bool) -> Fixed:
    wanted = _applicable(_read(source, job), unsafe=unsafe)
    while wanted:
        result, failed = _apply_all(source, job, wanted)
        if failed is None:
            return result
        # What would be left behind looks less serious than it is: leave those that share its sources alone, too.
        wanted = {k: one for k, one in wanted.items() if k != failed and not _shares(one, wanted[failed])}
    return Fixed(source, ())


def _applicable(state: _State, *, unsafe: bool) -> dict[Key, Planned]:
    levels = ("safe", "unsafe") if unsafe else ("safe",)
    planned = with_fixes(state.planner, state.findings)
    return {key(one.finding): one for one in planned if one.fix is not None and one.fix.applicability in levels}


def _shares(one: Planned, other: Planned) -> bool:
    same = one.finding.module_class == other.finding.module_class
    return same and bool({s.name for s in one.finding.sources} & {s.name for s in other.finding.sources})


def _apply_all(source: bytes, job: _Job, wanted: dict[Key, Planned]) -> tuple[Fixed, Key | None]:
    """Fix the wanted findings from the end of each class to its start; and the one that could not be, if any."""
    done: list[Finding] = []
    while True:
        state = _read(source, job)
        last: dict[str | None, Finding] = {}  # of each class
        for finding in sorted(state.findings, key=lambda f: f.span):
            if key(finding) in wanted:
                last[finding.module_class] = finding
        if not last:
            return Fixed(source, tuple(done)), None
        # By the rule that found it: what it finds may be an opt-in one by now, see planning.
        batch = [(finding, wanted[key(finding)].finding.code) for finding in last.values()]
        edits = state.planner.joint(batch)
        if edits is None:
            batch = batch[-1:]
            ((finding, code),) = batch
            fix = state.planner.plan(finding, by=code).fix
            if fix is None or not fix.edits:
                return Fixed(source, ()), key(finding)
            edits = list(fix.edits)
        try:
            source = state.document.replaced(tuple(edits))
        except Refused:
            return Fixed(source, ()), key(batch[-1][0])
        done += [wanted[key(finding)].finding for finding, _ in batch]


def _read(source: bytes, job: _Job) -> _State:
    from nalu_lint import engine  # it imports this package where it needs it

    document = documents.read(source, job.path)
    tree = engine.parse(document.text)
    codes = job.selected | {"NAL002"} if "NAL001" in job.selected else job.selected
    is_followed = job.follow_imports and document.notebook is None
    path, project = (job.path, engine.project()) if is_followed else ("", None)
    findings = engine.find(document.text, tree, codes, path, project)
    silences = suppressions.read(document.text) if findings else suppressions.NONE
    silenced = [f for f in findings if silences.silences(f.code, f.span.start.row, f.span.end.row)]
    kept = [f for f in findings if f not in silenced]
    planner = Planner(document.text, tree, findings, silenced, job.selected, path=path, project=project)
    return _State(document, kept, planner)
