"""NAL201 rebound-parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


class ReboundParameterRule(Rule):
    """
    ## What it does
    Reports a registered Parameter, of the module itself or of a submodule, that is replaced by a new
    Parameter on the forward path.

    ## Why it matters
    The optimizer was given the Parameter that the constructor made, and keeps it: after the first
    call it steps a tensor that the module no longer has. The new Parameter is in no optimizer. Its
    value still changes, if it is computed from the old one, but never by a gradient.

    ## Example
    ```python
    import torch
    from torch import nn


    class Mixture(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.share = nn.Parameter(torch.rand(n))

        def forward(self, x):
            self.share = nn.Parameter(torch.softmax(self.share, dim=0))
            return x @ self.share
    ```

    ## Use instead
    Keep the Parameter, and put the computed value in a local variable.
    ```python
    import torch
    from torch import nn


    class Mixture(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.share = nn.Parameter(torch.rand(n))

        def forward(self, x):
            share = torch.softmax(self.share, dim=0)
            return x @ share
    ```

    ## Known limits
    Silent about Parameters that may be frozen, about what runs only outside training, and about
    methods that `forward` does not reach (resizing an embedding, loading a checkpoint): build the
    optimizer after those.

    ## Fix safety
    Unsafe: the value becomes a local variable of the method, the reads behind it take that, and the
    Parameter gets a gradient. The first forward pass computes the same; later ones start from the
    Parameter, and no longer from what the pass before left. Display-only where more than that method may
    read the attribute (another method, a base class, what the module is handed to), where a read may
    come without the assignment, where the assignment may run several times in one pass or without
    gradients, and for Parameters of submodules.

    ## References
    - PyTorch documentation, `torch.optim`: construct the optimizer from the Parameters that are to be
      stepped, which must stay the same objects.
    """

    code = "NAL201"
    name = "rebound-parameter"
    tokens = (b"Parameter",)

    def check(self, model: ClassModel) -> Iterator[Finding]:
        for rebound in model.rebound:
            message = (
                f"Parameter `{rebound.name}` is replaced by a new one in {rebound.function}(): the optimizer keeps "
                "stepping the old one. Keep the Parameter, and put the computed value in a local variable"
            )
            yield finding(self, model, rebound.span, message, rebound.name, (rebound.source,))

    def fix(self, finding: Finding, code: Code) -> Rewrite:
        from nalu_lint.fixing.small.rebound import keep  # start-up time

        return keep(code, finding)
