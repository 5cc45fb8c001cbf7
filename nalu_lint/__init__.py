"""Find the Parameters of a PyTorch model that silently do not train.

The public interface is `check`, from source bytes to a list of `Diagnostic`:

    >>> from nalu_lint import check
    >>> check(b"import torch", path="model.py")
    []

Importing this package loads neither torch nor libcst.
"""

from nalu_lint._version import __version__
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
