"""What a rule is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.model import ClassModel
    from nalu_lint.diagnostic import Finding


class Rule:
    """A rule reads the semantic model of a Module class and says what is wrong with it.

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

    def check(self, model: ClassModel) -> Iterator[Finding]:
        """Findings of this rule in one class."""
        raise NotImplementedError
