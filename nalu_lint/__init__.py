"""Find the Parameters of a PyTorch model that silently do not train.

The public interface is `check`, from source bytes to a list of `Diagnostic`:

    >>> from nalu_lint import check
    >>> check(b"import torch", path="model.py")
    []

Importing this package loads neither torch nor anything else before it is used.
"""

import sys

if sys.argv[:1] == ["-m"] and "nalu_lint" in sys.orig_argv and not getattr(sys.flags, "safe_path", False):
    # `python -m nalu_lint` looks for modules in the current folder first, which is the one that is checked: nothing of
    # it is to run. This comes before all other imports.
    del sys.path[0]

from typing import TYPE_CHECKING, Any

from nalu_lint._version import __version__

if TYPE_CHECKING:
    from nalu_lint.config import Config
    from nalu_lint.diagnostic import Diagnostic, Edit, Finding, Fix, Position, Source, Span
    from nalu_lint.engine import check

__all__ = [
    "Config",
    "Diagnostic",
    "Edit",
    "Finding",
    "Fix",
    "Position",
    "Source",
    "Span",
    "__version__",
    "check",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # every command pays for what is imported at the top

    home = {"Config": "config", "check": "engine"}.get(name, "diagnostic")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
