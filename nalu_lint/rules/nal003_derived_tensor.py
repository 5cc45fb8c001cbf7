"""NAL003 derived-tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


class DerivedTensorRule(Rule):
    """
    ## What it does
    Reports a plain tensor attribute or a buffer that is computed from Parameters while the module is
    constructed, read afterwards, and never computed again.

    ## Why it matters
    The tensor is stale after one step of the optimizer: the Parameters move, and it does not. It also
    keeps the graph that made it: the second `backward()` fails, because that graph's buffers are
    freed by the first. And it does not follow `.to()`, since the module does not own it.

    ## Example
    ```python
    import torch
    from torch import nn


    class Gate(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.logit = nn.Parameter(torch.zeros(n))
            self.gate = torch.sigmoid(self.logit)

        def forward(self, x):
            return self.gate * x
    ```

    ## Use instead
    ```python
    import torch
    from torch import nn


    class Gate(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.logit = nn.Parameter(torch.zeros(n))

        def forward(self, x):
            return torch.sigmoid(self.logit) * x
    ```

    ## Known limits
    The rule is silent about tensors that are detached explicitly, as long as the Parameter itself is
    also used: a snapshot of the starting values is common and correct. It is silent about classes
    whose base class comes from a library, which may compute the value again. A view that is kept
    (`self.w_t = self.weight.t()`) is reported: it follows the steps of the optimizer, but not `.to()`
    or `copy.deepcopy`.

    ## Fix safety
    Unsafe: computing the value on use changes what trains, and removes a buffer from `state_dict`.
    It becomes a local where one method reads it, else a property. Safe for a view that is kept as a
    plain attribute: it trains as it did, and has no key in `state_dict`.

    ## References
    - PyTorch documentation, "Autograd mechanics": saved tensors are freed by `backward()`.
    """

    code = "NAL003"
    name = "derived-tensor"
    tokens = (b"Parameter", b"weight", b"bias", b"parameters")

    def check(self, model: ClassModel) -> Iterator[Finding]:
        if model.is_open:
            return
        for tensor in model.derived_tensors:
            trainable = [s for s in tensor.sources if s.is_registered and s.is_trainable]
            # A snapshot that says so may be meant, unless it is all that is ever used of the source.
            sources = [s for s in trainable if s.is_orphan or not s.is_explicit]
            if sources and tensor.is_read and not tensor.is_rewritten:
                if all(source.shares_storage for source in sources):
                    what = "is a view of {} made once: it does not follow .to() or deepcopy"
                else:
                    what = "is computed once from {}: it is stale after the first step"
                message = f"Tensor `{tensor.name}` {what.format(quoted(sources))}. Compute it in forward()"
                yield finding(self, model, tensor.span, message, tensor.name, tuple(sources))

    def fix(self, finding: Finding, code: Code) -> Rewrite:
        from nalu_lint.fixing.on_use.plan import compute_on_use  # start-up time

        return compute_on_use(code, finding)
