"""NAL302 requires-grad-without-effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import FileModel
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


class RequiresGradWithoutEffectRule(Rule):
    """
    ## What it does
    Reports `requires_grad` set on a module, and misspelt names of it (`require_grad`,
    `requires_gradient`, ...).

    ## Why it matters
    `requires_grad` is an attribute of tensors. On a module, or under another name, the assignment
    makes a new attribute that nothing reads: what was to be frozen continues to train, or what was to
    be thawed stays frozen, and nothing warns.

    ## Example
    ```python
    from torch import nn


    class Probe(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(8, 8)
            self.head = nn.Linear(8, 2)
            self.body.requires_grad = False

        def forward(self, x):
            return self.head(self.body(x))
    ```

    ## Use instead
    ```python
    from torch import nn


    class Probe(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(8, 8)
            self.head = nn.Linear(8, 2)
            self.body.requires_grad_(False)

        def forward(self, x):
            return self.head(self.body(x))
    ```

    ## Known limits
    A module is known as one where it is made by a class of torch.nn or of the same file. A misspelt
    name that the file also reads is taken for an attribute of its own.

    ## Fix safety
    Unsafe: `requires_grad_(...)`, or the right spelling, does what was meant, and changes what trains.

    ## References
    - PyTorch documentation, `torch.nn.Module.requires_grad_`.
    """

    code = "NAL302"
    name = "requires-grad-without-effect"
    tokens = (b"require", b"grad")

    def check_file(self, model: FileModel) -> Iterator[Finding]:
        for flag in model.ineffective_flags:
            if flag.is_misspelt:
                message = (
                    f"`{flag.attribute}` is not an attribute of tensors: setting it has no effect. Use requires_grad"
                )
            elif flag.attribute == "requires_grad_":
                message = f"`{flag.target}.requires_grad_` is replaced instead of called: use requires_grad_(...)"
            elif flag.attribute == "==":
                message = f"`{flag.target}` is only compared: use `=` to set it"
            else:
                message = (
                    f"`{flag.target}` is a module: setting requires_grad on it has no effect on its Parameters. "
                    "Use requires_grad_()"
                )
            yield finding(self, None, flag.span, message)

    def fix(self, finding: Finding, code: Code) -> Rewrite:
        from nalu_lint.fixing.small.flags import set_flag  # start-up time

        return set_flag(code, finding)
