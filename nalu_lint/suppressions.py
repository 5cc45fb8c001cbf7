"""Comments that silence findings: `# noqa`, `# noqa: NAL001`, `# nalu-lint: ignore[NAL001]`.

Only real comments count, so the text is tokenised, but only where it holds such words at all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKER = re.compile(r"noqa|nalu-lint\s*:", re.IGNORECASE)
_NOQA = re.compile(r"#\s*noqa(?P<codes>\s*:\s*[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)?", re.IGNORECASE)
_OURS = re.compile(r"#\s*nalu-lint\s*:\s*ignore(?![\w-])\s*(?:\[(?P<codes>[^\]]*)\])?", re.IGNORECASE)
_FILE = re.compile(r"#\s*nalu-lint\s*:\s*ignore-file\b", re.IGNORECASE)
_CODE = re.compile(r"[A-Z]+[0-9]*", re.IGNORECASE)

ALL = frozenset({""})  # every code starts with it


class Suppressions(NamedTuple):
    """Which codes (or prefixes of them) are silenced, by row; or everything in the file."""

    rows: dict[int, frozenset[str]]
    whole_file: bool

    def silences(self, code: str, first_row: int, last_row: int) -> bool:
        """Whether a comment on any of these rows silences `code`."""
        return self.whole_file or any(
            code.startswith(prefix) for row in range(first_row, last_row + 1) for prefix in self.rows.get(row, ())
        )


NONE = Suppressions({}, False)


def read(text: str, *, honour_noqa: bool = True) -> Suppressions:
    """The suppressions in a text. `honour_noqa`: False where the host applies noqa itself."""
    if not _MARKER.search(text):
        return NONE
    rows: dict[int, frozenset[str]] = {}
    for row, comment in _comments(text):
        if _FILE.search(comment):
            return Suppressions({}, True)
        found: set[str] = set()
        patterns = [_OURS, _NOQA] if honour_noqa else [_OURS]
        for pattern in patterns:
            match = pattern.search(comment)
            if match is not None:
                found |= _codes(match)
        if found:
            rows[row] = rows.get(row, frozenset()) | found
    return Suppressions(rows, False)


def _codes(match: re.Match[str]) -> frozenset[str]:
    listed = match.group("codes")
    if listed is None:
        return ALL
    found = frozenset(code.upper() for code in _CODE.findall(listed))
    return ALL if "ALL" in found else found


def _comments(text: str) -> Iterator[tuple[int, str]]:
    import io  # start-up time
    import tokenize

    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    except (tokenize.TokenError, SyntaxError):
        return  # what parses may still not tokenise: the comments up to there count
