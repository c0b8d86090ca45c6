"""What a file carries beside its pixels: EXIF, XMP, ICC profile, resolution and texts, read and embedded."""
