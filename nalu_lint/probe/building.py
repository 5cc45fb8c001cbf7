"""When models are being built: the only time at which values are followed through every operation.

Following costs several times what an operation does by itself, and a function mode on the stack changes what
torch.compile makes. So it begins with the constructor of a module (or a Parameter that is made outside of any) and ends
with the first sign that construction is over.
"""

from __future__ import annotations

import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nalu_lint.probe.containment import contained
from nalu_lint.probe.patching import Patch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from nalu_lint.probe.lineage import Lineage


class Building:
    """Switches a lineage, and what else is watched with it, on and off.

    Args:
        lineage: follows values while models are built.
        patches: what else is watched then.
        on_end: called whenever construction is over.
        is_block: it begins now and ends with `close`, whatever happens between; only compiled code interrupts it.
    """

    def __init__(
        self, lineage: Lineage, patches: list[Patch], on_end: Callable[[], None], *, is_block: bool = False
    ) -> None:
        self._lineage = lineage
        self._on_end = on_end
        self._is_block = is_block
        self._thread = threading.get_ident()
        self._always = [Patch(nn.Module, "__init__", self._begins)]
        self._meanwhile = [*patches]
        if not is_block:
            self._meanwhile += [
                Patch(nn.Module, "__call__", self._ends_outside),
                Patch(torch.optim.Optimizer, "__init__", self._ends_outside),
                Patch(torch.utils.data.DataLoader, "__iter__", self._ends_outside),
            ]
        self._compiled: list[Patch] = []
        self.is_on = False
        self.is_training = False  # from the first backward pass on, a Parameter alone is no sign of construction
        lineage.is_wanted = self._is_wanted

    def open(self) -> None:
        for patch in self._always:
            patch.apply()
        if self._is_block:
            self.begin()

    def close(self) -> None:
        self.end()
        for patch in self._always:
            patch.undo()

    @contained
    def begin(self) -> None:
        """A module or a Parameter is being made."""
        if threading.get_ident() != self._thread or torch.compiler.is_compiling():
            return
        self._lineage.resume()
        if self.is_on:
            return
        self.is_on = True
        self._lineage.enter()
        self._compiled = compiled_code_begins(self.end)
        for patch in (*self._meanwhile, *self._compiled):
            patch.apply()

    @contained
    def end(self) -> None:
        if not self.is_on or threading.get_ident() != self._thread:
            return
        if not self._lineage.leave():
            return  # called from an operation that is being followed: the next call succeeds
        self.is_on = False
        for patch in (*self._meanwhile, *self._compiled):
            patch.undo()
        self._on_end()

    def _is_wanted(self) -> bool:
        """Asked after many operations."""
        return self._is_block or is_constructing()

    # Replacements.

    def _begins(self, original: Any) -> Any:
        @functools.wraps(original)
        def construct(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            if not torch.compiler.is_compiling():
                self.begin()
            original(module, *args, **kwargs)

        return construct

    def _ends_outside(self, original: Any) -> Any:
        @functools.wraps(original)
        def run(*args: Any, **kwargs: Any) -> Any:
            if self.is_on and not is_constructing():
                self.end()
            return original(*args, **kwargs)

        return run


def compiled_code_begins(notice: Callable[[], None]) -> list[Patch]:
    """Call `notice` before something is compiled, and before compiled code runs."""

    def noticed(original: Any) -> Any:
        @functools.wraps(original)
        def run(*args: Any, **kwargs: Any) -> Any:
            notice()
            return original(*args, **kwargs)

        return run

    def enter(callback: Any) -> Any:
        notice()
        return callback

    return [Patch(torch, "compile", noticed), *entries_of_compiled_code(enter)]


def entries_of_compiled_code(enter: Callable[[Any], Any]) -> list[Patch]:
    """What every call of compiled code passes, before anything is compiled.

    Args:
        enter: is given what compiles the frames of the call, and gives what is to do so instead.
    """

    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def set_eval_frame(callback: Any, *args: Any) -> Any:  # None and False switch the compiler off
            return original(enter(callback) if callable(callback) else callback, *args)

        return set_eval_frame

    module = sys.modules.get("torch._dynamo.eval_frame")  # nothing is compiled until this is imported
    names = ("set_eval_frame", "_maybe_set_eval_frame")  # mostly one function, known by two names since torch 2.5
    return [Patch(module, name, wrap) for name in names if hasattr(module, name)]


def is_constructing() -> bool:
    """Whether the constructor of some module is running."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__init__" and code.co_argcount and _is_module(frame.f_locals.get(code.co_varnames[0])):
            return True
        frame = frame.f_back
    return False


def _is_module(value: Any) -> bool:
    return issubclass(type(value), nn.Module)
