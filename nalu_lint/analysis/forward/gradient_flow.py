"""Where the values that a class reads go after construction: the whole graph of one class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nalu_lint.analysis.forward.flow_graph import SINK, FlowGraph
from nalu_lint.analysis.forward.flow_scan import Scan
from nalu_lint.analysis.knowledge.torch_semantics import ENTRY_POINTS

if TYPE_CHECKING:
    from nalu_lint.analysis.index.outline import ClassInfo, SourceFile


class GradientFlow(FlowGraph):
    """The graph of one class, its bases and its subclasses in the file, filled by a scan of each method that runs."""

    def __init__(self, info: ClassInfo, file: SourceFile, tensors: set[str]) -> None:
        super().__init__(info, file, tensors)
        roots = self.roots()
        for is_forward in (True, False):
            for name in sorted(roots):
                if (name in ENTRY_POINTS) is is_forward:
                    for owner, function in self.methods[name]:
                        body = self.body(function, owner.scope, True, "", is_forward)
                        self.connect(body.result, SINK)
                        if is_forward:
                            self.entries.append(body)
            while self.pending:
                pending, on_path = self.pending.pop()
                Scan(self, pending, on_path).run()
