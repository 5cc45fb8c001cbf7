"""Every code that the probe can report: its name, how severe it is, what it means and what to do."""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """`advice` ends each message; `page` is what `nalu-probe --explain` shows."""

    name: str
    severity: str
    advice: str
    page: str
    on_by_default: bool = True


CODES = {
    "NAL001": Code(
        "derived-parameter",
        "error",
        "Compute it in forward()",
        "The value of a Parameter was computed, at construction, from other Parameters. Parameter() makes a new leaf, "
        "so no gradient passes to them, and nothing else uses at least one of them: it never trains.",
    ),
    "NAL002": Code(
        "untied-parameter",
        "warning",
        "Compute it in forward(), or say .detach().clone() if a starting value is all that is meant",
        "As NAL001, but every source still gets gradients of its own: the relation holds until the first step.",
        on_by_default=False,
    ),
    "NAL003": Code(
        "derived-tensor",
        "error",
        "Compute it in forward()",
        "A plain tensor or buffer was computed from Parameters at construction, is used by the loss, and is never "
        "computed again: it is stale after one step, and a second backward pass through it fails.",
    ),
    "NAL004": Code(
        "rewrapped-parameter",
        "error",
        "Assign the Parameter itself, or copy it with .detach().clone()",
        "Two Parameters over the same memory: each gets its own share of the gradient and its own optimizer state, and "
        ".to(), deepcopy and load_state_dict silently separate them.",
    ),
    "NAL101": Code(
        "lost-parameter",
        "error",
        "Make the tensor first and wrap it last: nn.Parameter(torch.randn(3, device=device))",
        "The module stores the result of an operation on a Parameter (.to(), .cuda(), * 0.1), which is a plain tensor. "
        "The Parameter itself is not registered.",
    ),
    "NAL102": Code(
        "hidden-parameter",
        "error",
        "Keep it in nn.ModuleList, nn.ParameterList, nn.ModuleDict or nn.ParameterDict",
        "A Parameter in a plain list, tuple, dict or set gets gradients, but parameters() does not yield it, so no "
        "optimizer steps it, .to() leaves it behind and state_dict() does not save it.",
    ),
    "NAL103": Code(
        "parameter-in-forward",
        "error",
        "Make it in __init__()",
        "A Parameter, or a layer that has some, is made on the forward path: new and untrained at each call.",
    ),
    "NAL201": Code(
        "rebound-parameter",
        "error",
        "Keep the Parameter, and put the computed value in a local variable",
        "The forward path replaced a registered Parameter by a new one; the optimizer keeps stepping the old one.",
    ),
    "NAL202": Code(
        "detached-parameter",
        "error",
        "Use the Parameter without detaching it",
        "The loss depends on the Parameter, but it is only used through .data, .detach(), .item(), torch.tensor() or "
        "the like, which cut it from the graph.",
    ),
    "NAL203": Code(
        "parameter-under-no-grad",
        "error",
        "Use it with gradients enabled, or freeze it with requires_grad_(False)",
        "The loss depends on the Parameter, but it is only used where gradients are disabled.",
    ),
    "NAL204": Code(
        "zero-gradient-path",
        "error",
        "Use a differentiable surrogate, such as a straight-through estimator",
        "Every path of the Parameter to the loss passes an operation whose gradient is zero or missing: sign, round, "
        "floor, argmax, a comparison, a cast to integers.",
    ),
    "NAL205": Code(
        "unused-parameter",
        "warning",
        "Use it, remove it, or freeze it with requires_grad_(False)",
        "The Parameter is trainable, and nothing read it in any step.",
    ),
    "NAL301": Code(
        "rewrapped-loss",
        "error",
        "Call backward() on the loss itself",
        "backward() was called on a tensor that has no graph, such as torch.tensor(loss, requires_grad=True). No "
        "Parameter gets a gradient from it.",
    ),
    "NAL302": Code(
        "requires-grad-without-effect",
        "error",
        "Call requires_grad_() of the module",
        "The code sets requires_grad on a module, or a misspelt name of it. That makes a new attribute that nothing "
        "reads: what it was to freeze goes on training, and what it was to thaw stays frozen.",
    ),
    "NAL401": Code(
        "cut",
        "error",
        "Keep this path in the graph, or freeze the Parameter with requires_grad_(False)",
        "No gradient reached the Parameter in any step, although the loss changes when its value is changed and the "
        "last batch is run again with the same seed.",
    ),
    "NAL402": Code(
        "inert",
        "warning",
        "Check whether it should be used, or freeze it with requires_grad_(False)",
        "No gradient reached the Parameter in any step, or only zeros, and the loss does not change when its value is "
        "changed and the last batch is run again with the same seed.",
    ),
    "NAL403": Code(
        "zero-gradient",
        "error",
        "Check the initial values (of two factors, one must not be zero), and look for saturated or dead activations",
        "The gradient of the Parameter was exactly zero in every step, and stays so after the others have moved, "
        "although the loss depends on it.",
    ),
    "NAL404": Code(
        "not-optimized",
        "error",
        "Give it to the optimizer, after the last change to the model, or freeze it with requires_grad_(False)",
        "Gradients reach the Parameter, but no optimizer holds it.",
    ),
    "NAL405": Code(
        "stale-in-optimizer",
        "error",
        "Build the optimizer after the last change to the model",
        "The model replaced a Parameter after the optimizer was built. The optimizer still holds the old one.",
    ),
    "NAL406": Code(
        "update-lost",
        "error",
        "Keep the weights in float32 (autocast computes in lower precision), or raise the learning rate",
        "The Parameter got a gradient and was stepped with a learning rate other than zero, and not one bit of it "
        "changed: each update is smaller than the rounding of its type.",
    ),
    "NAL407": Code(
        "non-finite-gradient",
        "error",
        "Look for a division by zero, a log or sqrt of zero, or too high a learning rate",
        "The gradient of the Parameter became infinite or NaN, and an optimizer used it.",
    ),
    "NAL408": Code(
        "never-stepped",
        "error",
        "Call zero_grad(), backward() and step() in this order, with a finite gradient and a learning rate above 0",
        "The Parameter gets gradients and an optimizer holds it, but no step used one of them: each was cleared before "
        "step() or clipped to zero, the learning rate was 0 throughout, a gradient scaler skipped every step, or "
        "step() was never called.",
    ),
    "NAL409": Code(
        "unregistered-leaf",
        "error",
        "Make it an nn.Parameter, or give it to the optimizer",
        "A module keeps a tensor with requires_grad=True that is not a Parameter. It gets gradients, but parameters() "
        "does not yield it and no optimizer holds it.",
    ),
}
