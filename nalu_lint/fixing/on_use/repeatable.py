"""Whether code may run on each use instead of once: it draws nothing at random, changes nothing, and makes no tensor
on a device of its own."""

from __future__ import annotations

import ast
import builtins
from typing import TYPE_CHECKING

from nalu_lint.analysis.index.names import canonical
from nalu_lint.analysis.index.outline import is_module_class
from nalu_lint.analysis.knowledge import torch_semantics as torch_tables
from nalu_lint.fixing.common.names import Function, argument_names, is_in_place, locals_of, self_name
from nalu_lint.fixing.common.refused import Refused

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import Scope
    from nalu_lint.fixing.common.code import Code
    from nalu_lint.fixing.common.family import Family

_RANDOM = frozenset(
    {
        *(
            "rand",
            "randn",
            "randint",
            "randperm",
            "rand_like",
            "randn_like",
            "randint_like",
            "bernoulli",
            "multinomial",
        ),
        *("normal", "poisson", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "gumbel_softmax"),
        *("feature_alpha_dropout", "feature_dropout", "rrelu", "manual_seed", "seed", "sample", "rsample"),
        *("uniform_", "normal_", "random_", "bernoulli_", "exponential_", "cauchy_", "log_normal_", "geometric_"),
        *("trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_"),
        *("sparse_", "multinomial"),
    }
)
_DEVICE_FACTORIES = frozenset(
    f"torch.{name}"
    for name in (
        *("zeros", "ones", "full", "arange", "range", "linspace", "logspace", "eye", "tril_indices", "triu_indices"),
        *("hann_window", "hamming_window", "blackman_window", "kaiser_window", "bartlett_window", "tensor"),
        *("as_tensor", "scalar_tensor"),
    )
)
_KNOWN_NAMESPACES = ("torch.", "math.", "cmath.", "numpy.", "einops.", "opt_einsum.", "operator.", "functools.")
_STATEFUL_NAMESPACES = tuple(f"torch.{name}." for name in ("optim", "utils", "jit", "distributed", "cuda", "nn.init"))
_BUILTINS = frozenset(
    {
        *("abs", "all", "any", "bool", "complex", "dict", "divmod", "enumerate", "filter", "float", "frozenset"),
        *("getattr", "hasattr", "int", "isinstance", "len", "list", "map", "max", "min", "pow", "range", "reversed"),
        *("round", "set", "slice", "sorted", "str", "sum", "tuple", "type", "zip", "ValueError", "TypeError"),
        *("RuntimeError", "NotImplementedError", "AssertionError"),
    }
)
_STATEFUL_LAYERS = ("Dropout", "BatchNorm", "InstanceNorm", "RReLU")
_STATEFUL_METHODS = frozenset({"append", "extend", "insert", "update", "setdefault", "pop", "add", "remove", "clear"})


LocalNames = dict[str, "str | None"]  # the variables of a function; with a dotted name where it imports them


class Examination:
    """Looks at code that is to run on each use. Raises Refused for what must not."""

    def __init__(self, code: Code, family: Family, scope: Scope) -> None:
        self.code = code
        self.family = family
        self.scope = scope
        self.attributes: set[str] = set()  # of self, that the code reads
        self.factories: list[ast.Call] = []  # in the code itself: they need the device of the sources
        self._seen: set[ast.AST] = set()

    def examine(self, nodes: list[ast.stmt | ast.expr], function: Function) -> None:
        """Code of `function` that is moved as it stands."""
        names = _local_names(function)
        for node in nodes:
            for inner in ast.walk(node):
                self._node(inner, names, helper=None)

    def _node(self, node: ast.AST, local_names: LocalNames, helper: Function | None) -> None:
        if isinstance(node, ast.Await | ast.Global | ast.Nonlocal | ast.ClassDef | ast.AsyncFunctionDef):
            raise Refused(f"row {node.lineno} cannot be moved")
        if isinstance(node, ast.Yield | ast.YieldFrom) and helper is None:
            raise Refused(f"row {node.lineno} cannot be moved")
        if isinstance(node, ast.Attribute):
            self._attribute(node, helper)
        elif isinstance(node, ast.Call):
            self._call(node, local_names, helper)

    def _is_self(self, node: ast.AST, helper: Function | None) -> bool:
        if helper is not None and self.code.class_of(helper) is None:
            return False  # a function of the module: its first argument is what it is given
        return self.family.is_self(node)

    def _attribute(self, node: ast.Attribute, helper: Function | None) -> None:
        if not isinstance(node.ctx, ast.Load):
            raise Refused(f"row {node.lineno} changes the attribute `{node.attr}`")
        if self._is_self(node.value, helper):
            self._own(node.attr, node.lineno)

    def _own(self, name: str, row: int) -> None:
        if name in ("training", "__dict__", "_parameters", "_buffers", "_modules"):
            raise Refused(f"the value depends on `self.{name}`")
        methods = self.family.methods.get(name)
        if methods is None:
            self.attributes.add(name)
        elif len(methods) > 1:
            raise Refused(f"`{name}` is defined more than once")
        else:
            self._helper(methods[0], row)

    def _helper(self, function: Function, row: int) -> None:
        """A function of the file that the code calls, or a property that it reads."""
        if function in self._seen:
            return
        self._seen.add(function)
        if isinstance(function, ast.AsyncFunctionDef):
            raise Refused(f"`{function.name}` is asynchronous")
        kinds = {ast.unparse(decorator) for decorator in function.decorator_list}
        if kinds - {"staticmethod", "classmethod", "property"}:
            raise Refused(f"`{function.name}` is decorated")
        names = _local_names(function)
        for statement in function.body:
            for inner in ast.walk(statement):
                self._node(inner, names, function)
                self._change(inner, function)

    def _change(self, node: ast.AST, helper: Function) -> None:
        """A helper must leave alone what it is given."""
        target = None
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            target = node.value
        elif isinstance(node, ast.AugAssign):
            target = node.target
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and changes(node.func.attr):
            target = node.func.value
        root = target
        while isinstance(root, ast.Subscript | ast.Attribute | ast.Call):
            root = root.func if isinstance(root, ast.Call) else root.value
        if isinstance(root, ast.Name) and root.id in argument_names(helper) - {self_name(helper)}:
            raise Refused(f"`{helper.name}` changes `{root.id}` in place")

    def _call(self, node: ast.Call, local_names: LocalNames, helper: Function | None) -> None:
        function = node.func
        if isinstance(function, ast.Name):
            self._named(function.id, node, local_names, helper)
        elif isinstance(function, ast.Attribute):
            if function.attr in _RANDOM:
                raise Refused(f"`{function.attr}` draws at random, on each use anew")
            if self._is_self(function.value, helper):
                self._submodule(function.attr)
                return
            self._dotted(self._resolve(function, local_names), node, helper, function)

    def _resolve(self, function: ast.expr, local_names: LocalNames) -> str | None:
        root = function
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name):
            return None
        if root.id in local_names:
            imported = local_names[root.id]
            return None if imported is None else f"{imported}{ast.unparse(function)[len(root.id) :]}"
        return self.scope.dotted(function)

    def _submodule(self, name: str) -> None:
        """`self.name(...)`: a method, which was looked at, or a submodule."""
        if name in self.family.methods or name in ("get_parameter", "get_buffer"):
            return
        kinds = self.code.usage.construction(self.family.info).kinds.get(name, {""})
        for kind in kinds:
            layer = kind.rpartition(".")[2]
            if not is_module_class(kind) or layer.startswith(_STATEFUL_LAYERS):
                raise Refused(f"what `self.{name}` does on each call is not known")

    def _named(self, name: str, node: ast.Call, local_names: LocalNames, helper: Function | None) -> None:
        if name in local_names:
            # A local function is moved, and looked at, with the rest; an imported one is known by its name.
            if local_names[name] is not None:
                self._dotted(local_names[name], node, helper, node.func)
            return
        functions = self.code.outline.functions.get(name, [])
        binding = self.scope.lookup(name)
        if binding is not None and binding.function is not None:
            if len(functions) != 1:
                raise Refused(f"`{name}` is defined more than once")
            self._helper(functions[0], node.lineno)
            return
        if binding is None and name in _BUILTINS and hasattr(builtins, name):
            return
        self._dotted(self.scope.dotted_name(name) or name, node, helper, node.func)

    def _dotted(self, dotted: str | None, node: ast.Call, helper: Function | None, function: ast.expr) -> None:
        if dotted is None:
            return self._method(function, node)
        last = dotted.rpartition(".")[2]
        is_known = dotted.startswith(_KNOWN_NAMESPACES) and not dotted.startswith(
            ("numpy.random", *_STATEFUL_NAMESPACES)
        )
        if last in _RANDOM:
            raise Refused(f"`{last}` draws at random, on each use anew")
        if not is_known:
            raise Refused(f"it calls `{ast.unparse(function)}`, and what that does is not known")
        if dotted in torch_tables.PARAMETER or dotted in torch_tables.LAYER_PARAMETERS:
            raise Refused(f"it is made from a `{last}` that is stored nowhere: register that one first")
        if dotted in torch_tables.UNINITIALISED_FACTORIES:
            raise Refused(f"`{last}` leaves its memory uninitialised")
        if dotted in _DEVICE_FACTORIES and not any(k.arg in ("device", None) for k in node.keywords):
            if helper is not None:
                raise Refused(f"`{helper.name}` makes a tensor on the default device, wherever the Parameters are")
            self.factories.append(node)
        return None

    def _method(self, function: ast.expr, node: ast.Call) -> None:
        if isinstance(function, ast.Attribute) and function.attr.startswith(("register_", "requires_grad")):
            raise Refused(f"row {node.lineno} calls `{function.attr}`")


def changes(method: str) -> bool:
    """Whether a method changes its receiver."""
    return is_in_place(method) or method in _STATEFUL_METHODS


def _local_names(function: Function) -> LocalNames:
    found: LocalNames = dict.fromkeys(locals_of(function))
    for node in ast.walk(function):
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.update({a.asname or a.name: canonical(f"{node.module}.{a.name}") for a in node.names})
        elif isinstance(node, ast.Import):
            found.update({a.asname or a.name.split(".")[0]: a.name for a in node.names})
    return found
