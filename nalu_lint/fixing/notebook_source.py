"""Writing the code of cells back into a notebook: only the JSON strings of changed rows are other bytes."""

from __future__ import annotations

import difflib
import json
import re
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]
from typing import NamedTuple

from nalu_lint.fixing.common.refused import Refused

_BLANK = re.compile(r"[ \t\r\n]*")


class Token(NamedTuple):
    """A JSON value and where it stands in the text."""

    start: int
    end: int


def replace_cells(source: bytes, codes: dict[int, str]) -> bytes:
    """The notebook with other code in some of its code cells, by their number from 1."""
    mark = "\ufeff" if source.startswith(b"\xef\xbb\xbf") else ""
    text = source.decode("utf-8-sig")
    places = _sources(text)
    for number in sorted(codes, reverse=True):  # from the end, so that places before stay
        place = places[number - 1]
        new = _rewritten(text[place.start : place.end], codes[number], is_ascii=text.isascii())
        text = text[: place.start] + new + text[place.end :]
    return (mark + text).encode("utf-8")


# Where the code of each cell stands.


def _sources(text: str) -> list[Token]:
    """The values of `source` (`input` in format 3) of the code cells, in order."""
    found: list[Token] = []
    root = _members(text, _skip(text, 0))
    cells = root.get("cells")
    lists = [cells] if cells is not None else []
    if not lists and "worksheets" in root:
        sheets = [_members(text, item.start) for item in _items(text, root["worksheets"].start)]
        lists = [sheet["cells"] for sheet in sheets if "cells" in sheet]
    for place in lists:
        for cell in _items(text, place.start):
            members = _members(text, cell.start)
            kind = members.get("cell_type")
            if kind is not None and json.loads(text[kind.start : kind.end]) == "code":
                value = members.get("source", members.get("input"))
                if value is None:
                    raise Refused("a code cell of the notebook has no source")
                found.append(value)
    return found


def _skip(text: str, index: int) -> int:
    match = _BLANK.match(text, index)
    return match.end() if match is not None else index


def _value_end(text: str, index: int) -> int:
    _, end = JSONDecoder().raw_decode(text, index)
    return end


def _members(text: str, index: int) -> dict[str, Token]:
    """The members of the object that starts there; of several with one name, the last counts, as for `json`."""
    found: dict[str, Token] = {}
    index = _skip(text, index + 1)
    while text[index] != "}":
        name, index = scanstring(text, index + 1)
        index = _skip(text, _skip(text, index) + 1)  # the colon
        end = _value_end(text, index)
        found[name] = Token(index, end)
        index = _skip(text, end)
        if text[index] == ",":
            index = _skip(text, index + 1)
    return found


def _items(text: str, index: int) -> list[Token]:
    found: list[Token] = []
    index = _skip(text, index + 1)
    while text[index] != "]":
        end = _value_end(text, index)
        found.append(Token(index, end))
        index = _skip(text, end)
        if text[index] == ",":
            index = _skip(text, index + 1)
    return found


# The new value.


def _rewritten(value: str, code: str, *, is_ascii: bool) -> str:
    """The JSON text of a source, as it is written there, for other code."""
    old = json.loads(value)
    if not isinstance(old, list):
        return _quoted(code, is_ascii)
    rows = code.splitlines(keepends=True) if "\r" not in code else re.findall(r"[^\n]*\n|[^\n]+", code)
    if any(not isinstance(part, str) for part in old):
        raise Refused("the source of a cell is no list of strings")
    tokens = [value[token.start : token.end] for token in _items(value, 0)]
    written: list[str] = []
    matcher = difflib.SequenceMatcher(None, old, rows, autojunk=False)
    for kind, first, last, new_first, new_last in matcher.get_opcodes():
        written += (
            tokens[first:last] if kind == "equal" else [_quoted(row, is_ascii) for row in rows[new_first:new_last]]
        )
    if not written:
        return "[]"
    head, separator, tail = _layout(value)
    return head + separator.join(written) + tail


def _layout(value: str) -> tuple[str, str, str]:
    """What a list is written with before, between and behind its elements."""
    items = _items(value, 0)
    head, tail = value[: items[0].start], value[items[-1].end :]
    separator = value[items[0].end : items[1].start] if len(items) > 1 else f",{head[1:]}" if head[1:] else ", "
    return head, separator, tail


def _quoted(text: str, is_ascii: bool) -> str:
    return json.dumps(text, ensure_ascii=is_ascii)
