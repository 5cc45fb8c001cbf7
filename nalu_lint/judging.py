"""What the rules find in one text: sieve, outline, model, rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.analysis.sieve import firing as sieve
from nalu_lint.errors import UnreadableError
from nalu_lint.source_text import parse

if TYPE_CHECKING:
    import ast

    from nalu_lint.analysis.index.project import Project
    from nalu_lint.diagnostic import Finding


class InternalError(Exception):
    """A defect of the analysis, and the file that shows it."""


def firing_in(source: bytes, selected: frozenset[str]) -> frozenset[str]:
    """The rules that the sieve, which knows rows by their new lines, lets through."""
    if b"\r" in source and b"\n" not in source:
        source = source.replace(b"\r", b"\n")
    return sieve.firing(source, selected)


def find(
    text: str,
    tree: ast.Module,
    codes: frozenset[str],
    path: str = "",
    project: Project | None = None,
    notes: list[str] | None = None,
) -> list[Finding]:
    """What the rules `codes` find in one text, each thing once. What they cannot judge is added to `notes`."""
    from nalu_lint import nesting
    from nalu_lint.analysis import file_model  # start-up time
    from nalu_lint.analysis.index.outline import SourceFile
    from nalu_lint.rules import all_rules

    rules = [rule for code, rule in all_rules().items() if code in codes]
    try:
        nesting.check(tree, text)
        file = SourceFile(text, tree, path, project)
        model = file_model(file, codes)
        findings = [f for rule in rules for one in model.classes for f in rule.check(one)]
        findings += [f for rule in rules for f in rule.check_file(model)]
        if notes is not None:
            notes += dict.fromkeys((*model.unfollowed, *file.notes))
        file.release()
    except RecursionError as error:
        raise UnreadableError(nesting.REASON) from error
    except Exception as error:
        raise InternalError(defect(error)) from error
    # A class, those that inherit from it and those that hold one may show the same place: by its own names.
    findings.sort(key=lambda f: -sum(source.name.count(".") for source in f.sources))
    return list({(f.code, f.span): f for f in findings}.values())


def recheck(
    text: str, always: frozenset[str], selected: frozenset[str], path: str = "", project: Project | None = None
) -> list[Finding]:
    """What a check of a text finds, and what the rules `always` find in any case. Raises UnreadableError."""
    codes = firing_in(text.encode("utf-8", "surrogatepass"), selected)
    return find(text, parse(text), codes | always, path, project)


def defect(error: Exception) -> str:
    """A defect of the analysis, in one line."""
    try:
        text = str(error).partition("\n")[0][:200]
    except RecursionError:
        text = "nested too deeply to be shown"
    return f"internal error: {type(error).__name__}: {text}; please report it"
