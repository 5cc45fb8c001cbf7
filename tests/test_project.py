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


# Other files of the project that read what the file itself does not.

CELL = """\
import torch
from torch import nn


class Cell(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(n))
        self.start = nn.Parameter(self.scaled())

    def scaled(self):
        return self.raw * 2

    def forward(self, x):
        return x + self.start
"""
READER = """\
from torch import nn

from pkg.cell import Cell


class Net(nn.Module):
    def __init__(self, cell):
        super().__init__()
        {init}

    def forward(self, x):
        return {value}
"""
SUBCLASS = """\
from torch import nn
from pkg import cell


class Scaled(cell.Cell):
    def forward(self, x):
        return super().forward(x) * self.raw
"""
PLAIN_READS = {
    "holds one": READER.format(init="self.cell = Cell(3)", value="self.cell(x) * self.cell.raw"),
    "is given one": READER.format(init="self.cell = cell", value="self.cell(x) * self.cell.raw"),
    "by a variable": READER.format(init="self.cell = cell", value="[c.raw for c in [self.cell]][0] * x"),
    "by its name": READER.format(init="self.cell = cell", value="getattr(self.cell, 'raw') * x"),
    "its method": READER.format(init="self.cell = cell", value="self.cell.scaled() * x"),
    "a subclass": SUBCLASS,
}
OTHER_READS = {
    "of another class": READER.format(init="self.raw = nn.Parameter(cell)", value="self.raw * x"),
    "of a layer": READER.format(init="self.raw = nn.Linear(3, 3)", value="self.raw(x) + self.raw.bias"),
    "in a script": "from pkg.cell import Cell\nimport torch\n\ncell = Cell(3)\nprint(cell.raw)\n",
}


@pytest.mark.parametrize("reader", PLAIN_READS.values(), ids=PLAIN_READS)
def test_another_file_reads_it(tmp_path: Path, reader: str) -> None:
    write(tmp_path, {"pkg/__init__.py": "", "pkg/cell.py": CELL, "pkg/sub/__init__.py": "", "pkg/sub/net.py": reader})
    assert codes(tmp_path) == from_flake8(tmp_path) == []


@pytest.mark.parametrize("reader", OTHER_READS.values(), ids=OTHER_READS)
def test_another_file_reads_something_else(tmp_path: Path, reader: str) -> None:
    write(tmp_path, {"pkg/__init__.py": "", "pkg/cell.py": CELL, "pkg/sub/__init__.py": "", "pkg/sub/net.py": reader})
    expected = [f"{Path('pkg/cell.py')} NAL001"]
    assert codes(tmp_path) == from_flake8(tmp_path) == expected


def test_other_files_train_what_the_file_cuts_or_hides(tmp_path: Path) -> None:
    cut = (
        "import torch\nfrom torch import nn\n\n\nclass Cut(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.a = nn.Parameter(torch.ones(3))\n"
        "        self.layers = [nn.Linear(3, 3)]\n\n"
        "    def forward(self, x):\n        return self.layers[0](x) * self.a.detach()\n"
    )
    other = "import torch\n\n\nclass Net(torch.nn.Module):\n    def forward(self, cut):\n        return {}\n"
    write(tmp_path, {"pyproject.toml": "", "cut.py": cut, "net.py": other.format("cut.b")})
    assert codes(tmp_path) == ["cut.py NAL102", "cut.py NAL202"]
    write(tmp_path, {"net.py": other.format("cut.a.sum() + cut.layers[0].weight")})
    assert codes(tmp_path) == []


def test_a_project_without_marks_is_its_package(tmp_path: Path) -> None:
    reader = PLAIN_READS["holds one"]
    write(tmp_path, {"a/pkg/__init__.py": "", "a/pkg/cell.py": CELL, "b/net.py": reader, "a/c/net.py": reader})
    assert [line.split()[1] for line in concise("--isolated", "a/pkg", cwd=tmp_path)] == ["NAL001"]
    write(tmp_path, {"a/pkg/net.py": reader})
    assert concise("--isolated", "a/pkg", cwd=tmp_path) == []
    write(tmp_path, {"cell.py": CELL, "net.py": reader.replace("pkg.cell", "cell")})
    assert concise("--isolated", "cell.py", cwd=tmp_path) == []


def test_modules_that_import_everything_from_one_another(tmp_path: Path) -> None:
    """Each is asked for a name once, however many ways lead to it."""
    names = [f"part{number}" for number in range(14)]
    for name in names:
        others = "".join(f"from {other} import *\n" for other in names if other != name)
        write(tmp_path, {f"{name}.py": others + (BASE if name == names[-1] else "")})
    write(tmp_path, {"cell.py": DERIVED.format(imports=f"from {names[0]} import Base", base="Base")})
    write(tmp_path, {"none.py": DERIVED.format(imports=f"from {names[0]} import Nothing", base="Nothing")})
    assert [line.split(" ")[:2] for line in concise(cwd=tmp_path)] == [["cell.py:9:18:", "NAL001"]]


def test_a_long_chain_of_base_classes_and_of_imports(tmp_path: Path) -> None:
    n_files = 40
    write(tmp_path, {"pyproject.toml": "", "base0.py": BASE.replace("Base", "Base0")})
    for number in range(1, n_files):
        text = f"from base{number - 1} import Base{number - 1}\n\n\nclass Base{number}(Base{number - 1}):\n    pass\n"
        write(tmp_path, {f"base{number}.py": text, f"again{number}.py": f"from again{number - 1} import *\n"})
    write(tmp_path, {"again0.py": BASE})
    last = f"from base{n_files - 1} import Base{n_files - 1}"
    write(tmp_path, {"cell.py": DERIVED.format(imports=last, base=f"Base{n_files - 1}")})
    write(tmp_path, {"star.py": DERIVED.format(imports=f"from again{n_files - 1} import Base", base="Base")})
    assert [line.split(" ")[:2] for line in concise(cwd=tmp_path)] == [
        ["cell.py:9:18:", "NAL001"],
        ["star.py:9:18:", "NAL001"],
    ]
