"""Programs that are cut and shuffled at random: a fix is proven or refused, and never raises."""

from __future__ import annotations

import random

import pytest
from rewriting import CODES as COMPUTED
from test_mutations import SOURCES, mutate

from nalu_lint import check
from nalu_lint.config import Config
from nalu_lint.fixing.applying import Fixed, fix
from nalu_lint.fixing.planning import key

CODES = COMPUTED | {"NAL101", "NAL102", "NAL201", "NAL202", "NAL203", "NAL301", "NAL302"}
CONFIG = Config.of(select=sorted(CODES))


@pytest.mark.parametrize("seed", range(8))
def test_mutated_programs(seed: int) -> None:
    chooser = random.Random(seed)
    for _ in range(12):
        source = mutate(chooser.choice(SOURCES), chooser.randrange(2**32), chooser.randint(1, 4)).encode()
        found = [d.finding for d in check(source, "m.py", CONFIG, with_fixes=True)]
        assert not [f.fix_refused for f in found if "defect" in (f.fix_refused or "")]
        if not any(finding.fix for finding in found):
            continue
        result = fix(source, "m.py", CODES, unsafe=True)
        left = {key(diagnostic.finding) for diagnostic in check(result.source, "m.py", CONFIG)}
        assert left <= {key(finding) for finding in found}
        assert fix(result.source, "m.py", CODES, unsafe=True) == Fixed(result.source, ())
