"""NAL102 hidden-parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


class HiddenParameterRule(Rule):
    """
    ## What it does
    Reports a plain list, tuple, dict or set of Parameters, or of modules that have some, which the
    class uses after construction and registers nowhere.

    ## Why it matters
    A module finds its Parameters in its attributes, in other modules and in PyTorch's own
    containers, not inside plain ones. What is in there gets gradients, but `parameters()` does not
    yield it: no optimizer steps it, `.to()` leaves it behind and `state_dict()` does not save it.

    ## Example
    ```python
    from torch import nn


    class Stack(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.layers = [nn.Linear(n, n) for _ in range(3)]

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
    ```

    ## Use instead
    ```python
    from torch import nn


    class Stack(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(n, n) for _ in range(3))

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
    ```

    ## Known limits
    Silent where what the container holds is also registered (`nn.Sequential(*self.layers)`,
    `add_module`), frozen, used under `torch.no_grad()` only, given to the constructor from outside,
    handed to code that is not in the file, or read by other code of the file, which may give it to
    an optimizer. Classes and functions that make the layers are followed to other files of the
    project; those of other packages are unknown and do not count.

    ## Fix safety
    Unsafe: a list or tuple becomes an `nn.ModuleList` or `nn.ParameterList`, a dictionary an
    `nn.ModuleDict` or `nn.ParameterDict`, each in turn where they are nested. That changes what
    trains and the keys of `state_dict`; layers then follow `train()` and `eval()`, and code that
    goes through all modules (`apply`, `modules()`), for example to initialize them, reaches them.

    Shown and not applied: dictionaries with numbers or tuples as keys, since both containers take
    strings alone, and with keys of which it is not known that there is no dot in them. There is no fix
    where one of the elements is not certainly a layer, or a Parameter; for sets, which have no order;
    for keys that the containers refuse (`"keys"`, `"a.b"`); and where something is done with the
    container that those of PyTorch do not do alike, such as `get` on a dictionary of layers,
    `torch.stack` of a list of Parameters, a copy or a comparison; nor where a base class in another
    file mentions the attribute.

    ## References
    - PyTorch documentation, `torch.nn.ModuleList`, `torch.nn.ModuleDict`, `torch.nn.ParameterList`,
      `torch.nn.ParameterDict`.
    """

    code = "NAL102"
    name = "hidden-parameter"
    tokens = (b"nn",)

    def check(self, model: ClassModel) -> Iterator[Finding]:
        for hidden in model.hidden:
            kind = "Module" if hidden.holds_modules else "Parameter"
            container = f"nn.{kind}{'Dict' if hidden.container == 'dict' else 'List'}"
            what = "modules with Parameters" if hidden.holds_modules else "Parameters"
            message = (
                f"`{hidden.name}` is a plain {hidden.container} of {what}: parameters() does not yield them, "
                f"so no optimizer steps them. Keep them in {container}"
            )
            yield finding(self, model, hidden.span, message, hidden.name)

    def fix(self, finding: Finding, code: Code) -> Rewrite:
        from nalu_lint.fixing.containers.register import register  # start-up time

        return register(code, finding)
