"""Parameters that a constructor makes and the module does not register: lost, or hidden."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import libcst as cst
from libcst.helpers import get_full_name_for_node

from nalu_lint.analysis.construction.values import (
    LENGTH,
    NONE,
    REQUIRES_GRAD,
    Const,
    Container,
    ModuleObject,
    Param,
    Tensor,
    single,
)
from nalu_lint.analysis.facts import HiddenParameter, LostParameter, UnusedParameter
from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.names import canonical
from nalu_lint.analysis.knowledge.torch_semantics import (
    INITIALISERS,
    NO_OP_CONVERSIONS,
    PLACED_BY_KEYWORD,
    REDEFINES_PARAMETERS,
    TENSOR_CONVERSIONS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Set

    from nalu_lint.analysis.construction.heap import Heap
    from nalu_lint.analysis.construction.interpreter import Interpreter
    from nalu_lint.analysis.construction.state import Store
    from nalu_lint.analysis.construction.values import Value
    from nalu_lint.analysis.forward.cut_parameters import Verdicts
    from nalu_lint.analysis.index.after_construction import After
    from nalu_lint.analysis.index.outline import ClassInfo, Scope

# What stands where values are written, or taken, without gradients.
_BY_HAND = frozenset({"no_grad", "inference_mode", "data", "detach", "copy_", "lerp_"})
_PLAIN_CONTAINERS = frozenset({"list", "tuple", "dict", "set"})


def registered(heap: Heap, module: ModuleObject) -> set[Any]:
    """The Parameters and modules that `module.parameters()` and `module.modules()` find."""
    found: set[Any] = set()
    pending: list[Any] = [module]
    while pending:
        owner = pending.pop()
        if owner in found:
            continue
        found.add(owner)
        if isinstance(owner, ModuleObject) or (isinstance(owner, Container) and owner.kind.startswith("torch.")):
            for key, value in heap.slots.get(owner, {}).items():
                if key not in (LENGTH, REQUIRES_GRAD):
                    pending.extend(
                        atom
                        for atom in value
                        if isinstance(atom, Param | ModuleObject)
                        or (isinstance(atom, Container) and atom.kind.startswith("torch."))
                    )
    return found


def lost_parameters(
    info: ClassInfo, interpreter: Interpreter, module: ModuleObject, reads: Callable[[], Verdicts]
) -> Iterator[LostParameter]:
    """What is stored on `module` in place of Parameters that are registered nowhere.

    `reads`: what its forward path reads. Where that runs without gradients, or the values are an average of those of
    another module, nothing is to train.
    """
    for lost in _lost(info, interpreter, module):
        if (info.is_open or reads().flow.is_trainable()) and not _follows_another(info, lost.name):
            yield lost


def _follows_another(info: ClassInfo, name: str) -> bool:
    """Whether a method gives the attribute, by hand, the values of the same attribute of another object."""
    for function in (f for base in info.mro() for f in base.functions() if f.name not in INITIALISERS):
        attributes = [node for node in syntax.walk(function) if isinstance(node, ast.Attribute)]
        owners = {syntax.root_name(node) for node in attributes if node.attr == name}
        if len(owners) > 1 and any(node.attr in _BY_HAND for node in attributes):
            return True
    return False


def _lost(info: ClassInfo, interpreter: Interpreter, module: ModuleObject) -> Iterator[LostParameter]:
    heap = interpreter.heap
    known = registered(heap, module)
    for store in interpreter.stores:
        if store.owner is not module or not isinstance(store.site.node, cst.Assign | cst.AnnAssign):
            continue
        held = heap.get(module, store.name) or frozenset()
        for tensor in _tensors(heap, store.value & held):
            links = tensor.links
            lost = [link.parameter for link in links]
            if any(link.explicit or not _is_local(link.parameter) or link.parameter in known for link in links):
                continue
            if not lost or not all(heap.trainable(parameter) for parameter in lost):
                continue
            first = min(lost, key=lambda parameter: parameter.serial)
            operation = _operation(store)
            if first.site is None or operation in NO_OP_CONVERSIONS or not interpreter.is_here(first.site):
                continue
            if operation not in TENSOR_CONVERSIONS or not _is_there_already(store, first):
                yield LostParameter(store.name, first.site.span, operation, operation in TENSOR_CONVERSIONS)


def _tensors(heap: Heap, value: Value) -> Iterator[Tensor]:
    for atom in value:
        if isinstance(atom, Tensor) and atom.links:
            yield atom
        elif isinstance(atom, Container) and atom.kind in _PLAIN_CONTAINERS:
            yield from (a for a in heap.elements(atom) if isinstance(a, Tensor) and a.links)


def _is_local(parameter: Param) -> bool:
    return not (parameter.is_escaped or parameter.is_kept or parameter.is_removed or parameter.site is None)


def _operation(store: Store) -> str:
    """What was done to the Parameter: the outermost method or function, or "" for arithmetic."""
    node = store.site.node
    value: cst.BaseExpression | None = node.value if isinstance(node, cst.Assign | cst.AnnAssign) else None
    while isinstance(value, cst.Call) and isinstance(value.func, cst.Attribute):
        name = value.func.attr.value
        if name in ("to", "type") and _is_default_type(value):
            name = "float"
        if name not in NO_OP_CONVERSIONS or not isinstance(value.func.value, cst.Call):
            return name
        inner = value.func.value
        if not isinstance(inner.func, cst.Attribute) or inner.func.attr.value.endswith("Parameter"):
            return name
        value = inner
    return ""


def _is_there_already(store: Store, parameter: Param) -> bool:
    """Whether a conversion asks for the device and type of the value that the Parameter was made of."""
    node = store.site.node
    value = node.value if isinstance(node, cst.Assign | cst.AnnAssign) else None
    made = parameter.site
    if made is None or not isinstance(value, cst.Call) or not isinstance(made.node, cst.Call):
        return False
    asked = [argument.value for argument in value.args if not _is_flag(argument.value)]
    parts = _parts(made.node, _variables(made.segment.module), made.segment.file.outline.scope)
    return bool(asked) and all(_goes_with(one, parts) for one in asked)


def _is_flag(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Name) and node.value in ("True", "False")


def _goes_with(asked: cst.BaseExpression, parts: list[cst.CSTNode]) -> bool:
    """Whether what is made of these parts has the device or type `asked` for, or that of the tensor `asked`."""
    keywords = [part for part in parts if isinstance(part, cst.Arg) and part.keyword is not None]
    if any(part.keyword.value in ("device", "dtype") and _same(part.value, asked) for part in keywords if part.keyword):
        return True
    if isinstance(asked, cst.BaseNumber | cst.BaseString):
        return False
    is_of_tensor = isinstance(asked, cst.Attribute) and asked.attr.value in ("device", "dtype")
    tensor = asked.value if isinstance(asked, cst.Attribute) and is_of_tensor else asked
    return any(isinstance(part, cst.BaseExpression) and _same(part, tensor) for part in parts)


def _same(first: cst.BaseExpression, second: cst.BaseExpression) -> bool:
    """Whether two expressions are written with the same tokens."""
    if type(first) is not type(second):
        return False
    texts = [cst.Module([]).code_for_node(node.with_changes(lpar=[], rpar=[])) for node in (first, second)]
    return "".join(texts[0].split()) == "".join(texts[1].split())


def _parts(
    node: cst.CSTNode, variables: dict[str, cst.BaseExpression], scope: Scope, depth: int = 3
) -> list[cst.CSTNode]:
    """What an expression is computed from, less what says only how large it is; variables are followed."""
    found: list[cst.CSTNode] = []
    pending = [node]
    while pending:
        part = pending.pop()
        found.append(part)
        if isinstance(part, cst.Name) and depth and part.value in variables:
            found += _parts(variables[part.value], variables, scope, depth - 1)
        if isinstance(part, cst.Call) and _is_placed_by_keyword(part, scope):
            pending += [a for a in part.args if a.keyword is not None and a.keyword.value in ("device", "dtype")]
        elif not _is_size(part):
            pending += part.children
    return found


def _is_placed_by_keyword(call: cst.Call, scope: Scope) -> bool:
    head, _, rest = (get_full_name_for_node(call.func) or "").partition(".")
    root = scope.dotted_name(head)
    return root is not None and canonical(f"{root}.{rest}".rstrip(".")) in PLACED_BY_KEYWORD


def _is_size(node: cst.CSTNode) -> bool:
    if isinstance(node, cst.Call):
        name = get_full_name_for_node(node.func) or ""
        return name.rpartition(".")[2] in ("len", "size", "numel", "dim")
    return isinstance(node, cst.Attribute) and node.attr.value in ("shape", "ndim")


def _variables(module: cst.Module) -> dict[str, cst.BaseExpression]:
    """The local variables of a function, as last assigned."""
    found: dict[str, cst.BaseExpression] = {}
    pending: list[cst.CSTNode] = [module]
    while pending:
        node = pending.pop()
        if isinstance(node, cst.Assign):
            found = {t.target.value: node.value for t in node.targets if isinstance(t.target, cst.Name)} | found
        pending += node.children
    return found


def _is_default_type(call: cst.Call) -> bool:
    argument = call.args[0].value if len(call.args) == 1 else None
    return isinstance(argument, cst.Attribute) and argument.attr.value in ("float32", "float")


def hidden_parameters(
    info: ClassInfo,
    interpreter: Interpreter,
    module: ModuleObject,
    after: Callable[[], After],
    elsewhere: Callable[[], set[str]],
    reads: Callable[[], Verdicts],
) -> Iterator[HiddenParameter]:
    """Plain containers of Parameters, or of modules with some, that nothing registers and forward reads.

    `elsewhere`: attributes that other code of the file reads of some object: it may hand them on. `reads`: what its
    forward path reads, and what of that trains.
    """
    if any(info.find_method(name) is not None for name in REDEFINES_PARAMETERS):
        return
    heap = interpreter.heap
    known = registered(heap, module)
    for name, value in heap.slots.get(module, {}).items():
        containers = value - NONE
        if not isinstance(name, str):
            continue
        if not all(isinstance(a, Container) and a.kind in _PLAIN_CONTAINERS for a in containers):
            continue
        for container in containers:
            held = [atom for _, atom in heap.held(single(container)) if isinstance(atom, Param | ModuleObject)]
            handed_on = {atom for atom in held if _is_handed_on(atom, interpreter)}
            for atom in handed_on:
                if isinstance(atom, ModuleObject):
                    interpreter.parameters_of(atom)  # those of a layer are made when first asked for
            handed_on |= {atom for _, atom in heap.held(frozenset(handed_on))}
            hidden = [a for a in held if a not in known | handed_on and _trains(a, interpreter, handed_on)]
            stores = (s for s in reversed(interpreter.stores) if s.owner is module and s.name == name)
            store = next((s for s in stores if container in s.value), None)
            if not hidden or store is None or not interpreter.is_here(store.site):
                continue
            if name not in elsewhere() and _is_read(name, after()):
                if not info.is_open and reads().cut_reads(name)[1] is not None:
                    continue  # used where nothing trains: hidden on purpose
                if after().is_taken_elsewhere(name):
                    continue
                holds_modules = any(isinstance(atom, ModuleObject) for atom in hidden)
                yield HiddenParameter(name, store.site.span, container.kind, holds_modules)
                break


def _is_read(name: str, after: After) -> bool:
    return after.has_forward and any(read.partition(".")[0] == name for read in after.own.reads)


def _is_handed_on(atom: Param | ModuleObject, interpreter: Interpreter) -> bool:
    if isinstance(atom, Param):
        return atom.is_escaped or atom.is_kept
    return atom in interpreter.escaped_modules


def _trains(atom: Param | ModuleObject, interpreter: Interpreter, others: Set[Any] = frozenset()) -> bool:
    """Whether it is trainable, or a module that holds a Parameter which is, and is none of the `others`."""
    heap = interpreter.heap
    if isinstance(atom, Param):
        return heap.trainable(atom)
    flag = heap.get(atom, REQUIRES_GRAD)
    if flag is not None and flag != single(Const(True)):
        return False
    interpreter.parameters_of(atom)
    below = (a for _, a in heap.held(single(atom)) if isinstance(a, Param) and a not in others)
    return any(map(heap.trainable, below))


def unused_parameters(
    info: ClassInfo, interpreter: Interpreter, module: ModuleObject, after: After, elsewhere: Callable[[], set[str]]
) -> Iterator[UnusedParameter]:
    """Trainable Parameters and layers of the module itself that nothing reads, here or elsewhere in the file."""
    if not after.has_forward or after.is_unknown or after.own.reads_all_parameters:
        return
    heap = interpreter.heap
    sources = {link.parameter for parameter in interpreter.parameters for link in parameter.origin}
    for _, atom in heap.held(single(module)):
        if isinstance(atom, Tensor):
            sources |= {link.parameter for link in atom.links}
    slots = heap.slots.get(module, {})
    held = {name: {atom for _, atom in heap.held(value)} for name, value in slots.items() if isinstance(name, str)}
    for name, value in slots.items():
        if not isinstance(name, str) or name in after.own.mentions or after.reads(name) or name in elsewhere():
            continue
        atoms = [atom for atom in value if isinstance(atom, Param | ModuleObject)]
        if len(atoms) != len(value) or not all(_trains(atom, interpreter) for atom in atoms):
            continue
        below = {atom for atom in held[name] if isinstance(atom, Param | ModuleObject)}
        shared = any(below & others for other, others in held.items() if other != name)
        if any(_is_handed_on(atom, interpreter) for atom in atoms) or below & sources or shared:
            continue
        if any(isinstance(atom, Param) and atom.is_flowed for atom in below):
            continue
        if any(isinstance(atom, ModuleObject) and not isinstance(atom.kind, str) for atom in atoms):
            continue
        store = next((s for s in reversed(interpreter.stores) if s.owner is module and s.name == name), None)
        if store is None or not interpreter.is_here(store.site):
            continue
        node = store.site.node
        if isinstance(node, cst.Assign | cst.AnnAssign) and node.value is not None:
            yield UnusedParameter(name, store.site.span_of(node.value))
