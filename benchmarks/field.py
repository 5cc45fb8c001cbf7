"""Run the default rules on published packages, and compare what they find with the verdicts in docs/field.md.

Fetches the wheels of the packages in field_packages.txt by pip (no dependencies, nothing is installed or run),
unpacks their Python files, and prints a Markdown table of findings with the count per million lines. A finding
without a verdict is marked: read the code, judge it, and add a row to docs/field.md.

Usage:
    python benchmarks/field.py                                  fetch into a temporary folder
    python benchmarks/field.py --corpus FOLDER                  fetch into FOLDER, or use what is there
    python benchmarks/field.py --package timm==1.0.31 ...       these packages only
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nalu_lint.config import Config
from nalu_lint.runner import check_files
from nalu_lint.tasks import Task

if TYPE_CHECKING:
    from nalu_lint import Diagnostic

HERE = Path(__file__).resolve().parent
PACKAGES = HERE / "field_packages.txt"
VERDICTS = HERE.parent / "docs" / "field.md"
_ROW = re.compile(
    r"^\| (?P<package>\S+) (?P<version>\S+) \| `(?P<place>[^`]+)` \| (?P<code>NAL\d+) \| (?P<verdict>\w+) \|"
)


class Place(NamedTuple):
    """Where a finding stands: package and version, file and row, and the code of its rule."""

    package: str
    version: str
    place: str
    code: str


def fetch(packages: list[str], corpus: Path) -> list[str]:
    """Fetch and unpack what is not there yet; the packages that cannot be had."""
    missing: list[str] = []
    wheels = corpus / "wheels"
    for package in packages:
        if folder_of(package, corpus) is not None:
            continue
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(wheels)]
        if subprocess.run([*command, package], check=False).returncode:
            missing.append(package)
    for wheel in sorted(wheels.glob("*.whl")):
        target = corpus / "-".join(wheel.name.split("-")[:2])
        if not target.exists():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target, [name for name in archive.namelist() if name.endswith(".py")])
    return missing


def folder_of(package: str, corpus: Path) -> Path | None:
    name, _, version = package.partition("==")
    wanted = f"{name.replace('-', '_')}-{version}".lower()
    found = [
        folder
        for folder in corpus.iterdir()
        if folder.name.replace("-", "_", folder.name.count("-") - 1).lower() == wanted
    ]
    return found[0] if found else None


def read_verdicts(path: Path) -> dict[Place, str]:
    """The verdicts of docs/field.md, by place."""
    found: dict[Place, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        match = _ROW.match(line)
        if match is not None:
            found[Place(match["package"], match["version"], match["place"], match["code"])] = match["verdict"]
    return found


def place_of(diagnostic: Diagnostic, package: str, folder: Path) -> Place:
    name, _, version = package.partition("==")
    relative = Path(diagnostic.path).relative_to(folder).as_posix()
    return Place(name, version, f"{relative}:{diagnostic.span.start.row}", diagnostic.code)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, metavar="FOLDER")
    parser.add_argument("--package", action="append", metavar="NAME==VERSION")
    parser.add_argument("--jobs", type=int, default=None, metavar="N")
    options = parser.parse_args()
    packages = options.package or PACKAGES.read_text(encoding="utf-8").split()
    with tempfile.TemporaryDirectory() as temporary:
        corpus = options.corpus or Path(temporary)
        corpus.mkdir(parents=True, exist_ok=True)
        missing = fetch(packages, corpus)
        verdicts = read_verdicts(VERDICTS)
        n_files = n_lines = n_findings = n_true = n_judged = 0
        print("| package | place | code | verdict | what is said |")
        print("|---|---|---|---|---|")
        for package in packages:
            folder = folder_of(package, corpus)
            if folder is None:
                continue
            files = sorted(path for path in folder.rglob("*.py") if path.is_file())
            n_files += len(files)
            n_lines += sum(path.read_bytes().count(b"\n") for path in files)
            outcomes = check_files([Task(str(path), Config(), is_named=False) for path in files], options.jobs)
            for diagnostic in (d for outcome in outcomes for d in outcome.diagnostics if d.code != "NAL901"):
                place = place_of(diagnostic, package, folder)
                verdict = verdicts.get(place, "not judged")
                n_findings += 1
                n_judged += place in verdicts
                n_true += verdict == "true"
                print(
                    f"| {place.package} {place.version} | `{place.place}` | {place.code} | {verdict} "
                    f"| {diagnostic.message} |"
                )
        n_packages = len(packages) - len(missing)
        print(
            f"\n{n_packages} packages, {n_files} files, {n_lines / 1e6:.2f} million lines: {n_findings} findings, ",
            end="",
        )
        print(f"{n_findings / max(n_lines, 1) * 1e6:.1f} per million lines; {n_judged} judged, {n_true} of them true")
        if missing:
            print(f"not to be had: {', '.join(missing)}")
    return 0 if n_judged == n_findings else 1


if __name__ == "__main__":
    sys.exit(main())
