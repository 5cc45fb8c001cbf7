"""NAL101 lost-parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel, LostParameter
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


class LostParameterRule(Rule):
    """
    ## What it does
    Reports an attribute that is given the result of an operation on a new Parameter, instead of the
    Parameter: `Parameter(...).to(device)`, `.cuda()`, `.half()`, `Parameter(...) * 0.1`.

    ## Why it matters
    The result is a plain tensor. The module does not register it, so `parameters()` does not yield
    it, no optimizer steps it, `state_dict()` does not save it, and `.to()` leaves it behind. The
    Parameter itself is kept alive by the graph only.

    A conversion such as `.to(device)` returns the Parameter itself where there is nothing to convert:
    the code works on the CPU and loses its Parameter on a GPU.

    ## Example
    ```python
    import torch
    from torch import nn


    class Scale(nn.Module):
        def __init__(self, n, device):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(n)).to(device)

        def forward(self, x):
            return x * self.gain
    ```

    ## Use instead
    Make the tensor first and wrap it last.
    ```python
    import torch
    from torch import nn


    class Scale(nn.Module):
        def __init__(self, n, device):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(n, device=device))

        def forward(self, x):
            return x * self.gain
    ```

    ## Known limits
    Silent about `.float()`, `.cpu()` and `.contiguous()` on a new Parameter, which return it as it
    is, and about `.data` and `.detach()`, which say what they do.

    ## Fix safety
    Unsafe: the attribute becomes a Parameter, which trains and has a key in `state_dict`. What is done
    with the Parameter moves inside of it: conversions, changes of shape, and arithmetic with numbers,
    which then scales the initial value. There is no fix for other operations, nor where the attribute
    is assigned again or changed in place, which a Parameter does not allow.

    ## References
    - PyTorch documentation, `torch.nn.parameter.Parameter`, `torch.Tensor.to`.
    """

    code = "NAL101"
    name = "lost-parameter"
    tokens = (b"Parameter",)

    def check(self, model: ClassModel) -> Iterator[Finding]:
        for lost in model.lost:
            yield finding(self, model, lost.span, _message(lost), lost.name)

    def fix(self, finding: Finding, code: Code) -> Rewrite:
        from nalu_lint.fixing.small.wrapped_last import wrap_last  # start-up time

        return wrap_last(code, finding)


def _message(lost: LostParameter) -> str:
    how = f".{lost.operation}()" if lost.operation else "an operation"
    what = f"`{lost.name}` holds the result of {how} on a Parameter, which is not a Parameter"
    if lost.is_conversion:
        what += " (except where there is nothing to convert)"
    return f"{what}: nothing registers or trains it. Make the tensor first and wrap it last"
