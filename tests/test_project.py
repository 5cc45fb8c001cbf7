"""Base classes and helpers of other files of the project are followed, by the command and by flake8."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import concise, write

from nalu_lint import check

BASE = """\
import torch
from torch import nn


class Base(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(n))

    def scale(self):
        return 1.0
"""
DERIVED = """\
import torch
from torch import nn
{imports}


class Cell({base}):
    def __init__(self, n):
        super().__init__(n)
        self.w = nn.Parameter(torch.tanh(self.raw))

    def forward(self, x):
        return x * self.w * self.scale()
"""
READS = BASE.replace("return 1.0", "return torch.sigmoid(self.raw)")


def codes(folder: Path, *arguments: str) -> list[str]:
    found = concise("--isolated", *arguments, ".", cwd=folder)
    return [f"{line.split(':')[0]} {line.split()[1]}" for line in found]


def from_flake8(folder: Path) -> list[str]:
    command = [sys.executable, "-m", "flake8", "--isolated", "--select", "NAL", "--ignore", "NAL002,NAL204,NAL205", "."]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert not result.stderr
    return sorted(f"{line.split(':')[0].removeprefix('./')} {line.split()[1]}" for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("files", "imports", "base"),
    [
        ({"pkg/__init__.py": "", "pkg/base.py": BASE}, "from .base import Base", "Base"),
        ({"pkg/__init__.py": "", "pkg/base.py": BASE}, "from pkg.base import Base as B", "B"),
        ({"pkg/__init__.py": "", "pkg/base.py": BASE}, "from pkg import base", "base.Base"),
        ({"pkg/__init__.py": "", "pkg/base.py": BASE}, "from . import base", "base.Base"),
        ({"pkg/__init__.py": "", "pkg/base.py": BASE}, "from .base import *", "Base"),
        ({"pkg/__init__.py": "from .base import Base", "pkg/base.py": BASE}, "from pkg import Base", "Base"),
        (
            {
                "pkg/__init__.py": "from .sub import *",
                "pkg/sub/__init__.py": "from .b import Base",
                "pkg/sub/b.py": BASE,
            },
            "from . import Base",
            "Base",
        ),
        ({"base.py": BASE}, "from base import Base", "Base"),
        (
            {"pyproject.toml": "", "src/other/__init__.py": "", "src/other/base.py": BASE, "pkg/__init__.py": ""},
            "from other.base import Base",
            "Base",
        ),
    ],
)
def test_a_base_class_is_found_however_it_is_imported(
    tmp_path: Path, files: dict[str, str], imports: str, base: str
) -> None:
    name = "model.py" if "base.py" in files else "pkg/model.py"
    write(tmp_path, {**files, name: DERIVED.format(imports=imports, base=base)})
    assert codes(tmp_path) == [f"{name} NAL001"]
    assert from_flake8(tmp_path) == [f"{name} NAL001"]
    reading = {path: text.replace("return 1.0", "return torch.sigmoid(self.raw)") for path, text in files.items()}
    write(tmp_path, reading)
    assert codes(tmp_path) == []
    assert from_flake8(tmp_path) == []


def test_what_a_base_class_does_wrong_is_reported_in_its_own_file_only(tmp_path: Path) -> None:
    faulty = BASE.replace("return 1.0", "return self.raw.detach()")
    derived = DERIVED.replace("        self.w = nn.Parameter(torch.tanh(self.raw))\n", "").replace("x * self.w", "x")
    text = derived.format(imports="from .base import Base", base="Base")
    faulty = faulty + "\n    def forward(self, x):\n        return x * self.scale()\n"
    write(tmp_path, {"pkg/__init__.py": "", "pkg/base.py": faulty, "pkg/model.py": text})
    assert codes(tmp_path) == ["pkg/base.py NAL202"]
    assert from_flake8(tmp_path) == ["pkg/base.py NAL202"]


def test_imports_in_circles_end(tmp_path: Path) -> None:
    one = "from .two import Base\n" + BASE.replace("class Base", "class One").replace("nn.Module", "Base")
    two = "from .one import One, Missing\nfrom .two import Missing as Other\nclass Base(One):\n    pass\n"
    derived = DERIVED.format(imports="from .one import One, Missing", base="One, Missing")
    write(
        tmp_path, {"pkg/__init__.py": "from .one import *", "pkg/one.py": one, "pkg/two.py": two, "pkg/m.py": derived}
    )
    assert codes(tmp_path) == []


def test_helpers_of_other_files_are_followed(tmp_path: Path) -> None:
    helper = "import torch\n\n\ndef positive(raw):\n    return torch.exp(raw)\n\n\ndef use(m):\n    return m.raw\n"
    text = """\
import torch
from torch import nn
from .functions import positive


class Cell(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(n))
        self.w = nn.Parameter(positive(self.raw))

    def forward(self, x):
        return x * self.w
"""
    write(tmp_path, {"pkg/__init__.py": "", "pkg/functions.py": helper, "pkg/model.py": text})
    assert codes(tmp_path) == ["pkg/model.py NAL001"]
    reading = text.replace("import positive", "import positive, use").replace("x * self.w", "x * self.w + use(self)")
    write(tmp_path, {"pkg/model.py": reading})
    assert codes(tmp_path) == []


def test_what_is_not_of_the_project_is_unknown_and_silent(tmp_path: Path) -> None:
    write(tmp_path, {"model.py": DERIVED.format(imports="from elsewhere import Base", base="Base")})
    assert codes(tmp_path) == []
    write(tmp_path, {"broken.py": "class Base(:\n"})
    write(tmp_path, {"model.py": DERIVED.format(imports="from broken import Base", base="Base")})
    assert codes(tmp_path) == ["broken.py NAL901"]


def test_the_library_reads_no_file_unless_it_is_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    text = DERIVED.format(imports="from base import Base", base="Base").encode()
    write(tmp_path, {"base.py": BASE, "model.py": text})
    assert check(text, str(path)) == []
    assert [d.code for d in check(text, str(path), follow_imports=True)] == ["NAL001"]
