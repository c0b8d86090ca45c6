"""Outputs that are signed with content credentials (C2PA), and what is read of them."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.conversion.cluster.worker import JobSpec
from translate.conversion.content_credentials import MIME_TYPES, ContentSigner, names_a_model, read_credentials
from translate.conversion.item import ItemConverter
from translate.conversion.job import ConversionOptions, ConversionResult
from translate.errors import UsageError
from translate.images import COMPOSITE, CREDENTIALS_NOTICE, GENERATED, Mark, Metadata, Picture
from translate.trained.translator import Translator

from ..certificates import Chain, make_chain
from .output_folder import assert_clean, last, save, tree

Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]

FORMATS = [fmt for fmt in MIME_TYPES if fmt in images.WRITERS]
"""Formats that are written here: heic needs an extra of its own."""
MARK = Mark("image-translate 9", "cyclegan", "0123456789ab")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    pytest.importorskip("c2pa")
    return make_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="module")
def signer(chain: Chain) -> ContentSigner:
    return ContentSigner.load(chain.key, chain.certificate)


def flags(chain: Chain) -> dict[str, Any]:
    return {"c2pa_key": chain.key, "c2pa_cert": chain.certificate}


def picture(mark: Mark | None = MARK) -> Picture:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    return Picture(pixels, metadata=Metadata() if mark is None else Metadata().with_mark(mark))


def stored(data: bytes, fmt: str) -> dict[str, Any]:
    """The manifest store of a file, as the library's own reader gives it."""
    import c2pa

    with c2pa.Reader(MIME_TYPES[fmt], io.BytesIO(data)) as reader:
        return {"state": reader.get_validation_state(), **json.loads(reader.json())}


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_is_valid_and_its_pixels_and_its_mark_stay(fmt: str, signer: ContentSigner) -> None:
    data = images.encode(picture(), fmt)
    signed, notices = signer.sign(data, fmt, "a.file", MARK, None)
    assert (stored(signed, fmt)["state"], notices) == ("Valid", [])
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(signed)) as after:
        assert np.array_equal(before, after)
    with Image.open(io.BytesIO(signed)) as after:
        found = Metadata.from_image(after).found_mark()
    assert found is not None and (found.source_type, found.system) == (COMPOSITE, "cyclegan")
    credentials = read_credentials(signed, fmt)
    assert credentials is not None and names_a_model(credentials)
    assert {key: credentials[key] for key in ("state", "name", "time", "source_types", "ingredients")} == {
        "state": "valid", "name": "Test Studio", "time": None, "source_types": [COMPOSITE], "ingredients": [],
    }  # fmt: skip
    assert read_credentials(data, fmt) is None


def test_a_changed_pixel_makes_credentials_invalid(signer: ContentSigner) -> None:
    signed, _ = signer.sign(images.encode(picture(), "jpg"), "jpg", "a.jpg", MARK, None)
    at = len(signed) - 20
    changed = signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]
    credentials = read_credentials(changed, "jpg")
    assert credentials is not None and not names_a_model(credentials)
    assert (credentials["state"], "assertion.dataHash.mismatch" in credentials["problems"]) == ("invalid", True)


def test_a_job_signs_all_outputs_last_and_its_manifest_says_so(
    convert: Convert, source: Path, tmp_path: Path, chain: Chain
) -> None:
    result = convert(source, tmp_path / "out", **flags(chain))
    assert (result.done, result.failures) == (5, {})
    assert_clean(tmp_path / "out")
    for name, entry in last(tmp_path / "out").items():
        data = (tmp_path / "out" / name).read_bytes()
        store = stored(data, images.format_of(name))
        active = store["manifests"][store["active_manifest"]]
        assert (store["state"], active["title"], len(data)) == ("Valid", Path(name).name, entry["bytes"])
        assert active["ingredients"][0]["title"] == Path(name).name
        assert set(entry["settings"]["c2pa"]) == {"certificate"}
        assert chain.key.read_bytes().splitlines()[1] not in data
    assert chain.key.read_text().splitlines()[1] not in (tmp_path / "out" / "manifest.jsonl").read_text()


def test_signed_outputs_are_done_until_the_signature_changes(
    convert: Convert, source: Path, tmp_path: Path, chain: Chain
) -> None:
    (tmp_path / "other").mkdir()
    other, out = make_chain(tmp_path / "other", "Other Studio"), tmp_path / "out"
    assert convert(source, out, **flags(chain)).done == 5
    before = tree(out)
    assert convert(source, out, **flags(chain)).skipped == 5
    assert tree(out) == before
    assert convert(source, out, **flags(other)).done == 5
    credentials = read_credentials((out / "1.png").read_bytes(), "png")
    assert credentials is not None and credentials["name"] == "Other Studio"
    assert convert(source, out).done == 5
    assert read_credentials((out / "1.png").read_bytes(), "png") is None
    assert convert(source, out, **flags(chain), overwrite=True).done == 5


def test_tiles_are_signed_as_the_whole_image_is(convert: Convert, draw: Draw, tmp_path: Path, chain: Chain) -> None:
    photo = save(tmp_path / "in" / "a.png", draw(0, 80, 72))
    convert(photo, tmp_path / "whole.png", **flags(chain))
    convert(photo, tmp_path / "tiles.png", tile=64, **flags(chain))
    for name in ("whole.png", "tiles.png"):
        assert stored((tmp_path / name).read_bytes(), "png")["state"] == "Valid"
    with Image.open(tmp_path / "whole.png") as whole, Image.open(tmp_path / "tiles.png") as tiles:
        assert np.abs(np.asarray(whole, int) - np.asarray(tiles, int)).max() <= 1


def test_an_animation_is_signed(convert: Convert, draw: Draw, tmp_path: Path, chain: Chain) -> None:
    (tmp_path / "in").mkdir()
    frames = [Image.fromarray(draw(seed, 16, 16)) for seed in range(3)]
    frames[0].save(tmp_path / "in" / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    convert(tmp_path / "in", tmp_path / "out", **flags(chain))
    data = (tmp_path / "out" / "a.webp").read_bytes()
    assert stored(data, "webp")["state"] == "Valid"
    with Image.open(io.BytesIO(data)) as made:
        assert made.n_frames == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("fmt", FORMATS)
def test_credentials_of_the_input_become_an_ingredient(
    fmt: str, convert: Convert, tmp_path: Path, chain: Chain
) -> None:
    (tmp_path / "camera").mkdir()
    camera = make_chain(tmp_path / "camera", "Camera")
    signer = ContentSigner.load(camera.key, camera.certificate)
    photo = tmp_path / "in" / f"photo.{fmt}"
    photo.parent.mkdir()
    photo.write_bytes(signer.sign(images.encode(picture(None), fmt), fmt, photo.name, MARK, None)[0])
    convert(tmp_path / "in", tmp_path / "out", format="png", **flags(chain))
    store = stored((tmp_path / "out" / "photo.png").read_bytes(), "png")
    (ingredient,) = store["manifests"][store["active_manifest"]]["ingredients"]
    assert store["state"] == "Valid"
    assert (ingredient["title"], ingredient["relationship"]) == (photo.name, "parentOf")
    assert store["manifests"][ingredient["active_manifest"]]["signature_info"]["common_name"] == "Camera"
    assert CREDENTIALS_NOTICE not in last(tmp_path / "out")[photo.name].get("notices", ())


def test_stripping_the_place_leaves_the_credentials_of_the_input_out(
    convert: Convert, tmp_path: Path, chain: Chain, signer: ContentSigner
) -> None:
    photo = tmp_path / "in" / "photo.png"
    photo.parent.mkdir()
    photo.write_bytes(signer.sign(images.encode(picture(None), "png"), "png", "photo.png", MARK, None)[0])
    convert(tmp_path / "in", tmp_path / "out", strip_gps=True, **flags(chain))
    credentials = read_credentials((tmp_path / "out" / "photo.png").read_bytes(), "png")
    assert credentials is not None and (credentials["state"], credentials["ingredients"]) == ("valid", [])
    assert CREDENTIALS_NOTICE in last(tmp_path / "out")["photo.png"]["notices"]


def test_an_input_whose_credentials_do_not_fit_does_not_spoil_the_output(
    convert: Convert, tmp_path: Path, chain: Chain, signer: ContentSigner
) -> None:
    signed, _ = signer.sign(images.encode(picture(None), "jpg"), "jpg", "photo.jpg", MARK, None)
    at, manifest = len(signed) - 20, signed.index(b"c2pa.actions") + 60
    for name, place in (("pixels.jpg", at), ("manifest.jpg", manifest)):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :])
    result = convert(tmp_path / "in", tmp_path / "out", **flags(chain))
    assert result.failures == {}
    for name in ("pixels.jpg", "manifest.jpg"):
        assert stored((tmp_path / "out" / name).read_bytes(), "jpg")["state"] == "Valid"


def test_a_format_that_cannot_be_signed_is_refused_before_the_job(
    convert: Convert, draw: Draw, tmp_path: Path, chain: Chain
) -> None:
    save(tmp_path / "in" / "a.png", draw())
    np.save(tmp_path / "in" / "b.npy", draw())
    with pytest.raises(UsageError, match=r"npy holds no content credentials.*'b.npy'"):
        convert(tmp_path / "in", tmp_path / "out", **flags(chain))
    with pytest.raises(UsageError, match="npy holds no content credentials"):
        convert(tmp_path / "in" / "a.png", tmp_path / "a.npy", **flags(chain))
    assert not (tmp_path / "out").exists()


def test_source_type_and_ingredients_of_generated_images(
    convert: Convert, draw: Draw, tmp_path: Path, chain: Chain
) -> None:
    photo = save(tmp_path / "a.bmp", draw())
    convert(photo, tmp_path / "a.png", source_type="generated", **flags(chain))
    credentials = read_credentials((tmp_path / "a.png").read_bytes(), "png")
    assert credentials is not None
    assert (credentials["source_types"], credentials["ingredients"]) == ([GENERATED], [])  # BMP holds no credentials


def test_workers_sign_with_the_same_settings(cyclegan: Translator, tmp_path: Path, chain: Chain) -> None:
    converter = ItemConverter(cyclegan, tmp_path, tmp_path, ConversionOptions(**flags(chain)))
    built = JobSpec.from_converter(converter, tmp_path, b"", gpu=False).build_converter()
    assert built.settings == converter.settings and built.signer == converter.signer


# Keys.


@pytest.mark.parametrize("kind", ["p384", "rsa", "ed25519"])
def test_all_kinds_of_keys_sign(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = {
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    chain = make_chain(tmp_path, key=key)
    signed, _ = ContentSigner.load(chain.key, chain.certificate).sign(
        images.encode(picture(), "png"), "png", "a.png", MARK, None
    )
    assert stored(signed, "png")["state"] == "Valid"


def test_a_key_that_cannot_sign_is_refused_in_one_line(tmp_path: Path, chain: Chain) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    for name in ("other", "old"):
        (tmp_path / name).mkdir()
    other = make_chain(tmp_path / "other")
    text, locked, curve = tmp_path / "text.pem", tmp_path / "locked.pem", tmp_path / "curve.pem"
    text.write_text("no key")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = ec.generate_private_key(ec.SECP256K1())
    curve.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    locked.write_bytes(key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"word")))
    cases = [
        (tmp_path / "absent", chain.certificate, "absent: cannot be read: No such file"),
        (text, chain.certificate, "text.pem: is no private key in PEM"),
        (locked, chain.certificate, "locked.pem: is encrypted"),
        (curve, chain.certificate, "curve.pem: must be of EC"),
        (chain.key, text, "text.pem: holds no certificate in PEM"),
        (chain.key, other.certificate, "chain.pem: its first certificate is not that of"),
        (other.key, other.authority, "authority.pem: its first certificate is not that of"),
    ]
    for key_file, certificate, reason in cases:
        with pytest.raises(UsageError, match=reason):
            ContentSigner.load(key_file, certificate)


def test_a_certificate_that_may_not_sign_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    chain = make_chain(tmp_path, days=(-9, -1))
    with pytest.raises(UsageError, match="cannot sign"):
        ContentSigner.load(chain.key, chain.certificate)


def test_a_time_stamp_authority_that_does_not_answer_is_refused_before_the_job(chain: Chain) -> None:
    with pytest.raises(UsageError, match=r"--c2pa-timestamp http://127\.0\.0\.1:9/"):
        ContentSigner.load(chain.key, chain.certificate, "http://127.0.0.1:9/")


def test_without_the_extra_a_line_says_how_to_install_it(
    convert: Convert, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(UsageError, match="--c2pa-key: c2pa is not installed; run: uv sync --extra c2pa"):
        convert(source, tmp_path / "out", c2pa_key="key.pem", c2pa_cert="chain.pem")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [{"c2pa_key": "k"}, {"c2pa_cert": "c"}, {"c2pa_timestamp": "http://127.0.0.1/"}],
    ids=lambda o: next(iter(o)),
)
def test_half_a_signature_is_wrong_usage(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="c2pa"):
        ConversionOptions(**options)
