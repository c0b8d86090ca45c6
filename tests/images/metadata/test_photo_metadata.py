"""What a photo carries comes through every format, as far as the format holds it, and hostile metadata harms nothing."""

import io
import struct
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageOps
from PIL.TiffImagePlugin import IFDRational

from translate import images
from translate.images import Metadata, Picture, encode, supported_by
from translate.images.metadata.icc import srgb_profile
from translate.images.metadata.png_chunks import HEADER_END, make_chunk
from translate.images.orientation import apply_orientation

from .. import photos

HOLDING_ALL = ["jpg", "png", "webp", "avif", "tiff"]


def opened(data):
    with Image.open(io.BytesIO(data), formats=images.PILLOW_FORMATS) as image:
        return Metadata.from_image(image)


def carrying(fmt, orientation=6):
    """Encode with Pillow a file that holds all metadata of its format."""
    image, block = Image.fromarray(photos.smooth()), photos.exif(orientation)
    packet = photos.xmp().replace(b'Orientation="6"', b'Orientation="%d"' % orientation)
    made = Image.Exif()
    made.load(block)
    options = {"exif": made, "icc_profile": srgb_profile(), "dpi": (300, 150)}
    if fmt in ("jpg", "webp", "avif"):
        options["xmp"] = packet
    if fmt == "tiff":
        made[700] = packet
    data = photos.as_file(image, photos.PILLOW[fmt], **options)
    if fmt == "png":
        data = photos.insert_png(data, (b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + packet))
    return data


def all_parts():
    return opened(carrying("jpg"))


@pytest.mark.parametrize("fmt", HOLDING_ALL)
def test_a_file_of_each_format_is_read_whole(fmt):
    found = opened(carrying(fmt))
    assert found.orientation == 6
    assert found.notices == ()
    assert found.icc == srgb_profile()
    assert "Café".encode() in found.xmp
    assert photos.SECONDS in found.exif
    assert b"Kamera" in found.exif
    if fmt in ("jpg", "png", "tiff"):
        assert found.dpi == pytest.approx((150, 300), abs=0.02)  # turned with the picture


@pytest.mark.parametrize("fmt", HOLDING_ALL)
@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_each_format_gives_back_what_was_put_in(fmt, depth):
    carried = all_parts()
    pixels = photos.smooth().astype(depth) * (257 if depth == "uint16" else 1)
    data = encode(Picture(pixels, metadata=carried), fmt)
    assert supported_by(carried, fmt, 3)[1] == []
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        made = image.getexif()
        assert made[0x010F] == "Kamera"
        assert made.get(0x0112, 1) == 1
        assert made.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
        assert made.get_ifd(0x8769)[0x927C] == b"\x01NOTE" * 9
        assert made.get_ifd(0x8825)[2] == (52, 31, 123.457)
        assert image.info["icc_profile"] == srgb_profile()
        title = image.getxmp()["xmpmeta"]["RDF"]["Description"]["title"]["Alt"]["li"]
        assert title["text"] == "Café"
        if fmt in ("webp", "avif"):
            assert (made[0x011A], made[0x011B], made[0x0128]) == (150, 300, 2)
        else:
            assert image.info["dpi"] == pytest.approx((150, 300), abs=0.02)
    again = opened(data)
    assert again.xmp == carried.xmp
    assert again.notices == ()
    if depth == "uint16" and fmt in ("png", "tiff"):
        assert np.array_equal(_deep_pixels(data, fmt), pixels)


def _deep_pixels(data, fmt):
    if fmt == "tiff":
        return tifffile.imread(io.BytesIO(data))
    import cv2

    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[:, :, ::-1]


def test_the_bytes_of_jpeg_png_and_webp_hold_it_where_their_standards_say():
    carried = all_parts()
    block = carried.exif
    segments = photos.jpeg_segments(encode(Picture(photos.smooth(), metadata=carried), "jpg"))
    assert (0xFFE1, b"Exif\0\0" + block) in segments
    assert (0xFFE1, b"http://ns.adobe.com/xap/1.0/\0" + carried.xmp) in segments
    assert (0xFFE2, b"ICC_PROFILE\0\x01\x01" + carried.icc) in segments
    jfif = next(data for marker, data in segments if marker == 0xFFE0)
    assert struct.unpack(">BHH", jfif[7:12]) == (1, 150, 300)

    chunks = photos.png_chunks(encode(Picture(photos.smooth(), metadata=carried), "png"))
    kinds = [kind for kind, _ in chunks]
    held = dict(chunks)
    assert kinds[0] == b"IHDR"
    assert max(map(kinds.index, [b"iCCP", b"pHYs", b"eXIf", b"iTXt"])) < kinds.index(b"IDAT")
    assert held[b"eXIf"] == block
    assert held[b"iTXt"] == b"XML:com.adobe.xmp" + bytes(5) + carried.xmp
    assert zlib.decompress(held[b"iCCP"].split(b"\0", 1)[1][1:]) == carried.icc
    assert struct.unpack(">IIB", held[b"pHYs"]) == (5906, 11811, 1)  # 150 and 300 by 0.0254

    found = dict(photos.riff_chunks(encode(Picture(photos.smooth(), metadata=replace(carried, dpi=None)), "webp")))
    assert found[b"EXIF"] == block
    assert found[b"XMP "] == carried.xmp
    assert found[b"ICCP"] == carried.icc


def test_tifffile_reads_what_was_put_into_tiff():
    carried = replace(all_parts(), iptc=b"\x1c\x02\x78\x00\x05Hello")
    for pixels in (photos.smooth(), photos.smooth().astype(np.float32) / 255, np.zeros((5, 6, 7), np.uint16)):
        fits = replace(carried, icc=carried.icc if pixels.shape[2] == 3 else None)
        with tifffile.TiffFile(io.BytesIO(encode(Picture(pixels, metadata=fits), "tiff"))) as file:
            (page,) = file.pages
            assert np.array_equal(page.asarray(), pixels)
            tags = {tag.code: tag.value for tag in page.tags}
        again = Metadata.from_tiff(io.BytesIO(encode(Picture(pixels, metadata=fits), "tiff")))
        assert (again.xmp, again.icc, again.iptc, again.dpi) == (fits.xmp, fits.icc, fits.iptc, (150, 300))
        assert photos.SECONDS in again.exif
        assert tags[700] == carried.xmp
        assert tags[34675] == carried.icc if pixels.shape[2] == 3 else 34675 not in tags
        assert tags[33723] == carried.iptc
        assert tags[271] == "Kamera"
        assert tags[34665]["MakerNote"] == b"\x01NOTE" * 9
        assert tags[34853]["GPSLatitude"] == (52, 1, 31, 1, 123_457, 1000)
        assert (tags[282], tags[283], int(tags[296])) == ((1_500_000, 10_000), (3_000_000, 10_000), 2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", HOLDING_ALL)
def test_orientation_is_told_once_and_then_is_1(fmt, orientation):
    data = carrying(fmt, orientation)
    with Image.open(io.BytesIO(data)) as image:
        found = Metadata.from_image(image)
        image.load()
        seen = apply_orientation(image, found.orientation)
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image)
    assert found.orientation == orientation
    assert np.array_equal(np.asarray(seen), np.asarray(expected))
    assert b'tiff:Orientation="1"' in found.xmp
    made = Image.Exif()
    made.load(found.exif)
    assert made.get(0x0112, 1) == 1
    photo = made.get_ifd(0x8769)
    assert (photo[0xA002], photo[0xA003]) == ((24, 40) if orientation >= 5 else (40, 24))
    assert (0x9214 in photo) == (orientation == 1)  # the subject's place was counted before the turn
    written = encode(Picture(photos.smooth(), metadata=found), "jpg")
    with Image.open(io.BytesIO(written)) as image:
        assert image.getexif().get(0x0112, 1) == 1


def test_xmp_alone_tells_the_orientation_where_exif_does_not():
    image = Image.fromarray(photos.smooth())
    data = photos.as_file(image, "JPEG", xmp=photos.xmp(b'exif:PixelXDimension="40" exif:PixelYDimension="24"'))
    found = opened(data)
    assert found.orientation == 6
    assert b'exif:PixelXDimension="24"' in found.xmp
    assert b'exif:PixelYDimension="40"' in found.xmp


def test_an_enlarged_image_has_its_new_size_in_exif_and_xmp():
    """Places in pixels follow; pixels on the sensor are smaller, so that there are more of them in a millimetre."""
    made, density = Image.Exif(), IFDRational(241, 2)
    made.get_ifd(0x8769).update({0xA002: 40, 0xA003: 24, 0x9214: (3, 4), 0xA20E: density, 0xA20F: density})
    packet = photos.xmp(b'exif:PixelXDimension="40" tiff:ImageLength="24"')
    data = photos.as_file(Image.fromarray(photos.smooth()), "JPEG", xmp=packet, exif=made.tobytes())
    larger = opened(data).enlarged(4)
    read = Image.Exif()
    read.load(larger.exif)
    photo = read.get_ifd(0x8769)
    assert (photo[0xA002], photo[0xA003]) == (160, 96)
    assert photo[0x9214] == (12, 16)
    assert float(photo[0xA20E]) == float(photo[0xA20F]) == pytest.approx(482)
    assert b'exif:PixelXDimension="160"' in larger.xmp
    assert b'tiff:ImageLength="96"' in larger.xmp


def test_avif_says_itself_how_it_lies():
    """In its container, whatever XMP says."""
    image = Image.fromarray(photos.smooth())
    found = opened(photos.as_file(image, "AVIF", xmp=photos.xmp()))
    assert found.orientation == 1
    assert b'tiff:Orientation="1"' in found.xmp


def test_thumbnails_of_the_old_picture_are_dropped():
    """EXIF's second directory and XMP's thumbnail."""
    block = bytearray(photos.exif())
    (first,) = struct.unpack_from("<I", block, 4)
    (count,) = struct.unpack_from("<H", block, first)
    struct.pack_into("<I", block, first + 2 + 12 * count, len(block))  # the next directory
    thumbnail = b"\xff\xd8THUMBNAIL\xff\xd9"
    rows = struct.pack("<HHII", 0x0201, 4, 1, len(block) + 30) + struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail))
    block += struct.pack("<H", 2) + rows + bytes(4) + thumbnail
    data = photos.as_file(Image.fromarray(photos.smooth()), "JPEG", exif=b"Exif\0\0" + bytes(block), xmp=photos.xmp())
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == len(thumbnail)
    found = opened(data)
    assert found.notices == ()
    assert b"THUMBNAIL" not in found.exif
    assert b"OLDPICTURE" not in found.xmp
    made = Image.Exif()
    made.load(found.exif)
    assert made.get_ifd(ExifTags.IFD.IFD1) == {}


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_makers_note_stays_at_its_place(order):
    """Its offsets count from the start of the block."""
    block = photos.exif() if order == "<" else _big_endian()
    found = opened(photos.as_file(Image.fromarray(photos.smooth()), "JPEG", exif=b"Exif\0\0" + block))
    note = b"\x01NOTE" * 9
    assert found.exif.index(note) == block.index(note)
    assert found.exif[:2] == block[:2]
    without = found.with_profile(srgb_profile()).exif
    assert without.index(note) == block.index(note)
    assert len(without) <= len(block)


def _big_endian():
    made = Image.Exif()
    made.endian = ">"
    made[0x010F] = "Kamera"
    made.get_ifd(0x8769).update({0x927C: b"\x01NOTE" * 9, 0xA002: 40})
    made.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 123.457)})
    return made.tobytes()[6:]


def test_big_endian_exif_is_turned_for_a_little_endian_tiff():
    found = opened(photos.as_file(Image.fromarray(photos.smooth()), "JPEG", exif=b"Exif\0\0" + _big_endian()))
    with tifffile.TiffFile(io.BytesIO(encode(Picture(photos.smooth(), metadata=found), "tiff"))) as file:
        tags = {tag.code: tag.value for tag in file.pages[0].tags}
    assert tags[34853]["GPSLatitude"] == (52, 1, 31, 1, 123_457, 1000)
    assert tags[34665]["PixelXDimension"] == 40
    assert tags[34665]["MakerNote"] == b"\x01NOTE" * 9


PLACES = [photos.SECONDS, photos.SECONDS[3::-1] + photos.SECONDS[:3:-1], b"52,31", b"13,24", b"GPSL"]


@pytest.mark.parametrize("fmt", [*HOLDING_ALL, "gif"])
def test_coordinates_are_kept_or_gone_from_every_byte(fmt):
    carried = replace(all_parts(), icc=None)
    kept = encode(Picture(photos.smooth(), metadata=carried), fmt)
    gone = encode(Picture(photos.smooth(), metadata=carried.without_place()[0]), fmt)
    assert b"52,31.7654N" in kept
    assert (photos.SECONDS in kept) == (fmt != "gif")
    assert [place for place in PLACES if place in gone] == []
    assert opened(gone).exif is None or b"Kamera" in gone


def test_coordinates_of_locations_and_drones_go_too():
    packet = photos.xmp(
        b'xmlns:drone="http://www.dji.com/drone-dji/1.0/" drone:GpsLongtitude="+13.4" drone:RelativeAltitude="+9"',
        b'<drone:Place rdf:parseType="Resource"><exif:GPSAltitude>1/2</exif:GPSAltitude><dc:city>B</dc:city></drone:Place>',
    )
    stripped = Metadata(xmp=packet).without_place()[0].xmp
    assert b"+13.4" not in stripped
    assert b"1/2" not in stripped
    assert b"<dc:city>" not in stripped
    assert b"RelativeAltitude" in stripped


@pytest.mark.parametrize(
    ("source", "target"), [("jpg", "jpg"), ("png", "png"), ("gif", "jpg"), ("png", "gif"), ("jpg", "png")]
)
def test_a_comment_goes_from_format_to_format(source, target):
    made = Metadata(text={"Comment": "Grüße"})
    found = opened(encode(Picture(photos.smooth(), metadata=made), source))
    assert found.text == {"Comment": "Grüße"}
    assert opened(encode(Picture(photos.smooth(), metadata=found), target)).text == {"Comment": "Grüße"}


def test_texts_of_png_are_kept_in_png_and_named_where_they_are_lost():
    data = photos.as_file(Image.fromarray(photos.smooth()), "PNG")
    behind = data[:-12] + photos.insert_png(bytes(33), (b"tEXt", b"Author\0Ada"))[33:] + data[-12:]
    data = photos.insert_png(
        behind,
        (b"zTXt", b"Title\0\0" + zlib.compress("Äther".encode("latin-1"))),
        (b"iTXt", b"Description\0\1\0de\0Beschreibung\0" + zlib.compress("日本".encode())),
        (b"tEXt", b"Thumb::Size\x00123"),
    )
    found = opened(data)
    assert found.text == {"Title": "Äther", "Description": "日本", "Author": "Ada"}
    assert opened(encode(Picture(photos.smooth(), metadata=found), "png")).text == found.text
    assert supported_by(found, "webp", 3)[1] == ["webp does not hold its text Author, Description, Title"]


def test_iptc_records_go_through_jpeg_and_tiff():
    records = b"\x1c\x02\x78\x00\x05Hello"
    carried = Metadata(iptc=records)
    for fmt in ("jpg", "tiff"):
        assert opened(encode(Picture(photos.smooth(), metadata=carried), fmt)).iptc == records
    assert supported_by(carried, "png", 3)[1] == ["png holds no IPTC records"]


def test_what_a_format_does_not_hold_is_said():
    carried = all_parts()
    assert supported_by(carried, "npy", 3)[1] == [
        "npy holds no EXIF", "npy holds no XMP", "npy holds no colour profile", "npy holds no resolution",
    ]  # fmt: skip
    assert supported_by(carried, "gif", 3)[1] == [
        "gif holds no EXIF", "gif holds no colour profile", "gif holds no resolution",
    ]  # fmt: skip
    encode(Picture(photos.smooth(), metadata=carried), "npy")


def test_without_metadata_nothing_is_added():
    bare = encode(Picture(photos.smooth()), "png")
    assert [kind for kind, _ in photos.png_chunks(bare) if kind != b"IDAT"] == [b"IHDR", b"IEND"]
    assert encode(Picture(photos.smooth(), metadata=Metadata()), "png") == bare


# Too long for JPEG.


def test_long_exif_loses_the_makers_note_in_jpeg_only():
    block = photos.exif(note=b"N" * 70_000)
    data = photos.as_file(Image.fromarray(photos.smooth()), "PNG", exif=block)
    found = opened(data)
    assert len(found.exif) > 65_533
    assert supported_by(found, "jpg", 3)[1] == ["jpg holds 64 KiB of EXIF, so the maker’s note is not kept"]
    written = opened(encode(Picture(photos.smooth(), metadata=found), "jpg"))
    assert b"Kamera" in written.exif
    assert len(written.exif) < 1000
    assert supported_by(found, "webp", 3)[1] == []
    assert b"N" * 70_000 in encode(Picture(photos.smooth(), metadata=found), "webp")
    made = Image.Exif()
    made[0x010E] = "x" * 70_000
    found = opened(photos.as_file(Image.fromarray(photos.smooth()), "PNG", exif=made.tobytes()))
    assert supported_by(found, "jpg", 3)[1] == ["jpg holds 64 KiB of EXIF, so its EXIF is not kept"]
    assert opened(encode(Picture(photos.smooth(), metadata=found), "jpg")).exif is None


def test_long_xmp_loses_its_largest_properties_in_jpeg_and_never_the_mark():
    packet = photos.xmp(elements=b"<dc:source>" + b"s" * 70_000 + b"</dc:source><dc:type>t</dc:type>")
    carried = Metadata(xmp=packet).with_mark(images.Mark("tool 1", "model", "2"))
    held, notices = supported_by(carried, "jpg", 3)
    assert notices == ["jpg holds 64 KiB of XMP, so its largest properties are not kept"]
    assert len(held.xmp) <= 65_533 - 29
    written = opened(encode(Picture(photos.smooth(), metadata=carried), "jpg")).xmp
    assert b"sssss" not in written
    assert b"<dc:type>t</dc:type>" in written
    assert images.COMPOSITE.encode() in written


def test_of_many_small_properties_the_mark_is_never_one_to_go():
    small = b"".join(b"<dc:p%d>%s</dc:p%d>" % (i, b"s" * 10, i) for i in range(4000))
    carried = Metadata(xmp=photos.xmp(elements=small)).with_mark(images.Mark("tool 1", "model", "2"))
    held, _ = supported_by(carried, "jpg", 3)
    assert 60_000 < len(held.xmp) <= 65_533 - 29
    assert images.COMPOSITE.encode() in held.xmp
    assert b'AISystemUsed="model"' in held.xmp


# Hostile or damaged.


def hostile_blocks():
    loop = struct.pack("<2sHIH", b"II", 42, 8, 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    huge = struct.pack("<2sHIH", b"II", 42, 8, 1) + struct.pack("<HHII", 0x010F, 2, 0xFFFFFFFF, 8) + bytes(4)
    rational = struct.pack("<2sHIH", b"II", 42, 8, 1) + struct.pack("<HHII", 0x011A, 12, 0xFFFFFFFF, 0) + bytes(4)
    rows = struct.pack("<2sHIH", b"II", 42, 8, 0xFFFF) + bytes(100)
    # 20,000 entries of one directory, each of the same 240,000 bytes: 4.8 GB if all were kept
    many = b"".join(struct.pack("<HHII", tag, 7, 240_000, 0) for tag in range(20_000))
    head = struct.pack("<2sHIH", b"II", 42, 8, 1) + struct.pack("<HHII", 0x8769, 4, 1, 26) + bytes(4)
    return {
        "loop": loop, "huge": huge, "rational": rational, "rows": rows, "nothing": b"II*\0", "noise": bytes(range(200)),
        "outside": b"MM\0*\xff\xff\xff\xff", "amplified": head + struct.pack("<H", 20_000) + many,
        "unknown type": struct.pack("<2sHIHHHII", b"II", 42, 8, 1, 0x010F, 99, 1, 1) + bytes(4),
    }  # fmt: skip


@pytest.mark.parametrize("name", hostile_blocks())
def test_hostile_exif_is_left_out_with_a_notice(name):
    data = photos.insert_png(photos.as_file(Image.fromarray(photos.smooth()), "PNG"), (b"eXIf", hostile_blocks()[name]))
    tracemalloc.start()
    found = opened(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
    assert len(found.notices) == 1
    assert "EXIF" in found.notices[0]
    assert found.notices[0].isprintable()
    for fmt in ("jpg", "tiff", "png", "webp", "avif"):
        with Image.open(io.BytesIO(encode(Picture(photos.smooth(), metadata=found), fmt))) as image:
            image.load()
            assert image.size == (40, 24)


@pytest.mark.parametrize("dpi", [(0xFFFFFFFF, 1), (1, 1000), (1, 0)])
def test_a_resolution_that_cannot_be_counts_as_none(dpi):
    made = Image.Exif()
    made.endian = "<"
    made[0x011A], made[0x011B], made[0x0128] = 72.0, 72.0, 2
    block = made.tobytes().replace(struct.pack("<II", 72, 1), struct.pack("<II", *dpi))
    found = opened(photos.insert_png(photos.as_file(Image.fromarray(photos.smooth()), "PNG"), (b"eXIf", block[6:])))
    assert found.dpi is None
    for fmt in HOLDING_ALL:
        encode(Picture(photos.smooth(), metadata=found), fmt)


LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">' + b"<!ENTITY c '&b;&b;&b;&b;'>]><x>&c;</x>"
)
RDF_NAMESPACE = b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'


@pytest.mark.parametrize(
    "packet",
    [
        LAUGHS,
        b"<x>" + b"y" * 100_000_000 + b"</x>",
        b"<x>" + b"<a/>" * 200_000 + b"</x>",
        b"<a>" * 50_000 + b"</a>" * 50_000,
        photos.xmp().replace(b"Caf\xc3\xa9", b"Caf\xe9"),
        photos.xmp().replace(b"Caf", b"\x1b[31m"),
        photos.xmp()[:-80],
        b"<x/>",
        b"\xff\xfe" + "<x>".encode("utf-16-le"),
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        b"<rdf:RDF " + RDF_NAMESPACE + b'><rdf:Description xmlns:q="q" y:z="1"/></rdf:RDF>',
    ],
    ids=["laughs", "large", "tags", "deep", "latin-1", "escape", "cut", "no RDF", "UTF-16", "outside", "prefix"],
)
def test_hostile_xmp_is_left_out_with_a_notice_and_marking_still_works(packet):
    image = Image.new("RGB", (8, 8))
    image.format, image.info["xmp"] = "WEBP", packet
    found = Metadata.from_image(image)
    assert found.xmp is None
    assert len(found.notices) == 1
    assert found.notices[0].startswith("its XMP ")
    assert found.notices[0].isprintable()
    assert images.COMPOSITE.encode() in found.with_mark(images.Mark("t", "s", "1")).xmp


def test_texts_of_png_are_never_taken_for_metadata():
    names = [b"photoshop", b"iptc", b"dpi", b"icc_profile", b"xmp", b"exif", b"comment", b"transparency"]
    plain = photos.as_file(Image.fromarray(photos.smooth()), "PNG")
    found = opened(photos.insert_png(plain, *((b"zTXt", name + b"\0\0" + zlib.compress(b"12")) for name in names)))
    assert found.text == {name.decode(): "12" for name in names}
    assert replace(found, text={}) == Metadata()


def test_damaged_text_and_profile_of_png_are_left_out_with_notices():
    data = photos.insert_png(
        photos.as_file(Image.fromarray(photos.smooth()), "PNG"),
        (b"iCCP", b"x\0\0" + zlib.compress(b"no profile")),
    )
    behind = photos.insert_png(bytes(33), (b"zTXt", b"Bomb\0\0" + zlib.compress(bytes(50_000_000))))[33:]
    data = data[:-12] + behind + data[-12:]
    found = opened(data)
    assert found.icc is None
    assert found.text == {}
    assert set(found.notices) == {
        "its text is damaged or too long; not kept",
        "its colour profile is damaged; not used",
    }


def test_content_credentials_are_said_to_be_lost():
    plain = photos.as_file(Image.fromarray(photos.smooth()), "PNG")
    jpeg = photos.as_file(Image.fromarray(photos.smooth()), "JPEG", extra=b"\xff\xeb\x00\x12JP\0\0\0\0\0\0jumb\0\0\0\0")
    for data in (photos.insert_png(plain, (b"caBX", b"jumb")), jpeg):
        assert opened(data).notices == ("its content credentials (C2PA) are not kept: they are of its old pixels",)


def test_only_the_chunks_that_pixels_need_are_left_of_a_bare_png():
    from translate.images.metadata.png_chunks import strip_metadata

    palette = Image.fromarray(photos.smooth()).convert("P")
    plain = photos.as_file(palette, "PNG", transparency=3)
    bad = photos.insert_png(plain, (b"iTXt", b"k" + bytes(5) + b"v" * 70_000_000))
    with pytest.raises(ValueError, match="text chunks"):
        Image.open(io.BytesIO(bad)).load()
    assert strip_metadata(bad, keep_seen=True) == plain


def test_a_png_with_more_text_than_pillow_takes_is_read(tmp_path):
    """Each text is small when packed: 65 MiB in all, where Pillow takes 64."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (1, 2, 3)).save(buffer, "PNG")
    data = buffer.getvalue()
    text = make_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes([65]) * 1_000_000))
    (tmp_path / "x.png").write_bytes(data[:HEADER_END] + text * 70 + data[HEADER_END:])
    picture = images.read(tmp_path / "x.png", how=images.Reading(3, metadata=True))
    assert picture.pixels.shape == (3, 4, 3)
    assert (picture.pixels == (1, 2, 3)).all()
