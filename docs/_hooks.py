"""What the documentation takes from the package: a page for each rule, the table of rules, links to rules by code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, InclusionLevel

from nalu_lint.rules import all_rules, documentation, summary

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

    from nalu_lint.rules import Rule

ROOT = Path(__file__).resolve().parent.parent
# A code of a rule in the text, but for code blocks and what is a link already.
_CODE = re.compile(r"(?<![\w`\[/#-])NAL\d{3}(?!\w|\]|`|\.md)")
_INCLUDE = re.compile(r"<!-- include: (\S+) -->")
_FENCE = re.compile(r"(^```.*?^```|`[^`\n]*`)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The rules as a section of the navigation."""
    pages: list[Any] = ["rules/index.md", *(f"rules/{code}.md" for code in all_rules())]
    config.nav = [*(config.nav or []), {"Rules": pages}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that exist nowhere else."""
    for code, rule in all_rules().items():
        files.append(File.generated(config, f"rules/{code}.md", content=rule_page(rule)))
    files.append(File.generated(config, "rules/index.md", content=rules_index()))
    for file in files:
        if file.src_uri.startswith("rules/"):
            file.inclusion = InclusionLevel.INCLUDED
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show the files that are included, and link each code of a rule to its page."""
    markdown = _INCLUDE.sub(lambda match: f"```python\n{(ROOT / match[1]).read_text('utf-8')}```", markdown)
    up = "../" * page.file.src_uri.count("/")
    known = set(all_rules()) - {page.file.src_uri.rpartition("/")[2].removesuffix(".md")}
    parts = _FENCE.split(markdown)
    for index in range(0, len(parts), 2):
        parts[index] = _CODE.sub(
            lambda match: f"[{match[0]}]({up}rules/{match[0]}.md)" if match[0] in known else match[0], parts[index]
        )
    return "".join(parts)


def rule_page(rule: Rule) -> str:
    """The page of a rule: its docstring, under its name."""
    default = "on by default" if rule.on_by_default else f"off unless selected: `--extend-select {rule.code}`"
    # A list needs an empty line before it here, other than on GitHub and in a terminal.
    page = re.sub(r"(^#+ .*\n)(?=- )", r"\1\n", documentation(rule), flags=re.MULTILINE)
    return f"# {rule.name} ({rule.code})\n\nThis rule is {default}.\n\n{page}\n"


def rules_index() -> str:
    """The table of rules."""
    rows = [
        f"| [{code}]({code}.md) | {rule.name} | {'on' if rule.on_by_default else 'opt-in'} | {summary(rule)} |"
        for code, rule in all_rules().items()
    ]
    table = "\n".join(["| code | name | default | |", "|---|---|---|---|", *rows])
    return f"# Rules\n\nThe same pages in a terminal: `nalu-lint --explain CODE`.\n\n{table}\n"
