"""From findings to fixes that are proven on the text: the result parses, the finding is gone, and no other is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.diagnostic import Fix
from nalu_lint.errors import UnreadableError
from nalu_lint.fixing.common.code import Code
from nalu_lint.fixing.common.edits import apply, last_row, overlap
from nalu_lint.fixing.common.refused import Refused

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable, Iterator

    from nalu_lint.analysis.index.project import Project
    from nalu_lint.diagnostic import Edit, Finding
    from nalu_lint.fixing.common.changes import Rewrite

# Codes that say the same of one Parameter in different company: fixing one finding may turn another into it.
_SAME = {"NAL002": "NAL001"}

Recheck = Callable[[str, frozenset[str], frozenset[str], str, "Project | None"], "list[Finding]"]
Key = tuple[str, "str | None", "str | None"]


def key(finding: Finding) -> Key:
    """What a finding is about, wherever it stands: so it is recognised after an edit."""
    return (_SAME.get(finding.code, finding.code), finding.module_class, finding.parameter or finding.message)


class Planned(NamedTuple):
    """A finding with its fix, or with the reason that there is none."""

    finding: Finding
    fix: Fix | None
    refusal: str = ""


class Planner:
    """Plans and proves the fixes of one text.

    `findings`: all that the selected rules find in it; `silenced`: those of them that comments silence; `project`:
    the files that its imports are followed to, from `path`;
    `recheck`: `judging.recheck`, which is a shell around this.
    """

    def __init__(
        self,
        text: str,
        tree: ast.Module,
        findings: list[Finding],
        silenced: list[Finding],
        selected: Iterable[str],
        *,
        recheck: Recheck,
        path: str = "",
        project: Project | None = None,
    ) -> None:
        self.text = text
        self.tree = tree
        self.findings = findings
        self.silenced = silenced
        self.recheck = recheck
        self.path = path
        self.project = project
        self.reported = frozenset(selected)
        self.selected = self.reported | _SAME.keys() | set(_SAME.values())
        self._keys: Counter[Key] | None = None
        self._rewrites: dict[tuple[Finding, str], Rewrite | str | None] = {}  # or why there is none
        self._results: dict[str, list[Finding]] = {}  # what is found in texts after fixes

    @cached_property
    def code(self) -> Code:
        return Code(self.text, self.tree, self.path, self.project)

    def plan(self, finding: Finding, *, by: str | None = None) -> Planned:
        """The fix of one finding, by its own rule or by that of another code, proven."""
        planned = self._completed(finding, by)
        if planned.fix is None or not planned.fix.edits:
            return planned
        try:
            self._check([finding], list(planned.fix.edits))
        except Refused as refused:
            return Planned(finding, None, str(refused))
        return planned

    def plan_all(self, findings: list[Finding]) -> list[Planned]:
        """The fixes of several findings. Those of different classes are proven together where that succeeds."""
        planned = [self._completed(finding) for finding in findings]
        for batch in _batches([n for n, one in enumerate(planned) if one.fix and one.fix.edits], findings):
            edits = [edit for n in batch if (fix := planned[n].fix) for edit in fix.edits]
            try:
                self._check([findings[n] for n in batch], edits)
            except Refused:
                for n in batch:
                    planned[n] = self.plan(findings[n])
        return planned

    def joint(self, findings: list[tuple[Finding, str]]) -> list[Edit] | None:
        """The edits that fix findings of several classes together, each by the rule of a code, if they do."""
        try:
            edits = self._edits([self._proposed(finding, by) for finding, by in findings])
            self._check([finding for finding, _ in findings], edits)
        except Refused:
            return None
        return edits

    def _proposed(self, finding: Finding, by: str | None = None) -> Rewrite | None:
        """What a rule makes of a finding; None where it has no fixes. Raises Refused."""
        known = (finding, by or finding.code)
        if known not in self._rewrites:
            try:
                self._rewrites[known] = self._rewrite(*known)
            except Refused as refused:
                self._rewrites[known] = str(refused)
        found = self._rewrites[known]
        if isinstance(found, str):
            raise Refused(found)
        return found

    def _rewrite(self, finding: Finding, by: str) -> Rewrite | None:
        from nalu_lint.rules import all_rules  # start-up time

        rule = all_rules()[by]
        if not rule.has_fixes:
            return None
        with _refusing_on_defects():
            return rule.fix(finding, self.code)

    def _completed(self, finding: Finding, by: str | None = None) -> Planned:
        """The fix, with what it leaves unused removed, but not proven."""
        try:
            rewrite = self._proposed(finding, by)
            if rewrite is None:
                return Planned(finding, None)
            edits = self._edits([rewrite]) if rewrite.changes is not None else []
        except Refused as refused:
            return Planned(finding, None, str(refused))
        return Planned(finding, Fix(rewrite.applicability, rewrite.message, tuple(edits)))

    def _edits(self, rewrites: list[Rewrite | None]) -> list[Edit]:
        """The edits that rewrites, and the removal of what they leave unused, come to. Raises Refused."""
        from nalu_lint.fixing.common.changes import Changes  # it loads libcst
        from nalu_lint.fixing.common.leftovers import remove_leftovers

        with _refusing_on_defects():
            changes = Changes(self.code)
            for rewrite in rewrites:
                if rewrite is not None and rewrite.changes is not None:
                    changes.add(rewrite.changes)
            remove_leftovers(self.code, changes)
            edits = sorted(changes.edits(), key=lambda edit: edit.span)
        rows = {row for edit in edits for row in range(edit.span.start.row, last_row(edit) + 1)}
        for other in self.silenced:
            if rows & set(range(other.span.start.row, other.span.end.row + 1)):
                raise Refused(f"it would change row {other.span.start.row}, where a finding is silenced")
        return edits

    def _check(self, fixed: list[Finding], edits: list[Edit]) -> None:
        """Raise Refused unless the findings are gone after the edits, and no other is new."""
        if overlap(edits):
            raise Refused("its parts are too close to each other in the text")
        with _refusing_on_defects():
            text = apply(self.text, edits)
            if text not in self._results:
                codes = frozenset(finding.code for finding in self.findings)
                self._results = {text: self._find(text, codes)}
            found = self._results[text]
        if self._objection(fixed, found, Counter(map(key, self.findings))):
            # The sieve may have passed over what was there before: look again without it.
            if self._keys is None:
                self._keys = Counter(map(key, self._find(self.text, self.selected)))
            objection = self._objection(fixed, found, self._keys)
            if objection:
                raise Refused(objection)

    def _objection(self, fixed: list[Finding], found: list[Finding], before: Counter[Key]) -> str:
        """What speaks against a fix after which this is found, if anything."""
        after = Counter(map(key, found))
        if any(after[key(finding)] >= before[key(finding)] for finding in fixed):
            return "the finding would remain"
        new = [o for o in found if after[key(o)] > before[key(o)] and o.code in self.reported]
        return f"the result would be reported in turn: {new[0].code} `{new[0].parameter}`" if new else ""

    def _find(self, text: str, always: frozenset[str]) -> list[Finding]:
        return self.recheck(text, always, self.selected, self.path, self.project)


@contextmanager
def _refusing_on_defects() -> Iterator[None]:
    """Whatever goes wrong with a fix, the finding stands. Raises Refused."""
    try:
        yield
    except Refused:
        raise
    except RecursionError as error:
        raise Refused("the code is nested too deeply") from error
    except (SyntaxError, UnreadableError) as error:
        raise Refused("the result would not parse") from error
    except Exception as error:
        text = str(error).partition("\n")[0][:100]
        raise Refused(f"a defect of the fix, please report it: {type(error).__name__}: {text}") from error


def _batches(numbers: list[int], findings: list[Finding]) -> list[list[int]]:
    """The findings in batches that hold one of each class."""
    batches: list[list[int]] = []
    for number in numbers:
        name = findings[number].module_class
        free = (batch for batch in batches if all(findings[other].module_class != name for other in batch))
        batch = next(free, None)
        if batch is None:
            batches.append([number])
        else:
            batch.append(number)
    return batches


def with_fixes(planner: Planner, findings: list[Finding]) -> list[Planned]:
    """The fixes of several findings of one text, each by itself.

    A finding is not fixed alone where another with the same sources cannot be: that one would look less serious
    than it is, since its sources would be in use.
    """
    planned = planner.plan_all(findings)
    while True:
        left = [one.finding for one in planned if one.fix is None and one.finding.code == "NAL001"]
        blocked = {
            n: f for n, one in enumerate(planned) if one.fix for f in reversed(left) if shares_source(one.finding, f)
        }
        if not blocked:
            return planned
        for index, blocker in blocked.items():
            reason = f"`{blocker.parameter}` is computed from the same source and cannot be fixed"
            planned[index] = Planned(planned[index].finding, None, reason)


def shares_source(one: Finding, other: Finding) -> bool:
    same = one.module_class == other.module_class
    return same and bool({s.name for s in one.sources} & {s.name for s in other.sources})
