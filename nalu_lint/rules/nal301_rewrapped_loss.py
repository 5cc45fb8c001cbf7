"""NAL301 rewrapped-loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import FileModel
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


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
    Unsafe: the re-wrap goes away, and `backward()` trains what the loss was computed from. Where the
    re-wrap only silenced "does not require grad", `backward()` raises that again, at the place where
    the history is missing: what cut it has to be found. There is no fix where the wrapped value is a
    number or an array (`loss.item()`, a metric of another library) or may be one, where something
    reads the gradient of the new leaf, and where the loss is carried from one round of a loop to the
    next. Display-only for a list of losses, which `torch.stack` puts together.

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

    def fix(self, finding: Finding, code: Code) -> Rewrite:
        from nalu_lint.fixing.small.loss import unwrap  # start-up time

        return unwrap(code, finding)
