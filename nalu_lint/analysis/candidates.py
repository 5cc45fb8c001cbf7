"""Which classes of a file are worth the cost of interpreting their construction, by cheap signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.analysis.torch_semantics import LAYER_PARAMETER_NAMES, LAYER_PARAMETERS

if TYPE_CHECKING:
    from nalu_lint.analysis.after_construction import FileUsage
    from nalu_lint.analysis.outline import ClassInfo, Outline


class Candidates:
    """Says which classes of a file are worth interpreting, and for what."""

    def __init__(self, outline: Outline, usage: FileUsage) -> None:
        self.usage = usage
        modules = [info for info in outline.classes if info.is_module]
        # The Parameters of all classes of the file, which a class may hold as submodules.
        self.everywhere = frozenset[str]().union(*(usage.construction(info).parameter_names for info in modules))

    def may_derive(self, info: ClassInfo) -> bool:
        """Whether the construction of `info` reads the value of something that may be a Parameter."""
        construction = self.usage.construction(info)
        own = set(construction.parameter_names)
        for base in info.external_bases():
            own.update(LAYER_PARAMETERS.get(base, ()))
        own.update(target for target, callee in construction.results if self.usage.makes_parameters(callee))
        own.update(target for target, source in construction.aliases if source in own | LAYER_PARAMETER_NAMES)
        return bool(
            construction.own_flows & own
            or construction.foreign_flows & (self.everywhere | LAYER_PARAMETER_NAMES)
            or construction.variable_flows & construction.parameter_variables
            or construction.reads_all_parameters
            or construction.getattr_prefixes
            or (construction.names_parameters_dynamically and construction.makes_parameters)
        )
