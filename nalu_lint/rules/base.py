"""What a rule is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from nalu_lint.diagnostic import Finding, Source, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nalu_lint.analysis.facts import ClassModel, FileModel, SourceParameter
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


class Rule:
    """A rule reads the semantic model of a Module class, or of a file, and says what is wrong with it.

    The docstring of each rule is its documentation, in fixed sections: What it does, Why it
    matters, Example, Use instead, Known limits, Fix safety, References. The code block under
    Example is reported by exactly this rule, the one under "Use instead" is clean: the tests
    run both.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    on_by_default: ClassVar[bool] = True
    # Without at least one of these byte strings in a file the rule cannot fire in it.
    tokens: ClassVar[tuple[bytes, ...]]

    @property
    def has_fixes(self) -> bool:
        """Whether the rule fixes any of its findings."""
        return type(self).fix is not Rule.fix

    def check(self, model: ClassModel) -> Iterable[Finding]:
        """Findings of this rule in one class."""
        return ()

    def check_file(self, model: FileModel) -> Iterable[Finding]:
        """Findings of this rule outside classes: in functions and at module level."""
        return ()

    def fix(self, finding: Finding, code: Code) -> Rewrite | None:
        """What removes a finding of this rule; None where the rule has no fixes.

        It need not be proven: the result is checked again before it counts. Raises `fixing.common.refused.Refused`,
        with the reason, where there is none for this finding.
        """
        return None


def finding(
    rule: Rule,
    model: ClassModel | None,
    span: Span,
    message: str,
    parameter: str | None = None,
    sources: tuple[SourceParameter | Source, ...] = (),
) -> Finding:
    """What `rule` says about the attribute `parameter` of a class, or about code outside classes."""
    return Finding(
        code=rule.code,
        name=rule.name,
        message=message,
        span=span,
        parameter=parameter,
        sources=tuple(map(_source, sources)),
        module_class=None if model is None else model.name,
    )


def _source(found: SourceParameter | Source) -> Source:
    return Source(found.name, found.span, found.is_explicit, found.shares_storage)


def quoted(sources: Sequence[SourceParameter]) -> str:
    return quoted_names(source.name for source in sources)


def quoted_names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def they(subject: Sequence[SourceParameter], among: Sequence[SourceParameter] = ()) -> str:
    """The subject and verb of "... no gradient": a pronoun where it is clear which are meant."""
    if len(subject) == len(among) == 1 or not among:
        return "it gets" if len(subject) == 1 else "they get"
    return f"{quoted(subject)} {'gets' if len(subject) == 1 else 'get'}"
