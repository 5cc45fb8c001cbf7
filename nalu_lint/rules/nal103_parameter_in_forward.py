"""NAL103 parameter-in-forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel
    from nalu_lint.diagnostic import Finding


class ParameterInForwardRule(Rule):
    """
    ## What it does
    Reports a Parameter, or a layer that has some, that is made on the forward path: in `forward`,
    `training_step` and the like, and in the methods and functions that they call.

    ## Why it matters
    It is new at each call, with fresh random or constant values, and no optimizer has it: it never
    trains, and its values change (or do not) from call to call. A `nn.Linear` made in `forward` is a
    random projection.

    ## Example
    ```python
    import torch
    from torch import nn


    class Head(nn.Module):
        def forward(self, x):
            return nn.Linear(x.shape[-1], 10)(x)
    ```

    ## Use instead
    Make it in the constructor; where the size is known only in `forward`, use a lazy layer.
    ```python
    import torch
    from torch import nn


    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.project = nn.LazyLinear(10)

        def forward(self, x):
            return self.project(x)
    ```

    ## Known limits
    Silent about what is made only once (`if self.weight is None: ...`), outside training, under
    `torch.no_grad()`, with `requires_grad=False`, or in a function that optimizes something of its
    own (it calls `backward()`), and about layers whose weights are given to them afterwards
    (`conv.weight.data = kernel`). A Parameter made once, on the first call, is reported nowhere,
    though an optimizer that was built before does not have it.

    ## Fix safety
    No automatic fix: the Parameter's shape may be known only in `forward`.

    ## References
    - PyTorch documentation, `torch.nn.Module`, `torch.nn.LazyLinear`.
    """

    code = "NAL103"
    name = "parameter-in-forward"
    tokens = (b"Parameter", b"nn")

    def check(self, model: ClassModel) -> Iterator[Finding]:
        for made in model.created:
            what = f"Parameter `{made.name}`" if made.what == "Parameter" and made.name else made.what
            message = (
                f"{what} is made in {made.function}(): it is new and untrained at each call, and no optimizer "
                "has it. Make it in __init__()"
            )
            yield finding(self, model, made.span, message, made.name or None)
