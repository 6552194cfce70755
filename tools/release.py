"""Build sdist and wheel, look into them, install each into a fresh environment and use it there.

``make release-check``; with ``RELEASE='--python /path/to/python3.13'`` on other interpreters too.
Nothing is uploaded.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
AROUND = {  # of an sdist, beside lpgeom/ and what setuptools adds
    "CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "README.md", "SECURITY.md",
    "constraints.txt", "pyproject.toml",
}  # fmt: skip
ADDED = {"PKG-INFO", "setup.cfg"}


def run(*command: object, cwd: Path = ROOT, quiet: bool = False) -> None:
    """Run a command, or end with its exit code; quiet: its output is shown only if it fails."""
    print("$", *command, flush=True)
    words = [str(word) for word in command]
    output, errors = (subprocess.PIPE, subprocess.STDOUT) if quiet else (None, None)
    done = subprocess.run(
        words,
        cwd=cwd,
        env=environment(),
        stdout=output,
        stderr=errors,
    )
    if done.returncode:
        if quiet:
            sys.stdout.buffer.write(done.stdout)
        raise SystemExit(done.returncode)


def environment() -> dict[str, str]:
    """The user's, without what would let a fresh environment see the checkout."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def version() -> str:
    known: dict[str, str] = {}
    exec((ROOT / "lpgeom" / "_version.py").read_text(), known)
    return known["__version__"]


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def sources() -> set[str]:
    """The files that belong to the package: tracked ones, where git knows."""
    try:
        names = git("ls-files", "lpgeom")
    except (OSError, subprocess.CalledProcessError):
        found = (ROOT / "lpgeom").rglob("*")
        names = [str(p.relative_to(ROOT)) for p in found if p.suffix in (".py", ".typed", ".jinja")]
    return {name for name in names if (ROOT / name).is_file()}


def build() -> tuple[Path, Path]:
    """A wheel made from the sdist made from a copy of the files that git knows."""
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder, "lpgeom")
        for name in [*sources(), *AROUND]:
            if (ROOT / name).exists():
                (clean / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, clean / name)
        run(sys.executable, "-m", "build", "--outdir", DIST, clean, quiet=True)
    (sdist,) = DIST.glob("*.tar.gz")
    (wheel,) = DIST.glob("*.whl")
    return sdist, wheel


def faults_of_wheel(names: set[str], metadata: str, expected: set[str]) -> list[str]:
    """What is missing in a wheel, or should not be there: empty if nothing."""
    info = f"lpgeom-{version()}.dist-info"
    known = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}
    wanted = expected | {f"{info}/{name}" for name in known}
    said = Parser().parsestr(metadata)
    wrong = [f"missing: {name}" for name in sorted(wanted - names)]
    wrong += [f"stray: {name}" for name in sorted(names - wanted)]
    for field, value in (("Name", "lpgeom"), ("Version", version()), ("License-Expression", None)):
        if not said[field] or (value and said[field] != value):
            wrong.append(f"{field} is {said[field]}")
    return wrong


def faults_of_sdist(names: set[str], expected: set[str]) -> list[str]:
    allowed = expected | AROUND | ADDED
    ours = {name for name in names if not name.startswith("lpgeom.egg-info/")}
    there = {name for name in AROUND if (ROOT / name).exists()}
    wrong = [f"missing: {name}" for name in sorted((expected | there) - ours)]
    return wrong + [f"stray: {name}" for name in sorted(ours - allowed)]


def inspect(sdist: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if not n.endswith("/")}
        metadata = archive.read(f"lpgeom-{version()}.dist-info/METADATA").decode()
    wrong = faults_of_wheel(names, metadata, sources())
    with tarfile.open(sdist) as tar:
        inside = {m.name.partition("/")[2] for m in tar.getmembers() if m.isfile()}
    wrong += faults_of_sdist(inside, sources())
    if wrong:
        raise SystemExit("\n".join(["the distributions are not what they should be:", *wrong]))
    print(f"{wheel.name}: {len(names)} files; {sdist.name}: {len(inside)} files; nothing stray")


def try_out(python: str, distributions: list[Path]) -> None:
    """Install each distribution into one fresh environment, and use it outside the checkout."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run(python, "-m", "venv", place / "venv")
        inside = place / "venv" / "bin" / "python"
        pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        shutil.copy(ROOT / "tools" / "smoke.py", place / "smoke.py")
        for number, distribution in enumerate(distributions):
            again = ["--force-reinstall", "--no-deps"] if number else []
            run(*pip, "-c", ROOT / "constraints.txt", *again, distribution)
            empty = place / f"empty{number}"
            empty.mkdir()
            run(inside, "-I", place / "smoke.py", version(), cwd=empty)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", default=[], help="another interpreter")
    options = parser.parse_args()
    sdist, wheel = build()
    inspect(sdist, wheel)
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    for python in [sys.executable, *options.python]:
        try_out(python, [wheel, sdist])


if __name__ == "__main__":
    main()
