"""Animations: every frame as a viewer shows it, at its time, one at a time."""

import struct
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.images import (
    ANIMATED,
    Frame,
    ImageError,
    Mark,
    Metadata,
    Picture,
    Reading,
    animation_notices,
    encode_animation,
    from_pil_image,
    is_animated,
    open_animation,
)
from translate.images.metadata.icc import srgb_profile

from . import photos

DURATIONS = [100, 50, 40, 30, 500]
CLOSE = {"png": 0, "gif": 12, "webp": 6, "avif": 6}  # mean difference of 255 that a lossy frame of this size may have


def pictures(count=5, channels=3, alpha=False):
    """Frames of which the second and the third are equal."""
    for i in range(count):
        pixels = photos.smooth(1 if i == 2 else i)
        transparency = np.full(pixels.shape[:2], 40 * i, np.uint8) if alpha and i % 2 else None
        yield Picture(pixels if channels == 3 else pixels[:, :, :1], transparency)


def frames(durations=DURATIONS, **options):
    return (
        Frame(picture, duration)
        for picture, duration in zip(pictures(len(durations), **options), durations, strict=True)
    )


def saved(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def opened(path, how=None):
    with open_animation(path, how) as animation:
        return animation, list(animation)


def distance(a, b):
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("fmt", ANIMATED)
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_durations_and_plays_come_back(fmt, channels, tmp_path):
    data = encode_animation(frames(channels=channels), fmt, play_count=3)
    path = saved(tmp_path, data, f"x.{fmt}")
    assert is_animated(path)
    animation, found = opened(path, Reading(channels))
    assert animation.frame_count == len(found) == 5
    assert [frame.duration for frame in found] == DURATIONS
    assert animation.play_count == (3 if fmt != "avif" else 0)
    assert animation_notices(fmt, 3) == (["avif plays for ever"] if fmt == "avif" else [])
    for frame, picture in zip(found, pictures(channels=channels), strict=True):
        assert distance(frame.picture.pixels, picture.pixels) <= CLOSE[fmt]
        assert frame.picture.alpha is None
    with Image.open(path) as image:  # as Pillow sees it
        assert image.n_frames == 5


@pytest.mark.parametrize("fmt", ["png", "webp", "avif"])
def test_transparency_of_some_frames_comes_back(fmt, tmp_path):
    _, found = opened(saved(tmp_path, encode_animation(frames(alpha=True), fmt), f"x.{fmt}"))
    for frame, picture in zip(found, pictures(alpha=True), strict=True):
        if picture.alpha is None:
            assert frame.picture.alpha is None
        else:
            assert distance(frame.picture.alpha, picture.alpha) <= 2


@pytest.mark.parametrize(("plays", "repetitions"), [(0, 0), (1, None), (2, 1), (7, 6)])
def test_gif_counts_repetitions(plays, repetitions, tmp_path):
    path = saved(tmp_path, encode_animation(frames(), "gif", play_count=plays), "x.gif")
    with Image.open(path) as image:
        assert image.info.get("loop") == repetitions
    assert opened(path)[0].play_count == plays


def test_rounding_does_not_add_up(tmp_path):
    """30 frames a second: the time at which each begins is right within half a step, and so is the whole."""
    thirtieths = [1000 / 30] * 30
    for fmt, step in (("gif", 10), ("webp", 1), ("avif", 1)):
        small = (Frame(Picture(np.full((8, 8, 3), i, np.uint8)), duration) for i, duration in enumerate(thirtieths))
        _, found = opened(saved(tmp_path, encode_animation(small, fmt), f"x.{fmt}"))
        starts = np.cumsum([0, *(frame.duration for frame in found)])
        assert np.abs(starts - np.arange(31) * 1000 / 30).max() <= step / 2
    small = (Frame(Picture(np.full((8, 8, 3), i, np.uint8)), duration) for i, duration in enumerate(thirtieths))
    _, found = opened(saved(tmp_path, encode_animation(small, "png"), "x.png"))
    assert [frame.duration for frame in found] == pytest.approx(thirtieths, abs=1e-9)


@pytest.mark.parametrize("fmt", ANIMATED)
def test_metadata_and_mark_travel_with_an_animation(fmt, tmp_path):
    packet = photos.xmp()
    carried = Metadata(photos.exif(1), packet, srgb_profile(), text={"Comment": "hello"}).with_mark(Mark("t", "s", "1"))
    animation, _ = opened(saved(tmp_path, encode_animation(frames(), fmt, metadata=carried), f"x.{fmt}"))
    found = animation.metadata
    assert images.COMPOSITE.encode() in found.xmp
    assert (found.icc == srgb_profile(), b"Kamera" in (found.exif or b"")) == (
        (True, True) if fmt != "gif" else (False, False)
    )
    assert found.text == ({"Comment": "hello"} if fmt in ("gif", "png") else {})


def test_a_png_is_what_its_standard_says():
    chunks = photos.png_chunks(encode_animation(frames(), "png", play_count=2))
    kinds = [kind for kind, _ in chunks]
    assert kinds == [b"IHDR", b"acTL", b"fcTL", b"IDAT", *[b"fcTL", b"fdAT"] * 4, b"IEND"]
    assert struct.unpack(">II", chunks[1][1]) == (5, 2)
    numbers = [struct.unpack_from(">I", data)[0] for kind, data in chunks if kind in (b"fcTL", b"fdAT")]
    assert numbers == list(range(9))
    controls = [struct.unpack(">IIIIIHHBB", data) for kind, data in chunks if kind == b"fcTL"]
    assert [control[1:5] for control in controls] == [(40, 24, 0, 0)] * 5
    assert [1000 * control[5] / control[6] for control in controls] == DURATIONS


def test_disposal_and_blending_are_done(tmp_path):
    """A small red square that moves over a blue ground, as Pillow optimises it: each frame is whole."""
    whole = []
    for i in range(4):
        pixels = np.zeros((20, 30, 3), np.uint8)
        pixels[..., 2] = 255
        pixels[4:8, 5 * i : 5 * i + 4] = (255, 0, 0)
        whole.append(Image.fromarray(pixels))
    for name, disposal in (("x.gif", 1), ("y.gif", 2), ("x.png", 0), ("y.png", 1)):
        data = photos.as_file(
            whole[0],
            photos.PILLOW[name[2:]],
            save_all=True,
            append_images=whole[1:],
            duration=70,
            loop=0,
            disposal=disposal,
        )
        animation, found = opened(saved(tmp_path, data, name))
        assert animation.play_count == 0
        assert len(found) == 4
        for frame, image in zip(found, whole, strict=True):
            assert frame.duration == 70
            assert np.array_equal(frame.picture.pixels, np.asarray(image))


def test_a_picture_that_stands_in_for_an_animated_png_is_no_frame(tmp_path):
    stills = [Image.fromarray(photos.smooth(i)) for i in range(3)]
    data = photos.as_file(
        stills[0], "PNG", save_all=True, append_images=stills[1:], default_image=True, duration=[20, 30]
    )
    animation, found = opened(saved(tmp_path, data, "x.png"))
    assert animation.frame_count == 2
    assert [frame.duration for frame in found] == [20, 30]
    assert np.array_equal(found[0].picture.pixels, np.asarray(stills[1]))
    assert animation.notices == ["its still image, which is not part of the animation, is left out"]


def test_orientation_and_profile_hold_for_all_frames(tmp_path):
    from .metadata.test_icc import rgb_profile

    stills = [Image.fromarray(photos.smooth(i)) for i in range(3)]
    made = Image.Exif()
    made[0x0112] = 6
    profile = rgb_profile("adobe")
    data = photos.as_file(stills[0], "PNG", save_all=True, append_images=stills[1:], exif=made, icc_profile=profile)
    animation, found = opened(saved(tmp_path, data, "x.png"))
    assert animation.metadata.icc == srgb_profile()
    for frame, still in zip(found, stills, strict=True):
        expected, _ = images.to_srgb(still.transpose(Image.Transpose.ROTATE_270), Metadata(icc=profile))
        assert np.array_equal(frame.picture.pixels, np.asarray(expected))


def test_pages_of_tiff_and_single_pictures_are_no_animations(tmp_path):
    stills = [Image.fromarray(picture.pixels) for picture in pictures(3)]
    assert not is_animated(
        saved(tmp_path, photos.as_file(stills[0], "TIFF", save_all=True, append_images=stills), "x.tiff")
    )
    for fmt in ANIMATED:
        assert not is_animated(saved(tmp_path, photos.as_file(stills[0], photos.PILLOW[fmt]), f"x.{fmt}"))
    assert not is_animated(saved(tmp_path, b"noise", "x.gif"))
    assert not is_animated(tmp_path / "missing.gif")


# Bombs and damage.


def tiny_gif(count, width=1, height=1):
    """Return a GIF of this number of frames of one pixel each, in 18 bytes a frame, on a screen of this size."""
    frame = b"\x21\xf9\x04\x04\x01\0\0\0" + b"\x2c" + bytes(4) + struct.pack("<HH", 1, 1) + b"\0\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff" + frame * count + b";"


def test_a_bomb_of_frames_takes_no_memory_and_one_of_pixels_is_refused(tmp_path):
    path = saved(tmp_path, tiny_gif(5_000, 64, 64), "x.gif")
    tracemalloc.start()
    with open_animation(path) as animation:
        assert animation.frame_count == 5_000
        for _, frame in zip(range(200), animation, strict=False):
            assert frame.picture.pixels.shape == (64, 64, 3)
        first = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert first < 2 << 20  # 200 frames kept would be 2.4 MB
    bomb = saved(tmp_path, tiny_gif(2_000, 2_000, 1_000), "y.gif")
    with pytest.raises(
        ImageError, match=r"^2000 frames of 2000×1000 are more than 16 × 178956970 pixels; raise --max-pixels"
    ):
        opened(bomb)
    with pytest.raises(ImageError, match="40×24 is more than 900 pixels"):
        opened(saved(tmp_path, encode_animation(frames(), "png"), "z.png"), Reading(max_pixels=900))


def test_frames_are_decoded_when_they_are_asked_for(tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        "translate.images.animation.from_pil_image", lambda *args: decoded.append(1) or from_pil_image(*args)
    )
    for fmt in ANIMATED:
        path = saved(tmp_path, encode_animation(frames(), fmt), f"x.{fmt}")
        decoded.clear()
        with open_animation(path) as animation:
            next(animation.frames)
            next(animation.frames)
        assert len(decoded) == 2


@pytest.mark.parametrize("fmt", ["gif", "webp", "png", "avif"])
def test_writing_keeps_no_frame_that_is_encoded(fmt):
    """40 frames of 120 KB each."""
    flat = (Frame(Picture(np.full((200, 200, 3), i % 256, np.uint8)), 10) for i in range(40))
    tracemalloc.start()
    encode_animation(flat, fmt)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize("fmt", ANIMATED)
def test_a_cut_animation_is_damaged_in_one_line(fmt, tmp_path):
    data = encode_animation(frames(), fmt)
    with pytest.raises(ImageError, match=r"^damaged image: ") as caught:
        opened(saved(tmp_path, data[: len(data) // 2], f"x.{fmt}"))
    assert str(caught.value).isprintable()


def test_an_animated_png_with_fewer_frames_than_it_says_is_damaged(tmp_path):
    data = encode_animation(frames(), "png")
    body = struct.pack(">II", 9, 0)
    lying = data.replace(data[data.index(b"acTL") - 4 :][:20], photos.insert_png(bytes(33), (b"acTL", body))[33:])
    with pytest.raises(ImageError, match=r"^damaged image: frame 6 of 9: "):
        opened(saved(tmp_path, lying, "x.png"))


def test_errors_of_the_caller_stay_what_they_are(tmp_path):
    path = saved(tmp_path, encode_animation(frames(), "gif"), "x.gif")
    with pytest.raises(KeyError), open_animation(path):
        raise KeyError("mine")


def test_what_cannot_be_an_animation_is_said():
    with pytest.raises(ImageError, match="has no frames"):
        encode_animation(iter(()), "gif")
    odd = [Frame(Picture(np.zeros((4, 4, 3), np.uint8)), 10), Frame(Picture(np.zeros((4, 5, 3), np.uint8)), 10)]
    for fmt in ANIMATED:
        with pytest.raises(ImageError, match="its frames differ in size or channels"):
            encode_animation(iter(odd), fmt)
    long = [Frame(Picture(np.zeros((4, 4, 3), np.uint8)), 700_000.0)] * 2
    with pytest.raises(ImageError, match=r"gif holds frames of at most 655 s"):
        encode_animation(iter(long), "gif")
    chunks = photos.png_chunks(encode_animation(iter(long), "png"))
    control = next(data for kind, data in chunks if kind == b"fcTL")
    assert struct.unpack_from(">HH", control, 20) == (700, 1)


@pytest.mark.parametrize("depth", ["uint16", "float32"])
def test_deeper_frames_are_written_with_8_bits(depth, tmp_path):
    def deep():
        for picture in pictures(2):
            scaled = picture.pixels * np.uint16(257) if depth == "uint16" else picture.pixels.astype(np.float32) / 255
            yield Frame(Picture(scaled), 10)

    _, found = opened(saved(tmp_path, encode_animation(deep(), "png"), "x.png"))
    for frame, picture in zip(found, pictures(2), strict=True):
        assert np.array_equal(frame.picture.pixels, picture.pixels)


@pytest.mark.parametrize("fmt", ANIMATED)
def test_equal_animations_give_equal_bytes_at_any_time(fmt):
    first = encode_animation(frames(), fmt)
    if fmt == "avif":
        time.sleep(1.01)  # its headers count seconds
    assert encode_animation(frames(), fmt) == first
