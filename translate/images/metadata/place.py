"""Names of metadata that say where a photo was taken, and IPTC's older records without them.

Sources: IPTC Photo Metadata Standard 2025.1, sections "Location" and "IIM mapping"; IPTC-NAA IIM 4.2, sections 1.5 and 6; Exif
3.0, section 4.6.7; Dublin Core (coverage); XMP Dynamic Media (shotLocation); Darwin Core (Location).
"""

import re
import struct

_NAMES = frozenset(
    {
        "address", "city", "contentlocationcode", "contentlocationname", "country", "countrycode", "countryname",
        "countryprimarylocationcode", "countryprimarylocationname", "county", "coverage", "geolocation", "geotag", "lat",
        "latlon", "latlong", "lng", "locality", "location", "locationcreated", "locationid", "locationname",
        "locationshown", "lon", "long", "municipality", "place", "placename", "province", "provincestate", "shotlocation",
        "state", "stateprovince", "streetaddress", "sublocation", "worldregion",
    }
)  # fmt: skip
"""Names of properties of any namespace, in lower case and of letters alone."""
_COORDINATE = re.compile(r"gps|.*(latitude|longt?itude)")

_IIM_PLACES = {
    26: "content location", 27: "content location", 90: "city", 92: "sublocation", 95: "state", 100: "country",
    101: "country",
}  # fmt: skip
"""Data sets of IIM's application record (2) → what they hold."""
_IIM_MARKER, _IIM_RECORD = 0x1C, 2


def is_place(name: str) -> bool:
    """Return whether a property or a text of this name, which may have a prefix, says where a photo was taken."""
    letters = re.sub(r"[^a-z]", "", name.rpartition(":")[2].lower())
    return letters in _NAMES or _COORDINATE.match(letters) is not None


def drop_from_iim(records: bytes) -> tuple[bytes, list[str]]:
    """Return IIM records without those of a place, and what these held. ValueError if the records are damaged."""
    kept, dropped, at = [], set(), 0
    while at < len(records) and records[at] == _IIM_MARKER:
        try:
            record, number, size = struct.unpack_from(">BBH", records, at + 1)
        except struct.error:
            raise ValueError("are damaged") from None
        begin = at + 5
        if size & 0x8000:  # an extended data set: the size of its size comes first
            size_of_size = size & 0x7FFF
            size = int.from_bytes(records[begin : begin + size_of_size], "big")
            begin += size_of_size
        if begin + size > len(records):
            raise ValueError("are damaged")
        if record == _IIM_RECORD and number in _IIM_PLACES:
            dropped.add(_IIM_PLACES[number])
        else:
            kept.append(records[at : begin + size])
        at = begin + size
    if records[at:].strip(b"\0"):
        raise ValueError("are damaged")
    return b"".join(kept), sorted(dropped)
