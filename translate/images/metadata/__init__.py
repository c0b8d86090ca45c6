"""Metadata of image files: EXIF, XMP, ICC profile, resolution, IPTC records and texts, read and embedded."""

MAX_BYTES = 4 << 20
"""Bytes of one part of the metadata that are read: EXIF, an XMP packet, a text. Those of cameras have some KiB."""
