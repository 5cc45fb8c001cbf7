"""Where in which model tensors were: what is replaced later is found again by the name that it had."""

from __future__ import annotations

import weakref
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nalu_lint.probe import living

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Homes:
    """The outermost modules that held tensors when these were looked for, and their names there."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], list[tuple[weakref.ref[nn.Module], str]]]] = {}

    def find(self, tensors: Iterable[torch.Tensor]) -> None:
        """Look for those that are not known yet."""
        wanted = {id(t): t for t in tensors if not self.has(t)}
        if not wanted:
            return
        for root in outermost_modules():
            for path, parameter in root.named_parameters(remove_duplicate=False):
                if id(parameter) in wanted:
                    known = self._known.get(id(parameter))
                    if known is None or known[0]() is not parameter:
                        known = self._known[id(parameter)] = (weakref.ref(parameter), [])
                    known[1].append((weakref.ref(root), path))

    def has(self, tensor: torch.Tensor) -> bool:
        """Whether some module held it."""
        known = self._known.get(id(tensor))
        return known is not None and known[0]() is tensor

    def name_in(self, tensor: torch.Tensor, model: nn.Module) -> str | None:
        """The name that a tensor had in a model."""
        if not self.has(tensor):
            return None
        prefixes = {id(module): name for name, module in model.named_modules()}
        for root, path in self._known[id(tensor)][1]:
            prefix = prefixes.get(id(root()))
            if prefix is not None:
                return f"{prefix}.{path}" if prefix else path
        return None


def names_in_groups(optimizer: Any, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """What an optimizer that was built of named Parameters holds, by those names that are among these."""
    wanted = set(names)
    return {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group.get("param_names", ()), group["params"], strict=False)
        if name in wanted
    }


def names_by_order(optimizer: Any, own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What an optimizer holds and no living module does, by the names of what stands in its place in a model now.

    Optimizers hold Parameters in the order of `parameters()`. Between those that are still in both there are as many
    of the optimizer's as of the model's, or nothing is said.
    """
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = {id(parameter): name for name, parameter in reversed(list(own.items())) if parameter.requires_grad}
    mine = list(dict.fromkeys(id(parameter) for parameter in own.values() if id(parameter) in names))
    living = {id(p) for module in outermost_modules() for p in module.parameters()}
    steps = SequenceMatcher(None, mine, [id(p) for p in held], autojunk=False).get_opcodes()
    if all(step[0] != "equal" for step in steps):
        return {}
    return {
        names[key]: parameter
        for kind, first, last, held_first, held_last in steps
        if kind == "replace" and last - first == held_last - held_first
        for key, parameter in zip(mine[first:last], held[held_first:held_last], strict=True)
        if id(parameter) not in living
    }


def outermost_modules() -> list[nn.Module]:
    """Modules that are no part of another living one."""
    modules = [
        module
        for module in living.modules()
        if isinstance(module.__dict__.get("_modules"), dict) and not isinstance(module, torch.jit.ScriptModule)
    ]
    inner = {id(child) for module in modules for child in module._modules.values() if child is not None}
    return [module for module in modules if id(module) not in inner]
