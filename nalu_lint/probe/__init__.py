"""Run a model for a few training steps and verify that gradients reach every source Parameter.

The checker reads code and never runs it; the probe runs the model that it is given, and nothing else.

    with construction() as built:               # where every Parameter made inside comes from
        model = Model()
    with probe(model, optimizer, built=built) as p:
        train(...)                               # your own loop
    p.report().raise_for_findings()

or, in one call, `check(Model, loss_fn, batch)`. Needs torch: `pip install 'nalu-lint[probe]'`. Importing this
package does not import torch yet; using it does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nalu_lint.probe.checking import check
    from nalu_lint.probe.errors import ProbeError, UntrainedError
    from nalu_lint.probe.facts import ParameterFacts
    from nalu_lint.probe.intent import frozen
    from nalu_lint.probe.provenance import Construction, construction
    from nalu_lint.probe.report import Report
    from nalu_lint.probe.training import Probe, probe

_HOMES = {
    "Construction": "provenance",
    "ParameterFacts": "facts",
    "Probe": "training",
    "ProbeError": "errors",
    "Report": "report",
    "UntrainedError": "errors",
    "check": "checking",
    "construction": "provenance",
    "frozen": "intent",
    "probe": "training",
}
__all__ = [
    "Construction",
    "ParameterFacts",
    "Probe",
    "ProbeError",
    "Report",
    "UntrainedError",
    "check",
    "construction",
    "frozen",
    "probe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    from nalu_lint.probe.errors import require

    require("torch")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
