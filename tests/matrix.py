"""Run the checker's tests, without torch, on every other supported Python that is installed.

Usage: python tests/matrix.py. Interpreters are looked for on the PATH and among pyenv's.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = [(3, minor) for minor in range(10, 15)]
REPORT_VERSION = "import sys; print(*sys.version_info[:2])"


def interpreters() -> dict[tuple[int, int], str]:
    """The first working interpreter of each supported version."""
    found: dict[tuple[int, int], str] = {}
    candidates = [shutil.which(f"python{major}.{minor}") for major, minor in VERSIONS]
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    candidates += sorted(glob.glob(f"{pyenv}/versions/*/bin/python"))
    for path in filter(None, candidates):
        result = subprocess.run([path, "-c", REPORT_VERSION], capture_output=True, text=True, check=False)
        version = tuple(map(int, result.stdout.split())) if result.returncode == 0 else ()
        if version in VERSIONS:
            found.setdefault(version, path)  # type: ignore[arg-type]
    return found


def installed(version: tuple[int, int], interpreter: str) -> str:
    """The Python of an environment with the package and what its tests need."""
    folder = ROOT / ".venvs" / f"{version[0]}.{version[1]}"
    python = str(folder / "bin" / "python")
    if not folder.exists():
        subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
    install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--editable", ".[test]"]
    subprocess.run(install, cwd=ROOT, check=True)
    return python


def tested(python: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    command += ["--numprocesses", "auto", "--dist", "worksteal"]
    return subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main() -> int:
    found = interpreters()
    pythons: dict[str, str] = {}
    for version in VERSIONS:
        name = f"Python {version[0]}.{version[1]}"
        if version in found and version != sys.version_info[:2]:
            pythons[name] = installed(version, found[version])  # one after the other: all build in the same folder
        elif version not in found:
            print(f"{name}: not installed here, skipped", flush=True)
    failed: list[str] = []
    for name, python in pythons.items():
        result = tested(python)
        print(f"{name}: {python}\n{result.stdout}", flush=True)
        if result.returncode:
            failed.append(name)
    print(f"failed on: {', '.join(failed)}" if failed else "passed on every other Python found", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
