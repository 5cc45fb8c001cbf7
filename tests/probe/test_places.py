"""Places are in the user's code: not in torch, the standard library or the packages between."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from nalu_lint.probe.places import user_place

TRAINER = """
from torch import nn
from nalu_lint.probe.places import user_place

def call(function):
    return function()

def look():
    return user_place()

class Base(nn.Module):
    def look(self):
        return user_place()

class Model(Base):
    pass
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package as pip leaves it."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "some_trainer.py").write_text(TRAINER)
    monkeypatch.syspath_prepend(folder)
    yield __import__("some_trainer")
    del sys.modules["some_trainer"]


def path_of(place: Any) -> str:
    return "" if place is None else Path(place.path).name


def test_the_standard_library_is_passed_over() -> None:
    import copy

    class Copied:
        def __deepcopy__(self, memo: Any) -> Any:
            return eval(compile("user_place()", copy.__file__, "eval"), {"user_place": user_place})

    assert path_of(copy.deepcopy(Copied())) == Path(__file__).name
    assert Path(copy.__file__).parent == Path(sysconfig.get_path("stdlib"))


def test_packages_are_passed_over_where_user_code_called_them(installed: Any) -> None:
    assert path_of(installed.look()) == Path(__file__).name
    assert path_of(installed.call(user_place)) == Path(__file__).name

    class Own(installed.Base):  # type: ignore[misc]
        pass

    assert path_of(Own().look()) == Path(__file__).name


def test_models_of_packages_are_not(installed: Any) -> None:
    assert path_of(installed.Model().look()) == "some_trainer.py"
