"""An archive from elsewhere lands in its folder or not at all, on every Python 3.11 too."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from capsize.cluster.unpacking import unpack


@pytest.fixture(params=["with Python's filter", "as on 3.11.2"])
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "as on 3.11.2":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
        before = tarfile.TarFile.extractall

        def extractall(self: tarfile.TarFile, path: str = ".", members: object = None, *, numeric_owner: bool = False):
            return before(self, path, members, numeric_owner=numeric_owner)  # type: ignore[arg-type]

        monkeypatch.setattr(tarfile.TarFile, "extractall", extractall)
    elif not hasattr(tarfile, "data_filter"):
        pytest.skip("this Python has no filter")


def member(name: str, *, type: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode, made.size = type, link, mode, 4 if type == tarfile.REGTYPE else 0
    made.uid = made.gid = 4711
    return made


def archive(*members: tarfile.TarInfo) -> tarfile.TarFile:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for item in members:
            tar.addfile(item, io.BytesIO(b"word"))
    data.seek(0)
    return tarfile.open(fileobj=data)


GOOD = (
    member("data", type=tarfile.DIRTYPE, mode=0o500), member("data/log", mode=0o4444), member("data/run", mode=0o755),
    member("data/again", type=tarfile.LNKTYPE, link="data/log"), member("data/link", type=tarfile.SYMTYPE, link="log"),
)  # fmt: skip

BAD = {
    "upwards": [member("data/../../out")],
    "a link to elsewhere": [member("link", type=tarfile.SYMTYPE, link="../elsewhere")],
    "an absolute link": [member("link", type=tarfile.SYMTYPE, link="/etc/passwd")],
    "another name of a file elsewhere": [member("name", type=tarfile.LNKTYPE, link="../outside")],
    "a pipe": [member("pipe", type=tarfile.FIFOTYPE)],
    "a device": [member("device", type=tarfile.CHRTYPE)],
}


@pytest.mark.usefixtures("python")
def test_files_folders_and_links_inside_are_unpacked_as_ours(tmp_path: Path) -> None:
    with archive(*GOOD) as tar:
        unpack(tar, tmp_path / "into")
    for name in ("log", "run", "again", "link"):
        assert (tmp_path / "into" / "data" / name).read_bytes() == b"word"
    log, run = (tmp_path / "into" / "data" / name for name in ("log", "run"))
    assert log.stat().st_mode & 0o7777 == 0o644
    assert run.stat().st_mode & 0o7777 == 0o755
    assert log.stat().st_uid == tmp_path.stat().st_uid


@pytest.mark.usefixtures("python")
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_points_outside_or_is_no_file_is_refused_or_left_out(bad: list[tarfile.TarInfo], tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("not theirs")
    with archive(*bad) as tar, pytest.raises(tarfile.TarError):
        unpack(tar, tmp_path / "into")
    with archive(*bad, member("after")) as tar:
        unpack(tar, tmp_path / "into", leave_out=True)
    assert [path.name for path in (tmp_path / "into").rglob("*") if not path.is_dir()] == ["after"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["into", "outside"]


@pytest.mark.usefixtures("python")
def test_nothing_goes_out_through_a_link_that_was_unpacked_before(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "way").symlink_to(tmp_path)
    with archive(member("way/out")) as tar, pytest.raises(tarfile.TarError):
        unpack(tar, tmp_path / "into")
    assert not (tmp_path / "out").exists()
