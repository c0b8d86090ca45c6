"""Tests of the mark of an image that was made by a model."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.images import COMPOSITE, GENERATED, Mark, Metadata, Picture, encode, supported_by
from translate.images.metadata import icc

from .. import photos

MARK = Mark("image-translate 0.1.0", "cyclegan-earth", "3f9a")
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
CREATOR_TOOL = "{http://ns.adobe.com/xap/1.0/}CreatorTool"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def properties(packet):
    """Name → text or address, of attributes and elements alike, by the standard library's parser."""
    found = {}
    for description in ElementTree.fromstring(packet).iter(f"{RDF}Description"):
        for name, value in description.attrib.items():
            assert name == f"{RDF}about" or name not in found
            found[name] = value
        for child in description:
            assert child.tag not in found
            found[child.tag] = child.get(f"{RDF}resource") or "".join(child.itertext()).strip()
    return found


def marks(packet):
    found = properties(packet)
    names = (f"{IPTC}DigitalSourceType", f"{IPTC}AISystemUsed", f"{IPTC}AISystemVersionUsed", CREATOR_TOOL)
    return tuple(found.get(name) for name in names)


OURS = (COMPOSITE, "cyclegan-earth", "3f9a", "image-translate 0.1.0")


@pytest.mark.parametrize("fmt", ["jpg", "png", "webp", "avif", "tiff", "gif"])
@pytest.mark.parametrize("packet", [None, photos.xmp()], ids=["new", "kept"])
@pytest.mark.parametrize("depth", ["uint8", "float32"])
def test_every_format_but_npy_gives_the_mark_back(fmt, packet, depth):
    pixels = photos.smooth() if depth == "uint8" else photos.smooth().astype(np.float32) / 255
    data = encode(Picture(pixels, metadata=Metadata(xmp=packet).with_mark(MARK)), fmt)
    if fmt == "tiff" and depth == "float32":  # which Pillow does not open
        assert marks(Metadata.from_tiff(io.BytesIO(data)).xmp) == OURS
        return
    with Image.open(io.BytesIO(data)) as image:
        if fmt != "gif":  # Pillow does not know of XMP in GIF
            assert marks(image.info["xmp"]) == OURS
        found = Metadata.from_image(image)
    assert marks(found.xmp) == OURS
    if packet:
        assert properties(found.xmp)["{http://purl.org/dc/elements/1.1/}title"] == "Café"


def test_gif_holds_the_packet_as_adobe_says():
    """An application extension, whose trailer leads any reader of blocks to the terminator."""
    packet = Metadata().with_mark(MARK).xmp
    data = encode(Picture(photos.smooth(), metadata=Metadata(xmp=packet)), "gif")
    begin = data.index(b"\x21\xff\x0bXMP DataXMP") + 14
    assert data[begin : begin + len(packet)] == packet
    for start in range(begin, begin + len(packet), 97):  # wherever a reader lands
        at = start
        while data[at]:
            at += 1 + data[at]
        assert at + 1 == begin + len(packet) + 258
    assert data[:6] == b"GIF89a"
    with Image.open(io.BytesIO(data)) as image:
        plain = encode(Picture(photos.smooth()), "gif")
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(plain))))


def test_npy_holds_no_mark_and_says_so():
    assert supported_by(Metadata().with_mark(MARK), "npy", 3)[1] == [
        "npy holds no XMP, so it is not marked as made by a model"
    ]


FORMS = {
    "attribute": (b'xmlns:I="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" I:DigitalSourceType="%s"', b""),
    "element": (b"", b'<I:DigitalSourceType xmlns:I="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">%s</I:DigitalSourceType>'),
    "address": (
        b"", b'<I:DigitalSourceType xmlns:I="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" rdf:resource="%s"/>'
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("existing", [GENERATED, COMPOSITE])
def test_a_mark_of_a_model_stays_in_its_form(form, existing):
    attributes, elements = (part.replace(b"%s", existing.encode()) for part in FORMS[form])
    before = photos.xmp(attributes, elements)
    after = Metadata(xmp=before).with_mark(MARK).xmp
    assert marks(after) == (existing, *OURS[1:])
    assert (attributes + elements).split(b'/"')[-1] in after  # as it was written


@pytest.mark.parametrize("form", FORMS)
def test_what_says_camera_gives_way_since_the_property_has_one_value(form):
    capture = b"http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    attributes, elements = (part.replace(b"%s", capture) for part in FORMS[form])
    after = Metadata(xmp=photos.xmp(attributes, elements)).with_mark(MARK).xmp
    assert marks(after) == OURS
    assert capture not in after


def test_the_first_tool_and_the_first_model_stay():
    packet = Metadata(xmp=photos.xmp(b'xmp:CreatorTool="Darkroom 7"')).with_mark(Mark("first 1", "first", "1")).xmp
    assert marks(Metadata(xmp=packet).with_mark(MARK).xmp) == (COMPOSITE, "first", "1", "Darkroom 7")


def test_marking_twice_changes_nothing_more():
    once = Metadata(xmp=photos.xmp()).with_mark(MARK)
    assert marks(once.with_mark(MARK).xmp) == marks(once.xmp)


def test_all_other_properties_stay_in_attribute_and_element_form():
    before = photos.xmp(b'xmp:Rating="5"', b"<dc:source>a &amp; b</dc:source>")
    after = Metadata(xmp=before).with_mark(MARK).xmp
    expected = properties(before)
    ours = {f"{IPTC}DigitalSourceType", f"{IPTC}AISystemUsed", f"{IPTC}AISystemVersionUsed", CREATOR_TOOL}
    assert {name: value for name, value in properties(after).items() if name not in ours} == expected
    assert b'xmp:Rating="5"' in after
    assert b"<dc:source>a &amp; b</dc:source>" in after


def test_names_of_models_may_hold_anything():
    mark = Mark('t "<&>" 1', "line\nbreak\x1b[31m\udcff", "'x' & \"y\"")
    assert marks(Metadata().with_mark(mark).xmp) == (COMPOSITE, "linebreak[31m", "'x' & \"y\"", 't "<&>" 1')


@pytest.mark.parametrize("term", [GENERATED, COMPOSITE])
def test_the_source_type_can_be_chosen(term):
    assert marks(Metadata().with_mark(Mark("t", "s", "1", term)).xmp)[0] == term


def test_a_packet_whose_rdf_has_no_prefix_or_other_ones_can_be_marked():
    bare = (
        b'<RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:Iptc4xmpExt="urn:other" xmlns:rdf="urn:none">'
        b'<Description xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" r:about="urn:1" Iptc4xmpExt:x="1"/></RDF>'
    )
    after = Metadata(xmp=bare).with_mark(MARK).xmp
    assert marks(after) == OURS
    abouts = {node.get(f"{RDF}about") for node in ElementTree.fromstring(after).iter(f"{RDF}Description")}
    assert abouts == {"urn:1"}
    assert properties(after)["{urn:other}x"] == "1"


def test_equal_pictures_give_equal_bytes():
    carried = images.Metadata(icc=icc.srgb_profile()).with_mark(MARK)
    assert icc.srgb_profile()[24:36] == bytes(12)
    for fmt in ("jpg", "png", "tiff", "webp"):
        assert encode(Picture(photos.smooth(), metadata=carried), fmt) == encode(
            Picture(photos.smooth(), metadata=carried), fmt
        )
