"""What happens to a class's attributes once an instance exists.

Construction is the initialisers and whatever runs only because they call it; everything else
that a class, its bases and its subclasses define runs after it, and so do the functions and
plain classes of the file that this code mentions. Statements outside Module classes (scripts,
training loops, prints) count for nothing.
"""

from __future__ import annotations

import ast
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.outline import is_module_class
from nalu_lint.analysis.index.usage import function_usage
from nalu_lint.analysis.index.usage_facts import FunctionUsage, Usage
from nalu_lint.analysis.knowledge.torch_semantics import (
    ENTRY_POINTS,
    INITIALISERS,
    LAYER_PARAMETERS,
    MODULE_BASES,
    SHOWING_METHODS,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.analysis.index.outline import ClassInfo, Outline, Scope, SourceFile
    from nalu_lint.analysis.index.syntax import FunctionNode


class ClassUsage:
    """How the code of one class, its bases and its subclasses uses attributes after construction."""

    def __init__(self, after: Usage, shared: set[str], constructing: dict[str, set[str]]) -> None:
        self.after = after
        # Methods that only the construction uses, as far as the file shows, and what they read.
        self.constructing = constructing
        # Attributes of other objects that the initialisers themselves take: they may share them.
        self.shared_in_construction = shared


class Readers(Protocol):
    """What says what other files do with the attributes of a class: `readers.Readers`."""

    def reads(self, info: ClassInfo, name: str) -> bool: ...

    def uses(self, info: ClassInfo, method: str) -> bool: ...

    def takes(self, info: ClassInfo, name: str) -> bool: ...


class FileUsage:
    """The usage of every class of a file, computed when asked for."""

    def __init__(self, outline: Outline, readers_of: Callable[[SourceFile], Readers | None] | None = None) -> None:
        """`readers_of`: what nothing in a file reads, these other files of its project may read."""
        self.outline = outline
        self._readers_of = readers_of
        self._functions: dict[ast.AST, FunctionUsage] = {}
        self._constructions: dict[ClassInfo, Usage] = {}
        self._classes: dict[ClassInfo, ClassUsage] = {}
        self._makers: dict[str, bool] = {}
        self._plain_classes = {info.name: info for info in outline.classes if not info.is_module and not info.is_open}

    def function(self, function: FunctionNode, scope: Scope, *, is_method: bool) -> FunctionUsage:
        if function not in self._functions:
            self._functions[function] = function_usage(function, scope, is_method=is_method)
        return self._functions[function]

    def functions_named(self, name: str) -> list[tuple[FunctionNode, Scope]]:
        """Functions of this name, of the file and of the files that base classes stand in."""
        outlines = [self.outline, *self._foreign]
        return [(function, o.scope) for o in outlines for function in o.functions.get(name, ())]

    def imported_function(self, name: str) -> tuple[FunctionNode, Scope] | None:
        """The function of another file of the project that is imported as `name`."""
        home = self.outline.scope.home
        binding = self.outline.scope.lookup(name)
        if home is None or binding is None or binding.dotted is None:
            return None
        found = home.find_function(binding.dotted)
        return None if found is None else (found[0], found[1].outline.scope)

    @cached_property
    def _foreign(self) -> list[Outline]:
        """The outlines of other files that base classes stand in."""
        homes = [member.home for info in self.outline.classes for member in info.mro()]
        outlines = [home.outline for home in dict.fromkeys(homes) if home is not None]
        return [outline for outline in outlines if outline is not self.outline]

    def makes_parameters(self, name: str) -> bool:
        """Whether a function or method of this name makes Parameters, so that its result may be one."""
        if name not in self._makers:
            self._makers[name] = self._makes_parameters(name)
        return self._makers[name]

    def _makes_parameters(self, name: str) -> bool:
        found = [(scope, f, False) for f, scope in self.functions_named(name)]
        found += [(info.scope, f, True) for info in self.outline.classes for f in info.definitions.get(name, ())]
        return any(self.function(f, scope, is_method=m).now.makes_parameters for scope, f, m in found)

    def construction(self, info: ClassInfo) -> Usage:
        """What the initialisers do, and everything that they reach."""
        if info not in self._constructions:
            family = _Family(self, info)
            usage = Usage()
            for name in family.initialised():
                for found in family.usages(name):
                    usage.update(found.now)
            self._follow_names(usage, usage.names - usage.handed_names)
            self._constructions[info] = usage
        return self._constructions[info]

    def of_class(self, info: ClassInfo) -> ClassUsage:
        if info not in self._classes:
            self._classes[info] = self._class_usage(info)
        return self._classes[info]

    def _class_usage(self, info: ClassInfo) -> ClassUsage:
        family = _Family(self, info)
        initialised = family.initialised()
        roots = [name for name in family.methods if name not in initialised or name in ENTRY_POINTS]
        roots = [name for name in roots if name not in SHOWING_METHODS]
        if not initialised <= INITIALISERS:
            # Another object, or the forward of a layer that it inherits, uses them as well.
            layers = {name for base in info.external_bases() for name in LAYER_PARAMETERS.get(base, ())}
            roots += sorted((initialised - INITIALISERS) & (self.taken_of_others | layers))
        after = Usage()
        shared: set[str] = set()
        handed: set[str] = set()
        for name in initialised:
            for found in family.usages(name):
                # A method that is handed over, to a hook for example, runs later.
                taken = (found.now.handed & family.methods.keys()) - family.properties - INITIALISERS
                roots += [*taken, *(found.later.mentions & family.methods.keys())]
                after.update(found.later)
                shared |= found.now.foreign_reads | {attribute for _, attribute in found.now.inner_reads}
                handed |= found.now.handed_names
        later = family.reach(roots)
        constructing: dict[str, set[str]] = {}
        for name in initialised - later - INITIALISERS:
            reached = [found.now for method in family.reach([name]) for found in family.usages(method)]
            constructing[name] = {attribute for usage in reached for attribute in usage.reads}
        for name in family.reach([name for name in roots if name in ENTRY_POINTS]):
            for found in family.usages(name):  # these are the business of other rules
                after.reads |= found.now.cut_reads | found.later.cut_reads
        for name in later:
            for found in family.usages(name):
                if name != "__init__":
                    after.update(found.now)
                after.update(found.later)
        construction = self.construction(info)
        self._follow_names(after, after.names | handed)
        self._follow_classes(construction.names, after)
        given = construction.given_self | after.given_self
        for name in given - self.outline.functions.keys() - self._class_names:
            helper = self.imported_function(name)
            if helper is not None:
                found = self.function(*helper, is_method=False)
                after.update(found.now)
                after.update(found.later)
            else:
                after.reads_anything |= not self.functions_named(name)
        return ClassUsage(after, shared, constructing)

    @cached_property
    def taken_of_others(self) -> set[str]:
        """Attributes that functions and methods of the file take of other objects than their own `self`."""
        functions = [function for found in self.outline.functions.values() for function in found]
        taken = {attribute for function in functions for attribute in _taken_of_others(function, "")}
        for info in self.outline.classes:
            for function in info.functions():
                arguments = [*function.args.posonlyargs, *function.args.args]
                taken |= _taken_of_others(function, arguments[0].arg if arguments else "")
        return taken

    def _follow_names(self, usage: Usage, names: set[str]) -> None:
        """Add what the functions of the file do that are mentioned by name, and so on."""
        seen: set[str] = set()
        pending = sorted(names)
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            for function, scope in self.functions_named(name):
                found = self.function(function, scope, is_method=False)
                usage.update(found.now)
                usage.update(found.later)
                pending.extend(found.now.names | found.later.names)

    def _follow_classes(self, constructing: set[str], after: Usage) -> None:
        """Methods of plain classes that the code mentions run later, on whatever they were given."""
        pending = sorted(after.names | constructing)
        seen: set[str] = set()
        while pending:
            name = pending.pop()
            info = self._plain_classes.get(name)
            if info is None or name in seen:
                continue
            seen.add(name)
            for function in info.functions():
                found = self.function(function, info.scope, is_method=True)
                after.foreign_reads |= found.now.foreign_reads | found.later.foreign_reads
                after.foreign_reads |= {a for _, a in found.now.inner_reads | found.later.inner_reads}
                pending.extend(found.now.names | found.later.names)

    def after(self, info: ClassInfo, holder: ClassInfo | None = None) -> After:
        """Everything that may read an attribute of an instance of `info` after construction.

        `holder`: the class that holds the instance and whose own construction does not count.
        """
        home = info.home
        readers = self._readers_of(home) if home is not None and self._readers_of is not None else None
        text = self.outline.scope.home
        return After(info, self.of_class(info), partial(self._foreign_reads, info, holder), text, readers)

    def _foreign_reads(self, info: ClassInfo, holder: ClassInfo | None) -> set[str]:
        """What the code of the file reads of other objects than `self`, where those may be of `info`."""
        own = self.of_class(info).after
        family = {*info.mro(), *info.descendants()}
        foreign: set[str] = set(own.foreign_reads) | self._inner_reads(info, own, family)
        for other, usage in self._takers:
            if other not in family:
                foreign |= usage.after.foreign_reads | self._inner_reads(other, usage.after, family)
                if other is not holder:
                    foreign |= usage.shared_in_construction
        return foreign

    @cached_property
    def _takers(self) -> list[tuple[ClassInfo, ClassUsage]]:
        """The classes that take attributes of other objects: few, and asked for each class."""
        usages = [(info, self.of_class(info)) for info in self.outline.classes if info.is_module or info.is_open]
        return [
            (info, usage)
            for info, usage in usages
            if usage.after.foreign_reads or usage.after.inner_reads or usage.shared_in_construction
        ]

    @cached_property
    def _class_names(self) -> frozenset[str]:
        return frozenset(info.name for info in self.outline.classes)

    def _inner_reads(self, reader: ClassInfo, usage: Usage, family: set[ClassInfo]) -> set[str]:
        """Attributes that `reader` reads of the objects it holds, where those may be of `family`."""
        if not usage.inner_reads:
            return set()
        kinds = self.construction(reader).kinds
        names = {info.name for info in family}
        return {
            attribute
            for name, attribute in usage.inner_reads
            if not all(self._is_other_class(kind, names) for kind in kinds.get(name, {""}))
        }

    def _is_other_class(self, kind: str, names: set[str]) -> bool:
        """Whether an object of this kind is certainly of none of the classes called `names`."""
        if is_module_class(kind):
            return True
        return kind in self._class_names and kind not in names


class After:
    """The reads and stores of attributes after construction."""

    def __init__(
        self,
        info: ClassInfo,
        usage: ClassUsage,
        foreign_reads: Callable[[], set[str]],
        home: SourceFile | None,
        readers: Readers | None,
    ) -> None:
        """`foreign_reads`: what the code of the file `home` reads of other objects than `self`."""
        self.own = own = usage.after
        self._foreign_reads = foreign_reads
        self._home = home
        self._foreign: set[str] | None = None
        self._info = info
        self._constructing = usage.constructing
        self._readers = readers
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
            or self.is_foreign(name)
            or name in self.layer_reads
            or any(name.startswith(prefix) for prefix in self.own.getattr_prefixes)
            or self.is_read_elsewhere(name)
        )

    def is_foreign(self, name: str) -> bool:
        """Whether code of the file may read an attribute of this name of another object than its own `self`."""
        own = self.own.foreign_reads | {attribute for _, attribute in self.own.inner_reads}
        if self._home is not None and name not in own and not self._home.takes(name):
            return False  # most of them: there is no need to look at all classes
        if self._foreign is None:
            self._foreign = self._foreign_reads()
        return name in self._foreign

    def is_read_elsewhere(self, name: str) -> bool:
        """Whether another file of the project reads an attribute of this name, or uses a method that does."""
        if self._readers is None or "." in name:
            return False
        users = [method for method, reads in self._constructing.items() if name in reads]
        return self._readers.reads(self._info, name) or any(self._readers.uses(self._info, user) for user in users)

    def is_taken_elsewhere(self, name: str) -> bool:
        """Whether another file of the project takes an attribute of this name, for whatever it does with it."""
        return self._readers is not None and self._readers.takes(self._info, name)

    def rewrites(self, name: str) -> bool:
        """Whether the attribute is assigned, registered or changed in place again."""
        return name in self.own.stores or name in self.own.parameter_names


def _taken_of_others(function: FunctionNode, self_name: str) -> set[str]:
    """Attributes that a function takes of objects; those of classes, as in `Base.method(self)`, do not count."""
    return {
        node.attr
        for node in syntax.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and not syntax.is_super(node.value)
        if not (isinstance(node.value, ast.Name) and (node.value.id == self_name or node.value.id[:1].isupper()))
    }


def is_abstract(function: FunctionNode) -> bool:
    """Whether the body is only a docstring, `pass`, `...` or `raise`."""
    return all(
        isinstance(s, ast.Pass | ast.Raise) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
        for s in function.body
    )


class _Family:
    """The methods that an instance of a class, of its bases or of its subclasses has, by name."""

    def __init__(self, file: FileUsage, info: ClassInfo) -> None:
        self.file = file
        self.methods: dict[str, list[tuple[FunctionNode, Scope]]] = {}
        self.properties: set[str] = set()
        order = info.mro()
        self.members = list(dict.fromkeys([*order, *info.descendants()]))
        overridden: set[str] = set()
        for member in self.members:
            for function in member.functions():
                if member in order and function.name in overridden:
                    continue  # it never runs for an instance of this class
                self.methods.setdefault(function.name, []).append((function, member.scope))
                if function.decorator_list:
                    self.properties.add(function.name)
            for expression in member.class_attributes.values():  # `alias = method`, `w = property(f)`
                names = {node.id for node in syntax.walk(expression) if isinstance(node, ast.Name)}
                self.properties |= names & member.methods.keys()

            if member in order:
                overridden |= {name for name in ENTRY_POINTS & self.methods.keys() if not self._is_mentioned(name)}

    def _is_mentioned(self, name: str) -> bool:
        """Whether a method known so far calls one of this name: its own, or that of a base class."""
        if not any(info.mentions(name) for info in self.members):
            return False  # most of them: there is no need to look at their methods
        known = [self.file.function(f, scope, is_method=True) for found in self.methods.values() for f, scope in found]
        return any(name in usage.now.mentions or name in usage.later.mentions for usage in known)

    def usages(self, name: str) -> list[FunctionUsage]:
        return [self.file.function(function, scope, is_method=True) for function, scope in self.methods[name]]

    def initialised(self) -> set[str]:
        """The initialisers, and the methods that they reach."""
        return self.reach([name for name in self.methods if name in INITIALISERS])

    def reach(self, roots: list[str]) -> set[str]:
        """The methods that `roots` reach by mentioning one another, themselves included."""
        seen: set[str] = set()
        pending = list(roots)
        while pending:
            name = pending.pop()
            if name in seen or name not in self.methods:
                continue
            seen.add(name)
            for usage in self.usages(name):
                pending.extend(usage.now.mentions | usage.later.mentions)
        return seen
