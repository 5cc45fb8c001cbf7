"""Where a function lists Parameters, as in `self.parameters()`, to learn about them or to hand them to an optimizer.

Such a list says nothing of what trains: not the `device` of a module, not the number of its Parameters, not the
optimizer that it makes, not the file that its state is written to. Whatever else is done with a list, or with what
is taken from it, may read the values, change them or freeze them.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.knowledge.torch_semantics import (
    METADATA_ATTRIBUTES,
    METADATA_FUNCTIONS,
    METADATA_METHODS,
    OPTIMISER_METHODS,
    PARAMETER_ITERATORS,
    TENSOR_CONVERSIONS,
)

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import Scope
    from nalu_lint.analysis.index.syntax import FunctionNode

_LISTS = PARAMETER_ITERATORS | {"state_dict"}
# What only passes on what it is given, or some of it.
_PASSING = frozenset({"list", "tuple", "dict", "set", "iter", "next", "filter", "enumerate", "sorted", "zip"})
_PASSING_METHODS = frozenset({"items", "values", "keys", "append", "extend"})
_PAIRS = frozenset({"named_parameters", "items", "enumerate"})
_COPYING_METHODS = TENSOR_CONVERSIONS | {"clone", "detach", "copy"}
_ANSWERING = METADATA_FUNCTIONS | {"str", "repr", "bool"}
_TAKING = _ANSWERING | {"clip_grad_norm_", "clip_grad_value_", "load_state_dict"}
_INFORMING_METHODS = METADATA_METHODS - {"requires_grad_", "register_hook", "register_post_accumulate_grad_hook"}
_WRITTEN = frozenset({"torch.save", "safetensors.torch.save_file"})


def harmless_listings(function: FunctionNode, scope: Scope) -> frozenset[ast.AST]:
    """The attributes `x.parameters`, `x.named_parameters` and `x.state_dict` of such lists in a function."""
    listings = [n for n in syntax.walk(function) if isinstance(n, ast.Attribute) and n.attr in _LISTS]
    if not listings:
        return frozenset()
    found = ((one, _Uses(function, scope, one.attr)) for one in listings)
    return frozenset(one for one, uses in found if uses.is_called(one) and uses.is_harmless(uses.parents[one]))


class _Uses:
    """What a function does with the values of a list, by the statements and expressions around them."""

    def __init__(self, function: FunctionNode, scope: Scope, listing: str) -> None:
        self._scope = scope
        self._is_state = listing == "state_dict"  # which holds no Parameter, but its value
        self._may_be_returned = self._is_state or function.name in OPTIMISER_METHODS
        self.parents: dict[ast.AST, ast.AST] = {}
        self._loads: dict[str, list[ast.Name]] = {}
        for node in syntax.walk(function):
            for child in syntax.children(node):
                self.parents[child] = node
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self._loads.setdefault(node.id, []).append(node)
        self._known: dict[str, bool] = {}

    def is_called(self, attribute: ast.Attribute) -> bool:
        parent = self.parents.get(attribute)
        return isinstance(parent, ast.Call) and parent.func is attribute

    def is_harmless(self, node: ast.AST) -> bool:
        """Whether nothing that matters is done with the value of an expression."""
        while True:
            parent = self.parents.get(node)
            answer = self._answer(node, parent)
            if answer is not None or parent is None:
                return bool(answer)
            node = parent

    def _answer(self, node: ast.AST, parent: ast.AST | None) -> bool | None:
        """True or False, or None where the parent is as good as the value."""
        if isinstance(parent, ast.Attribute):
            return self._of_attribute(parent)
        if isinstance(parent, ast.Call):
            return self._of_argument(node, parent)
        if isinstance(parent, ast.keyword):
            return self._of_argument(parent, self.parents[parent])
        if isinstance(parent, ast.comprehension):
            return self._of_comprehension(node, parent)
        if isinstance(parent, ast.For) and node is parent.iter:
            return self._are_harmless(_values(parent.target, node))
        if isinstance(parent, ast.Assign):
            return all(self._are_harmless(target) for target in parent.targets)
        if isinstance(parent, ast.AnnAssign | ast.NamedExpr):
            return self._are_harmless(parent.target)
        if isinstance(parent, ast.Subscript):
            return None if node is parent.value and isinstance(parent.ctx, ast.Load) else False
        if isinstance(parent, ast.Return):
            return self._may_be_returned
        if isinstance(parent, ast.IfExp | ast.While | ast.If | ast.Assert) and node is parent.test:
            return True
        if isinstance(parent, ast.Compare):
            return all(isinstance(operator, ast.Is | ast.IsNot | ast.In | ast.NotIn) for operator in parent.ops)
        if isinstance(parent, ast.Expr):
            return True
        passing = ast.List | ast.Tuple | ast.Set | ast.Dict | ast.Starred | ast.IfExp | ast.ListComp | ast.SetComp
        return None if isinstance(parent, passing | ast.GeneratorExp | ast.DictComp) else False

    def _of_attribute(self, attribute: ast.Attribute) -> bool | None:
        if not isinstance(attribute.ctx, ast.Load):
            return False
        if attribute.attr in METADATA_ATTRIBUTES - {"grad"}:
            return True
        if attribute.attr == "grad":  # what is read of it may be written to the Parameter
            parent = self.parents.get(attribute)
            return isinstance(parent, ast.Compare) and all(isinstance(o, ast.Is | ast.IsNot) for o in parent.ops)
        if not self.is_called(attribute):
            return False
        if attribute.attr in _INFORMING_METHODS:
            return True
        is_copy = self._is_state and attribute.attr in _COPYING_METHODS
        return None if is_copy or attribute.attr in _PASSING_METHODS else False

    def _of_argument(self, node: ast.AST, call: ast.AST) -> bool | None:
        """Of a value that is given to a call, or that is called."""
        if not isinstance(call, ast.Call):
            return False
        if node is call.func:
            return None  # of a method that passes on, or tells: see `_of_attribute`
        last = syntax.last_name(call.func)
        dotted = self._scope.dotted(call.func) or ""
        if isinstance(call.func, ast.Name) and last in _PASSING:
            return None
        if isinstance(call.func, ast.Name) and last == "map":
            return syntax.last_name(call.args[0]) in _ANSWERING | _INFORMING_METHODS
        return last in _TAKING or dotted in _WRITTEN or dotted.startswith("torch.optim.")

    def _of_comprehension(self, node: ast.AST, generator: ast.comprehension) -> bool | None:
        if node is not generator.iter:
            return True  # a test
        owner = self.parents[generator]
        names = {n.id for n in syntax.walk(_values(generator.target, generator.iter)) if isinstance(n, ast.Name)}
        inside = [n for n in syntax.walk(owner) if isinstance(n, ast.Name) and n.id in names and n is not node]
        return all(self.is_harmless(name) for name in inside if isinstance(name.ctx, ast.Load))

    def _are_harmless(self, target: ast.expr) -> bool:
        """Whether all that is done with the variables of a target is."""
        if isinstance(target, ast.Tuple | ast.List):
            return all(map(self._are_harmless, target.elts))
        if not isinstance(target, ast.Name):
            return False
        if target.id not in self._known:
            self._known[target.id] = True  # where it leads to itself
            self._known[target.id] = all(map(self.is_harmless, self._loads.get(target.id, ())))
        return self._known[target.id]


def _values(target: ast.expr, iterable: ast.AST) -> ast.expr:
    """What holds the values where a loop goes over pairs, of which the first are names or numbers."""
    is_keyed = isinstance(iterable, ast.Call) and syntax.last_name(iterable.func) in _PAIRS
    return target.elts[1] if is_keyed and isinstance(target, ast.Tuple) and len(target.elts) == 2 else target
