"""NAL303 parameter-after-optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import FileModel
    from nalu_lint.diagnostic import Finding


class ParameterAfterOptimizerRule(Rule):
    """
    ## What it does
    Reports a layer or Parameter that is put into a model after the optimizer was built from
    `model.parameters()` in the same function, and is not handed to it.

    ## Why it matters
    The optimizer holds the Parameters that the model had when it was built. The new layer gets
    gradients and is never stepped; a layer that it replaces is stepped and no longer used.

    ## Example
    ```python
    import torch
    from torch import nn


    def finetune(model, n_classes):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model.fc = nn.Linear(512, n_classes)
        return model, optimizer
    ```

    ## Use instead
    ```python
    import torch
    from torch import nn


    def finetune(model, n_classes):
        model.fc = nn.Linear(512, n_classes)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return model, optimizer
    ```

    ## Known limits
    Looks at one function at a time. Silent where the optimizer is built again, or the Parameters are
    added with `add_param_group()`.

    ## Fix safety
    No automatic fix: statements would have to change places.

    ## References
    - PyTorch documentation, `torch.optim`, "Constructing it".
    """

    code = "NAL303"
    name = "parameter-after-optimizer"
    tokens = (b"optim",)

    def check_file(self, model: FileModel) -> Iterator[Finding]:
        for late in model.late_parameters:
            message = (
                f"`{late.target}` is put into `{late.model}` after `{late.optimiser}` was built from its Parameters: "
                "nothing steps it. Build the optimizer after the model is complete"
            )
            yield finding(self, None, late.span, message, late.target)
