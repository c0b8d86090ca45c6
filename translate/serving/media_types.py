"""Media types of image files, and the format that a client accepts."""

MEDIA_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "avif": "image/avif", "tiff": "image/tiff",
    "gif": "image/gif", "heic": "image/heic", "npy": "application/x-npy",
}  # fmt: skip
"""Row of images.WRITERS → media type of its files."""

KEEP = "keep"


def choose_format(accept: str | None) -> str | None:
    """Return the format by which a client's `Accept` header is answered best: a row of images.WRITERS, or "keep".

    The highest quality value decides (RFC 9110, section 12.5.1), and among equals what comes first. A wildcard, or no header,
    is "keep": the format of the input. None where nothing that can be written is accepted.
    """
    if not accept:
        return KEEP
    formats = {media: fmt for fmt, media in MEDIA_TYPES.items()} | {"image/*": KEEP, "*/*": KEEP}
    best, chosen = 0.0, None
    for part in accept.split(","):
        media, *parameters = (word.strip().lower() for word in part.split(";"))
        quality = next((_quality(word) for word in parameters if word.startswith("q=")), 1.0)
        if media in formats and quality > best:
            best, chosen = quality, formats[media]
    return chosen


def _quality(word: str) -> float:
    try:
        return min(max(float(word.removeprefix("q=")), 0.0), 1.0)
    except ValueError:
        return 0.0
