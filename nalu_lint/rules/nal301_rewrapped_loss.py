"""NAL301 rewrapped-loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import FileModel
    from nalu_lint.diagnostic import Finding


class RewrappedLossRule(Rule):
    """
    ## What it does
    Reports `backward()` on a tensor that has just been made a leaf of its own: `Variable(loss,
    requires_grad=True)`, `torch.tensor(loss, requires_grad=True)`, `loss.requires_grad = True`,
    `loss.detach().requires_grad_()`.

    ## Why it matters
    The new tensor has the value of the loss and none of its history: `backward()` stops there, no
    Parameter gets a gradient, and nothing warns. It is usually written to silence "element 0 of
    tensors does not require grad", which was right: something before cut the graph.
    `loss.requires_grad = True` raises an error where there is a graph, so where it does not raise,
    there is none.

    ## Example
    ```python
    import torch


    def step(model, criterion, optimizer, x, y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss = torch.tensor(loss, requires_grad=True)
        loss.backward()
        optimizer.step()
    ```

    ## Use instead
    ```python
    import torch


    def step(model, criterion, optimizer, x, y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    ```

    ## Known limits
    Looks at one function at a time: the tensor and the call to `backward()` must stand in the same
    one. `.requires_grad_()` alone is not reported, since it does nothing to a tensor with a graph.

    ## Fix safety
    No automatic fix: what cut the graph before has to be found.

    ## References
    - PyTorch documentation, `torch.Tensor.requires_grad`, `torch.tensor`.
    """

    code = "NAL301"
    name = "rewrapped-loss"
    tokens = (b"backward",)

    def check_file(self, model: FileModel) -> Iterator[Finding]:
        for loss in model.rewrapped_losses:
            what = f"`{loss.name}` is a new leaf" if loss.name else "This is a new leaf"
            message = (
                f"{what} without history ({loss.how}): backward() stops there, and no Parameter gets a gradient. "
                "Call backward() on the loss itself"
            )
            yield finding(self, None, loss.span, message)
