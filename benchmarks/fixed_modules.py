"""Do the fixes hold? The random classes of `agreement`, fixed, before and after compared at run time.

Usage: python benchmarks/fixed_modules.py [--classes 5000] [--seed 0] [--jobs 2]

Needs `nalu-lint[probe]` and hypothesis. It counts classes that are fixed. For each of them the probe must report what
the fix is for before, and not after; after, it must report nothing that it did not report before; and the outputs at
initialisation must be equal bit for bit, given the same source Parameters.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from agreement import CODES, attribute, by_probe, draw, in_batches

from nalu_lint import check
from nalu_lint.config import Config
from nalu_lint.fixing.applying import fix

if TYPE_CHECKING:
    from nalu_lint.diagnostic import Finding

CONFIG = Config.of(select=sorted(CODES))
# Filled anew after it was computed: its first value is not that of its sources, with or without the fix.
_FILLED_ANEW = re.compile(r"nn\.init\.\w+_\(self\.(\w+)\)")


class Outcome(NamedTuple):
    """What became of one class: the rules that were applied, why others were not, and what is wrong, if anything."""

    source: str
    fixed: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    is_compared: bool  # whether its output is the same by right
    problem: str


def outcome(source: str) -> Outcome:
    """Fix one class, and see what it does then."""
    found = [d.finding for d in check(source.encode(), "model.py", CONFIG, with_fixes=True)]
    refused = tuple((f.code, _general(f.fix_refused)) for f in found if f.fix_refused)
    result = fix(source.encode(), "model.py", frozenset(CODES), unsafe=True)
    if not result.findings:
        return Outcome(source, (), refused, is_compared=False, problem="")
    after = result.source.decode()
    filled = set(_FILLED_ANEW.findall(source))
    is_compared = filled.isdisjoint(finding.parameter for finding in result.findings)
    try:
        problem = _problem(source, after, result.findings, is_compared=is_compared)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    if fix(result.source, "model.py", frozenset(CODES), unsafe=True).findings:
        problem = "a second run changes something"
    return Outcome(source, tuple(finding.code for finding in result.findings), refused, is_compared, problem)


def _problem(source: str, after: str, findings: tuple[Finding, ...], *, is_compared: bool) -> str:
    fixed = {(finding.code, attribute(finding.code, finding.parameter)) for finding in findings}
    seen, left = by_probe(source), by_probe(after)
    if fixed - seen:
        return f"before, the probe does not see {sorted(fixed - seen)}"
    if left & fixed or left - seen:
        return f"after, the probe sees {sorted(left & fixed or left - seen)}"
    return "another output" if is_compared and not _has_same_output(source, after) else ""


def _has_same_output(source: str, after: str) -> bool:
    old, new = _built(source), _built(after)
    with torch.no_grad():
        for name, parameter in new.named_parameters():
            parameter.copy_(_value(old, name))
        outputs = []
        for model in (old, new):
            torch.manual_seed(1)  # for layers that forward makes
            outputs.append(model(torch.linspace(-1, 1, 12).view(4, 3)))
    return torch.equal(*outputs)


def _built(source: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "model"}
    exec(compile(source, "model.py", "exec"), namespace)
    torch.manual_seed(0)
    return namespace["Model"]()


def _value(model: Any, name: str) -> Any:
    """What has this name in a model that may keep it in a plain container."""
    for part in name.split("."):
        if isinstance(model, dict):
            model = model[part]
        elif isinstance(model, list | tuple):
            model = model[int(part)]
        else:
            model = getattr(model, part)
    return model


def _general(reason: str) -> str:
    """A reason without its names and rows."""
    return re.sub(r"row \d+", "row N", re.sub(r"`[^`]*`", "`...`", reason))


def judge(n_classes: int, number: int) -> list[Outcome]:
    """What becomes of that many classes."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    return [outcome(source) for source in draw(n_classes, number)]


def measure(n_fixed: int, number: int, n_jobs: int) -> list[Outcome]:
    """Go on until that many distinct classes are fixed."""
    outcomes: dict[str, Outcome] = {}
    done = 0
    for batch in in_batches(judge, number, n_jobs):
        for one in batch:
            if done < n_fixed and one.source not in outcomes:
                outcomes[one.source] = one
                done += bool(one.fixed)
        print(f"{done} of {n_fixed} classes fixed", file=sys.stderr, flush=True)
        if done >= n_fixed:
            break
    return list(outcomes.values())


def report(outcomes: list[Outcome]) -> str:
    """How many, by rule, and why others are left alone."""
    fixed = [one for one in outcomes if one.fixed]
    by_code = Counter(code for one in fixed for code in one.fixed)
    reasons = Counter(reason for one in outcomes for reason in one.refused)
    rows = [f"{len(outcomes)} classes, of which {len(fixed)} were fixed"]
    rows += [f"    {code}: {by_code[code]} findings" for code in sorted(by_code)]
    rows.append(f"    outputs compared: {sum(one.is_compared for one in fixed)}; the others are filled anew")
    rows.append(f"    wrong: {sum(bool(one.problem) for one in fixed)}")
    rows.append("refused:")
    rows += [f"    {n:6} {code} {reason}" for (code, reason), n in reasons.most_common()]
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classes", type=int, default=5000, help="how many are to be fixed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    options = parser.parse_args()
    start = time.perf_counter()
    outcomes = measure(options.classes, options.seed, options.jobs)
    print(f"seed {options.seed}, {time.perf_counter() - start:.0f} s on {options.jobs} processes: {report(outcomes)}")
    wrong = [one for one in outcomes if one.problem]
    shortest: dict[str, Outcome] = {}
    for one in wrong:
        known = shortest.setdefault(one.problem, one)
        shortest[one.problem] = min(known, one, key=lambda each: len(each.source))
    for problem, one in sorted(shortest.items()):
        print(f"\n{problem}:\n")
        print("\n".join("    " + line for line in one.source[one.source.index("class Model") :].splitlines()))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
