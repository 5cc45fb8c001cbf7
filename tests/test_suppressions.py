"""Comments that silence findings."""

from __future__ import annotations

import pytest
from helpers import FAULTY

from nalu_lint import check, engine, suppressions

LINE = "        self.w = nn.Parameter(torch.tanh(self.raw))"


def codes(text: str) -> list[str]:
    return [diagnostic.code for diagnostic in check(text.encode(), "m.py")]


@pytest.mark.parametrize(
    ("comment", "silent"),
    [
        ("# noqa", True),
        ("#NOQA", True),
        ("# noqa: NAL001", True),
        ("# noqa: E501, NAL001", True),
        ("# noqa:E501 NAL001", True),
        ("# noqa: NAL", True),
        ("# noqa: NAL002", False),
        ("# noqa: E501", False),
        ("# type: ignore # noqa: NAL001 - meant", True),
        ("# nalu-lint: ignore[NAL001] starts from the inverse on purpose", True),
        ("# nalu-lint: ignore", True),
        ("# nalu-lint:ignore[NAL001,NAL003]", True),
        ("# nalu-lint: ignore[NAL003]", False),
        ("# nalu-lint: ignore[NAL]", True),
        ("# nalu-lint: ignore[ALL]", True),
        ("# nalu-lint: ignore[]", False),
        ("# nalu-lint: ignored elsewhere", False),
        ("# nothing", False),
    ],
)
def test_comment_on_the_line(comment: str, silent: bool) -> None:
    assert codes(FAULTY.replace(LINE, f"{LINE}  {comment}")) == ([] if silent else ["NAL001"])


@pytest.mark.parametrize("row", [0, 1, 2])
def test_any_row_of_the_expression_counts(row: int) -> None:
    rows = ["        self.w = nn.Parameter(", "            torch.tanh(self.raw)", "        )"]
    rows[row] += "  # noqa: NAL001"
    assert codes(FAULTY.replace(LINE, "\n".join(rows))) == []


def test_other_rows_do_not_count() -> None:
    assert codes(FAULTY.replace(LINE, f"        # noqa\n{LINE}\n        # noqa")) == ["NAL001"]


def test_strings_are_no_comments() -> None:
    assert codes(FAULTY.replace(LINE, f"{LINE}; s = '# noqa'")) == ["NAL001"]
    assert codes('"""\n# nalu-lint: ignore-file\n"""\n' + FAULTY) == ["NAL001"]


def test_whole_file() -> None:
    assert codes(FAULTY + "\n# nalu-lint: ignore-file\n") == []


def test_noqa_is_left_to_the_host_where_it_wants_that() -> None:
    assert suppressions.read("x = 1  # noqa\n", honour_noqa=False).rows == {}
    assert suppressions.read("x = 1  # nalu-lint: ignore[NAL001]\n", honour_noqa=False).silences("NAL001", 1, 1)


@pytest.mark.parametrize("line_end", ["\r", "\r\n"])
def test_any_line_ends(line_end: str) -> None:
    silent = FAULTY.replace(LINE, f"{LINE}  # noqa")
    assert codes(silent.replace("\n", line_end)) == []
    assert codes(silent.replace("\n", line_end, 5)) == []


def test_text_that_does_not_tokenise_keeps_the_comments_before() -> None:
    assert suppressions.read("x = 1  # noqa\nf(\n").silences("NAL001", 1, 1)


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("# nalu-lint: disable=NAL001", "`# nalu-lint: disable=NAL001` silences nothing: write "),
        ("# nalu-lint: off", "`# nalu-lint: off` silences nothing: write "),
        ("# nalu_lint: ignore[NAL001]", "`# nalu_lint: ignore[NAL001]` silences nothing: write "),
        ("# nalu-lint: ignore[]", "`# nalu-lint: ignore[]` silences nothing: write "),
        ("# nalu-lint: ignore[NAL999]", "`# nalu-lint: ignore[NAL999]` suppresses nothing"),
        ("# nalu-lint: ignore[untied-parameters]", "`# nalu-lint: ignore[untied-parameters]` suppresses nothing"),
    ],
)
def test_a_comment_in_an_unknown_spelling_is_said(comment: str, said: str) -> None:
    text = FAULTY.replace(LINE, f"{LINE}  {comment}")
    outcome = engine.examine(text.encode(), "m.py")
    assert [d.code for d in outcome.diagnostics] == ["NAL001"]
    (unused,) = outcome.unused
    assert unused.message.startswith(said)


@pytest.mark.parametrize("name", ["derived-parameter", "Derived_Parameter", "NAL003, derived-parameter"])
def test_a_rule_may_go_by_its_name(name: str) -> None:
    assert codes(FAULTY.replace(LINE, f"{LINE}  # nalu-lint: ignore[{name}]")) == []
