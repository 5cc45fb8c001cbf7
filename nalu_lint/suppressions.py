"""Comments that silence findings: `# noqa`, `# noqa: NAL001`, `# nalu-lint: ignore[NAL001]`.

Only real comments count, so the text is tokenised, but only where it holds such words at all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.rules import code_of, codes

if TYPE_CHECKING:
    import tokenize
    from collections.abc import Iterable, Iterator

_MARKER = re.compile(r"noqa|nalu[-_]?lint\s*:", re.IGNORECASE)
_NOQA = re.compile(r"#\s*noqa(?P<codes>\s*:\s*[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)?", re.IGNORECASE)
_OURS = re.compile(r"#\s*nalu-lint\s*:\s*ignore(?![\w-])\s*(?:\[(?P<codes>[^\]]*)\])?", re.IGNORECASE)
_FILE = re.compile(r"#\s*nalu-lint\s*:\s*ignore-file\b", re.IGNORECASE)
# What somebody writes who knows the comments of another tool.
_UNKNOWN = re.compile(
    r"#\s*(?:nalu-lint\s*:\s*(?!\s|ignore(?:-file)?(?![\w-]))|nalu_?lint\s*:\s*)[\w-]*(?:[=\[][\w, -]*\]?)?",
    re.IGNORECASE,
)
_CODE = re.compile(r"[A-Z][A-Z0-9_-]*", re.IGNORECASE)
# A file without these holds nothing that could suppress nothing: codes of other tools are theirs to judge.
_NAMES_OURS = re.compile(rb"nalu[-_]?lint\s*:|(noqa\s*:)")
_HASH = ord("#")

ALL = frozenset({""})  # every code starts with it


class Comment(NamedTuple):
    """One comment that silences something."""

    first_row: int  # that it holds for: the rows before it that a backslash or a string joins to its own
    row: int
    codes: frozenset[str]
    text: str  # as far as it concerns us
    is_whole_file: bool = False
    is_ours: bool = True  # rather than a noqa, which other tools read, too


class Unused(NamedTuple):
    """A comment that suppresses nothing, or a code in it that does not."""

    row: int
    message: str
    cell: int | None = None


class Suppressions(NamedTuple):
    """Which codes (or prefixes of them) are silenced, by row; or everything in the file."""

    rows: dict[int, frozenset[str]]
    whole_file: bool
    comments: tuple[Comment, ...] = ()

    def silences(self, code: str, first_row: int, last_row: int) -> bool:
        """Whether a comment on any of these rows silences `code`."""
        return self.whole_file or any(
            code.startswith(prefix) for row in range(first_row, last_row + 1) for prefix in self.rows.get(row, ())
        )

    def unused(self, findings: Iterable[tuple[str, int, int]], selected: frozenset[str]) -> list[Unused]:
        """What suppresses none of the findings: code, first and last row of each.

        Codes of other tools, and of rules that do not run, are none of ours to judge.
        """
        found = list(findings)
        unused: list[Unused] = []
        for comment in self.comments:
            here = {c for c, first, last in found if first <= comment.row and comment.first_row <= last}
            if comment.is_whole_file:
                here = {code for code, _, _ in found}
            if not comment.codes:
                unused.append(Unused(comment.row, f"`{comment.text}` silences nothing: write `{_SPELLING}`"))
                continue
            if "" in comment.codes:
                idle = {""} if comment.is_ours and not here else set()
            else:
                idle = {
                    code
                    for code in comment.codes
                    if any(c.startswith(code) for c in selected) and not any(c.startswith(code) for c in here)
                }
            if comment.is_ours:
                idle |= {code for code in comment.codes if not any(known.startswith(code) for known in codes())}
            if idle == comment.codes:
                unused.append(Unused(comment.row, f"`{comment.text}` suppresses nothing"))
            elif idle:
                unused.append(Unused(comment.row, f"{', '.join(sorted(idle))} in `{comment.text}` suppresses nothing"))
        return unused


NONE = Suppressions({}, False)
_SPELLING = "# nalu-lint: ignore[CODE]"


def may_be_unused(source: bytes) -> bool:
    """Whether a file mentions codes of ours in a comment at all."""
    lowered = source.lower()
    if b"noqa" not in lowered and b"nalu" not in lowered:
        return False
    position = 0
    while (match := _NAMES_OURS.search(lowered, position)) is not None:
        position = match.end()
        if match.group(1):
            line_end = lowered.find(b"\n", position)
            line_end = len(lowered) if line_end < 0 else line_end
            if source.find(b"NAL", position, line_end) < 0:
                position = line_end
                continue
        if _is_in_comment(lowered, match.start()):
            return True
    return False


def _is_in_comment(source: bytes, place: int) -> bool:
    """Whether nothing but signs stands between a place and a `#` before it on its line."""
    while place and not source[place - 1 : place].isalnum() and source[place - 1] not in b"_\n":
        place -= 1
        if source[place] == _HASH:
            return True
    return False


def read(text: str, *, honour_noqa: bool = True) -> Suppressions:
    """The suppressions in a text. `honour_noqa`: False where the host applies noqa itself.

    A comment at the end of rows that a backslash or a string of several rows joins holds for all of
    them, as in flake8 and ruff: there is no other place for it.
    """
    if not _MARKER.search(text):
        return NONE
    rows: dict[int, frozenset[str]] = {}
    comments: list[Comment] = []
    whole_file = False
    for first_row, row, comment in _comments(text):
        match = _FILE.search(comment)
        if match is not None:
            whole_file = True
            comments.append(Comment(row, row, ALL, match.group(), is_whole_file=True))
            continue
        unknown = _UNKNOWN.search(comment)
        if unknown is not None:
            comments.append(Comment(first_row, row, frozenset(), unknown.group().strip()))
        for pattern in [_OURS, _NOQA] if honour_noqa else [_OURS]:
            match = pattern.search(comment)
            if match is not None:
                codes = _codes(match)
                comments.append(Comment(first_row, row, codes, match.group(), is_ours=pattern is _OURS))
                for joined in range(first_row, row + 1):
                    rows[joined] = rows.get(joined, frozenset()) | codes
    return Suppressions(rows, whole_file, tuple(comments))


def ends_of_codes(text: str) -> dict[int, int]:
    """By row, the column from 0 behind the last code of a `# nalu-lint: ignore[...]` comment there."""
    ends: dict[int, int] = {}
    for name, token in _tokens(text):
        match = _OURS.search(token.string) if name == "COMMENT" else None
        if match is not None and (match.group("codes") or "").strip():
            ends[token.start[0]] = token.start[1] + match.start("codes") + len(match.group("codes").rstrip())
    return ends


def joined_rows(text: str) -> frozenset[int]:
    """The rows that cannot end in a comment: a backslash or a string of several rows joins the next one to them."""
    joined: set[int] = set()
    commented: set[int] = set()
    lines = text.split("\n")
    opened: list[int] = []
    for name, token in _tokens(text):
        start, end = token.start[0], token.end[0]
        if name in _STRING_STARTS:
            opened.append(start)
        elif name in _STRING_ENDS and opened:
            joined.update(range(opened.pop(), end))
        elif name == "STRING":
            joined.update(range(start, end))
        elif name == "COMMENT":
            commented.add(start)
        row = end
        while row <= len(lines) and lines[row - 1].endswith("\\"):
            joined.add(row)
            row += 1  # rows between tokens hold nothing else
    return frozenset(joined - commented)


def _codes(match: re.Match[str]) -> frozenset[str]:
    listed = match.group("codes")
    if listed is None:
        return ALL
    found = frozenset(code_of(word) for word in _CODE.findall(listed))
    return ALL if "ALL" in found else found


_STRING_STARTS = frozenset({"FSTRING_START", "TSTRING_START"})
_STRING_ENDS = frozenset({"FSTRING_END", "TSTRING_END"})


def _comments(text: str) -> Iterator[tuple[int, int, str]]:
    """Each comment: the first row that is joined to its own, its row, its text."""
    joined: frozenset[int] | None = None
    for name, token in _tokens(text):
        if name == "COMMENT":
            joined = joined_rows(text) if joined is None else joined
            first = row = token.start[0]
            while first - 1 in joined:
                first -= 1
            yield first, row, token.string


def _tokens(text: str) -> Iterator[tuple[str, tokenize.TokenInfo]]:
    """The name of each token, and the token, as far as the text has any."""
    import io  # start-up time
    import tokenize

    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            yield tokenize.tok_name[token.type], token
    except (tokenize.TokenError, SyntaxError):
        return  # what parses may still not tokenise: the tokens up to there count
