"""`nalu-lint server`: the checker for editors that speak the Language Server Protocol, over standard input and output.

Findings appear while a file is typed, with quick fixes and, under the mouse, the page of the rule. A syntax error is
left to the editor's own support of Python, so that half a statement does not light up.
"""

from __future__ import annotations

import asyncio
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from nalu_lint import config as configuration
from nalu_lint import files, followed, ignore_comments, limits, runner
from nalu_lint._version import __version__
from nalu_lint.config import UNREADABLE, Config
from nalu_lint.diagnostic import Position, Span
from nalu_lint.rules import all_rules, documentation
from nalu_lint.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pygls.workspace import TextDocument

    from nalu_lint.diagnostic import Diagnostic
    from nalu_lint.tasks import Outcome

NAME = "nalu-lint"
FIX_ALL = f"{types.CodeActionKind.SourceFixAll.value}.{NAME}"
_ROW_END = re.compile(r"\r\n|\r|\n")
# The pause after a key in which the next one is awaited.
_PAUSE = 0.2
_BOM = b"\xef\xbb\xbf"  # the text of an editor is what it is, whatever encoding its first line declares

_SEVERITIES = {"error": types.DiagnosticSeverity.Error, "warning": types.DiagnosticSeverity.Warning}


class _Checked(NamedTuple):
    """What was found in one version of a document."""

    version: int | None
    diagnostics: tuple[Diagnostic, ...]


class Server(LanguageServer):
    """The server, and what it found in each open document."""

    def __init__(self) -> None:
        super().__init__(NAME, __version__)
        self.checked: dict[str, _Checked] = {}
        self.said: set[str] = set()  # errors of the configuration that the user has seen

    def config_for(self, path: str) -> Config | None:
        """The configuration of a file; None where the file is excluded. A broken one is said, and the defaults hold."""
        configuration.forget()
        followed.forget()
        try:
            found = configuration.find_config(os.path.dirname(path))
            config = configuration.merge([*(() if found is None else configuration.read_config(found))])
            self.said.clear()
        except configuration.ConfigError as error:
            config = Config()
            if str(error) not in self.said:
                self.said.add(str(error))
                message = types.ShowMessageParams(types.MessageType.Error, f"{NAME}: {error}")
                self.window_show_message(message)
        return None if files.is_excluded(path, config) else config

    def check(self, uri: str) -> None:
        """Check a document as it is now, and publish what is found."""
        document = self.workspace.get_text_document(uri)
        config = self.config_for(document.path)
        outcome = None if config is None else examine(document, config)
        found = () if outcome is None else tuple(filter(_is_shown, outcome.diagnostics))
        self.checked[uri] = _Checked(document.version, found)
        shown = [_diagnostic(document, diagnostic) for diagnostic in found]
        if outcome is not None:
            shown += [_unused(document, one.row, one.message) for one in outcome.unused]
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, shown, document.version))

    def fix_all(self, document: TextDocument) -> list[types.CodeAction]:
        """The action that applies all fixes of a document that the configuration allows; none where there are none."""
        from nalu_lint.commands.fixes import Mode  # few sessions get here
        from nalu_lint.fixing.command import fix_bytes

        config = self.config_for(document.path)
        if config is None:
            return []
        source = _BOM + document.source.encode("utf-8", "replace")
        task = Task(document.path, config, is_named=True)
        outcome, fixed = fix_bytes(source, task, Mode(fix=True, unsafe=config.unsafe_fixes))
        if not outcome.fixed:
            return []
        last = _rows(document)
        whole = Span(Position(1, 1), Position(len(last), len(last[-1]) + 1))
        edit = types.TextEdit(_range(document, whole), fixed.removeprefix(_BOM).decode())
        edits = types.WorkspaceEdit(changes={document.uri: [edit]})
        return [types.CodeAction(title=f"{NAME}: Fix all findings", kind=FIX_ALL, edit=edits)]

    def found_at(self, document: TextDocument, wanted: types.Range) -> Iterable[Diagnostic]:
        """The findings that touch a range, if the document is still what was checked."""
        held = self.checked.get(document.uri)
        if held is None or held.version != document.version:
            return
        for diagnostic in held.diagnostics:
            place = _range(document, diagnostic.span)
            if _is_before(wanted.start, place.end) and _is_before(place.start, wanted.end):
                yield diagnostic


def examine(document: TextDocument, config: Config) -> Outcome:
    """What is found in the text of a document, within a time that does not grow with what is found."""
    text = document.source.encode("utf-8", "replace")
    task = Task(document.path, config, is_named=True, with_fixes=True)
    return runner.check_bytes(_BOM + text, task, grows=False)


def _is_shown(diagnostic: Diagnostic) -> bool:
    """Whether it is no syntax error."""
    return diagnostic.code != UNREADABLE or diagnostic.message == limits.REASON


def make_server() -> Server:
    """The server with its features, not yet started."""
    server = Server()

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(server: Server, parameters: types.DidOpenTextDocumentParams) -> None:
        server.check(parameters.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(server: Server, parameters: types.DidSaveTextDocumentParams) -> None:
        server.check(parameters.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(server: Server, parameters: types.DidChangeTextDocumentParams) -> None:
        uri, version = parameters.text_document.uri, parameters.text_document.version
        await asyncio.sleep(_PAUSE)
        is_open = uri in server.workspace.text_documents
        if is_open and server.workspace.get_text_document(uri).version == version:
            server.check(uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(server: Server, parameters: types.DidCloseTextDocumentParams) -> None:
        uri = parameters.text_document.uri
        server.checked.pop(uri, None)
        server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, []))

    kinds = types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix, FIX_ALL])

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, kinds)
    def actions(server: Server, parameters: types.CodeActionParams) -> list[types.CodeAction]:
        document = server.workspace.get_text_document(parameters.text_document.uri)
        only = parameters.context.only
        found: list[types.CodeAction] = []
        if _is_wanted(types.CodeActionKind.QuickFix, only):
            found += [a for d in server.found_at(document, parameters.range) for a in _actions(document, d)]
        # Checking and fixing all takes time: where no kind is asked for, editors ask at each move of the cursor.
        if only and _is_wanted(FIX_ALL, only):
            found += server.fix_all(document)
        return found

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hover(server: Server, parameters: types.HoverParams) -> types.Hover | None:
        document = server.workspace.get_text_document(parameters.text_document.uri)
        here = types.Range(parameters.position, parameters.position)
        for diagnostic in server.found_at(document, here):
            rule = all_rules()[diagnostic.code]
            page = f"# {rule.name} ({rule.code})\n\n{diagnostic.message}\n\n{documentation(rule)}"
            content = types.MarkupContent(types.MarkupKind.Markdown, page)
            return types.Hover(content, _range(document, diagnostic.span))
        return None

    return server


def _is_wanted(kind: str, only: Sequence[str] | None) -> bool:
    """Whether an editor that asks for these kinds of actions asks for one; kinds have kinds below them, after a dot."""
    return not only or any(kind == one or kind.startswith(f"{one}.") for one in only)


def _is_before(first: types.Position, second: types.Position) -> bool:
    return (first.line, first.character) <= (second.line, second.character)


def _rows(document: TextDocument) -> list[str]:
    """The rows as Python and editors count them; `document.lines` ends them at form feeds, too."""
    return _split(document.source)


@lru_cache(maxsize=1)
def _split(text: str) -> list[str]:
    """Once for all findings of a document."""
    return _ROW_END.split(text)


def _ending(document: TextDocument) -> str:
    """What the first row of a document ends in."""
    found = _ROW_END.search(document.source)
    return found[0] if found is not None else "\n"


def _range(document: TextDocument, span: Span) -> types.Range:
    """A span in the units of the editor: rows and columns from 0, columns mostly in UTF-16."""
    start, end = (types.Position(position.row - 1, position.column - 1) for position in span)
    return document.position_codec.range_to_client_units(_rows(document), types.Range(start, end))


def _diagnostic(document: TextDocument, diagnostic: Diagnostic) -> types.Diagnostic:
    related = [
        types.DiagnosticRelatedInformation(
            types.Location(document.uri, _range(document, source.span)), f"`{source.name}` is defined here"
        )
        for source in diagnostic.sources
        if source.span is not None
    ]
    return types.Diagnostic(
        range=_range(document, diagnostic.span),
        message=diagnostic.message,
        severity=_SEVERITIES.get(diagnostic.finding.severity, types.DiagnosticSeverity.Information),
        code=diagnostic.code,
        source=NAME,
        related_information=related or None,
    )


def _unused(document: TextDocument, row: int, message: str) -> types.Diagnostic:
    line = _rows(document)[row - 1]
    start = max(line.find("#"), 0) + 1
    return types.Diagnostic(
        range=_range(document, Span(Position(row, start), Position(row, len(line.rstrip()) + 1))),
        message=message,
        severity=types.DiagnosticSeverity.Hint,
        source=NAME,
        tags=[types.DiagnosticTag.Unnecessary],
    )


def _actions(document: TextDocument, diagnostic: Diagnostic) -> list[types.CodeAction]:
    """The rule's own fix, and a comment that silences the finding."""
    actions: list[types.CodeAction] = []
    fix = diagnostic.fix_of_file
    if fix is not None:
        ending = _ending(document)
        edits = [types.TextEdit(_range(document, e.span), e.content.replace("\n", ending)) for e in fix.edits]
        actions.append(_action(document, diagnostic, fix.title, edits, is_preferred=fix.applicability == "safe"))
    rows = _rows(document)
    for row, column, text in ignore_comments.insertions(
        "\n".join(rows), rows, [(diagnostic.noqa_row, diagnostic.code)]
    ):
        place = Position(row, column)
        edit = types.TextEdit(_range(document, Span(place, place)), text)
        title = f"Silence {diagnostic.code} here with a comment"
        actions.append(_action(document, diagnostic, title, [edit], is_preferred=False))
    return actions


def _action(
    document: TextDocument, diagnostic: Diagnostic, title: str, edits: list[types.TextEdit], *, is_preferred: bool
) -> types.CodeAction:
    return types.CodeAction(
        title=title,
        kind=types.CodeActionKind.QuickFix,
        diagnostics=[_diagnostic(document, diagnostic)],
        edit=types.WorkspaceEdit(changes={document.uri: edits}),
        is_preferred=is_preferred,
    )
