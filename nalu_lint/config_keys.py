"""The keys of the configuration and what they mean: for `nalu-lint config` and the documentation."""

from __future__ import annotations

KEYS = {
    "select": "The rules that run: codes, prefixes, or ALL. Default: the rules that are on by default.",
    "ignore": "The rules that do not run.",
    "extend-select": "Rules that run in addition to the selected ones.",
    "extend-ignore": "Rules that do not run, in addition to the ignored ones.",
    "per-file-ignores": "A table from patterns to the rules that do not run in files that match.",
    "exclude": "Files and folders that are not checked. Default: .git, .venv, node_modules and the like.",
    "extend-exclude": "Files and folders that are not checked, in addition to `exclude`.",
    "force-exclude": "Whether excluded files are left out even if the command line names them. Default: false.",
    "respect-gitignore": "Whether files that git ignores are left out. Default: true.",
    "output-format": "The format of the findings. Default: full.",
    "fix": "Whether fixes are applied. Default: false.",
    "fix-only": "Whether fixes are applied and nothing is reported. Default: false.",
    "unsafe-fixes": "Whether fixes may change what trains or the keys of state_dict. Default: false.",
    "cache-dir": "The folder of the cache, in the folder of the configuration file. Default: .nalu_lint_cache.",
    "baseline": "A file of known findings, which are not reported.",
    "extend": "Another configuration file, whose settings hold unless this file sets them.",
}
