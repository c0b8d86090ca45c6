"""Archives made to harm: refused before anything is written; and those of good will, of which the images are kept."""

import gzip
import io
import random
import resource
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from translate.catalog import download
from translate.catalog.archives import ArchiveLimits, ExtractionResult, extract
from translate.errors import DataError, StorageError

from ..helpers import read_files

SMALL = ArchiveLimits(entries=20, bytes=1_000_000, ratio=50, small=10_000, depth=4)


def tar(path: Path, *members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w:gz") -> Path:
    """Members as they are told: (name, data), or a TarInfo without data."""
    with tarfile.open(path, mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, data in members:
            archive.writestr(name, data)
    return path


Pack = Callable[..., Path]


@pytest.fixture(params=["zip", "tar.gz"])
def pack(request: pytest.FixtureRequest, tmp_path: Path) -> Pack:
    """Both kinds, from (name, data)."""
    make = zipped if request.param == "zip" else tar
    return lambda *members: make(tmp_path / f"attack.{request.param}", *members)


def refused(archive: Path, *words: str, limits: ArchiveLimits = SMALL) -> None:
    """One line that names archive and reason, and not a file in the folder or around it."""
    around = set(archive.parent.rglob("*"))
    with pytest.raises(DataError) as caught:
        extract(archive, archive.parent / "out", limits)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert archive.name in message
    for word in words:
        assert word in message
    assert set(archive.parent.rglob("*")) == around


GOOD = ("a/ok.png", b"fine")


# Names.


@pytest.mark.parametrize("name", [
    "../out.png", "a/../../out.png", "a/..", "..", "/etc/out.png", "//host/out.png", "C:/out.png", "c:out.png",
    "a/b/../../../x.png",
])  # fmt: skip
def test_names_that_lead_out(pack, name):
    refused(pack(GOOD, (name, b"evil")), "leads out")


@pytest.mark.parametrize(
    "name", ["..\\out.png", "C:\\out.png", "a\\b.png", "new\nline.png", "\x1b[2J.png", "x\x7f.png", "a:b.png"]
)
def test_names_that_mean_something_else_elsewhere(pack, name):
    refused(pack(GOOD, (name, b"evil")))


def test_names_that_are_no_names(tmp_path):
    long, deep = "x" * 252 + ".png", "a/b/c/d/e.png"
    for make, name in ((tar, "x.tar.gz"), (zipped, "x.zip")):
        refused(make(tmp_path / name, GOOD, (long, b"")), "too long")
        refused(make(tmp_path / name, GOOD, (deep, b"")), "folders deep")
    info = tarfile.TarInfo("caf\udce9.png")
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        archive.addfile(info)
    refused(tmp_path / "x.tar", "UTF-8")


def test_a_zero_in_a_name_of_a_zip_does_not_end_it(tmp_path):
    """The list of members says one name, and Python another."""
    archive = zipped(tmp_path / "x.zip", GOOD, ("b.pngX/../../c.png", b"evil"))
    archive.write_bytes(archive.read_bytes().replace(b"b.pngX", b"b.png\0"))
    refused(archive, "leads out")


@pytest.mark.parametrize("names", [
    ("a/x.png", "a/x.png"), ("a/x.png", "A/X.png"), ("a/x.png", "A/y.png"), ("a/x.png", "a/./x.png"), ("a/x.png", "a//x.png"),
    ("x.png", "x.png/y.png"), ("x.png/y.png", "x.png"), ("stra\u00dfe.png", "STRASSE.png"), ("\u00e9.png", "e\u0301.png"),
])  # fmt: skip
def test_names_that_are_there_twice_or_are_one_on_some_systems(pack, names):
    refused(pack(*((name, b"1") for name in names)), "twice")


# Kinds.


@pytest.mark.parametrize(("kind", "link"), [
    (tarfile.SYMTYPE, "/etc/passwd"), (tarfile.SYMTYPE, "ok.png"), (tarfile.SYMTYPE, "../../x"), (tarfile.LNKTYPE, "a/ok.png"),
    (tarfile.LNKTYPE, "/etc/passwd"), (tarfile.CHRTYPE, ""), (tarfile.BLKTYPE, ""), (tarfile.FIFOTYPE, ""), (b"V", ""),
])  # fmt: skip
def test_members_that_are_no_files(tmp_path, kind, link):
    refused(tar(tmp_path / "x.tar.gz", GOOD, special("a/x.png", kind, link)), "a/x.png", "not a file")


def test_a_link_and_then_a_file_through_it(tmp_path):
    refused(tar(tmp_path / "x.tar.gz", special("a", tarfile.SYMTYPE, "/tmp"), ("a/x.png", b"evil")), "not a file")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_members_of_a_zip_that_are_no_files(tmp_path, mode):
    info = zipfile.ZipInfo("a/x.png")
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    refused(zipped(tmp_path / "x.zip", GOOD, (info, b"/etc/passwd")), "a/x.png", "not a file")


def test_an_encrypted_zip(tmp_path):
    archive = zipped(tmp_path / "x.zip", GOOD)
    data = bytearray(archive.read_bytes())
    for magic, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(magic) + at] |= 1
    archive.write_bytes(data)
    refused(archive, "a/ok.png", "encrypted")


def test_a_sparse_file(tmp_path):
    """A few bytes that unpack to as many as one likes."""
    info = special("a/x.png", tarfile.GNUTYPE_SPARSE)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"00000000000\0" + b"00000000000\0"  # one hole ...
    block[483:495] = b"77777777777\0"  # ... of 8 GB
    block[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(block))[0]
    (tmp_path / "x.tar").write_bytes(bytes(block) + bytes(1024))
    refused(tmp_path / "x.tar", "sparse")


# Bombs.


def test_too_many_members(pack, tmp_path):
    refused(pack(*((f"{i}.png", b"") for i in range(21))), "20 members")
    assert extract(pack(*((f"{i}.png", b"") for i in range(20))), tmp_path / "out", SMALL).kept == 20


def test_the_limits_take_any_real_set_and_refuse_a_million_members():
    assert 140_000 < ArchiveLimits().entries < 1_000_000


def test_a_bomb_by_ratio(pack):
    refused(pack(GOOD, ("a/x.bmp", bytes(500_000))), "bomb")


def test_a_bomb_by_size(pack):
    noise = random.Random(0).randbytes(600_000)
    refused(pack(GOOD, ("a/x.png", noise), ("a/y.png", noise)), "bomb")


def test_a_small_file_may_shrink_as_it_likes(pack, tmp_path):
    assert extract(pack(("x.bmp", bytes(9_000))), tmp_path / "out", SMALL).kept == 1


def test_a_bomb_is_not_unpacked_to_find_out(tmp_path):
    """Ten terabytes, by its headers; it takes no time to refuse."""
    info = tarfile.TarInfo("x.png")
    info.size = 10**13
    with gzip.open(tmp_path / "x.tar.gz", "wb") as packed:
        packed.write(info.tobuf(tarfile.GNU_FORMAT))
    refused(tmp_path / "x.tar.gz", "bomb", limits=ArchiveLimits())


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_that_asks_for_all_the_memory(tmp_path, kind):
    """tarfile reads such headers whole: 200 MB of zeros in 200 kB."""
    info = special("x", kind)
    info.size = 200 << 20
    with gzip.open(tmp_path / "x.tar.gz", "wb", compresslevel=1) as packed:
        packed.write(info.tobuf(tarfile.GNU_FORMAT))
        packed.write(bytes(1 << 20))  # the rest need not be there: it must not be asked for
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path / "x.tar.gz", "header")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_header_without_end(tmp_path):
    """A sparse map of a billion entries, in the place of data: it would be read to its end to find the next member."""
    pax = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.name=x.png\n"
    head, info = special("p", tarfile.XHDTYPE), tarfile.TarInfo("x.png")
    head.size, info.size = len(pax), 1 << 21
    with gzip.open(tmp_path / "x.tar.gz", "wb", compresslevel=1) as packed:
        packed.write(head.tobuf(tarfile.USTAR_FORMAT) + pax.ljust(512, b"\0"))
        packed.write(info.tobuf(tarfile.USTAR_FORMAT) + b"99999999\n" + b"1\n" * (info.size // 2))
    refused(tmp_path / "x.tar.gz", "a header is too long")


def test_a_zip_whose_members_share_their_bytes(tmp_path):
    """Many members, one body: every one is as large as the file."""
    archive = zipped(tmp_path / "x.zip", ("x.png", random.Random(0).randbytes(100_000)), compression=zipfile.ZIP_STORED)
    data = archive.read_bytes()
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entries = b"".join(data[start:end].replace(b"x.png", b"%c.png" % c) for c in b"abcdefghijklmno")
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 15, 15, len(entries), start, 0)
    archive.write_bytes(data[:start] + entries + tail)
    refused(archive, "bomb")


def test_a_zip_that_lies_about_a_size(tmp_path):
    """The bytes of a member are more than were said: not one too many is written."""
    archive = zipped(tmp_path / "x.zip", ("x.bmp", bytes(5000)))
    data = archive.read_bytes()
    archive.write_bytes(data.replace(struct.pack("<L", 5000), struct.pack("<L", 100)))
    with pytest.raises(DataError, match="damaged"):
        extract(archive, tmp_path / "out", SMALL)
    assert sum(map(len, read_files(tmp_path / "out").values())) <= 100


# Damage.


@pytest.mark.parametrize("data", [b"", b"x", b"<html></html>" * 100, b"PK\3\4", b"PK\5\6", b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\0",
                                  bytes(10_240), b"PK\5\6" + bytes(18)], ids=repr)  # fmt: skip
def test_what_is_no_archive(tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    if data in (bytes(10_240), b"PK\5\6" + bytes(18)):  # a tar and a zip of nothing
        assert extract(tmp_path / "x.zip", tmp_path / "out") == ExtractionResult(0, 0)
    else:
        refused(tmp_path / "x.zip")


@pytest.mark.parametrize("end", [0.3, 0.6, 0.95])
def test_what_has_lost_its_end(pack, tmp_path, end):
    archive = pack(*((f"{i}.png", random.Random(i).randbytes(3000)) for i in range(9)))
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * end)])
    with pytest.raises(DataError, match="damaged"):
        extract(archive, tmp_path / "out", SMALL)


def test_flipped_bits_are_damage_or_do_not_matter(pack, tmp_path):
    """300 damaged copies: nothing but DataError, nothing outside of the folder, no file larger than it was."""
    members = [(f"train{side}/{i}.png", random.Random(i).randbytes(40)) for side in "AB" for i in range(2)]
    good = pack(*members).read_bytes()
    outcomes = set()
    for seed in range(300):
        draw = random.Random(seed)
        bad = bytearray(good)
        for _ in range(draw.choice([1, 1, 1, 5])):
            bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
        home = tmp_path / str(seed)
        home.mkdir()
        (home / "x").write_bytes(bad)
        try:
            extract(home / "x", home / "out", SMALL)
            outcomes.add("kept")
        except DataError as e:
            assert "\n" not in str(e)
            outcomes.add("refused")
        assert {path.name for path in home.iterdir()} <= {"x", "out"}
        assert all(len(data) <= 40 for data in read_files(home / "out").values())
    assert "refused" in outcomes


def test_a_full_disk(pack, tmp_path):
    archive = pack(("x.png", random.Random(0).randbytes(100_000)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StorageError, match="out: cannot be written"):
            extract(archive, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# What is kept.


def test_images_and_notes_are_kept_and_the_folder_around_them_is_left_away(pack, tmp_path):
    data = {
        "set/trainA/1.jpg": b"1", "set/trainA/deep/2.PNG": b"2", "set/trainB/3.webp": b"3", "set/README.md": b"4",
        "set/LICENSE": b"5", "LICENSE.txt": b"6", "set/train.py": b"-", "set/run.sh": b"-", "set/.DS_Store": b"-",
        "__MACOSX/set/trainA/._1.jpg": b"-", "set/trainA/._1.jpg": b"-", "set/page.html": b"-", "set/x.svg": b"-",
        "set/x.eps": b"-", "set/notes.exe": b"-", "set/Thumbs.db": b"-", "set/.git/x.png": b"-",
        "README.md": b"-",
    }  # fmt: skip
    assert extract(pack(*data.items()), tmp_path / "out") == ExtractionResult(6, len(data) - 6)
    assert read_files(tmp_path / "out") == {
        "trainA/1.jpg": b"1", "trainA/deep/2.PNG": b"2", "trainB/3.webp": b"3", "README.md": b"4", "LICENSE": b"5",
        "LICENSE.txt": b"6",
    }  # fmt: skip


@pytest.mark.parametrize(("names", "expected"), [
    (["./s/trainA/1.png", "./s/trainB/1.png"], ["trainA/1.png", "trainB/1.png"]),
    (["o/s/train/1.png", "o/s/val/1.png"], ["train/1.png", "val/1.png"]),
    (["trainA/1.png"], ["trainA/1.png"]),
    (["s/testA/1.png"], ["testA/1.png"]),
    (["s/1.png", "s/2.png"], ["1.png", "2.png"]),
    (["1.png"], ["1.png"]),
    (["a/1.png", "b/1.png"], ["a/1.png", "b/1.png"]),
    (["s/trainA/1.png", "1.png"], ["1.png", "s/trainA/1.png"]),
])  # fmt: skip
def test_which_folders_are_left_away(pack, tmp_path, names, expected):
    extract(pack(*((name, b"x") for name in names)), tmp_path / "out")
    assert sorted(read_files(tmp_path / "out")) == expected


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_every_kind_of_tar(tmp_path, mode, form):
    data = {f"s/train{side}/{'x' * 90}é{i}.png": bytes([i]) * i for side in "AB" for i in range(5)}
    with tarfile.open(tmp_path / "x", mode, format=form) as archive:
        for folder in ("s", "s/trainA", "s/trainB"):
            archive.addfile(special(folder, tarfile.DIRTYPE))
        for name, body in data.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(body), 0o7777
            archive.addfile(info, io.BytesIO(body))
    assert extract(tmp_path / "x", tmp_path / "out") == ExtractionResult(10, 0)
    assert read_files(tmp_path / "out") == {name.removeprefix("s/"): body for name, body in data.items()}
    assert all(not path.stat().st_mode & 0o7111 for path in (tmp_path / "out").rglob("*.png"))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_kind_of_zip(tmp_path, compression):
    members = [("s/trainA/", b""), ("s/trainA/é.png", b"x" * 3000), ("s/trainB/2.png", b"")]
    extract(zipped(tmp_path / "x.zip", *members, compression=compression), tmp_path / "out")
    assert read_files(tmp_path / "out") == {"trainA/é.png": b"x" * 3000, "trainB/2.png": b""}


def test_progress_is_told_by_file(pack, tmp_path):
    told = []
    extract(
        pack(*((f"{i}.png", b"x") for i in range(3))), tmp_path / "out", progress=lambda *news: told.append(news[1:])
    )
    assert told == [(1, 3, "files"), (2, 3, "files"), (3, 3, "files")]


def test_nothing_that_is_there_is_written_over(pack, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.png").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        extract(pack(("x.png", b"evil")), tmp_path / "out")
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_read_at_a_time_is_bounded():
    assert download.CHUNK <= 1 << 20
