"""Made-up classes through the fixes, before and after compared at run time. Needs torch.

Usage: python benchmarks/fixes.py [CLASSES] [SEED] [--probe]. The default is 5,000 classes.

Each class derives Parameters, buffers or tensors from others, in a random way of writing it. Where it is fixed, both
versions are built: the outputs must be equal bit for bit, given the same Parameters, and every source must get a
gradient after. With `--probe` the probe must report the finding before and must be silent after.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from typing import Any

from nalu_lint import judging, source_text
from nalu_lint.fixing.applying import fix
from nalu_lint.fixing.planning import Planner, with_fixes

CODES = frozenset({"NAL001", "NAL003"})
HEAD = """\
import math
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parameter import Parameter


def squash(t, by=1.0):
    return torch.tanh(t * by)


def halves(t):
    return t * 0.25, t * 0.75

"""
UNARY = [
    "torch.tanh({})",
    "{}.exp()",
    "torch.sigmoid({})",
    "squash({}, by=0.5)",
    "-({})",
    "F.softplus({})",
    "({}).abs()",
]
BINARY = ["({} + {})", "({} * {})", "torch.hypot({}, {})", "torch.stack([{}, {}]).mean(0)", "torch.lerp({}, {}, 0.3)"]
SCALARS = ["2", "0.5", "math.pi", "self.k", "scale", "(n + 1)", "eps"]


class Maker:
    """Writes one class; `text` is the whole module, `reads` what forward reads."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.step = rng.choice(["    ", "    ", "  ", "\t"])
        self.init: list[str] = []
        self.methods: list[list[str]] = []
        self.atoms: list[str] = []
        self.derived: list[str] = []
        self.n_locals = 0
        self.extra: list[str] = []

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    # Values.

    def expression(self, depth: int = 2) -> str:
        if depth == 0 or self.chance(0.2):
            return self.rng.choice(self.atoms)
        kind = self.rng.random()
        if kind < 0.45:
            return self.rng.choice(UNARY).format(self.expression(depth - 1))
        if kind < 0.8:
            return self.rng.choice(BINARY).format(self.expression(depth - 1), self.expression(depth - 1))
        return f"({self.expression(depth - 1)} * {self.rng.choice(SCALARS)})"

    def local(self) -> str:
        self.n_locals += 1
        return f"t{self.n_locals}"

    def value(self) -> str:
        """An expression, some of it computed by statements before."""
        if self.chance(0.6):
            return self.expression()
        name = self.local()
        kind = self.rng.randrange(7)
        if kind == 0:
            self.init.append(f"{name} = {self.expression()}")
        elif kind == 1:
            self.init += [f"{name} = {self.expression(1)}", f"{name} = {name} + {self.expression(1)}"]
        elif kind == 2:
            self.init += [
                f"{name} = torch.zeros(n)",
                "for i in range(2):",
                f"{self.step}{name} = {name} + i * {self.expression(1)}",
            ]
        elif kind == 3:
            other = self.local()
            self.init.append(f"{name}, {other} = halves({self.expression(1)})")
            return f"{name} * {other}"
        elif kind == 4:
            self.init += [
                "if scale > 1:",
                f"{self.step}{name} = {self.expression(1)}",
                "else:",
                f"{self.step}{name} = {self.expression(1)}",
            ]
        elif kind == 5:
            self.init += [f"{name} = [{self.expression(1)}]", f"{name}.append({self.expression(1)})"]
            return f"torch.stack({name}).sum(0)"
        else:
            atoms = [atom for atom in self.atoms if atom.startswith("self.")] or ["torch.ones(3)"]
            self.methods.append([f"def _make_{name}(self):", f"{self.step}return torch.tanh({self.rng.choice(atoms)})"])
            return f"self._make_{name}()"
        return name

    # Statements.

    def source(self, index: int) -> None:
        name = f"a{index}"
        made = "nn.Parameter(torch.rand(n) + 0.1)"
        kind = self.rng.randrange(5)
        if kind == 0:
            self.init.append(f'self.register_parameter("{name}", {made})')
        elif kind == 1:
            self.init += [f"{name} = {made}", f"self.{name} = {name}"]
            self.atoms.append(name)
            return
        elif kind == 2:
            self.init.append(f"self.l{index} = nn.Linear(n, 1, bias=False)")
            self.atoms.append(f"self.l{index}.weight[0]")
            return
        else:
            self.init.append(f"self.{name} = {made}{self.comment()}")
        self.atoms.append(f"self.{name}")

    def comment(self) -> str:
        return self.rng.choice(["", "", "", "  # of each row", "  # größer als 0"])

    def derive(self, index: int) -> None:
        name = f"w{index}"
        value = self.value()
        if value in self.atoms:
            value = f"{value} * 1.5"  # as it is, it would be a tie
        made = f"{self.rng.choice(['nn.Parameter', 'Parameter'])}({value})"
        kind = self.rng.randrange(11)
        if kind == 0:
            self.init.append(f'self.register_parameter("{name}", {made})')
        elif kind == 1:
            self.init.append(f'self.register_buffer("{name}", {value})')
        elif kind == 2:
            self.init.append(f"self.{name} = {value}{self.comment()}")
        elif kind == 3:
            self.init.append(f'setattr(self, "{name}", {made})')
        elif kind == 4:
            self.init.append(f"self.{name}: nn.Parameter = {made}")
        elif kind == 5:
            self.init += [f"{name} = {made}", f"self.{name} = {name}"]
        elif kind == 6:
            self.init.append(f"self.{name} = {name} = {made}")
        elif kind == 7:
            self.init.append(f"self.{name} = nn.Parameter(\n{self.step}{value}{self.comment()}\n)")
        else:
            self.init.append(f"self.{name} = {made}{self.comment()}")
        if self.chance(0.15) and kind not in (1, 2):
            self.init.append(f"self.{name}.requires_grad_(False)")
        self.derived.append(f"self.{name}")
        if self.chance(0.5):
            self.atoms.append(f"self.{name}")

    def forward(self) -> list[str]:
        lines = ['"""What it computes."""'] if self.chance(0.2) else []
        terms = [self.rng.choice(["x * {}", "(x + {})", "torch.sin(x) * {}"]).format(read) for read in self.derived]
        if self.chance(0.3):
            lines.append(f"y = {terms[0]}{self.comment()}")
            terms[0] = "y"
        if self.chance(0.2):
            terms.append(f"x * {self.rng.choice([a for a in self.atoms if a.startswith('self.')] or ['2'])}")
        if self.chance(0.2) and len(self.derived) > 1:
            self.methods.append(["def norm(self):", f"{self.step}return {self.rng.choice(self.derived)}.norm()"])
        if self.chance(0.1):
            self.extra.append(f"def scale_of(model):\n    return model.{self.rng.choice(self.derived)[5:]}.mean()\n\n")
        return [*lines, f"return {' + '.join(terms)}"]

    def text(self) -> str:
        self.init = ["super().__init__()"]
        if self.chance(0.5):
            self.init.append(self.rng.choice(["self.scale = scale", "self.by = scale"]))
        self.init.append("self.k = 3")
        for index in range(self.rng.randint(1, 3)):
            self.source(index)
        for index in range(self.rng.randint(1, 3)):
            self.derive(index)
        forward = self.forward()
        signature = self.rng.choice(["scale=0.5", "scale: float = 0.5"])
        step = self.step
        rows = ["class Made(nn.Module):", f"{step}def __init__(self, n, {signature}, eps=1e-3):"]
        rows += [f"{step}{step}{row}" for statement in self.init for row in statement.split("\n")]
        for method in [*self.methods, ["def forward(self, x):", *(f"{step}{row}" for row in forward)]]:
            rows += ["", *(f"{step}{row}" for row in method)]
        text = HEAD + "\n" + "\n".join(rows) + "\n\n\n" + "".join(self.extra)
        return text.replace("\n", "\r\n") if self.chance(0.1) else text


# What PyTorch says.


def built(text: str) -> Any:
    import torch

    namespace: dict[str, Any] = {}
    exec(compile(text, "made.py", "exec"), namespace)
    torch.manual_seed(0)
    return namespace["Made"](3)


def compare(before: str, after: str, sources: set[str]) -> str:
    """What differs; nothing, if all is as it should be."""
    import torch

    old, new = built(before), built(after)
    x = torch.linspace(-1, 1, 6).view(2, 3)
    with torch.no_grad():
        known = dict(old.named_parameters())
        for name, parameter in new.named_parameters():
            parameter.copy_(known[name])
    result = new(x)
    if not torch.equal(old(x), result):
        return "another output"
    result.sum().backward()
    dead = [name for name in sources if new.get_parameter(name).grad is None]
    if "scale > 1" in before:
        dead = []  # the sources of the other branch
    return f"no gradient for {', '.join(dead)}" if dead else ""


def probed(text: str) -> set[str]:
    """The codes that the probe reports."""
    import torch

    from nalu_lint.probe import check

    report = check(
        lambda: built(text), lambda model, x: model(x).sum(), torch.ones(2, 3), steps=2, device="cpu", history=False
    )
    return {f"{v.code} {v.parameter}" for v in report.reported}


def main(classes: int = 5000, seed: int = 0, *, with_probe: bool = False) -> int:
    """Run and print what came of it. Returns 1 if anything is wrong."""
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    started = time.perf_counter()
    for number in range(classes):
        text = Maker(random.Random(seed * 1_000_003 + number)).text()
        problem = one(text, counts, reasons, with_probe=with_probe)
        if problem:
            counts["WRONG"] += 1
            print(f"class {number}: {problem}")
    print(f"{classes} classes in {time.perf_counter() - started:.0f} s")
    for what, count in sorted(counts.items()):
        print(f"  {what}: {count}")
    print("refused:")
    for reason, count in reasons.most_common():
        print(f"  {count:5} {reason}")
    return 1 if counts["WRONG"] else 0


def one(text: str, counts: Counter[str], reasons: Counter[str], *, with_probe: bool) -> str:
    """What is wrong with the fixes of one text, if anything."""
    plain = source_text.decode(text.encode())
    tree = source_text.parse(plain)
    findings = judging.find(plain, tree, CODES)
    counts["findings"] += len(findings)
    for planned in with_fixes(Planner(plain, tree, findings, [], CODES, recheck=judging.recheck), findings):
        if planned.fix is None:
            reasons[_general(planned.refusal)] += 1
    result = fix(text.encode(), "made.py", CODES, unsafe=True)
    counts["fixed findings"] += len(result.findings)
    if not result.findings:
        return ""
    counts["fixed classes"] += 1
    if fix(result.source, "made.py", CODES, unsafe=True).findings:
        return "a second run changes something"
    after = result.source.decode()
    sources = {source.name for finding in result.findings for source in finding.sources}
    try:
        sources &= {name for name, parameter in built(after).named_parameters() if parameter.requires_grad}
        problem = compare(text, after, sources)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if not problem and with_probe and "scale > 1" not in text:  # the sources of the other branch get no gradient
        gone = {f"{finding.code} {finding.parameter}" for finding in result.findings}
        try:
            before = probed(text)
        except Exception as error:
            if "no graph" in str(error):  # all that forward reads is frozen: nothing to be seen before
                counts["not to be probed"] += 1
                return ""
            if "second time" not in str(error):  # the stale graph of a tensor
                return f"the probe fails: {error}"
            before = gone
        left = probed(after)
        counts["probed classes"] += 1
        # A stale tensor or an untied copy in the same class may keep a source in use: then that is the cause it names.
        counts["the probe names all before" if gone <= before else "the probe names another cause before"] += 1
        if not any(found.startswith("NAL00") for found in before):
            problem = f"the probe sees only {before} before"
        elif left & gone or not left <= before:
            problem = f"the probe sees {left} after"
    return problem


def _general(reason: str) -> str:
    """A reason without its names and rows."""
    import re

    return re.sub(r"row \d+", "row N", re.sub(r"`[^`]*`", "`...`", reason))


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument != "--probe"]
    sys.exit(main(*map(int, given), with_probe="--probe" in sys.argv))
