"""From findings to fixes that are proven on the text: the result parses, the finding is gone, and no other is new."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.fixing.code import Code, Refused
from nalu_lint.fixing.leftovers import without_leftovers
from nalu_lint.fixing.text import apply, last_row, overlap

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable

    from nalu_lint.diagnostic import Edit, Finding, Fix

# Codes that say the same of one Parameter in different company: fixing one finding may turn another into it.
_SAME = {"NAL002": "NAL001"}

Key = tuple[str, "str | None", "str | None"]


def key(finding: Finding) -> Key:
    """What a finding is about, wherever it stands: so it is recognised after an edit."""
    return (_SAME.get(finding.code, finding.code), finding.module_class, finding.parameter)


class Planned(NamedTuple):
    """A finding with its fix, or with the reason that there is none."""

    finding: Finding
    fix: Fix | None
    refusal: str = ""


class Planner:
    """Plans and proves the fixes of one text.

    `findings`: all that the selected rules find in it; `silenced`: those of them that comments silence.
    """

    def __init__(
        self, text: str, tree: ast.Module, findings: list[Finding], silenced: list[Finding], selected: Iterable[str]
    ) -> None:
        self.text = text
        self.tree = tree
        self.findings = findings
        self.silenced = silenced
        self.reported = frozenset(selected)
        self.selected = self.reported | _SAME.keys() | set(_SAME.values())
        self._code: Code | None = None
        self._keys: Counter[Key] | None = None

    @property
    def code(self) -> Code:
        if self._code is None:
            self._code = Code(self.text, self.tree)
        return self._code

    def plan(self, finding: Finding, *, by: str | None = None) -> Planned:
        """The fix of one finding, by its own rule or by that of another code."""
        from nalu_lint.rules import all_rules  # start-up time

        try:
            fix = all_rules()[by or finding.code].fix(finding, self.code)
            if fix is not None and fix.edits:
                fix = fix._replace(edits=self._proven(finding, list(fix.edits)))
        except Refused as refused:
            return Planned(finding, None, str(refused))
        except RecursionError:
            return Planned(finding, None, "the code is nested too deeply")
        return Planned(finding, fix)

    def _proven(self, finding: Finding, edits: list[Edit]) -> tuple[Edit, ...]:
        if overlap(edits):
            raise Refused("its parts are too close to each other in the text")
        try:
            edits = without_leftovers(self.code, edits)
        except SyntaxError as error:
            raise Refused("the result would not parse") from error
        rows = {row for edit in edits for row in range(edit.span.start.row, last_row(edit) + 1)}
        for other in self.silenced:
            if rows & set(range(other.span.start.row, other.span.end.row + 1)):
                raise Refused(f"it would change row {other.span.start.row}, where a finding is silenced")
        self._check(finding, apply(self.text, edits))
        return tuple(sorted(edits, key=lambda edit: edit.span))

    def _check(self, finding: Finding, text: str) -> None:
        from nalu_lint import engine  # it imports this package where it needs it

        if self._keys is None:
            self._keys = Counter(map(key, engine.find(self.text, self.tree, self.selected)))
        found = engine.find(text, engine.parse(text), self.selected)
        after = Counter(map(key, found))
        if after[key(finding)] >= self._keys[key(finding)]:
            raise Refused("the finding would remain")
        new = [o for o in found if after[key(o)] > self._keys[key(o)] and o.code in self.reported]
        if new:
            raise Refused(f"the result would be reported in turn: {new[0].code} `{new[0].parameter}`")


def with_fixes(planner: Planner, findings: list[Finding]) -> list[Planned]:
    """The fixes of several findings of one text, each by itself.

    A finding is not fixed alone where another with the same sources cannot be: that one would look less serious
    than it is, since its sources would be in use.
    """
    planned = [planner.plan(finding) for finding in findings]
    changed = True
    while changed:
        changed = False
        for index, one in enumerate(planned):
            blocker = next((other for other in planned if one.fix and _is_left_behind(one, other)), None)
            if blocker is not None:
                reason = f"`{blocker.finding.parameter}` is computed from the same source and cannot be fixed"
                planned[index] = Planned(one.finding, None, reason)
                changed = True
    return planned


def _is_left_behind(fixed: Planned, other: Planned) -> bool:
    if (
        other.fix is not None
        or other.finding is fixed.finding
        or "NAL001" not in (fixed.finding.code, other.finding.code)
    ):
        return False
    if other.finding.code != "NAL001" or other.finding.module_class != fixed.finding.module_class:
        return False
    return bool({s.name for s in fixed.finding.sources} & {s.name for s in other.finding.sources})
