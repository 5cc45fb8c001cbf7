"""What happens to a class's attributes once an instance exists.

Construction is the initialisers and whatever runs only because they call it; everything else
that a class, its bases and its subclasses define runs after it, and so do the functions and
plain classes of the file that this code mentions. Statements outside Module classes (scripts,
training loops, prints) count for nothing.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.analysis.torch_semantics import INITIALISERS, LAYER_PARAMETERS, MODULE_BASES
from nalu_lint.analysis.usage import FunctionUsage, Usage, function_usage

if TYPE_CHECKING:
    from nalu_lint.analysis.outline import ClassInfo, FunctionNode, Outline, Scope


class ClassUsage:
    """How the code of one class, its bases and its subclasses uses attributes."""

    def __init__(self) -> None:
        self.construction = Usage()
        self.after = Usage()
        self.method_names: set[str] = set()
        # Attributes of other objects that the initialisers themselves take: they may share them.
        self.shared_in_construction: set[str] = set()


class FileUsage:
    """The usage of every class of a file, computed when asked for."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline
        self._functions: dict[ast.AST, FunctionUsage] = {}
        self._classes: dict[ClassInfo, ClassUsage] = {}
        self._plain_classes = {info.name: info for info in outline.classes if not info.is_module and not info.is_open}

    def function(self, function: FunctionNode, scope: Scope, *, is_method: bool) -> FunctionUsage:
        if function not in self._functions:
            self._functions[function] = function_usage(function, scope, is_method=is_method)
        return self._functions[function]

    def makes_parameters(self, name: str) -> bool:
        """Whether a function or method of this name makes Parameters, so that its result may be one."""
        found = [(self.outline.scope, f, False) for f in self.outline.functions.get(name, ())]
        found += [(info.scope, info.methods[name], True) for info in self.outline.classes if name in info.methods]
        return any(self.function(f, scope, is_method=m).now.makes_parameters for scope, f, m in found)

    def of_class(self, info: ClassInfo) -> ClassUsage:
        if info not in self._classes:
            self._classes[info] = self._class_usage(info)
        return self._classes[info]

    def _class_usage(self, info: ClassInfo) -> ClassUsage:
        methods: dict[str, list[FunctionUsage]] = {}
        properties: set[str] = set()
        for member in dict.fromkeys([*info.mro(), *info.descendants()]):
            for name, function in member.methods.items():
                methods.setdefault(name, []).append(self.function(function, member.scope, is_method=True))
                if function.decorator_list:
                    properties.add(name)
            for expression in member.class_attributes.values():  # `alias = method`, `w = property(f)`
                for node in ast.walk(expression):
                    if isinstance(node, ast.Name) and node.id in member.methods:
                        properties.add(node.id)
        result = ClassUsage()
        result.method_names = set(methods)
        construction = _closure(methods, [name for name in methods if name in INITIALISERS])
        roots = [name for name in methods if name not in construction]
        for name in construction:
            for usage in methods[name]:
                handed = {h for h in usage.now.handed if h in methods and h not in properties and h not in INITIALISERS}
                roots += [*handed, *(m for m in usage.later.mentions if m in methods)]
        after = _closure(methods, roots)
        for name, usages in methods.items():
            for usage in usages:
                if name in construction:
                    result.construction.update(usage.now)
                if name in after and name != "__init__":
                    result.after.update(usage.now)
                result.after.update(usage.later)
        result.shared_in_construction = set(result.construction.foreign_reads)
        called = result.construction.names - result.construction.handed_names
        self._follow_names(result.construction, called)
        self._follow_names(result.after, result.after.names | result.construction.handed_names)
        self._follow_classes(result)
        for used in (result.construction, result.after):
            known = {*self.outline.functions, *(other.name for other in self.outline.classes)}
            used.reads_anything |= not used.given_self <= known
        return result

    def _follow_names(self, usage: Usage, names: set[str]) -> None:
        """Add what the functions of the file do that are mentioned by name, and so on."""
        seen: set[str] = set()
        pending = sorted(names)
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            for function in self.outline.functions.get(name, ()):
                found = self.function(function, self.outline.scope, is_method=False)
                usage.update(found.now)
                usage.update(found.later)
                pending.extend(found.now.names | found.later.names)

    def _follow_classes(self, result: ClassUsage) -> None:
        """Methods of plain classes that the code mentions run later, on whatever they were given."""
        pending = sorted(result.after.names | result.construction.names)
        seen: set[str] = set()
        while pending:
            name = pending.pop()
            info = self._plain_classes.get(name)
            if info is None or name in seen:
                continue
            seen.add(name)
            for function in info.methods.values():
                found = self.function(function, info.scope, is_method=True)
                foreign = Usage()
                foreign.foreign_reads = found.now.foreign_reads | found.later.foreign_reads
                foreign.foreign_mentions = found.now.foreign_mentions | found.later.foreign_mentions
                result.after.update(foreign)
                pending.extend(found.now.names | found.later.names)

    def after(self, info: ClassInfo, holder: ClassInfo | None = None) -> After:
        """Everything that may read an attribute of an instance of `info` after construction.

        `holder`: the class that holds the instance and whose own construction does not count.
        """
        own = self.of_class(info).after
        foreign: set[str] = set(own.foreign_reads)
        family = {*info.mro(), *info.descendants()}
        for other in self.outline.classes:
            if other not in family and (other.is_module or other.is_open):
                usage = self.of_class(other)
                foreign |= usage.after.foreign_reads
                if other is not holder:
                    foreign |= usage.shared_in_construction
        return After(info, own, foreign)


class After:
    """The reads and stores of attributes after construction."""

    def __init__(self, info: ClassInfo, own: Usage, foreign_reads: set[str]) -> None:
        self.own = own
        self.foreign_reads = foreign_reads
        self.layer_reads: set[str] = set()
        layers = [base for base in info.external_bases() if base not in MODULE_BASES]
        calls_layer = info.find_method("forward") is None or "forward" in own.reads
        if calls_layer:
            for layer in layers:
                self.layer_reads |= set(LAYER_PARAMETERS.get(layer, ()))
        forward = info.find_method("forward") or info.find_method("__call__")
        self.has_forward = bool(layers) if forward is None else not is_abstract(forward[1])

    @property
    def is_unknown(self) -> bool:
        """Whether any attribute at all may be read."""
        return self.own.reads_anything

    def reads(self, name: str) -> bool:
        """Whether an attribute of this name may be read, on `self` or on any other object."""
        return (
            name in self.own.reads
            or name in self.foreign_reads
            or name in self.layer_reads
            or any(name.startswith(prefix) for prefix in self.own.getattr_prefixes)
        )

    def rewrites(self, name: str) -> bool:
        """Whether the attribute is assigned, registered or changed in place again."""
        return name in self.own.stores or name in self.own.parameter_names


def is_abstract(function: FunctionNode) -> bool:
    """Whether the body is only a docstring, `pass`, `...` or `raise`."""
    return all(
        isinstance(s, ast.Pass | ast.Raise) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
        for s in function.body
    )


def _closure(methods: dict[str, list[FunctionUsage]], roots: list[str]) -> set[str]:
    """The methods that `roots` reach by mentioning one another."""
    seen: set[str] = set()
    pending = list(roots)
    while pending:
        name = pending.pop()
        if name in seen or name not in methods:
            continue
        seen.add(name)
        for usage in methods[name]:
            pending.extend(usage.now.mentions | usage.later.mentions)
    return seen
