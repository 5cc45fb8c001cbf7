"""Which modules there are: known from their construction on, or searched for among all objects."""

from __future__ import annotations

import functools
import gc
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from nalu_lint.probe.patching import Patch

if TYPE_CHECKING:
    from collections.abc import Iterator

_noted: dict[int, weakref.ref[nn.Module]] | None = None  # all, where they are noted


def modules() -> list[nn.Module]:
    """All modules. Outside of `noticed` that is a look at every object of the process: about 0.1 s."""
    if _noted is None:
        return [found for found in gc.get_objects() if issubclass(type(found), nn.Module)]
    references = list(_noted.values())
    return [module for reference in references if (module := reference()) is not None]


@contextmanager
def noticed() -> Iterator[None]:
    """Note modules as they are made, copied or loaded. None may have been made before."""
    global _noted
    before, _noted = _noted, {}
    patches = [Patch(nn.Module, name, functools.partial(_noting, _noted)) for name in ("__init__", "__setstate__")]
    for patch in patches:
        patch.apply()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.undo()
        _noted = before


def _noting(noted: dict[int, weakref.ref[nn.Module]], original: Any) -> Any:
    @functools.wraps(original)
    def run(module: nn.Module, *args: Any, **kwargs: Any) -> None:
        key = id(module)
        noted[key] = weakref.ref(module, lambda _: noted.pop(key, None))
        original(module, *args, **kwargs)

    return run
