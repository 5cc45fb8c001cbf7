"""Attributes that sound like `requires_grad` and are none: what they contradict, and where the code sets them."""

from __future__ import annotations

import ast
import linecache
import re
import sys
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.diagnostic import Position, Span
from nalu_lint.probe.places import Place, column, is_users

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

# requires_grad and its misspellings: require_grad, requires_gard, required_grad, requires_gradient, ...
_FLAG = re.compile(r"requir\w{1,3}_?g(ra|ar)d\w{0,6}")


class Flag(NamedTuple):
    """An attribute that sounds like `requires_grad`, and says another thing than is true."""

    owner: str  # of a module, or of a Parameter
    attribute: str
    value: bool

    @property
    def place(self) -> Place | None:
        """The assignment in the user's code; where there are several, one that names the owner goes first."""
        name = self.owner.rpartition(".")[2]
        found = sorted(
            _assignments(self.attribute, self.value), key=lambda pair: not re.search(rf"\b{name}\b", pair[0])
        )
        return found[0][1] if found else None


def contradicted_flags(model: nn.Module) -> list[Flag]:
    """Attributes by which code tried to freeze or to thaw something, and did not."""
    parameters = dict(model.named_parameters())
    found = []
    for path, owner in (*model.named_modules(), *parameters.items()):
        for name, value in vars(owner).items():
            if isinstance(value, bool) and _FLAG.fullmatch(name):
                below = f"{path}." if path else ""
                states = {p.requires_grad for n, p in parameters.items() if n == path or n.startswith(below)}
                if states - {value}:
                    found.append(Flag(path, name, value))
    return found


def _assignments(attribute: str, value: bool) -> Iterator[tuple[str, Place]]:
    """Where loaded code of the user sets an attribute of this name, and not to the other value: target and place."""
    for path in {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}:
        text = "".join(linecache.getlines(path)) if path.endswith((".py", ".ipynb")) and is_users(path) else ""
        if attribute not in text:
            continue
        try:
            tree = ast.parse(text)
        except SyntaxError:
            continue
        for node in (node for node in ast.walk(tree) if isinstance(node, (ast.Assign, ast.Call))):
            for target, given in _targets(node, attribute):
                if not isinstance(given, ast.Constant) or given.value is value:
                    yield ast.unparse(target), _place(path, node)


def _targets(node: ast.Assign | ast.Call, attribute: str) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Attribute) and target.attr == attribute:
                yield target, node.value
    elif len(node.args) == 3 and getattr(node.func, "id", "") == "setattr":
        owner, name, given = node.args
        if isinstance(name, ast.Constant) and name.value == attribute:
            yield owner, given


def _place(path: str, node: ast.stmt | ast.expr) -> Place:
    ends = ((node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or 0))
    return Place(path, Span(*(Position(row, column(path, row, offset)) for row, offset in ends)))
