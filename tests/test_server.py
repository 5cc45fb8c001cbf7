"""The language server, by a real client over standard input and output."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from helpers import CLEAN, FAULTY, run, write

pytest.importorskip("pygls")
from lsprotocol import types
from pygls.lsp.client import LanguageClient

from nalu_lint import __version__

TIMEOUT = 30
LINE = "        self.w = nn.Parameter(torch.tanh(self.raw))"
# A server whose rules have fixes: it adds one to each finding.
WITH_FIXES = """
import sys
from nalu_lint import Edit, Fix, server
examine = server.examine
def fixed(document, config):
    outcome = examine(document, config)
    def add(found, applicability):
        fix = Fix(applicability, "Compute it", (Edit("torch.tanh(self.raw)", found.span),))
        return found._replace(finding=found.finding._replace(fix=fix))
    return outcome._replace(diagnostics=[add(d, document.path.rpartition("/")[2][:-3]) for d in outcome.diagnostics])
server.examine = fixed
from nalu_lint.cli import main
sys.exit(main(["server"]))
"""


class Client(LanguageClient):
    """A client that keeps what the server publishes."""

    def __init__(self) -> None:
        super().__init__("test-client", "1")
        self.published: asyncio.Queue[types.PublishDiagnosticsParams] = asyncio.Queue()
        self.messages: list[str] = []

        @self.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def publish(parameters: types.PublishDiagnosticsParams) -> None:
            self.published.put_nowait(parameters)

        @self.feature(types.WINDOW_SHOW_MESSAGE)
        def show(parameters: types.ShowMessageParams) -> None:
            self.messages.append(parameters.message)

    async def diagnostics(self) -> list[types.Diagnostic]:
        return list((await asyncio.wait_for(self.published.get(), TIMEOUT)).diagnostics)

    async def open(self, path: Path, text: str) -> list[types.Diagnostic]:
        item = types.TextDocumentItem(path.as_uri(), "python", 1, text)
        self.text_document_did_open(types.DidOpenTextDocumentParams(item))
        return await self.diagnostics()

    def change(self, path: Path, version: int, text: str) -> None:
        identifier = types.VersionedTextDocumentIdentifier(version, path.as_uri())
        whole = [types.TextDocumentContentChangeWholeDocument(text)]
        self.text_document_did_change(types.DidChangeTextDocumentParams(identifier, whole))

    async def actions(self, path: Path, place: types.Range, *only: str) -> list[types.CodeAction]:
        identifier, context = types.TextDocumentIdentifier(path.as_uri()), types.CodeActionContext([], only or None)
        parameters = types.CodeActionParams(identifier, place, context)
        found = await asyncio.wait_for(self.text_document_code_action_async(parameters), TIMEOUT)
        assert all(isinstance(action, types.CodeAction) for action in found or [])
        return list(found or [])  # type: ignore[arg-type]

    async def hover(self, path: Path, row: int, column: int) -> types.Hover | None:
        identifier = types.TextDocumentIdentifier(path.as_uri())
        parameters = types.HoverParams(identifier, types.Position(row, column))
        return await asyncio.wait_for(self.text_document_hover_async(parameters), TIMEOUT)


def session(folder: Path, body: Callable[[Client], Coroutine[Any, Any, None]], *command: str) -> None:
    """Start a server in a folder, run `body` with a client of it, and end both in order."""

    async def whole() -> None:
        client = Client()
        await client.start_io(sys.executable, *(command or ("-m", "nalu_lint", "server")), cwd=folder)
        parameters = types.InitializeParams(capabilities=types.ClientCapabilities(), root_uri=folder.as_uri())
        answer = await asyncio.wait_for(client.initialize_async(parameters), TIMEOUT)
        assert answer.server_info is not None
        assert (answer.server_info.name, answer.server_info.version) == ("nalu-lint", __version__)
        client.initialized(types.InitializedParams())
        await body(client)
        await asyncio.wait_for(client.shutdown_async(None), TIMEOUT)
        client.exit(None)
        await asyncio.wait_for(client.stop(), TIMEOUT)

    asyncio.run(whole())


def applied(text: str, edits: list[types.TextEdit]) -> str:
    """What an editor makes of edits in a text of ASCII."""
    rows = text.splitlines(keepends=True)

    def offset(place: types.Position) -> int:
        return sum(map(len, rows[: place.line])) + place.character

    for edit in sorted(edits, key=lambda e: (e.range.start.line, e.range.start.character), reverse=True):
        text = text[: offset(edit.range.start)] + edit.new_text + text[offset(edit.range.end) :]
    return text


def test_findings_while_typing(tmp_path: Path) -> None:
    path = tmp_path / "m.py"

    async def body(client: Client) -> None:
        (found,) = await client.open(path, FAULTY)
        assert (found.code, found.source, found.severity) == ("NAL001", "nalu-lint", types.DiagnosticSeverity.Error)
        assert found.range == types.Range(types.Position(8, 17), types.Position(8, 51))
        assert found.message.startswith("Parameter `w` is computed once from `raw`")
        (related,) = found.related_information or []
        assert (related.message, related.location.range.start.line) == ("`raw` is defined here", 7)
        client.change(path, 2, FAULTY[:-20])
        client.change(path, 3, "def f(:\n")
        client.change(path, 4, CLEAN)  # the next key comes before the check
        assert await client.diagnostics() == []
        client.change(path, 5, FAULTY)
        assert len(await client.diagnostics()) == 1
        client.change(path, 6, "def f(:\n")
        assert await client.diagnostics() == []
        identifier = types.TextDocumentIdentifier(path.as_uri())
        client.change(path, 7, FAULTY)
        assert len(await client.diagnostics()) == 1
        client.text_document_did_save(types.DidSaveTextDocumentParams(identifier))
        assert len(await client.diagnostics()) == 1
        client.text_document_did_close(types.DidCloseTextDocumentParams(identifier))
        assert await client.diagnostics() == []
        assert client.published.empty()

    session(tmp_path, body)


def test_columns_are_those_of_the_editor(tmp_path: Path) -> None:
    text = "# coding: latin-1 \x0c \u2028\n" + FAULTY.replace(
        LINE, "        s = '\U0001f600é'; self.w = nn.Parameter(torch.tanh(self.raw))"
    )

    async def body(client: Client) -> None:
        (found,) = await client.open(tmp_path / "m.py", text)
        row = text.split("\n")[9].encode("utf-16-le")
        start = found.range.start.character
        assert row[2 * start :].decode("utf-16-le").startswith("nn.Parameter(")

    session(tmp_path, body)


def test_hover_shows_the_page_of_the_rule(tmp_path: Path) -> None:
    path = tmp_path / "m.py"

    async def body(client: Client) -> None:
        await client.open(path, FAULTY)
        hover = await client.hover(path, 8, 20)
        assert hover is not None
        assert isinstance(hover.contents, types.MarkupContent)
        assert hover.contents.kind == types.MarkupKind.Markdown
        assert hover.contents.value.startswith("# derived-parameter (NAL001)\n\nParameter `w` is computed once")
        assert "## Why it matters\n" in hover.contents.value
        assert await client.hover(path, 2, 0) is None

    session(tmp_path, body)


def test_the_comment_that_silences_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    text = FAULTY.replace(LINE, f"{LINE}  # noqa: E501")

    async def body(client: Client) -> None:
        (found,) = await client.open(path, text)
        *_, action = await client.actions(path, found.range)
        assert (action.title, action.kind) == ("Silence NAL001 here with a comment", types.CodeActionKind.QuickFix)
        assert action.edit is not None
        edits = list((action.edit.changes or {})[path.as_uri()])
        silent = applied(text, edits)
        assert silent == text.replace("E501", "E501  # nalu-lint: ignore[NAL001]")
        client.change(path, 2, silent)
        assert await client.diagnostics() == []
        assert await client.actions(path, found.range) == []

    session(tmp_path, body)


def test_all_fixes_and_the_kinds_that_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "m.py"

    async def body(client: Client) -> None:
        (found,) = await client.open(path, FAULTY)
        assert {action.kind for action in await client.actions(path, found.range)} == {"quickfix"}
        assert len(await client.actions(path, found.range, "quickfix")) == 2
        assert await client.actions(path, found.range, "refactor") == []
        assert await client.actions(path, found.range, "source.organizeImports") == []
        assert await client.actions(path, found.range, "source.fixAll") == []  # its fix is unsafe
        write(tmp_path, {"nalu-lint.toml": "unsafe-fixes = true\n"})
        write(tmp_path, {"m.py": FAULTY})
        assert run("--fix", "m.py", cwd=tmp_path).returncode == 0
        for kind in ("source", "source.fixAll", "source.fixAll.nalu-lint"):
            (action,) = await client.actions(path, found.range, kind)
            assert action.edit is not None
            (edit,) = (action.edit.changes or {})[path.as_uri()]
            assert applied(FAULTY, [edit]) == (tmp_path / "m.py").read_text()

    session(tmp_path, body)


@pytest.mark.parametrize("applicability", ["safe", "unsafe", "display"])
def test_quick_fixes(tmp_path: Path, applicability: str) -> None:
    path = tmp_path / f"{applicability}.py"

    async def body(client: Client) -> None:
        (found,) = await client.open(path, FAULTY)
        actions = await client.actions(path, types.Range(found.range.start, found.range.start))
        fixes = [action for action in actions if not action.title.startswith("Silence")]
        assert len(fixes) == (applicability != "display")
        for fix in fixes:
            assert fix.is_preferred is (applicability == "safe")
            assert fix.title.startswith("Compute it")
            assert ("changes what trains" in fix.title) is (applicability == "unsafe")
            assert fix.edit is not None
            edits = list((fix.edit.changes or {})[path.as_uri()])
            assert applied(FAULTY, edits) == FAULTY.replace(
                "nn.Parameter(torch.tanh(self.raw))", "torch.tanh(self.raw)"
            )

    session(tmp_path, body, "-c", WITH_FIXES)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_fix_of_a_rule_is_a_quick_fix(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "m.py"
    text = FAULTY.replace("\n", ending)

    async def body(client: Client) -> None:
        (found,) = await client.open(path, text)
        fix, silence = await client.actions(path, found.range)
        assert fix.title == "Compute `w` in `forward` (changes what trains, or the keys of state_dict)"
        assert (fix.kind, fix.is_preferred) == (types.CodeActionKind.QuickFix, False)
        assert silence.title == "Silence NAL001 here with a comment"
        assert fix.edit is not None
        fixed = applied(text, list((fix.edit.changes or {})[path.as_uri()]))
        assert "w = torch.tanh(self.raw)" in fixed
        assert fixed.count(ending) == fixed.count("\n")
        client.change(path, 2, fixed)
        assert await client.diagnostics() == []

    session(tmp_path, body)


def test_a_suggestion_or_a_refusal_is_no_quick_fix(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    text = FAULTY.replace("torch.tanh(self.raw)", "self.raw.detach().clone()")

    async def body(client: Client) -> None:
        (found,) = await client.open(path, text)
        (action,) = await client.actions(path, found.range)
        assert action.title == "Silence NAL001 here with a comment"

    session(tmp_path, body)


# A server that takes for ever where the text says so.
ENDLESS = """
import sys
from nalu_lint import engine, limits
limits.SECONDS = 1.5
find = engine.find
def endless(text, *arguments):
    while "# without end" in text:
        pass
    return find(text, *arguments)
engine.find = endless
from nalu_lint.cli import main
sys.exit(main(["server"]))
"""


def test_a_document_that_takes_too_long_is_said_and_the_next_one_is_checked(tmp_path: Path) -> None:
    async def body(client: Client) -> None:
        (found,) = await client.open(tmp_path / "m.py", FAULTY + "# without end\n")
        assert (found.code, found.range.start) == ("NAL901", types.Position(0, 0))
        assert found.message.startswith("too complex")
        (found,) = await client.open(tmp_path / "n.py", FAULTY)
        assert found.code == "NAL001"

    session(tmp_path, body, "-c", ENDLESS)


def test_configuration_counts_and_a_broken_one_is_said_once(tmp_path: Path) -> None:
    write(tmp_path, {"nalu-lint.toml": "ignore = ['NAL001']\n", "x/nalu-lint.toml": "selct = 1\n"})
    write(tmp_path, {"y/nalu-lint.toml": "exclude = ['z.py']\n"})

    async def body(client: Client) -> None:
        assert await client.open(tmp_path / "m.py", FAULTY) == []
        assert len(await client.open(tmp_path / "x" / "m.py", FAULTY)) == 1
        assert len(await client.open(tmp_path / "x" / "n.py", FAULTY)) == 1
        assert await client.open(tmp_path / "y" / "z.py", FAULTY) == []
        (message,) = client.messages
        assert message.endswith("nalu-lint.toml: unknown key `selct`; did you mean `select`?")
        write(tmp_path, {"nalu-lint.toml": ""})
        client.change(tmp_path / "m.py", 2, FAULTY + "\n")
        assert len(await client.diagnostics()) == 1

    session(tmp_path, body)


def test_comments_that_suppress_nothing_are_hints(tmp_path: Path) -> None:
    async def body(client: Client) -> None:
        (hint,) = await client.open(tmp_path / "m.py", "x = 1  # noqa: NAL001\n")
        assert hint.severity == types.DiagnosticSeverity.Hint
        assert list(hint.tags or ()) == [types.DiagnosticTag.Unnecessary]
        assert hint.message == "`# noqa: NAL001` suppresses nothing"
        assert hint.range.start.character == 7

    session(tmp_path, body)


def test_what_it_says_without_an_editor(tmp_path: Path) -> None:
    result = run("server", "--port", "1", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("nalu-lint: error: server takes no arguments")
    program = "import sys; sys.modules['pygls'] = None; from nalu_lint.cli import main; sys.exit(main(['server']))"
    missing = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert missing.stderr == "nalu-lint: error: server needs pygls: pip install 'nalu-lint[lsp]'\n"
