"""NAL202 detached-parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


class DetachedParameterRule(Rule):
    """
    ## What it does
    Reports a trainable Parameter that the forward path reads only through `.data`, `.detach()`,
    `.item()`, `.numpy()`, `torch.tensor(...)` and the like.

    ## Why it matters
    Each of these cuts the history: the output depends on the Parameter's value, and no gradient
    finds the way back. The Parameter keeps its initial value, and nothing warns, since the input and
    the other layers still get their gradients.

    ## Example
    ```python
    import torch
    from torch import nn


    class Linear(nn.Module):
        def __init__(self, n_in, n_out):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(n_in, n_out))

        def forward(self, x):
            return torch.relu(x @ self.weight.data)
    ```

    ## Use instead
    ```python
    import torch
    from torch import nn


    class Linear(nn.Module):
        def __init__(self, n_in, n_out):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(n_in, n_out))

        def forward(self, x):
            return torch.relu(x @ self.weight)
    ```

    ## Known limits
    Silent where the Parameter may be frozen, is changed in place after construction (an average, a
    codebook), is read by other code of the file, or is handed to code that is not in the file, and
    where a method of the class that others may call reads it plainly.

    ## Fix safety
    Unsafe, since the Parameter then trains: where `.data` is all that cuts the history, it goes from
    every read on the forward path. Display-only for other cuts, which may be meant (the Parameter is
    then to be a buffer), and where the data are changed in place, stored, or handed to NumPy.

    ## References
    - PyTorch documentation, `torch.Tensor.detach`.
    """

    code = "NAL202"
    name = "detached-parameter"
    tokens = (b"Parameter", b"nn")

    def check(self, model: ClassModel) -> Iterator[Finding]:
        if model.is_open:
            return
        for cut in model.cut:
            if cut.cut == "detach":
                what = "Layer" if cut.is_layer and "." not in cut.name else "Parameter"
                message = (
                    f"{what} `{cut.name}` is only read through {cut.how}, which cuts it from the graph: it gets no "
                    "gradient. Use the Parameter itself"
                )
                yield finding(self, model, cut.span, message, cut.name, (cut.source,))

    def fix(self, finding: Finding, code: Code) -> Rewrite:
        from nalu_lint.fixing.small.cut_reads import read_plainly  # start-up time

        return read_plainly(code, finding)
