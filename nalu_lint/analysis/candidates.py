"""Which classes of a file can hold a finding at all: those that read a Parameter's value
while an instance is constructed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.analysis.after_construction import FileUsage
from nalu_lint.analysis.outline import ClassInfo, Outline
from nalu_lint.analysis.torch_semantics import LAYER_PARAMETER_NAMES, LAYER_PARAMETERS

if TYPE_CHECKING:
    import ast


def candidates(tree: ast.Module) -> tuple[list[ClassInfo], Outline, FileUsage]:
    """The classes worth interpreting, with the outline and usage computed on the way."""
    outline = Outline(tree)
    usage = FileUsage(outline)
    modules = [info for info in outline.classes if info.is_module]
    everywhere = frozenset[str]().union(*(usage.construction(info).parameter_names for info in modules))
    found = [info for info in modules if may_derive(info, usage, everywhere)]
    return found, outline, usage


def may_derive(info: ClassInfo, usage: FileUsage, everywhere: frozenset[str]) -> bool:
    """Whether the construction of `info` reads the value of something that may be a Parameter.

    `everywhere`: the Parameters of all classes of the file, which `info` may hold as submodules.
    """
    construction = usage.construction(info)
    own = set(construction.parameter_names)
    for base in info.external_bases():
        own.update(LAYER_PARAMETERS.get(base, ()))
    own.update(target for target, callee in construction.results if usage.makes_parameters(callee))
    own.update(target for target, source in construction.aliases if source in own | LAYER_PARAMETER_NAMES)
    return bool(
        construction.own_flows & own
        or construction.foreign_flows & (everywhere | LAYER_PARAMETER_NAMES)
        or construction.variable_flows & construction.parameter_variables
        or construction.reads_all_parameters
        or construction.getattr_prefixes
        or (construction.names_parameters_dynamically and construction.makes_parameters)
    )
