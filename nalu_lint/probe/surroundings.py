"""What code that is run again finds around it, and must not change: generators, flags, output, compiled code."""

from __future__ import annotations

import io
import logging
import random
import sys
import warnings
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from nalu_lint.probe.building import entries_of_compiled_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nalu_lint.probe.state import State

_FLAGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.is_grad_enabled, torch._C._set_grad_enabled),
    *(
        (partial(getattr, torch.backends.cudnn, name), partial(setattr, torch.backends.cudnn, name))
        for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
    ),
)


@contextmanager
def undisturbed(state: State, seed: int) -> Iterator[None]:
    """Run code in this context, from the same seeds each time: afterwards everything is as it was.

    What it prints, warns of and logs is not shown, and compiled code runs as it was written.
    """
    generators = default_generators()
    states = [generator.get_state() for generator in generators]
    flags = [(put, get()) for get, put in _FLAGS]
    python_state = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy is not None else None
    disabled = logging.root.manager.disable
    with ExitStack() as stack:
        stack.callback(torch.clear_autocast_cache)  # of values that were changed for this run
        stack.callback(state.restore)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(io.StringIO()))
        stack.enter_context(_uncompiled())
        try:
            logging.disable()
            torch.clear_autocast_cache()
            for generator in generators:
                generator.manual_seed(seed)
            random.seed(seed)
            if numpy is not None:
                numpy.random.seed(seed % 2**32)
            with torch.enable_grad(), state.watching():
                yield
        finally:
            logging.disable(disabled)
            random.setstate(python_state)
            if numpy is not None:
                numpy.random.set_state(numpy_state)
            for generator, kept in zip(generators, states, strict=True):
                generator.set_state(kept)
            for put, flag in flags:
                put(flag)


def autocast_now() -> tuple[tuple[str, torch.dtype], ...]:
    """The types of devices that compute in lower precision now, and in which."""
    types = ("cpu", *(name for name in ("cuda", "xpu", "mps") if getattr(torch, name).is_available()))
    return tuple(
        (name, torch.get_autocast_dtype(name))
        for name in types
        if torch.amp.is_autocast_available(name) and torch.is_autocast_enabled(name)
    )


def default_generators() -> list[torch.Generator]:
    """The generator of the CPU, and of every accelerator that is in use."""
    found = [torch.default_generator]
    for name in ("cuda", "xpu"):
        backend = getattr(torch, name, None)
        if backend is not None and backend.is_initialized():
            found += backend.default_generators
    if torch.backends.mps.is_available():
        found.append(torch.mps._get_default_mps_generator())
    return found


@contextmanager
def _uncompiled() -> Iterator[None]:
    """A function mode would change what is compiled, and a value that is changed for once would be compiled in."""
    patches = entries_of_compiled_code(lambda callback: None)
    for patch in patches:
        patch.apply()
    try:
        yield
    finally:
        for patch in patches:
            patch.undo()
