"""Trees that somebody else has made: their names and texts command nothing, and nothing in them is run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from helpers import FAULTY, call, fixtures_in, run, write

from nalu_lint.output import formats
from nalu_lint.printable import printable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="names may hold less elsewhere")

NAMES = [
    b"\x1b[31mred\x1b[0m.py",
    b"new\nline.py",
    b"\n::error file=x.py,line=1::forged.py",
    b"::error ::forged.py",
    b"##[error]forged.py",
    b"a%0A::error ::b%25.py",
    b"<b>&\"'.py",
    "\u202egnp.\u2066x\u2069\u200f.py".encode(),
    "\u2028line\u2029.py".encode(),
    b"\xff\xfe.py",
    b"\x07bell\x9b1m\x7f.py",
    b"back\\slash\t.py",
    b"--fix.py",
    b"folder\r\n::warning ::x/m.py",
]
# The same in a name that is registered, in a text that is shown, and in a comment that suppresses nothing.
TEXT = FAULTY.replace(
    "        self.w = nn.Parameter(torch.tanh(self.raw))\n",
    "        '''\x1b[2J\u202e'''; self.register_parameter('w\\n::error ::x\\x1b[31m\\u202e', "
    "nn.Parameter(torch.tanh(self.raw)))  # nalu-lint: ignore[NAL101] \x1b]0;title\x07\n",
).replace("return x * self.w", "return x * getattr(self, 'w\\n::error ::x\\x1b[31m\\u202e')")
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in NAMES:
        path = os.path.join(os.fsencode(tmp_path), b"tree", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(TEXT.encode())
    write(tmp_path / "tree", {"broken\x1b[1m.py": "x = (\n", "book\x1b.ipynb": "{"})
    return tmp_path / "tree"


def check_lines(text: str) -> None:
    assert UNSEEN.search(text) is None, ascii(text)
    for line in text.split("\n"):
        assert not line.lstrip().startswith(("::", "##")), line


@pytest.mark.parametrize("output_format", formats())
def test_all_formats(tree: Path, output_format: str) -> None:
    start = run if output_format == "concise" else call
    result = start("-v", "--no-cache", "--output-format", output_format, cwd=tree)
    assert result.returncode == 1, result.stderr
    n_found = len(NAMES) + 2
    assert f"Found {n_found} findings." in result.stderr
    check_lines(result.stderr)
    names = {os.fsdecode(name) for name in NAMES}
    if output_format == "github":
        assert UNSEEN.search(result.stdout) is None
        lines = result.stdout.splitlines()
        assert len(lines) == n_found
        assert all(re.match(r"::error title=nalu-lint \(NAL\d{3}\),file=[^,:]*,line=\d+", line) for line in lines)
        return
    if output_format == "azure":
        assert UNSEEN.search(result.stdout) is None
        lines = result.stdout.splitlines()
        assert len(lines) == n_found
        assert all(
            re.match(r"##vso\[task\.logissue type=error;sourcepath=[^;\]]*;linenumber=\d", line) for line in lines
        )
        return
    check_lines(result.stdout)
    if output_format == "rdjson":
        assert {d["location"]["path"] for d in json.loads(result.stdout)["diagnostics"]} >= names
    elif output_format in ("grouped", "pylint"):
        assert sum(bool(re.search(r"\bNAL\d{3}\b", line)) for line in result.stdout.splitlines()) == n_found
    elif output_format == "json":
        assert {d["filename"] for d in json.loads(result.stdout)} >= names
    elif output_format == "json-lines":
        assert {json.loads(line)["filename"] for line in result.stdout.splitlines()} >= names
    elif output_format == "gitlab":
        assert {d["location"]["path"] for d in json.loads(result.stdout)} >= names
    elif output_format == "sarif":
        assert len(json.loads(result.stdout)["runs"][0]["results"]) == n_found
    elif output_format == "junit":
        assert len(ET.fromstring(result.stdout).findall(".//failure")) == n_found
    elif output_format == "concise":
        assert len(result.stdout.splitlines()) == n_found
        assert "new␊line.py:9:" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--show-files",),
        ("--show-settings",),
        ("--show-settings", "new\nline.py"),
        ("--statistics",),
        ("--diff", "--unsafe-fixes"),
        ("no\x1b[31m\n::error ::such.py",),
        ("--select", "NAL\n::error ::x"),
        ("--config", "no\n::error ::such.toml"),
        ("--config", "exclude = ['\\u001b[31m', '']"),
        ("--config", "'a\\n::error' = 1"),
        ("--output-format", "\n::error ::x"),
        ("-o", "no\n::error/such\x1b"),
        ("--baseline", "no\n::error"),
        ("--explain", "\n::error"),
        ("--color", "\n::error"),
        ("\n::error ::x", "--no-such-flag\n::error ::x"),
    ],
)
def test_all_other_output(tree: Path, arguments: tuple[str, ...]) -> None:
    result = call("--no-cache", *arguments, cwd=tree)
    assert "Traceback" not in result.stderr
    check_lines(result.stdout)
    check_lines(result.stderr)


def test_broken_configuration_files(tmp_path: Path) -> None:
    folder = tmp_path / "a\n::error ::x\x1b[31m"
    for text in ("'b\\n::error ::y' = 1\n", "x = [\n", "exclude = ['[\\u001b']\n", "extend = '\\n::error'\n"):
        write(folder, {"nalu-lint.toml": text, "m.py": FAULTY})
        result = call(cwd=folder)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        check_lines(result.stderr)


def test_comments_baselines_and_fixes(tree: Path) -> None:
    for arguments in (("--baseline", "x.json", "--update-baseline"), ("--fix", "--unsafe-fixes"), ("--add-noqa",)):
        result = call("--no-cache", "-v", *arguments, cwd=tree)
        assert "Traceback" not in result.stderr
        check_lines(result.stdout)
        check_lines(result.stderr)


def test_the_plugin(tree: Path) -> None:
    (tree / "m.py").write_bytes(TEXT.encode())
    command = [sys.executable, "-m", "flake8", "--isolated", "--select", "NAL", "m.py"]
    result = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "")
    check_lines(result.stdout)
    assert len(result.stdout.splitlines()) == 1


def test_plain_names_stay() -> None:
    for text in ("plain", "ünï cödé", "日本", "a\tb"):
        assert printable(text) == text


# Nothing of the tree is run.

# Modules that the command imports, late or early, but those that `python -m` itself needs before it gets to us.
SHADOWS = [
    *("argparse", "ast", "bisect", "concurrent", "copy", "difflib", "email", "fnmatch", "gettext", "hashlib", "html"),
    *("inspect", "json", "locale", "logging", "multiprocessing", "pickle", "queue", "random", "shutil", "signal"),
    *("site", "sitecustomize", "socket", "subprocess", "tempfile", "textwrap", "threading", "tokenize", "tomllib"),
    *("torch", "traceback", "typing", "unicodedata", "urllib", "xml", "flake8", "libcst", "pathspec", "nalu_lint_x"),
]
MARK = "import os\nopen(os.environ['MARK'], 'a').write(__file__ + '\\n')\n"


def shadowed(folder: Path) -> Path:
    files = {f"{name}.py": MARK for name in SHADOWS}
    setup = dict.fromkeys(("conftest.py", "setup.py", "__init__.py", "__main__.py", "noxfile.py"), MARK)
    return write(folder, {**files, **setup, "model.py": FAULTY, "pyproject.toml": "[build-system]\nrequires = []\n"})


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "nalu_lint", "--output-format", "full"],
        [sys.executable, "-m", "nalu_lint", "--output-format", "junit", "--jobs", "2", "--unsafe-fixes", "--diff"],
        [str(Path(sys.executable).parent / "nalu-lint"), "--output-format", "sarif", "--force-exclude", "model.py"],
        [str(Path(sys.executable).parent / "flake8"), "--isolated", "--select", "NAL", "--jobs", "2"],
    ],
    ids=lambda command: " ".join(Path(part).name for part in command[:3]),
)
def test_modules_of_the_current_folder_are_not_imported(tmp_path: Path, command: list[str]) -> None:
    if not Path(command[0]).exists():
        pytest.skip(f"{command[0]} is not installed here")
    folder, mark = shadowed(tmp_path / "tree"), tmp_path / "mark"
    environment = {**os.environ, "MARK": str(mark)}
    environment.pop("PYTHONPATH", None)
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert not mark.exists(), mark.read_text()
    assert result.returncode == 1, result.stderr
    assert "NAL001" in result.stdout or "+" in result.stdout


def test_the_environment_of_a_caller_stays(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": FAULTY, "b.py": FAULTY})
    before = dict(os.environ)
    assert call("--jobs", "2", cwd=tmp_path).stdout.count("NAL001") == 2
    assert dict(os.environ) == before


AUDIT = """
import os, sys
ROOTS = [os.path.realpath(folder) for folder in {roots!r}]
ALLOWED = os.path.realpath({allowed!r})
TOLD = []

def within(path):
    path = os.path.realpath(path)
    return any(path.startswith(root + os.sep) for root in ROOTS)

def hook(event, arguments):
    name = arguments[0].co_filename if event == "exec" else ""  # named tuples are made with "<string>"
    if name == "<unknown>" or (not name.startswith("<") and name and within(name)):
        TOLD.append(("exec", arguments[0].co_filename))
    elif event == "import" and isinstance(arguments[1], str) and within(arguments[1]):
        TOLD.append(("import", arguments[1]))
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "ctypes.dlopen"):
        TOLD.append((event, repr(arguments)))
    elif event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        path = os.fsdecode(arguments[0])
        if path != os.devnull and not os.path.realpath(path).startswith(ALLOWED):
            TOLD.append(("write", path))
    elif event in ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "shutil.rmtree"):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if not path.startswith(ALLOWED):
            TOLD.append((event, path))

from nalu_lint.cli import main
sys.addaudithook(hook)
code = main({arguments!r})
sys.stdout.flush()
loaded = [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None) and within(m.__file__)]
print(code, TOLD, loaded, file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [(), ("--diff", "--unsafe-fixes")])
def test_reading_runs_nothing_and_writes_only_the_cache(tmp_path: Path, tree: Path, arguments: tuple[str, ...]) -> None:
    shadowed(tree / "shadows")
    cache = tmp_path / "cache"
    fixtures = fixtures_in(tmp_path / "more", "bugs", "scripts", "debatable")
    given = ["--quiet", "--select", "ALL", "--cache-dir", str(cache), *arguments, str(tree), str(fixtures)]
    program = AUDIT.format(roots=[str(tree), str(fixtures)], allowed=str(cache), arguments=given)
    environment = {**os.environ, "MARK": str(tmp_path / "mark")}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tree, env=environment, capture_output=True, check=False
    )
    assert result.stderr.decode().splitlines()[-1:] == ["1 [] []"]
    assert not (tmp_path / "mark").exists()
