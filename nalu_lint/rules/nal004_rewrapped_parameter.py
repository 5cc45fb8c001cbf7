"""NAL004 rewrapped-parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.rules.base import Rule, finding, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nalu_lint.analysis.facts import ClassModel
    from nalu_lint.diagnostic import Finding
    from nalu_lint.fixing.common.changes import Rewrite
    from nalu_lint.fixing.common.code import Code


class RewrappedParameterRule(Rule):
    """
    ## What it does
    Reports a Parameter that wraps the storage of another Parameter, whole or a view of it, once more.

    ## Why it matters
    Both are Parameters of the module, over the same memory. Each gets only its own share of the
    gradient and its own optimizer state, and each step writes the memory twice. And the tie is made
    of memory alone: `.to(dtype)`, `.to(device)`, `copy.deepcopy` and loading with `assign=True`
    silently break it.

    ## Example
    ```python
    from torch import nn


    class LanguageModel(nn.Module):
        def __init__(self, n_words, n):
            super().__init__()
            self.embed = nn.Embedding(n_words, n)
            self.head = nn.Linear(n, n_words, bias=False)
            self.head.weight = nn.Parameter(self.embed.weight)

        def forward(self, words):
            return self.head(self.embed(words))
    ```

    ## Use instead
    Make both attributes the same Parameter. For a transposed or sliced one, take the view in
    `forward()`; for a copy, say so with `.detach().clone()`.
    ```python
    from torch import nn


    class LanguageModel(nn.Module):
        def __init__(self, n_words, n):
            super().__init__()
            self.embed = nn.Embedding(n_words, n)
            self.head = nn.Linear(n, n_words, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, words):
            return self.head(self.embed(words))
    ```

    ## Known limits
    Only Parameters that the analysis can name on both sides: a Parameter taken from a constructor
    argument, or from a module of a class in another file, is not followed. `reshape()` and
    `flatten()` are taken for views, which they are of a contiguous Parameter; `.contiguous()` and
    `.to()` are taken for copies.

    ## Fix safety
    Unsafe: the real tie changes what trains, and `parameters()` then yields one Parameter where there
    were two. Display-only for a view, and where the history is cut on the way.

    ## References
    - PyTorch documentation, `torch.nn.Module.parameters`: shared Parameters are yielded once.
    """

    code = "NAL004"
    name = "rewrapped-parameter"
    tokens = (b"Parameter", b"register_parameter")

    def check(self, model: ClassModel) -> Iterator[Finding]:
        for derived in model.derived_parameters:
            sources = [s for s in derived.sources if s.shares_storage and s.is_registered]
            if sources and (derived.is_trainable or any(s.is_trainable for s in sources)):
                message = (
                    f"Parameter `{derived.name}` wraps the storage of {quoted(sources)} once more: gradients, .to(), "
                    "deepcopy and optimizers see two Parameters. Assign the Parameter itself, or copy it with "
                    ".detach().clone()"
                )
                yield finding(self, model, derived.span, message, derived.name, tuple(sources))

    def fix(self, finding: Finding, code: Code) -> Rewrite:
        from nalu_lint.fixing.small.tie import tie  # start-up time

        return tie(code, finding)
