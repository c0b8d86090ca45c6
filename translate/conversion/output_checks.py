"""Checks before a job that its outputs can hold the marks that are asked for: signatures and watermarks."""

from collections.abc import Sequence

from translate import videos
from translate.conversion.content_credentials import MIME_TYPES
from translate.conversion.item import WITHOUT_WATERMARK, ItemConverter
from translate.conversion.output_paths import Item
from translate.errors import UsageError


def check_marks(converter: ItemConverter, names: Sequence[str]) -> None:
    """Raise UsageError if an output cannot hold a mark; `names` are those of the inputs."""
    if converter.signer is not None:
        unsigned = {name: fmt for name in names if (fmt := converter.format(Item(name, name))) not in MIME_TYPES}
        if unsigned:
            name, fmt = next(iter(unsigned.items()))
            raise UsageError(
                f"--c2pa-key: {fmt} holds no content credentials, but {len(unsigned)} outputs would be such files, "
                f"first that of {name!r}; use --format with one of {', '.join(MIME_TYPES)}, or leave such inputs out"
            )
    if converter.options.watermark:
        channels = converter.translator.output_channels(converter.options.to)
        if channels not in (1, 3):
            raise UsageError(
                f"--watermark: is for images of 1 or 3 channels, but the model makes {channels}; leave it out"
            )
        for name in names:
            if videos.is_video(name) or converter.format(Item(name, name)) in WITHOUT_WATERMARK:
                raise UsageError(
                    f"--watermark: is for images, but not for videos, npy and gif, as {name!r} is one; leave such inputs out"
                )
