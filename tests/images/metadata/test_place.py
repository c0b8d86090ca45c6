"""Names of metadata that say where a photo was taken, and IPTC's records without them."""

import struct

import pytest

from translate.images import Metadata
from translate.images.metadata.place import drop_from_iim, is_place

from .. import photos

PLACES = [
    "exif:GPSLatitude", "GPSLongitude", "drone-dji:GpsLongtitude", "photoshop:City", "photoshop:State", "photoshop:Country",
    "Iptc4xmpCore:Location", "Iptc4xmpCore:CountryCode", "Iptc4xmpExt:LocationCreated", "Iptc4xmpExt:LocationShown",
    "Iptc4xmpExt:Sublocation", "Iptc4xmpExt:ProvinceState", "Iptc4xmpExt:WorldRegion", "geo:lat", "geo:long", "geo:lat_long",
    "dc:coverage", "xmpDM:shotLocation", "dwc:decimalLatitude", "dwc:locality", "Country/PrimaryLocationName", "Sub-location",
]  # fmt: skip
OTHERS = [
    "dc:title", "dc:subject", "Iptc4xmpCore:CiAdrCity", "Iptc4xmpCore:CreatorContactInfo", "tiff:Orientation", "Comment",
    "mwg-rs:Regions", "drone-dji:RelativeAltitude", "exif:SubjectLocationX", "Iptc4xmpExt:EventName", "xmp:CreatorTool",
    "translation", "velocity", "statement",
]  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), [(name, True) for name in PLACES] + [(name, False) for name in OTHERS])
def test_names_of_places(name, expected):
    assert is_place(name) == expected


def record(number, value, dataset=2):
    return struct.pack(">BBBH", 0x1C, dataset, number, len(value)) + value


CHARSET, TITLE = record(90, b"\x1b%G", 1), record(5, b"a title")
CITY, STREET, COUNTRY = record(90, b"Testville"), record(92, b"Oak Lane 5"), record(101, b"Nowhere")
LONG = struct.pack(">BBBHI", 0x1C, 2, 95, 0x8004, 70_000) + bytes(70_000)  # an extended data set


def test_records_of_a_place_go_and_all_others_stay():
    """1:90 is the character set, 2:90 the city."""
    kept, dropped = drop_from_iim(CHARSET + CITY + TITLE + STREET + LONG + COUNTRY + b"\0")
    assert kept == CHARSET + TITLE
    assert dropped == ["city", "country", "state", "sublocation"]
    assert drop_from_iim(CHARSET + TITLE) == (CHARSET + TITLE, [])


@pytest.mark.parametrize("records", [CITY[:-1], b"\x1c\x02", TITLE + b"junk", LONG[:-1]])
def test_damaged_records_are_said(records):
    with pytest.raises(ValueError, match="are damaged"):
        drop_from_iim(records)


XMP = photos.xmp(
    b'xmlns:ps="http://ns.adobe.com/photoshop/1.0/" ps:City="Testville" ps:Headline="stays"',
    b'<x:LocationShown xmlns:x="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><rdf:Bag><rdf:li rdf:parseType="Resource">'
    b"<x:CountryName>Nowhere</x:CountryName></rdf:li></rdf:Bag></x:LocationShown>"
    b'<c:CreatorContactInfo xmlns:c="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/" c:CiAdrCity="Hometown"/>',
)


def test_each_part_is_stripped_and_said():
    carried = Metadata(
        exif=photos.exif(), xmp=XMP, iptc=TITLE + CITY, text={"exif:GPSLatitude": "12/1, 34/1", "Title": "stays"}
    )
    stripped, notices = carried.without_place()
    assert notices == [
        "the place is left out of its EXIF: coordinates, maker’s note",
        "the place is left out of its XMP: City, CountryName, GPSLatitude, GPSLongitude, LocationShown",
        "the place is left out of its IPTC records: city",
        "the place is left out of its texts: exif:GPSLatitude",
    ]
    everything = b"".join((stripped.exif, stripped.xmp, stripped.iptc, repr(stripped.text).encode()))
    for gone in (b"Testville", b"Nowhere", b"52,31", b"13,24", b"34/1", b"NOTE", photos.SECONDS):
        assert gone not in everything
    for kept in (b"Kamera", b"stays", b"Hometown", b"a title"):
        assert kept in everything
    assert stripped.without_place() == (stripped, [])


def test_damaged_records_are_left_out_wholly():
    stripped, notices = Metadata(iptc=CITY[:-1]).without_place()
    assert stripped.iptc is None
    assert notices == ["the place is left out of its IPTC records: all, since they are damaged"]
