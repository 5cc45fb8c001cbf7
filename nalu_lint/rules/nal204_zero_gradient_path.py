"""NAL204 zero-gradient-path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel
    from nalu_lint.diagnostic import Finding


class ZeroGradientPathRule(Rule):
    """
    ## What it does
    Reports a trainable Parameter whose every path to the output passes an operation without a useful
    gradient: `sign`, `round`, `floor`, `argmax`, a comparison, a cast to integers. Opt-in.

    ## Why it matters
    The gradient of a step is zero wherever there is one: the output depends on the Parameter, and no
    step of an optimizer ever changes it.

    ## Example
    ```python
    import torch
    from torch import nn


    class Threshold(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.layer = nn.Linear(n, n)
            self.level = nn.Parameter(torch.zeros(n))

        def forward(self, x):
            x = self.layer(x)
            return x * (x > self.level)
    ```

    ## Use instead
    A differentiable surrogate, or a straight-through estimator.
    ```python
    import torch
    from torch import nn


    class Threshold(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.layer = nn.Linear(n, n)
            self.level = nn.Parameter(torch.zeros(n))

        def forward(self, x):
            x = self.layer(x)
            return x * torch.sigmoid(x - self.level)
    ```

    ## Known limits
    As NAL202. Opt-in, because quantizers and other discrete layers are often trained by other means
    than gradients.

    ## Fix safety
    No automatic fix: there are many surrogates.

    ## References
    - Bengio, Leonard, Courville, Estimating or Propagating Gradients Through Stochastic Neurons, 2013,
      arXiv:1308.3432.
    """

    code = "NAL204"
    name = "zero-gradient-path"
    on_by_default = False
    tokens = (b"Parameter", b"nn")

    def check(self, model: ClassModel) -> Iterator[Finding]:
        if model.is_open:
            return
        for cut in model.cut:
            if cut.cut == "zero":
                what = "Layer" if cut.is_layer and "." not in cut.name else "Parameter"
                message = (
                    f"Every path of {what} `{cut.name}` to the output passes {cut.how}, whose gradient is zero or "
                    "missing. Use a differentiable surrogate, such as a straight-through estimator"
                )
                yield finding(self, model, cut.span, message, cut.name, (cut.source,))
