"""Modules are known without a search: however they come to be, and no longer than they live."""

from __future__ import annotations

import copy
import gc
import io
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from nalu_lint.probe import living
from nalu_lint.probe.homes import outermost_modules


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)


def ids(modules: Any) -> set[int]:
    return {id(module) for module in modules}


def test_what_is_made_copied_and_loaded() -> None:
    file = io.BytesIO()
    with living.noticed():
        model = nn.Sequential(Branch(), nn.MultiheadAttention(2, 1))
        copied = copy.deepcopy(model)
        shallow = copy.copy(model[0])
        torch.save(model, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        made = [module for root in (model, copied, shallow, loaded) for module in root.modules()]
        assert ids(living.modules()) == ids(made)
        assert ids(outermost_modules()) == ids([model, copied, shallow, loaded])
    assert ids(made) <= ids(living.modules()), "found by a search, too"


def test_what_is_gone_is_not_kept() -> None:
    with living.noticed():
        kept = nn.Linear(1, 1)
        for _ in range(3):
            nn.Sequential(Branch(), nn.ReLU())
        gc.collect()
        assert ids(living.modules()) == {id(kept)}
        assert living._noted is not None
        assert len(living._noted) == 1


def test_nothing_is_left_behind() -> None:
    before = nn.Module.__init__, nn.Module.__setstate__
    with living.noticed():
        assert nn.Module.__init__ is not before[0]
    assert (nn.Module.__init__, nn.Module.__setstate__) == before
