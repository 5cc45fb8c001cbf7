"""What the fixtures claim is what PyTorch does.

A fixture that can be built says how in `RUN`: a class name, and for it the constructor's
arguments, the inputs of forward (a shape, or `("ids", n, *shape)` for integers below n) and,
where the comments do not say it all, the Parameters that get no gradient. After one forward
and one backward pass exactly these must be without a gradient: the sources named in the
class's `# expect: NAL001` comments, or those listed in `RUN`. Frozen Parameters are left out.
"""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_fixtures import FIXTURES, Expectation, fixture_files, name_of, read_expectations

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from types import ModuleType


@cache
def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fixture_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def runs() -> list[tuple[Path, str]]:
    """Every class that some fixture's `RUN` names; read without executing the file."""
    found = []
    for path in fixture_files(".py"):
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "RUN":
                assert isinstance(statement.value, ast.Dict), path
                found += [(path, ast.literal_eval(key)) for key in statement.value.keys if key is not None]
    return found


def expectations_in(path: Path, class_name: str, code: str, *, todo: bool = False) -> list[Expectation]:
    """The expectations of a code in the text of a class; known misses with `todo`."""
    text = path.read_text()
    rows: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            rows.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return [e for e in read_expectations(text) if e.row in rows and e.code == code and e.is_todo is todo]


def claimed_orphans(path: Path, class_name: str) -> set[str]:
    """Sources named by the NAL001 expectations in the text of a class."""
    return {name for expectation in expectations_in(path, class_name, "NAL001") for name in expectation.names or ()}


def build(path: Path, class_name: str) -> tuple[Any, list[Any], list[str] | None]:
    """An instance, inputs for it, and the Parameters that `RUN` lists as dead (None: it lists none)."""
    torch.manual_seed(0)
    module = load(path)
    arguments, inputs, *listed = module.RUN[class_name]
    model = getattr(module, class_name)(*arguments)
    return model, [make_input(spec) for spec in inputs], listed[0] if listed else None


def make_input(spec: tuple[Any, ...]) -> Any:
    if spec and spec[0] == "ids":
        _, limit, *shape = spec
        return torch.randint(0, limit, tuple(shape))
    return torch.randn(*spec)


def total(output: Any) -> Any:
    """A scalar that depends on every floating-point tensor in the output."""
    if isinstance(output, torch.Tensor):
        return (output * torch.arange(1.0, output.numel() + 1).view(output.shape)).sum()
    parts = output.values() if isinstance(output, dict) else output
    return sum(total(part) for part in parts if part is not None)


each_class = pytest.mark.parametrize(
    ("path", "class_name"), runs(), ids=lambda v: name_of(v) if isinstance(v, Path) else v
)


@each_class
def test_gradients(path: Path, class_name: str) -> None:
    model, inputs, listed = build(path, class_name)
    total(model(*inputs)).backward()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    without_gradient = {name for name, p in trainable.items() if p.grad is None}
    if listed is not None:
        expected = set(listed)
        assert expected <= trainable.keys(), "RUN lists names that are no trainable Parameters"
    else:
        # Unregistered sources (locals) cannot be looked up: whether they train is no question.
        expected = claimed_orphans(path, class_name) & trainable.keys()
    assert without_gradient == expected


def holds_history(model: Any) -> bool:
    """Whether some plain attribute or buffer is a tensor that was computed from Parameters."""
    held = [value for module in model.modules() for value in (*vars(module).values(), *module.buffers(recurse=False))]
    return any(isinstance(value, torch.Tensor) and value.grad_fn is not None for value in held)


@each_class
def test_second_step(path: Path, class_name: str) -> None:
    """Only a class that keeps a tensor with a history fails in the second backward pass.

    One that is said to keep such a tensor does so, and fails in no other way.
    """
    if expectations_in(path, class_name, "NAL101"):
        pytest.skip("keeps what is left of a lost Parameter")
    model, inputs, _ = build(path, class_name)
    keeps_tensor = holds_history(model)
    failed = None
    try:
        total(model(*inputs)).backward()
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        for _ in range(2):
            optimizer.step()
            optimizer.zero_grad()
            total(model(*inputs)).backward()
    except RuntimeError as error:
        failed = str(error)
    if expectations_in(path, class_name, "NAL003"):
        assert keeps_tensor or failed is not None
        assert failed is None or "second time" in failed or "modified by an inplace operation" in failed
    else:
        assert failed is None


def test_some_run() -> None:
    assert len(runs()) > 100
    assert all(path.is_relative_to(FIXTURES) for path, _ in runs())
