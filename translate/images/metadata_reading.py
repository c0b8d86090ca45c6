"""Reading of the metadata of image files, without their pixels."""

import stat
from pathlib import Path

from PIL import Image

from translate.images.formats import ImageError, extension
from translate.images.metadata.photo_metadata import Metadata
from translate.images.reading import PILLOW_FORMATS, failure_reason


def read_metadata(path: Path) -> Metadata:
    """Read the metadata of an image file, as `read` with `metadata` gives them; those of npy are empty.

    ImageError, whose text is one line without the path, if the file cannot be opened as an image.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageError("not a regular file")
        if extension(path) == "npy":
            return Metadata()
        try:
            with Image.open(path, formats=PILLOW_FORMATS) as image:
                return Metadata.from_image(image)
        except Image.UnidentifiedImageError:
            with open(path, "rb") as file:
                if file.read(2) not in (b"II", b"MM"):
                    raise
                return Metadata.from_tiff(file)  # of more channels than Pillow opens
    except ImageError:
        raise
    except Exception as e:  # decoders raise seven kinds, and a bad file must not stop the work on the others
        raise ImageError(failure_reason(path, e)) from None
