"""Names of `torch.nn` in the style of a file: what it imports already, or one name more."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nalu_lint.fixing.common.refused import Refused

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import Scope
    from nalu_lint.fixing.common.changes import Changes
    from nalu_lint.fixing.common.code import Code


def of_torch_nn(code: Code, scope: Scope, name: str, changes: Changes) -> str:
    """`torch.nn.<name>` as it is to be written in a scope. Raises Refused where no import that is there fits.

    libcst's `AddImportsVisitor` writes new names before those that are there, in whatever order and rows these are.
    """
    modules = [f"{module}{inner}." for module in sorted(code.imported - {"*"}) for inner in ("", ".nn")]
    for prefix in ("", *modules):
        spelled = ast.parse(f"{prefix}{name}", mode="eval").body
        if scope.dotted(spelled) == f"torch.nn.{name}":
            return f"{prefix}{name}"
    statement = next((s for s in code.tree.body if isinstance(s, ast.ImportFrom) and _is_extensible(s)), None)
    if statement is None:
        raise Refused(f"neither `torch` nor `torch.nn` is imported, for `{name}`")
    if name in code.loads or scope.lookup(name) is not None:
        raise Refused(f"`{name}` is the name of something else here")
    changes.import_from(statement, name)
    return name


def _is_extensible(statement: ast.ImportFrom) -> bool:
    is_own = statement.module == "torch.nn" and not statement.level
    return is_own and all(alias.name != "*" for alias in statement.names)
