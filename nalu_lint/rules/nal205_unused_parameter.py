"""NAL205 unused-parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel
    from nalu_lint.diagnostic import Finding


class UnusedParameterRule(Rule):
    """
    ## What it does
    Reports a trainable Parameter, or a layer with some, that nothing reads after construction. Opt-in.

    ## Why it matters
    It gets no gradient. It costs memory and space in checkpoints, makes distributed training fail or
    slow (`find_unused_parameters`), and is often the trace of a line that was forgotten in
    `forward`.

    ## Example
    ```python
    import torch
    from torch import nn


    class Affine(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(n))
            self.shift = nn.Parameter(torch.zeros(n))

        def forward(self, x):
            return x * self.scale
    ```

    ## Use instead
    ```python
    import torch
    from torch import nn


    class Affine(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(n))
            self.shift = nn.Parameter(torch.zeros(n))

        def forward(self, x):
            return x * self.scale + self.shift
    ```

    ## Known limits
    Silent where a base class is not known, where attributes are read by computed names, and where any
    code of the file reads an attribute of that name. Opt-in, because layers are kept for old
    checkpoints, and because code of other files may read them. What another Parameter was computed
    from is NAL001's.

    ## Fix safety
    No automatic fix: removing it changes the keys of `state_dict`.

    ## References
    - PyTorch documentation, `torch.nn.parallel.DistributedDataParallel`, `find_unused_parameters`.
    """

    code = "NAL205"
    name = "unused-parameter"
    on_by_default = False
    tokens = (b"Parameter", b"nn")

    def check(self, model: ClassModel) -> Iterator[Finding]:
        if model.is_open:
            return
        for unused in model.unused:
            message = (
                f"Nothing reads `{unused.name}` after construction: it gets no gradient. "
                "Use it, remove it, or freeze it with requires_grad_(False)"
            )
            yield finding(self, model, unused.span, message, unused.name)
