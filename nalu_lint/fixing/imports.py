"""Names of `torch.nn` in the style of a file: what it imports already, or one name more."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.diagnostic import Edit
from nalu_lint.fixing.code import Code, Refused
from nalu_lint.fixing.text import at

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import Scope


class Spelled(NamedTuple):
    """A name as it is to be written, and the edits that import it."""

    text: str
    edits: tuple[Edit, ...] = ()


def of_torch_nn(code: Code, scope: Scope, name: str) -> Spelled:
    """`torch.nn.<name>` in a scope. Raises Refused where no import that is there fits."""
    modules = [f"{module}{inner}." for module in sorted(code.imported - {"*"}) for inner in ("", ".nn")]
    for prefix in ("", *modules):
        spelled = ast.parse(f"{prefix}{name}", mode="eval").body
        if scope.dotted(spelled) == f"torch.nn.{name}":
            return Spelled(f"{prefix}{name}")
    statement = next((s for s in code.tree.body if _is_extensible(s)), None)
    if not isinstance(statement, ast.ImportFrom):
        raise Refused(f"neither `torch` nor `torch.nn` is imported, for `{name}`")
    if name in code.loads or scope.lookup(name) is not None:
        raise Refused(f"`{name}` is the name of something else here")
    return Spelled(name, (_extended(code, statement, name),))


def _is_extensible(statement: ast.stmt) -> bool:
    is_own = isinstance(statement, ast.ImportFrom) and statement.module == "torch.nn" and not statement.level
    return is_own and all(alias.name != "*" for alias in getattr(statement, "names", ()))


def _extended(code: Code, statement: ast.ImportFrom, name: str) -> Edit:
    """One name more, in the alphabetical order if they are in it, on a row of its own if they are."""
    names = [alias.name for alias in statement.names]
    is_sorted = names == sorted(names)
    after = next((i for i, other in enumerate(names) if other > name), len(names)) if is_sorted else len(names)
    is_tall = statement.names[0].lineno != statement.lineno and len({a.lineno for a in statement.names}) == len(names)
    separator = f",\n{code.indentation(statement.names[0].lineno)}" if is_tall else ", "
    if after < len(names):
        alias = statement.names[after]
        return Edit(f"{name}{separator}", at(*code.position(alias.lineno, alias.col_offset)))
    alias = statement.names[-1]
    end = code.position(alias.end_lineno or alias.lineno, alias.end_col_offset or alias.col_offset)
    return Edit(f"{separator}{name}", at(*end))
