"""The model of a file, stage by stage: each is run only where the one before gives it a reason."""

from __future__ import annotations

import ast
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING

from nalu_lint import limits
from nalu_lint.analysis.facts import ClassModel, FileModel
from nalu_lint.analysis.forward.cut_parameters import Verdicts
from nalu_lint.analysis.forward.forward_path import ForwardPath, registered_parameters
from nalu_lint.analysis.forward.gradient_flow import GradientFlow
from nalu_lint.analysis.groups import DERIVING_CODES, SCRIPT_CODES
from nalu_lint.analysis.index import syntax
from nalu_lint.analysis.index.after_construction import FileUsage
from nalu_lint.analysis.index.candidates import Candidates
from nalu_lint.analysis.index.cutting import Cutting, may_cut_reads
from nalu_lint.analysis.index.freezing import Freezing
from nalu_lint.analysis.index.readers import Readers
from nalu_lint.analysis.knowledge.torch_semantics import ENTRY_POINTS, LAYER_PARAMETER_NAMES
from nalu_lint.analysis.scripts import script_facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from nalu_lint.analysis.index.outline import ClassInfo, SourceFile

GRADIENT_CODES = frozenset({"NAL202", "NAL203", "NAL204"})
CONSTRUCTION_CODES = DERIVING_CODES | GRADIENT_CODES | {"NAL101", "NAL102", "NAL205"}
FORWARD_CODES = frozenset({"NAL103", "NAL201"})
# What stands in the text of a class that cuts gradients from one of its Parameters.
_CUTTING = (
    *("no_grad", "inference_mode", "set_grad_enabled", "detach", ".data", ".item(", ".numpy(", ".tolist("),
    *("tensor(self", "float(self", "int(self", "deepcopy(self", "array(self"),
)
_DERIVING = ("Parameter", "register_buffer", "parameters(")


def build(file: SourceFile, codes: frozenset[str]) -> FileModel:
    """See `analysis.file_model`."""
    builder = Builder(file, codes)
    infos: list[ClassInfo] = []
    if codes - SCRIPT_CODES:
        for info in file.outline.classes:
            if file.project is not None and builder.is_in_question(info):
                info.link()
        infos = [info for info in file.outline.classes if info.is_module or builder.is_evidently_module(info)]
    classes = [builder.class_model(info) for info in infos]
    model = FileModel(tuple(found for found in classes if found is not None), unfollowed=tuple(builder.unfollowed))
    if codes & SCRIPT_CODES:
        facts = script_facts(file.tree, file.outline, file.lines)
        model = model._replace(
            rewrapped_losses=tuple(facts.losses),
            ineffective_flags=tuple(facts.flags),
            late_parameters=tuple(facts.late),
        )
    return model


class Builder:
    """What each stage says of the classes of one file, worked out when asked."""

    def __init__(self, file: SourceFile, codes: frozenset[str]) -> None:
        self.file = file
        self.codes = codes
        self.unfollowed: list[str] = []
        self.usage = FileUsage(file.outline, Readers.of)
        self.freezing = Freezing(file)
        self._may_cut: dict[tuple[ClassInfo, tuple[ClassInfo, ...]], bool] = {}

    @cached_property
    def candidates(self) -> Candidates:
        return Candidates(self.file.outline, self.usage)

    def is_in_question(self, info: ClassInfo) -> bool:
        """Whether the text of a class shows any reason to know what its base classes do."""
        text = "\n".join(self.file.rows[info.node.lineno - 1 : info.node.end_lineno])
        if self.codes - GRADIENT_CODES and any(token in text for token in _DERIVING):
            return True
        if "NAL102" in self.codes and self.candidates.fills_container(info):
            return True
        if "NAL204" in self.codes:
            return any(token in text for token in _CUTTING)
        return bool(self.codes & GRADIENT_CODES) and self.may_cut(info)

    def is_evidently_module(self, info: ClassInfo) -> bool:
        """Whether a class with a base that is not known is a Module, by what it does itself.

        It calls the constructor of its base, makes Parameters or layers there, and has a forward.
        """
        if not (info.is_open and self.codes & FORWARD_CODES and info.methods.keys() & ENTRY_POINTS):
            return False
        constructor = info.methods.get("__init__")
        return (
            constructor is not None
            and any(isinstance(n, ast.Attribute) and n.attr == "__init__" for n in syntax.walk(constructor))
            and bool(registered_parameters(info, layers=True))
        )

    def class_model(self, info: ClassInfo) -> ClassModel | None:
        model = self.constructed(info) if info.is_module and self.codes & CONSTRUCTION_CODES else None
        if self.codes & FORWARD_CODES:
            path = ForwardPath(info, self.freezing, self.file.lines)
            if path.created or path.rebound:
                model = model or ClassModel(info.name, info.is_open)
                model = model._replace(created=tuple(path.created), rebound=tuple(path.rebound))
        return model

    def constructed(self, info: ClassInfo) -> ClassModel | None:
        """What follows from running the constructor."""
        wanted = [
            (DERIVING_CODES, Candidates.may_derive),
            ({"NAL101"}, Candidates.may_lose),
            ({"NAL102"}, Candidates.may_hide),
            ({"NAL205"}, Candidates.has_parameters),
        ]
        reads = cache(partial(self.reads, info))
        is_cut = bool(self.codes & GRADIENT_CODES) and self.is_cut(info, reads)
        if not is_cut and not any(codes & self.codes and test(self.candidates, info) for codes, test in wanted):
            return None
        from nalu_lint.analysis import model  # few classes get here
        from nalu_lint.analysis.construction.tree import NotFollowedError

        limits.extend(limits.SECONDS_PER_CLASS)
        try:
            return model.build(
                info,
                self.file,
                self.usage,
                lambda: self.candidates.elsewhere,
                reads,
                is_cut=is_cut,
                may_hide=self.candidates.may_hide(info),
                wants_unused="NAL205" in self.codes,
            )
        except NotFollowedError as error:
            self.unfollowed.append(f"class `{info.name}` is not judged: {error}")
            return None

    def reads(self, info: ClassInfo) -> Verdicts:
        """What the forward path reads."""
        tensors = self.usage.construction(info).parameter_names | LAYER_PARAMETER_NAMES
        return Verdicts(GradientFlow(info, self.file, tensors), lambda: self.usage.after(info), self.freezing)

    def may_cut(self, info: ClassInfo) -> bool:
        """Whether the class may read a Parameter only where gradients are cut, as far as statements show."""
        key = (info, tuple(info.mro()))  # more is known of its bases later
        if key not in self._may_cut:
            self._may_cut[key] = may_cut_reads(info, self.cutting)
        return self._may_cut[key]

    @cached_property
    def cutting(self) -> Cutting:
        return Cutting(self.file.outline)

    def is_cut(self, info: ClassInfo, reads: Callable[[], Verdicts] | None = None) -> bool:
        """Whether some of what the forward path reads may train nothing."""
        reads = reads or partial(self.reads, info)
        if info.is_open or not ("NAL204" in self.codes or self.may_cut(info)):
            return False
        kinds = self.usage.construction(info).kinds
        suspects = reads().suspects(is_zero_wanted="NAL204" in self.codes)
        return any(not all(map(_is_loaded, kinds.get(name, ("",)))) for name in suspects)


def _is_loaded(kind: str) -> bool:
    """Whether an object comes from a method of an imported class: `AutoModel.from_config` tells nothing of it."""
    owner, _, method = kind.rpartition(".")
    return owner.rpartition(".")[2][:1].isupper() and method[:1].islower() and not kind.startswith("torch.")
