"""What made a picture: marks in the files of all formats, and manifests of jobs."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import translate
from translate import images
from translate.atomic import file_sha256
from translate.conversion import manifest
from translate.conversion.content_credentials import ContentSigner
from translate.errors import DataError
from translate.images import COMPOSITE, WRITERS, Mark, Metadata, Picture

from ..certificates import make_chain
from ..helpers import smooth_image

MARK = Mark("image-translate 9", "cyclegan", "0123456789ab")
FOUND = {"source_type": COMPOSITE, "system": "cyclegan", "version": "0123456789ab", "tool": "image-translate 9"}
CAMERA = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


def write(path: Path, mark: Mark | None = MARK, fmt: str = "png", channels: int = 3) -> Path:
    metadata = Metadata() if mark is None else Metadata().with_mark(mark)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(images.encode(Picture(np.zeros((9, 8, channels), np.uint8), metadata=metadata), fmt))
    return path


def done(path: Path, **fields: object) -> str:
    """A line of a manifest that says that the file is an output."""
    line = {"input": "photo.jpg", "output": path.name, "status": "done", "sha256": "0" * 64}
    return json.dumps({**line, "model": "f" * 64, **fields}) + "\n"


@pytest.mark.parametrize("fmt", [name for name, writer in WRITERS.items() if "xmp" in writer.metadata])
def test_the_mark_of_every_format_is_found(fmt: str, tmp_path: Path) -> None:
    (entry,) = translate.identify(write(tmp_path / f"a.{fmt}", fmt=fmt))
    assert (entry["mark"], entry["made_by_model"], entry["error"], entry["manifest"]) == (FOUND, True, None, None)


def test_the_mark_of_a_file_of_five_channels_is_found(tmp_path: Path) -> None:
    (entry,) = translate.identify(write(tmp_path / "a.tif", fmt="tiff", channels=5))
    assert (entry["mark"], entry["error"]) == (FOUND, None)


def test_a_photo_has_no_mark_and_that_proves_nothing(tmp_path: Path) -> None:
    (entry,) = translate.identify(write(tmp_path / "a.jpg", None, "jpg"))
    assert (entry["mark"], entry["made_by_model"], entry["error"]) == (None, None, None)


def test_a_source_type_of_a_camera_is_shown_but_names_no_model(tmp_path: Path) -> None:
    packet = images.Metadata().with_mark(Mark("", "", "", CAMERA)).xmp
    assert packet is not None
    (tmp_path / "a.png").write_bytes(
        images.encode(
            Picture(
                np.zeros((9, 8, 3), np.uint8),
                metadata=Metadata(xmp=packet.replace(b"Iptc4xmpExt:AISystem", b"Iptc4xmpExt:Other")),
            ),
            "png",
        )
    )
    (entry,) = translate.identify(tmp_path / "a.png")
    assert (entry["mark"]["source_type"], entry["mark"]["system"], entry["made_by_model"]) == (CAMERA, None, None)


def test_outputs_of_a_job_are_known_by_name_and_by_content(
    cyclegan_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        (tmp_path / "in" / "deep").mkdir(parents=True, exist_ok=True)
        smooth_image(n).save(tmp_path / "in" / "deep" / f"{n}.png")
    out = tmp_path / "out"
    translate.convert(cyclegan_folder, tmp_path / "in", out, mark=False, device="cpu", say=None)
    deep = out / "deep"
    (deep / "1.png").rename(deep / "moved.png")
    with Image.open(deep / "2.png") as image:
        image.rotate(90).save(deep / "2.png")
    smooth_image(9).save(deep / "other.png")
    monkeypatch.chdir(deep)  # paths may be relative
    found = {entry["file"]: entry for entry in translate.identify(out, "0.png")}
    matches = {Path(name).name: entry["manifest"] and entry["manifest"]["matches"] for name, entry in found.items()}
    assert matches == {
        "0.png": "name and content",
        "moved.png": "content",
        "2.png": "name",
        "3.png": "name and content",
        "other.png": None,
    }
    assert [found[str(deep / name)]["made_by_model"] for name in ("3.png", "moved.png", "2.png")] == [True, True, None]
    assert found["0.png"] == {**found[str(deep / "0.png")], "file": "0.png"}
    assert found["0.png"]["manifest"]["input"] == "deep/0.png"
    assert found["0.png"]["manifest"]["path"] == str(out / manifest.MANIFEST_NAME)


def test_a_job_further_up_counts_where_the_nearest_does_not_know_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "out" / "part" / "a.png", None)
    digest = file_sha256(path)
    (tmp_path / "out" / "manifest.jsonl").write_text(done(path, output="part/a.png", sha256=digest))
    (path.parent / "manifest-0-of-2.jsonl").write_text(done(path, output="b.png", sha256="0"))
    (entry,) = translate.identify(path)
    assert entry["manifest"] == {
        "path": str(tmp_path / "out" / "manifest.jsonl"), "input": "photo.jpg", "model": "f" * 64,
        "matches": "name and content",
    }  # fmt: skip


def test_failed_lines_and_lines_of_others_say_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", None)
    digest = file_sha256(path)
    lines = [
        done(path, sha256=digest, status="failed"),
        "[]\n",
        "{\n",
        '{"output": "a.png"}\n',
        done(path, sha256=[digest]),
    ]
    (tmp_path / "manifest.jsonl").write_text("".join(lines))
    assert translate.identify(path)[0]["manifest"] is None


def test_files_that_cannot_be_read_are_reported_beside_the_others(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    found = translate.identify(tmp_path, tmp_path / "absent.png")
    assert [(Path(entry["file"]).name, entry["error"]) for entry in found] == [
        ("a.png", None), ("b.png", "not an image"), ("absent.png", "no such file"),
    ]  # fmt: skip


def test_a_folder_without_pictures_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images to identify"):
        translate.identify(tmp_path)


def test_content_credentials_are_read(tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    chain = make_chain(tmp_path)
    signer = ContentSigner.load(chain.key, chain.certificate)
    path = write(tmp_path / "a.jpg", None, "jpg")
    signed, _ = signer.sign(path.read_bytes(), "jpg", "a.jpg", MARK, None)
    path.write_bytes(signed)
    (tmp_path / "b.png").write_bytes(signed[:-8] + b"\0\0\0\0\0\0\xff\xd9")  # a name may lie, and pixels are changed
    whole, changed = translate.identify(path, tmp_path / "b.png")
    assert (whole["content_credentials"]["state"], whole["made_by_model"], whole["mark"]) == ("valid", True, None)
    assert (changed["content_credentials"]["state"], changed["made_by_model"]) == ("invalid", None)


def test_without_the_extra_it_says_that_it_did_not_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    (entry,) = translate.identify(write(tmp_path / "a.png"))
    assert entry["content_credentials"]["state"] == "unknown"
    assert "uv sync --extra c2pa" in entry["content_credentials"]["reason"]
    assert (entry["error"], entry["made_by_model"]) == (None, True)


@pytest.mark.parametrize("fmt", ["png", "jpg", "webp", "avif", "tiff", "heic"])
def test_the_watermark_of_a_job_is_found(fmt: str, cyclegan_folder: Path, tmp_path: Path) -> None:
    if fmt not in WRITERS:
        pytest.skip("needs the extra heic")
    smooth_image(3).resize((256, 256)).save(tmp_path / "a.png")
    out = tmp_path / f"out.{fmt}"
    for watermark in (False, True):
        translate.convert(
            cyclegan_folder,
            tmp_path / "a.png",
            out,
            watermark=watermark,
            mark=False,
            overwrite=True,
            device="cpu",
            say=None,
        )
        (entry,) = translate.identify(out)
        assert (entry["watermark"]["found"], entry["made_by_model"], entry["mark"]) == (
            watermark,
            watermark or None,
            None,
        )
    assert entry["watermark"]["false_positives"] < 1e-7


def test_values_that_are_no_picture_have_no_watermark(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((99, 99, 3), np.uint8))
    found = translate.identify(write(tmp_path / "a.tif", fmt="tiff", channels=5), tmp_path / "a.npy")
    assert [(entry["watermark"], entry["error"]) for entry in found] == [(None, None)] * 2


def test_pixels_that_are_too_many_are_an_error_but_the_mark_is_told(tmp_path: Path) -> None:
    (entry,) = translate.identify(write(tmp_path / "a.png"), max_pixels=10)
    assert entry["mark"] == FOUND and "--max-pixels" in entry["error"]
