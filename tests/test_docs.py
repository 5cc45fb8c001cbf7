"""The documentation: it builds strictly, its examples run, its recipes are those that work."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import CLEAN, FAULTY, FINDING, ROOT, UNTIED, call, write

from nalu_lint import check
from nalu_lint.commands.arguments import make_parser
from nalu_lint.config import Config, _loads, layer_of
from nalu_lint.output import formats
from nalu_lint.rules import all_rules

DOCS = ROOT / "docs"
PAGES = {path.name: path.read_text("utf-8") for path in sorted(DOCS.glob("*.md"))}
_BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[\w: ]+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
HEADER = "import torch\nfrom torch import nn\n"


def blocks(language: str, page: str | None = None) -> list[tuple[str, str]]:
    """The mark and the code of each block of a language."""
    pages = PAGES.values() if page is None else [PAGES[page]]
    found = [match for text in pages for match in _BLOCK.finditer(text)]
    return [(match["mark"] or "", match["code"]) for match in found if match["language"] == language]


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    pytest.importorskip("mkdocs")
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    return tmp_path


def test_it_builds_strictly_with_a_page_for_each_rule(copy: Path) -> None:
    result = build(copy, copy / "site")
    assert result.returncode == 0, result.stderr
    index = (copy / "site" / "rules" / "index.html").read_text("utf-8")
    for code, rule in all_rules().items():
        page = (copy / "site" / "rules" / f"{code}.html").read_text("utf-8")
        assert f"{rule.name} ({code})" in page
        assert "Known limits" in page
        assert f'href="{code}.html"' in index
    guide = (copy / "site" / "guide.html").read_text("utf-8")
    assert 'href="rules/NAL002.html"' in guide
    assert "def check_many(" in (copy / "site" / "scale.html").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "link", ["[x](gone.md)", "[x](usage.md#gone)", "[x](rules/NAL999.md)", "![x](images/gone.svg)"]
)
def test_a_broken_link_is_an_error(copy: Path, link: str) -> None:
    with (copy / "docs" / "ci.md").open("a") as page:
        page.write(f"\n{link}\n")
    assert build(copy, copy / "site").returncode != 0


def test_the_examples_of_the_guide_are_found_and_what_to_write_instead_is_clean() -> None:
    codes = []
    for mark, code in blocks("python", "guide.md"):
        expected = mark.removeprefix("wrong: ")
        found = [d.code for d in check((HEADER + code).encode(), "guide.py", Config.of(select=["ALL"]))]
        if not expected or expected in all_rules():
            assert found == ([expected] if expected else []), code
        codes.append(expected)
    assert len([code for code in codes if code]) >= 9
    assert "" in codes


def test_the_examples_of_the_guide_do_what_it_says() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    namespace: dict[str, Any] = {"__name__": "guide"}
    for _, code in blocks("python", "guide.md"):
        exec(compile(code, "guide.md", "exec"), namespace)
    n_asserts = sum(
        isinstance(node, ast.Assert) for _, code in blocks("python", "guide.md") for node in ast.parse(code).body
    )
    assert n_asserts >= 18


def test_other_examples_run() -> None:
    for name in PAGES:
        for mark, code in blocks("python", name) if name != "guide.md" else []:
            needs_torch = "import torch\n" in code
            if mark == "fragment" or (needs_torch and importlib.util.find_spec("torch") is None):
                ast.parse(code)
            else:
                exec(compile(code, name, "exec"), {"__name__": name})


def commands() -> list[str]:
    lines = [line for _, code in blocks("console") for line in code.splitlines() if line.startswith("$ ")]
    return sorted({line[2:] for line in lines})


def test_the_commands_run(tmp_path: Path) -> None:
    found = [shlex.split(command) for command in commands() if command.startswith("nalu-lint")]
    assert len(found) >= 10
    pytest.importorskip("shtab")
    write(tmp_path, {"model.py": FAULTY, "layers/a.py": CLEAN, "nalu-baseline.json": '{"version": 1, "findings": {}}'})
    for command in found:
        result = call(*command[1:], cwd=tmp_path)
        assert result.returncode in (0, 1), f"{command}\n{result.stderr}"


def test_other_tools_were_tried_on_every_fault() -> None:
    faults = {mark.removeprefix("wrong: ") for mark, _ in blocks("python", "guide.md") if mark}
    rows = re.findall(r"^\| (NAL\d+) .*\|$", PAGES["comparison.md"], re.MULTILINE)
    assert faults | set(all_rules()) <= set(rows)
    assert "](docs/comparison.md)" in (ROOT / "README.md").read_text("utf-8")


def test_installing_names_extras_that_there_are() -> None:
    extras = set(_loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    named = set(re.findall(r"nalu-lint\[(\w+)\]", " ".join(PAGES.values())))
    assert {"lsp", "scale", "watch", "completion"} <= named <= extras


def test_configurations_are_valid(tmp_path: Path) -> None:
    tables = [_loads(code) for _, code in blocks("toml", "configuration.md")]
    assert len(tables) == 2
    for table in tables:
        own = table.get("tool", {}).get("nalu-lint", table)
        extended = own.pop("extend", None)
        layer_of(own, "docs", str(tmp_path))
        assert extended in (None, "../pyproject.toml")


def test_every_key_every_format_and_every_exit_code_is_described() -> None:
    from nalu_lint.config import _KEYS

    for key in [*_KEYS, "extend"]:
        assert f"`{key}`" in PAGES["configuration.md"], key
    for name in formats():
        assert f"`{name}`" in PAGES["usage.md"], name


def test_flags_that_are_mentioned_exist() -> None:
    flags = {flag for action in make_parser()._actions for flag in action.option_strings}
    own = "".join(PAGES[name] for name in ("index.md", "usage.md", "configuration.md", "adopting.md", "ci.md"))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", own))
    assert mentioned
    assert mentioned - {"--all"} <= flags  # of `nalu-lint rule`


@pytest.mark.parametrize("name", ["setup.cfg", "tox.ini"])
def test_flake8_configurations(tmp_path: Path, name: str) -> None:
    ((_, code),) = blocks("ini")
    write(tmp_path, {name: code, "m.py": FAULTY, "untied.py": UNTIED})
    result = subprocess.run([sys.executable, "-m", "flake8"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"m.py:{FINDING}" in result.stdout, result.stderr
    assert "untied.py:9:18: NAL002 " in result.stdout


def workflows() -> list[dict[Any, Any]]:
    yaml = pytest.importorskip("yaml")
    return [yaml.safe_load(code) for _, code in blocks("yaml", "ci.md")]


@pytest.mark.slow
def test_workflows_are_valid_by_the_schemas_of_the_services(tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema")
    schemas = [
        "vendor.gitlab-ci" if "script" in str(workflow) else "vendor.github-workflows"
        for workflow in workflows()
        if "repos" not in workflow
    ]
    codes = [code for _, code in blocks("yaml", "ci.md") if "repos:" not in code]
    assert sorted(schemas) == ["vendor.github-workflows", "vendor.github-workflows", "vendor.gitlab-ci"]
    for number, (schema, code) in enumerate(zip(schemas, codes, strict=True)):
        write(tmp_path, {f"{number}.yml": code})
        command = [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            schema,
            str(tmp_path / f"{number}.yml"),
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout


def test_the_commands_of_workflows_run_and_write_what_they_upload(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": FAULTY})
    steps = [
        line
        for workflow in workflows()
        for job in (workflow.get("jobs") or workflow).values()
        if isinstance(job, dict)
        for line in [*(step.get("run", "") for step in job.get("steps", ())), *job.get("script", ())]
    ]
    ran = [line.split() for line in steps if line.startswith("nalu-lint")]
    assert len(ran) == 3
    codes = [call(*command[1:], cwd=tmp_path).returncode for command in ran]
    assert sorted(codes) == [0, 1, 1]  # the upload of SARIF comes after the step, which must not fail
    for name in ("nalu-lint.sarif", "gl-code-quality-report.json"):
        assert (tmp_path / name).stat().st_size > 100
        assert name in PAGES["ci.md"]


def test_the_hook_is_one_that_exists() -> None:
    yaml = pytest.importorskip("yaml")
    hooks = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))}
    used = {hook["id"] for workflow in workflows() for repo in workflow.get("repos", ()) for hook in repo["hooks"]}
    assert used == {"nalu-lint"} <= hooks


def test_noqa_is_introduced_with_the_warning_about_ruff() -> None:
    usage = PAGES["usage.md"]
    first = usage.index("noqa")
    assert "RUF102" in usage[first : first + 300]
    assert "usage.md#silencing-a-finding" in PAGES["adopting.md"]
