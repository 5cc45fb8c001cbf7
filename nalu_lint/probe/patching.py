"""Attributes of torch that are replaced for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Patch:
    """An attribute that is replaced for a while.

    Where someone else has replaced it meanwhile, the replacement stays: it has to be one that does nothing then.
    """

    def __init__(self, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        self._owner = owner
        self._name = name
        self._wrap = wrap
        self._original: Any = None
        self._replacement: Any = None

    def apply(self) -> None:
        current = getattr(self._owner, self._name)
        if self._replacement is None or current is not self._replacement:
            self._original, self._replacement = current, self._wrap(current)
            setattr(self._owner, self._name, self._replacement)

    def undo(self) -> None:
        if self._replacement is not None and getattr(self._owner, self._name) is self._replacement:
            setattr(self._owner, self._name, self._original)
            self._replacement = None
