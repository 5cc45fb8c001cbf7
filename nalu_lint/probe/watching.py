"""Notice every Parameter that is made, whatever class or helper makes it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from torch import nn

    Observer = Callable[[Parameter, torch.Tensor], None]

_observers: list[Observer] = []
_original_new: Any = Parameter.__dict__["__new__"]


def _new(cls: type, data: Any = None, *args: Any, **kwargs: Any) -> Any:
    parameter = _original_new(cls, data, *args, **kwargs)
    for observer in tuple(_observers):
        observer(parameter, parameter if data is None else data)
    return parameter


@contextmanager
def watch_parameters(
    observer: Observer, on_registered: Callable[[nn.Module, str, Parameter], None] | None = None
) -> Iterator[None]:
    """Call `observer(parameter, data)` for each Parameter made from `data` in this context.

    `on_registered(module, name, parameter)` is called before a module registers one.

    `Parameter.__new__` serves `from torch.nn import Parameter`, ParameterList and most subclasses. Those with
    a `__new__` of their own are noticed when a module registers them, so an observer may see one twice.
    """

    def registered(module: nn.Module, name: str, parameter: Parameter | None) -> None:
        if parameter is not None:
            observer(parameter, parameter)
            if on_registered is not None:
                on_registered(module, name, parameter)

    hook = register_module_parameter_registration_hook(registered)
    _observers.append(observer)
    Parameter.__new__ = staticmethod(_new)  # type: ignore[method-assign]
    try:
        yield
    finally:
        hook.remove()
        _observers.remove(observer)
        if not _observers:
            Parameter.__new__ = _original_new  # type: ignore[method-assign]
