"""NAL002 untied-parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


class UntiedParameterRule(Rule):
    """
    ## What it does
    Reports a Parameter whose value is computed, while the module is constructed, from other
    Parameters that are all still in use. Opt-in.

    ## Why it matters
    The relation holds until the first step of the optimizer. After it the two sides are independent.
    That can be meant (a magnitude that starts as the norm of a weight) or a constraint that is
    silently lost (`rest = 1 - share`).

    ## Example
    ```python
    import torch
    from torch import nn


    class Mix(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.share = nn.Parameter(torch.rand(n))
            self.rest = nn.Parameter(1 - self.share)

        def forward(self, x, y):
            return self.share * x + self.rest * y
    ```

    ## Use instead
    Keep one Parameter and compute the other value from it; or copy it explicitly, with `.detach()`.
    ```python
    import torch
    from torch import nn


    class Mix(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.share = nn.Parameter(torch.rand(n))

        def forward(self, x, y):
            return self.share * x + (1 - self.share) * y
    ```

    ## Known limits
    Whether the relation was meant to last cannot be seen in the code: the rule is for reviews.

    ## Fix safety
    Display-only: both intentions are common. The rewrite that keeps the relation is shown.

    ## References
    - PyTorch documentation, `torch.nn.parameter.Parameter`.
    """

    code = "NAL002"
    name = "untied-parameter"
    on_by_default = False
    tokens = (b"Parameter", b"register_parameter")

    def check(self, model: ClassModel) -> Iterator[Finding]:
        if model.is_open:
            return
        for derived in model.derived_parameters:
            sources = [s for s in derived.sources if s.is_registered and s.is_trainable]
            untied = [s for s in sources if not s.is_explicit and not s.shares_storage]
            in_use = all(s.is_read and not s.shares_storage for s in sources)
            if untied and derived.is_used and in_use:
                message = (
                    f"Parameter `{derived.name}` starts as a function of {quoted(untied)} and is independent after "
                    "the first step. Compute it in forward() if the relation is meant to last"
                )
                yield finding(self, model, derived.span, message, derived.name, tuple(untied))

    def fix(self, finding: Finding, code: Code) -> Rewrite:
        from nalu_lint.fixing.on_use.plan import compute_on_use  # start-up time

        return compute_on_use(code, finding)._replace(applicability="display")
