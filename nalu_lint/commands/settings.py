"""The configuration of each folder: flags over the nearest configuration file over the defaults."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nalu_lint import config
from nalu_lint.output import formats

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
                self.given.insert(0, config.read_config(setting))
                self.has_file = True
            elif "=" in setting:
                self.given.append(config.inline_layer(setting))
            else:
                raise config.ConfigError(f"--config: no such file: {setting}")
        if options.output_format is not None and options.output_format not in formats():
            known = ", ".join(formats())
            raise config.ConfigError(f"unknown output format `{options.output_format}`; known are {known}")
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
        )
        config.merge([*self.given, self.flags])  # unknown codes are errors even where no file is checked

    def for_folder(self, folder: str) -> Config:
        found = self.by_folder.get(folder)
        if found is None:
            found = self.by_folder[folder] = self._of_folder(folder)
        return found

    def _of_folder(self, folder: str) -> Config:
        path = None if self.options.isolated or self.has_file else config.find_config(folder)
        if path not in self.by_file:
            layers = [] if path is None else [config.read_config(path)]
            merged = config.merge([*layers, *self.given, self.flags])
            self.by_file[path] = merged._replace(root=merged.root if merged.root != "." else os.getcwd())
        return self.by_file[path]


def _tuple(values: Any) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
