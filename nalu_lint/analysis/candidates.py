"""Which classes of a file are worth the cost of interpreting their construction, by cheap signs."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis import syntax
from nalu_lint.analysis.torch_semantics import INITIALISERS, LAYER_PARAMETER_NAMES, LAYER_PARAMETERS

if TYPE_CHECKING:
    from nalu_lint.analysis.after_construction import FileUsage
    from nalu_lint.analysis.outline import ClassInfo, FunctionNode, Outline


_CONTAINERS = (ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp)
_CONTAINER_FUNCTIONS = frozenset({"list", "tuple", "dict", "set", "OrderedDict", "defaultdict"})
_ADDING = frozenset({"append", "extend", "insert", "add", "update", "setdefault"})


class Candidates:
    """Says which classes of a file are worth interpreting, and for what."""

    def __init__(self, outline: Outline, usage: FileUsage) -> None:
        self.usage = usage
        modules = [info for info in outline.classes if info.is_module]
        # The Parameters of all classes of the file, which a class may hold as submodules.
        self.everywhere = frozenset[str]().union(*(usage.construction(info).parameter_names for info in modules))

    def may_derive(self, info: ClassInfo) -> bool:
        """Whether the construction of `info` reads the value of something that may be a Parameter."""
        construction = self.usage.construction(info)
        own = set(construction.parameter_names)
        for base in info.external_bases():
            own.update(LAYER_PARAMETERS.get(base, ()))
        own.update(target for target, callee in construction.results if self.usage.makes_parameters(callee))
        own.update(target for target, source in construction.aliases if source in own | LAYER_PARAMETER_NAMES)
        return bool(
            construction.own_flows & own
            or construction.foreign_flows & (self.everywhere | LAYER_PARAMETER_NAMES)
            or construction.variable_flows & construction.parameter_variables
            or construction.flows_all_parameters
            or construction.getattr_prefixes
            or (construction.names_parameters_dynamically and construction.makes_parameters)
        )

    def may_lose(self, info: ClassInfo) -> bool:
        """Whether the construction does something to a Parameter before it is stored."""
        construction = self.usage.construction(info)
        if not construction.makes_parameters:
            return False
        if construction.parameter_variables & construction.variable_flows:
            return True
        return any(
            isinstance(node, ast.Attribute | ast.Subscript | ast.BinOp | ast.UnaryOp)
            and any(_makes_parameter(child) for child in syntax.children(node))
            for function in _constructing(info)
            for node in syntax.walk(function)
        )

    def has_parameters(self, info: ClassInfo) -> bool:
        """Whether the construction makes Parameters or layers of PyTorch."""
        construction = self.usage.construction(info)
        kinds = {kind for kinds in construction.kinds.values() for kind in kinds}
        return construction.makes_parameters or bool(kinds & LAYER_PARAMETERS.keys())

    def may_hide(self, info: ClassInfo) -> bool:
        """Whether the construction fills a plain container with objects, and something reads it later."""
        functions = _constructing(info)
        is_given = any(map(_hands_on_containers, functions))
        literal: set[str] = set()
        filled: set[str] = set()
        for function in functions:
            found = containers(function, arguments_too=is_given)
            literal |= found[0]
            filled |= found[1]
        return bool(literal & filled & {read.partition(".")[0] for read in self.usage.of_class(info).after.reads})


def containers(function: FunctionNode, *, arguments_too: bool = False) -> tuple[set[str], set[str]]:
    """The attributes that may be given a plain container in a function, and those that may be filled with objects.

    `arguments_too`: an argument may be a container or a module; else nothing is known of it.
    """
    unknown = set() if arguments_too else _plain_arguments(function)
    literal: set[str] = set()
    filled: set[str] = set()
    for node in syntax.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Attribute) and _is_container(node.value):
                    literal.add(target.attr)
                    if _makes_object(node.value, unknown):
                        filled.add(target.attr)
                elif isinstance(target, ast.Attribute) and isinstance(node.value, ast.Name):
                    if node.value.id not in unknown:
                        literal.add(target.attr)  # a local list
                        filled.add(target.attr)
                elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Attribute):
                    filled.add(target.value.attr)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
            if _may_be_object(node.value):
                filled.add(node.target.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ADDING:
            if isinstance(node.func.value, ast.Attribute) and any(map(_may_be_object, node.args)):
                filled.add(node.func.value.attr)
    return literal, filled


def _plain_arguments(function: FunctionNode) -> set[str]:
    """Arguments that are not assigned again, and of which no default is more than a constant."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args]
    defaults: list[tuple[ast.arg, ast.expr | None]] = list(
        zip(reversed(named), reversed(arguments.defaults), strict=False)
    )
    defaults += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    names = {argument.arg for argument in (*named, *arguments.kwonlyargs)}
    names -= {argument.arg for argument, value in defaults if not isinstance(value, ast.Constant)}
    return names - {n.id for n in syntax.walk(function) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}


def _hands_on_containers(function: FunctionNode) -> bool:
    """Whether an initialiser is called with more than constants and the function's own arguments."""
    plain: set[str] | None = None
    for node in syntax.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in INITIALISERS:
            for value in (*node.args, *(keyword.value for keyword in node.keywords)):
                if isinstance(value, ast.Name):
                    plain = _plain_arguments(function) if plain is None else plain
                    if value.id in plain or value.id in _passed_on(function):
                        continue
                elif isinstance(value, ast.Constant | ast.Attribute):
                    continue
                return True
    return False


def _passed_on(function: FunctionNode) -> set[str]:
    """`*args` and `**kwargs`: what they hold is not known."""
    return {extra.arg for extra in (function.args.vararg, function.args.kwarg) if extra is not None}


def _makes_object(node: ast.AST, unknown: set[str] | frozenset[str] = frozenset()) -> bool:
    """Whether a class is called, by its capital letter, or an object is taken from a variable (not `unknown`)."""
    for inner in syntax.walk(node):
        if isinstance(inner, ast.Call):
            function = inner.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name[:1].isupper():
                return True
    if not isinstance(node, ast.List | ast.Tuple | ast.Set):
        return False
    return any(isinstance(element, ast.Name) and element.id not in unknown for element in node.elts)


def _may_be_object(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or _makes_object(node)


def _constructing(info: ClassInfo) -> list[FunctionNode]:
    return [function for base in info.mro() for name, function in base.methods.items() if name in INITIALISERS]


def _makes_parameter(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name.endswith("Parameter")


def _is_container(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _CONTAINER_FUNCTIONS
    return isinstance(node, _CONTAINERS)
