"""Invisible watermark: a faint keyed pattern that says that a model made an image, and its detection with a known error rate.

The mark is a periodic pattern in the luma, a sum of waves of one amplitude whose phases are drawn from a key. It holds no
message. Edges and textures hide it: its local amplitude follows the local contrast.

Detection divides the image by its local contrast, takes the phase of its Fourier transform at the frequencies of the pattern,
and adds up the cosines of their differences to the phases of the key, for all shifts (the image may be cropped) and for many
scales (it may be resized).

**False positives.** For an image that does not depend on the key, each of the n differences is uniform on the circle and
independent of the others, because the phases of the key are, whatever the image is. For such a term,
E exp(t cos θ) = I₀(t) ≤ exp(t²/4), so that by Chernoff's bound the sum exceeds z √n with a probability of at most exp(−z²). M
shifts and scales are tried, so that the largest of them exceeds it with a probability of at most M exp(−z²).

Sources: I. Cox et al., Digital Watermarking and Steganography, 2nd ed. (2008), sections 3.3 (correlation), 7.6 (perceptual
shaping) and 9.2 (synchronisation by autocorrelation and search); J. Haitsma and T. Kalker (2001) for the search by scales of
periodic patterns.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from translate.images.formats import ImageError

PERIOD = 64
"""Side in pixels of the square by which the pattern repeats."""
LOWEST, HIGHEST = 5, 13
"""Waves of the pattern per period: more than JPEG and the eye leave unseen, few enough for half the size."""
WATERMARK_KEY = b"image-translate watermark 1"
"""Key of the phases. It is public: the mark says where an image comes from to those who do not want to hide it."""
SHIFTS = 80
"""Shifts of the pattern that are tried in each direction, within one period."""
MIN_SCALES = 24
"""Scales per octave that are tried, at least; in larger images more, since a wrong scale shifts their edges further."""
OCTAVES = (-1.25, 0.5)
"""Sizes that are tried, as logarithms to base 2 of the size in proportion to that of the marked image."""
MAX_FALSE_POSITIVES = 1e-7
"""Bound of the probability that an image without a mark is taken for one with it."""
MAX_SIDE = 1024
"""Side in pixels of the part in the middle of larger images that is looked at."""
MIN_SIDE = 64
"""Smallest side in pixels of an image that is marked or looked at."""
RELIABLE_SIDE = 256
"""Smallest side in pixels of images whose mark survives the changes that docs/provenance.md lists."""
BASE, SHARE = 0.9, 0.12
"""Amplitude of the mark (root mean square, of 255): of flat parts, and added as a share of the local contrast."""
NOISE = 2.0
"""Contrast, of 255, below which parts count as equally flat in detection."""


@dataclass(frozen=True)
class WatermarkDetection:
    """Result of looking for the mark."""

    score: float
    """Largest sum of cosines over all shifts and scales, divided by the root of their number."""
    false_positives: float
    """Bound of the probability that an image without a mark has such a score."""
    scale: float
    """Size of the image in proportion to that of the marked one, if there is a mark."""

    @property
    def found(self) -> bool:
        """True if the mark is there, but for an error of at most MAX_FALSE_POSITIVES."""
        return self.false_positives <= MAX_FALSE_POSITIVES


@cache
def _waves() -> tuple[np.ndarray, np.ndarray]:
    """Return the waves of the pattern, (n, 2) cycles per period down and across, one of each pair ±k, and their phases."""
    down, across = np.mgrid[0 : HIGHEST + 1, -HIGHEST : HIGHEST + 1]
    radius = np.hypot(down, across)
    chosen = (radius >= LOWEST) & (radius <= HIGHEST) & ((down > 0) | (across > 0))
    waves = np.stack([down[chosen], across[chosen]], axis=1)
    words = np.frombuffer(hashlib.shake_256(WATERMARK_KEY).digest(4 * len(waves)), "<u4")
    return waves, words * (2 * math.pi / 2**32)


@cache
def pattern() -> np.ndarray:
    """Return one period of the pattern, (PERIOD, PERIOD) float32 with a mean of 0 and a mean square of 1."""
    waves, phases = _waves()
    spectrum = np.zeros((PERIOD, PERIOD), complex)
    spectrum[waves[:, 0], waves[:, 1]] = np.exp(1j * phases)
    wave = np.fft.ifft2(spectrum).real
    return (wave / np.sqrt(np.mean(wave**2))).astype(np.float32)


def add_watermark(pixels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return pixels (H, W, 1 or 3) with the mark, and notices of what it does not stand. ImageError for other depths."""
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"--watermark is for values of 8 or 16 bits without a sign, not {pixels.dtype}; use --format png or jpg"
        )
    side = min(pixels.shape[:2])
    if side < MIN_SIDE:
        return pixels, [f"an image of less than {MIN_SIDE} pixels holds no watermark"]
    notices = [f"the watermark of an image of less than {RELIABLE_SIDE} pixels may not survive changes"]
    return embed(pixels), notices if side < RELIABLE_SIDE else []


def embed(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (H, W, 1 or 3), uint8 or uint16, of at least MIN_SIDE in both directions, with the mark."""
    height, width = pixels.shape[:2]
    top = np.iinfo(pixels.dtype).max
    luma = _luma(pixels)
    repeats = -(-height // PERIOD), -(-width // PERIOD)
    mark = np.tile(pattern(), repeats)[:height, :width] * (BASE + SHARE * _contrast(luma)[1])
    marked = pixels + (mark * (top / 255))[:, :, None]
    return np.clip(np.rint(marked), 0, top).astype(pixels.dtype)


def detect_watermark(pixels: np.ndarray) -> WatermarkDetection:
    """Look for the mark in pixels (H, W, 1 or 3), uint8 or uint16, which may have been cropped, resized and compressed."""
    if min(pixels.shape[:2]) < MIN_SIDE:
        return WatermarkDetection(0.0, 1.0, 1.0)
    luma = _luma(_middle(pixels))
    detail, contrast = _contrast(luma)
    return _search(detail / (contrast + NOISE) ** 2)


def _middle(pixels: np.ndarray) -> np.ndarray:
    """Return the middle of an image that is larger than MAX_SIDE."""
    cut = [
        slice(max(0, (side - MAX_SIDE) // 2), max(0, (side - MAX_SIDE) // 2) + MAX_SIDE) for side in pixels.shape[:2]
    ]
    return pixels[cut[0], cut[1]]


def _luma(pixels: np.ndarray) -> np.ndarray:
    """Return the luma (H, W) float32 from 0 to 255."""
    import cv2  # takes a while to import, and few conversions need it

    values = pixels.astype(np.float32) * np.float32(255 / np.iinfo(pixels.dtype).max)
    return values[:, :, 0] if values.shape[2] == 1 else cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)


def _contrast(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the detail of an image, without its local mean, and the local contrast: its root mean square."""
    import cv2

    detail = luma - cv2.GaussianBlur(luma, (0, 0), 3, borderType=cv2.BORDER_REFLECT)
    square = cv2.GaussianBlur(detail * detail, (0, 0), 4, borderType=cv2.BORDER_REFLECT)
    return detail, np.sqrt(np.maximum(square, 0))


def _search(detail: np.ndarray) -> WatermarkDetection:
    """Return the best match of the pattern in a whitened image, over all scales and shifts."""
    waves, phases = _waves()
    height, width = detail.shape
    size = 2 * max(height, width)  # twice as fine as the image's own frequencies
    size += size % 2
    spectrum = torch.fft.rfft2(torch.from_numpy(np.ascontiguousarray(detail, np.float32)), s=(size, size))
    # so that the highest wave is wrong by at most a quarter at the edges, between two scales
    per_octave = max(MIN_SCALES, math.ceil(math.log(2) * max(height, width) * HIGHEST / PERIOD))
    scales = 2.0 ** (np.arange(*(math.floor(octave * per_octave) for octave in OCTAVES)) / per_octave)
    # the first of both is ±k, of which the spectrum of a real image has half: across >= 0
    sign = np.where(waves[:, 1] < 0, -1, 1)
    frequency = (waves * sign[:, None])[None] / (PERIOD * scales[:, None, None])
    bins = np.rint(frequency * size).astype(np.int64)
    is_seen = (np.abs(bins) < size // 2).all(axis=2)
    bins = np.where(is_seen[:, :, None], bins, 0)
    found = spectrum[torch.from_numpy(bins[:, :, 0] % size), torch.from_numpy(bins[:, :, 1])].numpy()
    centred = np.exp(2j * np.pi * ((bins[:, :, 0] * (height // 2) + bins[:, :, 1] * (width // 2)) / size))
    unit = found * centred / np.maximum(np.abs(found), 1e-12) * is_seen
    unit = np.where(sign == 1, unit, unit.conj()) * np.exp(-1j * phases)
    grid = np.zeros((len(scales), SHIFTS, SHIFTS), np.complex64)
    grid[:, waves[:, 0], waves[:, 1] % SHIFTS] = unit
    sums = torch.fft.ifft2(torch.from_numpy(grid)).real.amax(dim=(1, 2)).numpy() * SHIFTS**2
    best = int(np.argmax(sums))
    score = float(sums[best]) / math.sqrt(len(waves))
    trials = len(scales) * SHIFTS**2
    return WatermarkDetection(score, min(1.0, trials * math.exp(-(max(score, 0.0) ** 2))), float(scales[best]))
