"""NAL203 parameter-under-no-grad."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


class ParameterUnderNoGradRule(Rule):
    """
    ## What it does
    Reports a trainable Parameter, or a layer with some, that the forward path reads only where
    gradients are disabled: under `torch.no_grad()`, `torch.inference_mode()` or
    `set_grad_enabled(False)`, as a block, a decorator, or around the call of a helper.

    ## Why it matters
    What is computed there has no history: the output depends on the Parameter, and no gradient finds
    the way back. The Parameter keeps its initial value, and nothing warns, since the rest of the
    model trains.

    ## Example
    ```python
    import torch
    from torch import nn


    class Attention(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.score = nn.Linear(n, 1)
            self.value = nn.Linear(n, n)

        def forward(self, x):
            with torch.no_grad():
                weights = torch.softmax(self.score(x), dim=1)
            return weights * self.value(x)
    ```

    ## Use instead
    Compute it outside the block, or freeze the layer, so that the code says what is meant.
    ```python
    import torch
    from torch import nn


    class Attention(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.score = nn.Linear(n, 1)
            self.value = nn.Linear(n, n)

        def forward(self, x):
            weights = torch.softmax(self.score(x), dim=1)
            return weights * self.value(x)
    ```

    ## Known limits
    Silent about models that bring their weights along (a pretrained encoder under `no_grad()` is a
    feature extractor), about modules whose whole `forward` runs without gradients, and where the
    Parameter may be frozen, is changed in place after construction (a momentum encoder), or is read
    by other code of the file.

    ## Fix safety
    Display-only: the block may be meant, and the layer is then to be frozen.

    ## References
    - PyTorch documentation, "Locally disabling gradient computation".
    """

    code = "NAL203"
    name = "parameter-under-no-grad"
    tokens = (b"no_grad", b"inference_mode", b"set_grad_enabled")

    def check(self, model: ClassModel) -> Iterator[Finding]:
        if model.is_open:
            return
        for cut in model.cut:
            if cut.cut == "no_grad":
                what = "Layer" if cut.is_layer and "." not in cut.name else "Parameter"
                message = (
                    f"{what} `{cut.name}` is only used under {cut.how}: it gets no gradient. "
                    "Use it outside the block, or freeze it with requires_grad_(False)"
                )
                yield finding(self, model, cut.span, message, cut.name, (cut.source,))

    def fix(self, finding: Finding, code: Code) -> Rewrite:
        from nalu_lint.fixing.small.cut_reads import move_out  # start-up time

        return move_out(code, finding)
