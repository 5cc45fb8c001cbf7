"""The model of a file, stage by stage: each is run only where the one before gives it a reason."""

from __future__ import annotations

import ast
from functools import cached_property
from typing import TYPE_CHECKING

from nalu_lint.analysis.after_construction import FileUsage
from nalu_lint.analysis.candidates import Candidates
from nalu_lint.analysis.cut_parameters import Verdicts
from nalu_lint.analysis.facts import ClassModel, FileModel
from nalu_lint.analysis.forward_path import ForwardPath
from nalu_lint.analysis.freezing import Freezing
from nalu_lint.analysis.gradient_flow import GradientFlow
from nalu_lint.analysis.outline import Outline
from nalu_lint.analysis.positions import Lines
from nalu_lint.analysis.scripts import script_facts
from nalu_lint.analysis.sieve import DERIVING_CODES
from nalu_lint.analysis.signs import SCRIPT_CODES
from nalu_lint.analysis.torch_semantics import LAYER_PARAMETER_NAMES

if TYPE_CHECKING:
    from nalu_lint.analysis.outline import ClassInfo
    from nalu_lint.analysis.source_tree import SourceTree

GRADIENT_CODES = frozenset({"NAL202", "NAL203", "NAL204"})
CONSTRUCTION_CODES = DERIVING_CODES | GRADIENT_CODES | {"NAL101", "NAL102", "NAL205"}
FORWARD_CODES = frozenset({"NAL103", "NAL201"})
# What stands in the text of a class that cuts gradients from one of its Parameters.
_CUTTING = (
    *("no_grad", "inference_mode", "set_grad_enabled", "detach", ".data", ".item(", ".numpy(", ".tolist("),
    *("tensor(", "float(", "int(", "deepcopy(", "array("),
)


def build(text: str, tree: ast.Module, codes: frozenset[str]) -> FileModel:
    """See `analysis.file_model`."""
    outline = Outline(tree)
    lines = Lines(text)
    builder = _Builder(text, tree, outline, lines, codes)
    classes = [builder.class_model(info) for info in outline.classes if info.is_module]
    model = FileModel(tuple(found for found in classes if found is not None))
    if codes & SCRIPT_CODES:
        facts = script_facts(tree, outline, lines)
        model = model._replace(
            rewrapped_losses=tuple(facts.losses),
            ineffective_flags=tuple(facts.flags),
            late_parameters=tuple(facts.late),
        )
    return model


class _Builder:
    def __init__(self, text: str, tree: ast.Module, outline: Outline, lines: Lines, codes: frozenset[str]) -> None:
        self.outline = outline
        self.lines = lines
        self.codes = codes
        self.text = text
        self.rows: list[str] | None = None
        self.tree = tree
        self.usage = FileUsage(outline)
        self.freezing = Freezing(tree)
        self.candidates = Candidates(outline, self.usage)
        self.source: SourceTree | None = None

    def class_model(self, info: ClassInfo) -> ClassModel | None:
        model = self.constructed(info) if self.codes & CONSTRUCTION_CODES else None
        if self.codes & FORWARD_CODES:
            path = ForwardPath(info, self.outline, self.freezing, self.lines)
            if path.created or path.rebound:
                model = model or ClassModel(info.name, info.is_open)
                model = model._replace(created=tuple(path.created), rebound=tuple(path.rebound))
        return model

    def constructed(self, info: ClassInfo) -> ClassModel | None:
        """What follows from running the constructor."""
        wanted = [
            (DERIVING_CODES, self.candidates.may_derive),
            ({"NAL101"}, self.candidates.may_lose),
            ({"NAL102"}, self.candidates.may_hide),
            ({"NAL205"}, self.candidates.has_parameters),
        ]
        verdicts = self.verdicts(info) if self.codes & GRADIENT_CODES else None
        if verdicts is None and not any(codes & self.codes and test(info) for codes, test in wanted):
            return None
        # libcst costs a third of a second to import: only now is it needed.
        from nalu_lint.analysis import model
        from nalu_lint.analysis.source_tree import SourceTree

        if self.source is None:
            self.source = SourceTree(self.text)
        return model.build(
            info,
            self.outline,
            self.source,
            self.usage,
            self.lines,
            lambda: self.elsewhere,
            verdicts,
            wants_unused="NAL205" in self.codes,
        )

    def verdicts(self, info: ClassInfo) -> Verdicts | None:
        """What the forward path reads, where some of it may train nothing."""
        if info.is_open or not ("NAL204" in self.codes or self.may_cut(info)):
            return None
        after = self.usage.after(info)
        if after.is_unknown or after.own.reads_all_parameters or not after.has_forward:
            return None
        tensors = self.usage.construction(info).parameter_names | LAYER_PARAMETER_NAMES
        found = Verdicts(GradientFlow(info, self.outline, tensors), after, self.freezing)
        return found if found.suspects(is_zero_wanted="NAL204" in self.codes) else None

    def may_cut(self, info: ClassInfo) -> bool:
        """Whether the text of the class, its bases or its subclasses holds something that cuts gradients."""
        rows = self.text.split("\n") if self.rows is None else self.rows
        self.rows = rows
        family = {*info.mro(), *info.descendants()}
        texts = ["\n".join(rows[m.node.lineno - 1 : m.node.end_lineno]) for m in family]
        return any(token in text for text in texts for token in _CUTTING)

    @cached_property
    def elsewhere(self) -> set[str]:
        """Attributes that the file reads of any object but `self`."""
        return {
            node.attr
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self")
        }
