"""Photos that carry something, and readers of their bytes that are independent of the code under test."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

PILLOW = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "avif": "AVIF", "tiff": "TIFF", "gif": "GIF"}
SECONDS = struct.pack("<II", 123_457, 1000)  # of the latitude 52° 31' 123.457": bytes that occur nowhere else

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" dc:format="image/test"
 exif:GPSLatitude="52,31.7654N" tiff:Orientation="6" %s>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Caf\xc3\xa9</rdf:li></rdf:Alt></dc:title>
<exif:GPSLongitude>13,24.9876E</exif:GPSLongitude>
<xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType="Resource">OLDPICTURE</rdf:li></rdf:Alt></xmp:Thumbnails>%s
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def xmp(attributes=b"", elements=b""):
    return XMP % (attributes, elements)


def exif(orientation=6, note=b"\x01NOTE" * 9):
    """Little-endian, by Pillow; with GPS, a maker's note, the pixels' size and the subject's place."""
    made = Image.Exif()
    made.endian = "<"
    made[0x010F], made[0x0112], made[0x8298] = "Kamera", orientation, "© Ada".encode().decode("latin-1")
    made.get_ifd(0x8769).update({0x9003: "2024:01:02 03:04:05", 0xA002: 40, 0xA003: 24, 0x927C: note, 0x9214: (3, 4)})
    made.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 123.457)})
    return made.tobytes()[6:]


def smooth(seed=0, width=40, height=24):
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def png_chunks(data):
    """[(kind, data)], their check sums tried."""
    found, at = [], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        found.append((kind, body))
        at += 12 + length
    return found


def jpeg_segments(data):
    """[(marker, data)] up to the scan."""
    found, at = [], 2
    while data[at + 1] != 0xDA:
        marker, length = struct.unpack_from(">HH", data, at)
        found.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def riff_chunks(data):
    found, at = [], 12
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
    while at < len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return found


def insert_png(data, *chunks):
    """Insert chunks after the header of a PNG."""
    added = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return data[:33] + added + data[33:]


def as_file(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def build_png(*chunks):
    out = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        out += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return out
