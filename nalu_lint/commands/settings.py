"""The configuration of each folder: flags over the nearest configuration file over the defaults."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from nalu_lint import config
from nalu_lint.cache import DEFAULT_FOLDER
from nalu_lint.commands import CLEAN
from nalu_lint.errors import UsageError
from nalu_lint.output import formats
from nalu_lint.printable import say
from nalu_lint.sources import STDIN

if TYPE_CHECKING:
    import argparse

    from nalu_lint.config import Config, Layer


class Configs:
    """The configuration of each folder: nearest file, under the flags."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.by_file: dict[str | None, Config] = {}
        self.by_folder: dict[str, Config] = {}
        self.given: list[Layer] = []
        self.has_file = False
        self._read_flags()

    def _read_flags(self) -> None:
        options = self.options
        for setting in options.config or ():
            if os.path.isfile(setting):
                self.given[:0] = config.read_config(setting)
                self.has_file = True
            elif "=" in setting:
                self.given.append(config.inline_layer(setting))
            else:
                raise config.ConfigError(f"--config: no such file: {setting}")
        if options.output_format is not None and options.output_format not in formats():
            hint = config.did_you_mean(options.output_format, formats()) or f"; known are {', '.join(formats())}"
            raise config.ConfigError(f"unknown output format `{options.output_format}`{hint}")
        for pattern, selectors in options.per_file_ignores or ():
            for selector in selectors:
                if not config.matching(selector):
                    raise config.ConfigError(f"--per-file-ignores {pattern}: {config.unknown_code(selector)}")
        self.flags = config.Layer(
            select=_tuple(options.select),
            ignore=_tuple(options.ignore),
            extend_select=_tuple(options.extend_select),
            extend_ignore=_tuple(options.extend_ignore),
            per_file_ignores=_tuple(options.per_file_ignores),
            exclude=_tuple(options.exclude),
            extend_exclude=_tuple(options.extend_exclude),
            force_exclude=options.force_exclude,
            respect_gitignore=options.respect_gitignore,
            output_format=options.output_format,
            cache_dir=options.cache_dir,
            baseline=options.baseline,
            fix=options.fix,
            fix_only=options.fix_only,
            unsafe_fixes=options.unsafe_fixes,
        )
        config.merge([*self.given, self.flags])  # unknown codes are errors even where no file is checked

    def for_folder(self, folder: str) -> Config:
        """What holds in a folder."""
        found = self.by_folder.get(folder)
        if found is None:
            found = self.by_folder[folder] = self._of_folder(folder)
        return found

    def file_for(self, folder: str) -> str | None:
        """The configuration file that holds in a folder."""
        return None if self.options.isolated or self.has_file else config.find_config(folder)

    def _of_folder(self, folder: str) -> Config:
        path = self.file_for(folder)
        if path not in self.by_file:
            layers = () if path is None else config.read_config(path)
            merged = config.merge([*layers, *self.given, self.flags])
            self.by_file[path] = merged._replace(root=merged.root if merged.root != "." else os.getcwd())
        return self.by_file[path]


def _tuple(values: Any) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def show(options: argparse.Namespace) -> int:
    """The settings that hold for the first path, in TOML, and the file that they come from."""
    configs = Configs(options)
    path = (options.paths or ["."])[0]
    if path != STDIN and not os.path.lexists(path):
        raise UsageError(f"{path}: no such file or directory")
    folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
    found, origin = configs.for_folder(folder), configs.file_for(folder)
    settings = {
        "select": sorted(found.selected),
        "per-file-ignores": {pattern: list(codes) for pattern, codes in found.per_file_ignores},
        "exclude": list(found.exclude),
        "force-exclude": found.force_exclude,
        "respect-gitignore": found.respect_gitignore,
        "output-format": found.output_format,
        "cache-dir": cache_folder(found)[0],
        "fix": found.fix,
        "fix-only": found.fix_only,
        "unsafe-fixes": found.unsafe_fixes,
    }
    if found.baseline is not None:
        settings["baseline"] = found.baseline
    say(f"# Settings for {path}", sys.stdout)
    say(f"# From {'the flags and defaults' if origin is None else origin}", sys.stdout)
    say(f"# Patterns are relative to {found.root}", sys.stdout)
    for key, value in settings.items():
        print(f"{key} = {_toml(value)}")
    return CLEAN


def cache_folder(found: Config) -> tuple[str, str | None]:
    """Where the cache of a run is, and the folder that it must not lead out of, unless it was asked for by name."""
    folder = found.cache_dir or os.environ.get("NALU_LINT_CACHE_DIR")
    return (folder, None) if folder else (os.path.join(found.root, DEFAULT_FOLDER), found.root)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    import json  # start-up time

    return json.dumps(value)  # strings and truth values are written the same way
