"""From flags and configuration files to one `Config` per file.

Layers are applied in the order defaults, file, command line, as ruff does: `select` starts
anew, `extend-select` adds, `ignore` removes, and within a layer the longer code prefix wins.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from nalu_lint import reading
from nalu_lint.errors import UsageError
from nalu_lint.excludes import matches_path
from nalu_lint.rules import all_rules, codes

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIG_NAMES = ("nalu-lint.toml", "pyproject.toml")
# What cannot be read is not checked: that is said whatever rules are selected, unless it is ignored by code.
UNREADABLE = "NAL901"
DEFAULT_EXCLUDE = (
    *(
        ".bzr",
        ".direnv",
        ".eggs",
        ".git",
        ".git-rewrite",
        ".hg",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".nalu_lint_cache",
        ".nox",
    ),
    *(".pants.d", ".pyenv", ".pytest_cache", ".pytype", ".ruff_cache", ".svn", ".tox", ".venv", ".vscode"),
    *("__pypackages__", "_build", "buck-out", "dist", "node_modules", "site-packages", "venv"),
)


MAX_GLOB = 4096  # as long as a path can be


class ConfigError(UsageError):
    """The configuration cannot be used; the message names the file and the key."""


class Layer(NamedTuple):
    """What one configuration file, or the command line, sets. None: not set there."""

    root: str = "."  # what relative patterns are relative to
    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] | None = None
    extend_ignore: tuple[str, ...] | None = None
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    exclude: tuple[str, ...] | None = None
    extend_exclude: tuple[str, ...] | None = None
    force_exclude: bool | None = None
    respect_gitignore: bool | None = None
    output_format: str | None = None
    cache_dir: str | None = None
    baseline: str | None = None
    fix: bool | None = None
    fix_only: bool | None = None
    unsafe_fixes: bool | None = None


class Config(NamedTuple):
    """Everything that checking one file depends on."""

    root: str = "."
    codes: frozenset[str] | None = None  # the selected rules; None: those on by default
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    force_exclude: bool = False
    respect_gitignore: bool = True
    output_format: str = "full"
    cache_dir: str | None = None  # None: in the root
    baseline: str | None = None
    fix: bool = False
    fix_only: bool = False
    unsafe_fixes: bool = False

    @property
    def selected(self) -> frozenset[str]:
        """The codes of the rules that are to run."""
        return default_codes() if self.codes is None else self.codes

    def selected_for(self, path: str) -> frozenset[str]:
        """The codes of the rules that are to run in a file."""
        selected = self.selected
        for pattern, selectors in self.per_file_ignores:
            if matches_path(path, (pattern,), self.root) != pattern.startswith("!"):
                selected = selected.difference(*map(matching, selectors))
        return selected

    @classmethod
    def of(cls, *, select: Iterable[str] | None = None, ignore: Iterable[str] = ()) -> Config:
        """A configuration with these rules, by code or prefix. Raises ConfigError for unknown ones."""
        chosen = None if select is None else tuple(select)
        return merge([Layer(select=chosen, ignore=tuple(ignore))])


@lru_cache(maxsize=1)
def default_codes() -> frozenset[str]:
    return frozenset(code for code, rule in all_rules().items() if rule.on_by_default)


def matching(selector: str) -> frozenset[str]:
    """The codes that a code, a prefix or ALL stands for."""
    if selector == "ALL":
        return frozenset(codes())
    return frozenset(code for code in codes() if code.startswith(selector) and len(selector) >= 3)


# The settings of which the last layer that has one counts.
_PLAIN = (
    *("force_exclude", "respect_gitignore", "output_format", "cache_dir", "baseline"),
    *("fix", "fix_only", "unsafe_fixes"),
)


def merge(layers: list[Layer]) -> Config:
    """One configuration out of layers, the last of which counts most."""
    chosen: frozenset[str] | None = None
    config = Config()
    for layer in layers:
        chosen = _apply_codes(chosen, layer)
        if layer.root != ".":
            config = config._replace(root=layer.root)
        if layer.exclude is not None:
            config = config._replace(exclude=layer.exclude)
        if layer.extend_exclude is not None:
            config = config._replace(exclude=config.exclude + layer.extend_exclude)
        if layer.per_file_ignores is not None:
            config = config._replace(per_file_ignores=config.per_file_ignores + layer.per_file_ignores)
        for name in _PLAIN:
            value = getattr(layer, name)
            if value is not None:
                config = config._replace(**{name: value})
    return config._replace(codes=chosen)


def _apply_codes(chosen: frozenset[str] | None, layer: Layer) -> frozenset[str] | None:
    adds = [*(layer.select or ()), *(layer.extend_select or ())]
    removes = [*(layer.ignore or ()), *(layer.extend_ignore or ())]
    for selector in (*adds, *removes):
        if not matching(selector):
            raise ConfigError(unknown_code(selector))
    if layer.select is None and not adds and not removes:
        return chosen
    result = {UNREADABLE} if layer.select is not None else set(default_codes() if chosen is None else chosen)
    for length in range(7):
        for selector in adds:
            if _specificity(selector) == length:
                result |= matching(selector)
        for selector in removes:
            if _specificity(selector) == length:
                result -= matching(selector)
    return frozenset(result)


def _specificity(selector: str) -> int:
    return 0 if selector == "ALL" else min(len(selector), 6)


def unknown_code(selector: str) -> str:
    return f"unknown rule code `{selector}`{did_you_mean(selector, [*codes(), 'ALL'])}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words, as the end of an error; empty if none is near."""
    import difflib  # only on the way to an error

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else ""


# Configuration files.


def find_config(folder: str) -> str | None:
    """The nearest configuration file that concerns us, in `folder` or above."""
    current = os.path.abspath(folder)
    while True:
        found = _config_in(current)
        if found is not None:
            return found
        parent = os.path.dirname(current)
        if parent == current:
            return None
        current = parent


@cache
def _config_in(folder: str) -> str | None:
    paths = (os.path.join(folder, name) for name in CONFIG_NAMES)
    return next((path for path in paths if _concerns_us(path)), None)


def _concerns_us(path: str) -> bool:
    try:
        content = reading.read(path)
    except OSError:
        return False
    return os.path.basename(path) == "nalu-lint.toml" or _has_table(path, content)


def _has_table(path: str, content: bytes) -> bool:
    """Whether a pyproject.toml has our table. Most do not mention us, and cost no parsing. Raises ConfigError."""
    if b"nalu" not in content.lower():
        return False
    names = _tool_table(_parsed(path, content))
    for name in names:
        if name != "nalu-lint" and name.lower().replace("_", "").replace("-", "") == "nalulint":
            raise ConfigError(f"{path}: unknown table `tool.{name}`; did you mean `tool.nalu-lint`?")
    return "nalu-lint" in names


def _tool_table(document: dict[str, Any]) -> dict[str, Any]:
    tool = document.get("tool")
    return tool if isinstance(tool, dict) else {}


def _parsed(path: str, content: bytes) -> dict[str, Any]:
    try:
        return _loads(content.decode("utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def forget() -> None:
    """Read configuration files anew: for what runs longer than one check."""
    _config_in.cache_clear()
    read_config.cache_clear()


@cache
def read_config(path: str) -> tuple[Layer, ...]:
    """The layers of a configuration file: those of the file that it extends, then its own. Raises ConfigError."""
    return tuple(_read_chain(path, ()))


def _read_chain(path: str, above: tuple[str, ...]) -> list[Layer]:
    if os.path.abspath(path) in above:
        raise ConfigError(f"{above[0]}: extends itself, through {' and '.join((*above[1:], path))}")
    table = _read_table(path)
    root = os.path.dirname(os.path.abspath(path))
    base = table.pop("extend", None)
    layer = layer_of(table, path, root)
    for key, place in (("cache-dir", layer.cache_dir), ("baseline", layer.baseline)):
        # Whoever checks a project has not agreed to have it write anywhere else.
        if place is not None and not reading.is_within(place, root):
            raise ConfigError(f"{path}: `{key}` leads out of the folder of this file: only the flag --{key} may do so")
    if base is None:
        return [layer]
    if not isinstance(base, str) or not base:
        raise ConfigError(f"{path}: `extend` must be the path of a configuration file")
    extended = os.path.join(root, os.path.expanduser(base))
    if not os.path.isfile(extended):
        raise ConfigError(f"{path}: `extend`: no such file: {base}")
    if os.path.basename(extended) == "pyproject.toml" and not _concerns_us(extended):
        raise ConfigError(f"{path}: `extend`: {base} has no table `tool.nalu-lint`")
    return [*map(_anchor_layer, _read_chain(extended, (*above, os.path.abspath(path)))), layer]


def _read_table(path: str) -> dict[str, Any]:
    try:
        table = _parsed(path, reading.read(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if os.path.basename(path) == "pyproject.toml":
        table = _tool_table(table).get("nalu-lint", {})
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: `tool.nalu-lint` must be a table")
    return dict(table)


def _anchor_layer(layer: Layer) -> Layer:
    """A layer whose patterns go on to mean what they do, below another root."""

    def anchor(patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if patterns is None else tuple(anchored(pattern, layer.root) for pattern in patterns)

    ignores = layer.per_file_ignores
    return layer._replace(
        exclude=anchor(layer.exclude),
        extend_exclude=anchor(layer.extend_exclude),
        per_file_ignores=ignores and tuple((anchored(pattern, layer.root), codes) for pattern, codes in ignores),
    )


def anchored(pattern: str, folder: str) -> str:
    """A glob with the folder that it is relative to, if it is a path rather than a name.

    >>> anchored("!tests/*.py", "/project")
    '!/project/tests/*.py'
    >>> anchored("*.py", "/project")
    '*.py'
    """
    sign = "!" if pattern.startswith("!") else ""
    plain = pattern.removeprefix("!").removeprefix("./")
    if "/" not in plain.rstrip("/") or plain.startswith(("/", "**/")):
        return pattern
    return sign + re.sub(r"([*?[{])", r"[\1]", folder) + "/" + plain


def check_glob(pattern: str) -> str:
    """The pattern, if it can match anything. Raises ValueError that says where it is wrong."""
    plain = pattern.removeprefix("!")
    if not plain.strip():
        raise ValueError("has an empty glob")
    if len(plain) > MAX_GLOB:
        raise ValueError(f"has a glob of more than {MAX_GLOB} characters: {plain[:20]}...")
    outside = re.sub(r"\[!?\]?[^\]]*\]", "", plain)  # what is not in a set of characters
    for opening, is_open in (("[", "[" in outside), ("{", outside.count("{") != outside.count("}"))):
        if is_open:
            raise ValueError(f"has the glob `{pattern}` with an unclosed `{opening}`")
    return pattern


# A key of so many parts. Reading one takes time and memory by the square of their number: 100,000 take 40 GB.
_MAX_PARTS = 200
_DEEP_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{_MAX_PARTS}}}""")


def _loads(text: str) -> dict[str, Any]:
    if text.count(".") >= _MAX_PARTS and _DEEP_KEY.search(text):
        raise ValueError(f"a key has more than {_MAX_PARTS} parts")
    if sys.version_info >= (3, 11):
        import tomllib  # start-up time
    else:
        import tomli as tomllib
    try:
        loaded: dict[str, Any] = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return loaded


def inline_layer(setting: str) -> Layer:
    """`--config 'key = value'`: one setting in TOML. Raises ConfigError."""
    try:
        table = _loads(setting)
    except ValueError as error:
        shown = setting if len(setting) < 80 else f"{setting[:80]}..."
        raise ConfigError(f"--config: neither a file nor `key = value` in TOML: {shown!r}") from error
    return layer_of(table, "--config", ".")


def layer_of(table: dict[str, Any], where: str, root: str) -> Layer:
    """Check the keys and types of a table of settings. Raises ConfigError."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        check_type = _KEYS.get(key)
        if check_type is None:
            raise ConfigError(f"{where}: unknown key `{key}`{did_you_mean(key, [*_KEYS, 'extend'])}")
        try:
            values[key.replace("-", "_")] = check_type(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}: `{key}` {error}") from error
    for key in ("select", "ignore", "extend_select", "extend_ignore"):
        for selector in values.get(key, ()):
            if not matching(selector):
                raise ConfigError(f"{where}: `{key.replace('_', '-')}`: {unknown_code(selector)}")
    for _, selectors in values.get("per_file_ignores", ()):
        for selector in selectors:
            if not matching(selector):
                raise ConfigError(f"{where}: `per-file-ignores`: {unknown_code(selector)}")
    for key in ("cache_dir", "baseline"):
        if key in values:
            values[key] = os.path.join(root, values[key])
    return Layer(root=root, **values)


def _globs(value: Any) -> tuple[str, ...]:
    return tuple(map(check_glob, _strings(value)))


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        hint = f', such as ["{value}"]' if isinstance(value, str) and '"' not in value else ""
        raise TypeError(f"must be a list of strings{hint}")
    return tuple(value)


def _patterns(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise TypeError("must be a table from patterns to lists of codes")
    return tuple((check_glob(pattern), _strings(selectors)) for pattern, selectors in value.items())


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("must be true or false")
    return value


def _format(value: Any) -> str:
    from nalu_lint.output import formats  # start-up time

    if value not in formats():
        raise ValueError(f"must be one of {', '.join(formats())}{did_you_mean(str(value), formats())}")
    return str(value)


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("must be a path")
    return os.path.expanduser(value)


_KEYS: dict[str, Any] = {
    "select": _strings,
    "ignore": _strings,
    "extend-select": _strings,
    "extend-ignore": _strings,
    "per-file-ignores": _patterns,
    "exclude": _globs,
    "extend-exclude": _globs,
    "force-exclude": _boolean,
    "respect-gitignore": _boolean,
    "output-format": _format,
    "cache-dir": _path,
    "baseline": _path,
    "fix": _boolean,
    "fix-only": _boolean,
    "unsafe-fixes": _boolean,
}
