"""The state that code of a model can change, and how it is put back: objects of Python, tensors, generators.

What is reachable from the model, its hooks, its arguments and the user's functions is looked at once. Values of tensors
are copied only when something is about to write them, so memory and time do not grow with the size of the model.
"""

from __future__ import annotations

import functools
import io
import random
import sys
import types
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from nalu_lint.probe.distributed import local
from nalu_lint.probe.errors import CannotRerun
from nalu_lint.probe.lineage import storage_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MAX_OBJECTS = 1_000_000
_MAX_ARRAYS = 1 << 28  # bytes of arrays that are not torch's, which are copied at once

# Code that is called, and state that is the surroundings of a model and not its own.
_SURROUNDINGS = frozenset({
    *("torch", "numpy", "lightning", "pytorch_lightning", "lightning_fabric", "accelerate", "deepspeed", "logging"),
    *("threading", "_thread", "weakref", "re", "abc", "typing", "enum", "pathlib"),
})  # fmt: skip
# They act elsewhere, and what they have done cannot be taken back.
_ACTING = frozenset({"multiprocessing", "queue", "_queue", "socket", "subprocess", "asyncio", "wandb", "tensorboardX"})
# Of the probe itself, what holds parts of a run; what else is reached, such as replaced functions, is its own affair.
_RUNS = frozenset(f"nalu_lint.probe.{name}" for name in ("checking", "recording", "rerun", "tape"))
_ATOMS = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, types.ModuleType, range, slice)
_ITERATORS = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)


class State:
    """All that is reachable from some objects, as it is now.

    Raises:
        CannotRerun: if there is something among it that cannot be put back.
    """

    def __init__(self, roots: dict[str, Any]) -> None:
        self._seen: dict[int, Any] = {}
        self._undo: list[Callable[[], None]] = []
        self._storages: dict[int, torch.UntypedStorage] = {}
        self._saved: dict[int, torch.UntypedStorage] = {}
        self._array_bytes = 0
        self._pending: list[tuple[str, Any]] = list(roots.items())
        while self._pending:
            self._visit(*self._pending.pop())
            if len(self._seen) > _MAX_OBJECTS:
                raise CannotRerun("the model holds too many objects to put them back")

    def watching(self) -> TorchDispatchMode:
        """Values that are about to be written are copied in this context."""
        return _CopyOnWrite(self._keep)

    def restore(self) -> None:
        """Put everything back."""
        for undo in self._undo:
            undo()
        for key, saved in self._saved.items():
            self._storages[key].copy_(saved)  # beside the version counters, which graphs of the user check
        self._saved.clear()

    # What is there.

    def _visit(self, path: str, value: Any) -> None:
        if isinstance(value, _ATOMS) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        kind = type(value)
        module = (value if isinstance(value, types.FunctionType) else kind).__module__ or ""
        if module.startswith("nalu_lint.") and module not in _RUNS:
            return
        package = (kind.__module__ or "").partition(".")[0]
        if isinstance(value, torch.Tensor):
            self._tensor(path, value)
        elif isinstance(value, torch.Generator):
            self._generator(value.get_state, value.set_state)
        elif isinstance(value, random.Random):
            self._generator(value.getstate, value.setstate)
        elif package == "numpy":
            self._numpy(path, value)
        elif isinstance(value, (dict, list, deque, set, bytearray)):
            self._container(path, value)
        elif isinstance(value, (tuple, frozenset)):
            self._push(path, value)
        elif isinstance(value, types.FunctionType):
            self._function(path, value)
        elif isinstance(value, (types.MethodType, staticmethod, classmethod)):
            self._pending += [(path, getattr(value, "__self__", None)), (path, value.__func__)]
        elif isinstance(value, functools.partial):
            self._pending += [(path, part) for part in (value.func, value.args, value.keywords)]
        elif isinstance(value, property):
            self._pending += [(path, part) for part in (value.fget, value.fset)]
        elif isinstance(value, type):
            self._class(path, value)
        else:
            self._object(path, value, package)

    def _push(self, path: str, members: Iterable[Any]) -> None:
        self._pending += [(path, member) for member in members if not isinstance(member, _ATOMS)]

    def _object(self, path: str, value: Any, package: str) -> None:
        if isinstance(value, _ITERATORS) or (hasattr(value, "__next__") and not hasattr(value, "__dict__")):
            raise CannotRerun(f"`{path}` holds a {type(value).__name__}, which cannot be put back")
        if package in _ACTING or type(value).__module__.startswith("torch.utils.tensorboard"):
            raise CannotRerun(f"`{path}` holds a {type(value).__name__}, which acts outside of the model")
        if isinstance(value, io.IOBase) and value not in (sys.__stdout__, sys.__stderr__, sys.__stdin__):
            raise CannotRerun(f"`{path}` holds an open file")
        is_module = isinstance(value, torch.nn.Module)
        if isinstance(value, torch.jit.ScriptModule) or (package in _SURROUNDINGS and not is_module):
            return
        held = getattr(value, "__dict__", None)
        if isinstance(held, dict):
            self._seen[id(held)] = held
            self._mapping(path, held, is_module=is_module)
        for kind in type(value).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                slot = kind.__dict__.get(name)
                if isinstance(slot, types.MemberDescriptorType):
                    self._binding(path, _Slot(value, slot), name)
            if kind is not object:
                self._pending.append((kind.__name__, kind))

    def _mapping(self, path: str, value: dict[Any, Any], *, is_module: bool = False) -> None:
        kept = list(dict.items(value))
        base: Any = OrderedDict if isinstance(value, OrderedDict) else dict

        def undo() -> None:
            now = dict.items(value)
            if len(now) != len(kept) or any(k is not key or v is not old for (k, v), (key, old) in zip(now, kept)):  # noqa: B905
                base.clear(value)
                for key, old in kept:
                    base.__setitem__(value, key, old)

        self._undo.append(undo)
        for key, member in kept:
            inner = path if is_module and key in ("_modules", "_parameters", "_buffers") else f"{path}.{key}"
            self._pending.append((inner if isinstance(key, str) else path, member))

    def _container(self, path: str, value: Any) -> None:
        if isinstance(value, dict):
            self._mapping(path, value)
            return
        kept = list(value)
        is_ordered = not isinstance(value, set)
        base: Any = next(kind for kind in (list, deque, set, bytearray) if isinstance(value, kind))

        def undo() -> None:
            same = len(value) == len(kept) and all(one is other for one, other in zip(value, kept))  # noqa: B905
            if not same and (is_ordered or set(value) != set(kept)):
                base.clear(value)
                (base.extend if is_ordered else base.update)(value, kept)

        self._undo.append(undo)
        self._push(path, kept)

    def _binding(self, path: str, holder: Any, name: str) -> None:
        """A name that code may bind anew: an attribute, a global, a cell."""
        missing = object()
        kept = holder.get(name, missing)

        def undo() -> None:
            if holder.get(name, missing) is not kept:
                if kept is missing:
                    del holder[name]
                else:
                    holder[name] = kept

        self._undo.append(undo)
        if kept is not missing:
            self._pending.append((path, kept))

    def _function(self, path: str, function: types.FunctionType) -> None:
        if (function.__module__ or "").partition(".")[0] in _SURROUNDINGS:
            return
        for cell in function.__closure__ or ():
            self._binding(path, _Cell(cell), "")
        self._push(path, (function.__defaults__, function.__kwdefaults__, function.__dict__ or None))
        if not _is_users(function.__module__):
            return
        names = set(_names_in(function.__code__))
        for name in names:
            value = function.__globals__.get(name)
            self._binding(name, function.__globals__, name)
            if isinstance(value, types.ModuleType) and _is_users(value.__name__):
                for attribute in names & vars(value).keys():
                    self._binding(f"{name}.{attribute}", vars(value), attribute)

    def _class(self, path: str, kind: type) -> None:
        """Counters and caches that a class of the user keeps for all of its objects, and its methods."""
        if not _is_users(kind.__module__):
            return
        names = set(vars(kind))

        def undo() -> None:
            for name in vars(kind).keys() - names:
                type.__delattr__(kind, name)

        self._undo.append(undo)
        for name, value in list(vars(kind).items()):
            if name.startswith("__") and name.endswith("__") and not callable(value):
                continue
            if isinstance(value, (types.FunctionType, staticmethod, classmethod, property)):
                self._pending.append((path, value))
            elif not isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                self._binding(f"{path}.{name}", _Class(kind), name)

    # Tensors, generators and arrays.

    def _tensor(self, path: str, tensor: torch.Tensor) -> None:
        if is_lazy(tensor):
            return
        held = getattr(tensor, "__dict__", None)
        if held:
            self._visit(path, held)
        values = local(tensor)
        storage = storage_of(values)
        if storage is not None and not values.is_meta:
            self._storages.setdefault(storage._cdata, storage)
        if tensor.is_inference() or values is not tensor:
            return
        alias = tensor.data if storage is not None else None
        needs, graph, version, is_leaf = tensor.requires_grad, tensor.grad_fn, tensor._version, tensor.is_leaf
        gradient = tensor.grad if is_leaf else None
        hooks = [(name, getattr(tensor, name, None)) for name in ("_backward_hooks", "_post_accumulate_grad_hooks")]

        def undo() -> None:
            if graph is None and tensor.grad_fn is not None:
                tensor.detach_()
            if alias is not None and _differ(tensor, alias):
                tensor.data = alias
            if is_leaf and tensor.requires_grad is not needs:
                tensor.requires_grad_(needs)
            if is_leaf and tensor.grad is not gradient:
                tensor.grad = gradient
            for name, kept in hooks:
                if getattr(tensor, name, None) is not kept:
                    setattr(tensor, name, kept)
            if tensor._version != version:
                _set_version(tensor, version)

        self._undo.append(undo)
        self._push(path, (gradient, *(kept for _, kept in hooks)))

    def _keep(self, tensor: torch.Tensor) -> None:
        """Called before something writes to a tensor."""
        storage = storage_of(local(tensor))
        key = storage._cdata if storage is not None else None
        if storage is not None and key in self._storages and key not in self._saved:
            self._saved[key] = storage.clone()

    def _generator(self, get: Callable[[], Any], put: Callable[[Any], Any]) -> None:
        kept = get()
        self._undo.append(lambda: put(kept))

    def _numpy(self, path: str, value: Any) -> None:
        numpy = sys.modules["numpy"]
        if isinstance(value, numpy.random.Generator):
            value = value.bit_generator
        if isinstance(value, numpy.random.BitGenerator):
            self._generator(lambda: value.state, lambda kept: setattr(value, "state", kept))
        elif isinstance(value, numpy.random.RandomState):
            self._generator(value.get_state, value.set_state)
        elif isinstance(value, numpy.ndarray) and value.flags.writeable:
            self._array_bytes += value.nbytes
            if self._array_bytes > _MAX_ARRAYS:
                raise CannotRerun(f"`{path}` is too large an array to be put back")
            self._generator(value.copy, lambda kept: numpy.copyto(value, kept))


class _Slot:
    """An attribute in a slot, as a mapping of one name."""

    def __init__(self, owner: Any, slot: Any) -> None:
        self._owner = owner
        self._slot = slot

    def get(self, name: str, default: Any) -> Any:
        try:
            return self._slot.__get__(self._owner)
        except AttributeError:
            return default

    def __setitem__(self, name: str, value: Any) -> None:
        self._slot.__set__(self._owner, value)

    def __delitem__(self, name: str) -> None:
        self._slot.__delete__(self._owner)


class _Cell:
    """A variable of an enclosing function."""

    def __init__(self, cell: types.CellType) -> None:
        self._cell = cell

    def get(self, name: str, default: Any) -> Any:
        try:
            return self._cell.cell_contents
        except ValueError:
            return default

    def __setitem__(self, name: str, value: Any) -> None:
        self._cell.cell_contents = value

    def __delitem__(self, name: str) -> None:
        del self._cell.cell_contents


class _Class:
    """The attributes of a class."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def get(self, name: str, default: Any) -> Any:
        return vars(self._kind).get(name, default)

    def __setitem__(self, name: str, value: Any) -> None:
        type.__setattr__(self._kind, name, value)

    def __delitem__(self, name: str) -> None:
        type.__delattr__(self._kind, name)


@functools.lru_cache(maxsize=4096)
def _is_users(module: str | None) -> bool:
    """Whether it is code of the user's own, not of a library."""
    package = (module or "").partition(".")[0]
    if package in sys.stdlib_module_names and package != "__main__":
        return False
    path = getattr(sys.modules.get(module or ""), "__file__", None) or ""
    return package not in _SURROUNDINGS and package != "nalu_lint" and "-packages" not in path


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _differ(tensor: torch.Tensor, alias: torch.Tensor) -> bool:
    """Whether a tensor holds other memory by now than its alias does."""
    one, other = storage_of(tensor), storage_of(alias)
    if one is None or other is None or one._cdata != other._cdata:
        return True
    return tensor.shape != alias.shape or tensor.stride() != alias.stride()


def _set_version(tensor: torch.Tensor, version: int) -> None:
    put: Any = torch._C._autograd._unsafe_set_version_counter
    try:
        put((tensor,), (version,))
    except TypeError:  # torch before 2.7
        put(tensor, version)


# They write to the running averages among their arguments, and their schemas do not say so.
_SILENT_WRITERS = ("batch_norm", "instance_norm")


class _CopyOnWrite(TorchDispatchMode):
    """Calls `keep` with every tensor that an operation is about to write to."""

    supports_higher_order_operators = True

    def __init__(self, keep: Callable[[torch.Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keep = keep

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        positions, names = _written_arguments(func)
        for value in (*(args[i] for i in positions if i < len(args)), *(kwargs.get(name) for name in names)):
            for tensor in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(tensor, torch.Tensor):
                    self._keep(tensor)
        return func(*args, **kwargs)


@functools.lru_cache(maxsize=4096)
def _written_arguments(func: Any) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Which arguments an operation writes to, by position and by name."""
    schema = getattr(func, "_schema", None)
    if schema is None:
        return (), ()
    is_silent = any(part in schema.name for part in _SILENT_WRITERS)
    chosen = [
        (index, argument.name)
        for index, argument in enumerate(schema.arguments)
        if is_silent or (argument.alias_info is not None and argument.alias_info.is_write)
    ]
    return tuple(index for index, _ in chosen), tuple(name for _, name in chosen)
