"""NAL001 derived-parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding, quoted, they

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel, DerivedParameter, SourceParameter
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


class DerivedParameterRule(Rule):
    """
    ## What it does
    Reports a Parameter whose value is computed, while the module is constructed, from other
    Parameters of which at least one trainable one is never read again.

    ## Why it matters
    `torch.nn.Parameter(t)` makes a new leaf: it takes the value of `t` and cuts its history. The
    Parameters that `t` was computed from get no gradient through it. If nothing reads them after
    construction, nothing can ever train them: the optimizer skips them, the model still
    converges on easy data, and nothing warns. A NAC written so is a plain linear layer.

    The rule also reports a source that is copied explicitly (`.detach()`, `copy.deepcopy`, under
    `torch.no_grad()`) and then never read: it is registered, and nothing trains it.

    ## Example
    ```python
    import torch
    from torch import nn


    class Cell(nn.Module):
        def __init__(self, n_in, n_out):
            super().__init__()
            self.scale = nn.Parameter(torch.randn(n_out, n_in))
            self.gate = nn.Parameter(torch.randn(n_out, n_in))
            self.kernel = nn.Parameter(torch.tanh(self.scale) * torch.sigmoid(self.gate))

        def forward(self, x):
            return x @ self.kernel.T
    ```

    ## Use instead
    Compute the value where it is used, so that each call builds the graph to its sources.
    ```python
    import torch
    from torch import nn


    class Cell(nn.Module):
        def __init__(self, n_in, n_out):
            super().__init__()
            self.scale = nn.Parameter(torch.randn(n_out, n_in))
            self.gate = nn.Parameter(torch.randn(n_out, n_in))

        def forward(self, x):
            kernel = torch.tanh(self.scale) * torch.sigmoid(self.gate)
            return x @ kernel.T
    ```

    ## Known limits
    The rule is silent where evidence is missing: a base class from outside the project (it may read the
    source), attribute names computed at run time, `self.__dict__`, the module handed to code that is
    not in the file, a source that may be frozen (`requires_grad=flag`). Base classes and functions of
    the project's other files are followed, except from files above 100 kB; layers of other files are
    not. Statements outside Module classes keep nothing alive: a training script that reads the source
    into its loss is not seen.

    ## Fix safety
    Unsafe: computing the value on use changes what trains and removes the derived Parameter from
    `state_dict`: old checkpoints hold a key that the new module does not have. It becomes a local
    where one method of the class reads it and nothing else in the file does, else a property: other
    files that read the attribute then find none. There is no fix where the value would be another one
    on use (drawn at random, made from arguments that may be tensors), where the copy is
    explicit, or where other code needs the attribute to be a Parameter.

    ## References
    - PyTorch documentation, `torch.nn.parameter.Parameter` and `torch.nn.utils.skip_init`: a module
      must not compute with its Parameters in its constructor, except to initialize them.
    - Trask et al., Neural Arithmetic Logic Units, 2018, arXiv:1808.00508, section 2. `nalu_reference.NAC` is its
      right form; [NAC, NALU and successors in PyTorch](../nalu.md) has more.
    """

    code = "NAL001"
    name = "derived-parameter"
    tokens = (b"Parameter", b"register_parameter")

    def check(self, model: ClassModel) -> Iterator[Finding]:
        if model.is_open:
            return
        for derived in model.derived_parameters:
            trainable = [s for s in derived.sources if s.is_trainable and not s.shares_storage]
            orphans = [s for s in trainable if s.is_orphan]
            if orphans and derived.is_used and not any(s.shares_storage for s in derived.sources):
                message = _message(derived, trainable, orphans)
                yield finding(self, model, derived.span, message, derived.name, tuple(trainable))

    def fix(self, finding: Finding, code: Code) -> Rewrite:
        from nalu_lint.fixing.on_use.plan import compute_on_use  # start-up time

        return compute_on_use(code, finding)


def _message(derived: DerivedParameter, trainable: list[SourceParameter], orphans: list[SourceParameter]) -> str:
    target = f"Parameter `{derived.name}`"
    if all(source.is_explicit for source in orphans):
        what = (
            f"{target} starts from a copy of {quoted(trainable)}, and nothing reads {quoted(orphans)} after "
            f"construction: {they(orphans)} no gradient"
        )
        pronoun = "it" if len(orphans) == 1 else "them"
        advice = f"Use {pronoun} in forward(), or do not make {pronoun} a Parameter"
    else:
        who = "they get" if len(orphans) == len(trainable) > 1 else they(orphans, trainable)
        what = f"{target} is computed once from {quoted(trainable)}; Parameter() detaches it, so {who} no gradient"
        advice = "Compute it in forward()"
    late = [source for source in trainable if source.is_initialised_later]
    if late:
        verb = "is" if len(late) == 1 else "are"
        what += f". It starts from uninitialised memory: {quoted(late)} {verb} initialised only afterwards"
    return f"{what}. {advice}"
