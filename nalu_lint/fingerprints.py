"""What identifies a finding when the lines around it move: what is flagged, in which class, not where.

Baselines, SARIF and GitLab compare findings of different revisions by this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nalu_lint.diagnostic import Diagnostic, Span


def fingerprints(
    diagnostics: Sequence[Diagnostic], read_source: Callable[[Diagnostic], str | None], *, with_path: bool = False
) -> list[str]:
    """A fingerprint of each diagnostic, 16 hexadecimal digits, different for each within a file.

    It is made of the code, the class, the attribute and the flagged text without its white space;
    where all of these are the same, of the place in their order. The path counts only `with_path`.
    """
    import hashlib  # start-up time

    seen: dict[tuple[str, ...], int] = {}
    found: list[str] = []
    for diagnostic in diagnostics:
        finding = diagnostic.finding
        text = _flagged(read_source(diagnostic), diagnostic.span)
        what = (finding.code, finding.module_class or "", finding.parameter or "", text or finding.message)
        number = seen[(diagnostic.path, *what)] = seen.get((diagnostic.path, *what), -1) + 1
        parts = (*((diagnostic.path,) if with_path else ()), *what, str(number))
        data = "\0".join(parts).encode("utf-8", "surrogatepass")
        found.append(hashlib.blake2b(data, digest_size=8).hexdigest())
    return found


def _flagged(source: str | None, span: Span) -> str:
    rows = source.replace("\r\n", "\n").replace("\r", "\n").split("\n") if source is not None else []
    (first, start), (last, end) = span
    if not 1 <= first <= last <= len(rows):
        return ""
    marked = rows[first - 1 : last]
    marked[-1] = marked[-1][: end - 1]
    marked[0] = marked[0][start - 1 :]
    # A formatter that breaks the row in another place, or adds a comma to that end, changes nothing here.
    return "".join("".join(marked).split()).replace(",)", ")").replace(",]", "]")
