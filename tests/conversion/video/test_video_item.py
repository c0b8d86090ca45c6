"""Videos through a model: alone, and in a folder with images; stopped and resumed; what cannot be converted."""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conversion.output_folder import assert_clean, last, save
from tests.videos.video_files import number_of, packets, picture, pictures, times, turn, write_video
from translate.conversion.item import ItemConverter
from translate.conversion.job import ConversionResult
from translate.conversion.output_paths import Item
from translate.conversion.video import video_item
from translate.errors import Interrupted, UsageError
from translate.runtime import signals
from translate.trained.translator import Translator

pytest.importorskip("av")

Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]


@pytest.fixture
def invert(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Puts the negative in the place of the model's output; the list has the number of each frame that was translated."""
    translated: list[int] = []

    def translate_frames(converter: ItemConverter, item: Item, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        translated.extend(number_of(frame) for frame in frames)
        return [np.iinfo(frame.dtype).max - frame for frame in frames]

    monkeypatch.setattr(ItemConverter, "translate_frames", translate_frames)
    return translated


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_item, "SEGMENT_FRAMES", 4)


def uneven(count: int, seed: int = 0) -> list[int]:
    """Timestamps of a variable rate, in units of 1/90000 s."""
    return [0, *np.cumsum(np.random.default_rng(seed).integers(900, 9000, count - 1)).tolist()]


def numbers(path: Path) -> list[int]:
    return [number_of(pixels, inverted=True) for pixels in pictures(path)]


def test_a_folder_with_images_and_videos_is_one_job(
    convert: Convert, cyclegan: Translator, draw: Draw, tmp_path: Path
) -> None:
    """By a real model: each frame becomes what the model makes of its picture, but for the loss of the encoder.

    Compared by luma: chroma has half the resolution, and the outputs of an untrained model are mostly noise. CRF 18 costs a few
    levels; the pictures themselves are some 40 away.
    """
    source = write_video(tmp_path / "in" / "deep" / "a.mp4", map(picture, range(3)))
    save(tmp_path / "in" / "b.png", draw(0))
    result = convert(tmp_path / "in", tmp_path / "out")
    assert (result.done, result.failures) == (2, {})
    assert_clean(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"b.png", "deep", "manifest.jsonl"}
    line = last(tmp_path / "out")["deep/a.mp4"]
    assert (line["status"], line["output"], line["frames"]) == ("done", "deep/a.mp4", 3)
    from PIL import Image

    for given, made in zip(pictures(source), pictures(tmp_path / "out" / "deep" / "a.mp4"), strict=True):
        expected = np.asarray(cyclegan(Image.fromarray(given)))
        luma = np.array([0.2126, 0.7152, 0.0722])
        assert np.abs(made @ luma - expected @ luma).mean() < 8
    assert convert(tmp_path / "in", tmp_path / "out").skipped == 2


@pytest.mark.usefixtures("short_segments")
def test_no_frame_is_lost_or_doubled_at_a_variable_rate(convert: Convert, invert: list[int], tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", map(picture, range(18)), uneven(18))
    result = convert(source, tmp_path / "b.mp4")
    assert (result.done, result.failures, result.notices) == (1, {}, {})
    assert invert == numbers(tmp_path / "b.mp4") == list(range(18))
    assert times(tmp_path / "b.mp4") == times(source)
    assert packets(tmp_path / "b.mp4", "audio") == packets(source, "audio")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(("codec", "pixel_format"), [("libx264", "yuv420p10le"), ("libx265", "yuv420p10le")])
def test_ten_bits_stay_ten_bits(
    convert: Convert, invert: list[int], tmp_path: Path, codec: str, pixel_format: str
) -> None:
    import av

    deep = [picture(number, 64, 64).astype(np.uint16) * 257 for number in range(3)]
    source = write_video(tmp_path / "a.mkv", deep, encoder=codec, pixel_format=pixel_format, audio=None)
    assert convert(source, tmp_path / "b.mkv").failures == {}
    with av.open(str(tmp_path / "b.mkv")) as made:
        assert made.streams.video[0].codec_context.pix_fmt == pixel_format
    assert numbers(tmp_path / "b.mkv") == [0, 1, 2]


@pytest.mark.usefixtures("invert")
def test_a_turned_video_becomes_an_upright_one(convert: Convert, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", map(picture, range(2)), audio=None, sample_aspect_ratio=Fraction(4, 3))
    turn(source, 90)
    convert(source, tmp_path / "b.mp4")
    import av

    with av.open(str(tmp_path / "b.mp4")) as made:
        frame = next(made.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (32, 48, 0)
        assert made.streams.video[0].sample_aspect_ratio == Fraction(3, 4)


def test_frames_of_a_batch_are_what_they_are_alone(cyclegan: Translator, tmp_path: Path, draw: Draw) -> None:
    """Batches are for GPUs. On a CPU they differ in the last bits, so by a level at most."""
    from translate.conversion.options import ConversionOptions

    converter = ItemConverter(cyclegan, tmp_path, tmp_path, ConversionOptions())
    item, frames = Item("a.mp4", "a.mp4"), [draw(seed, 32, 24) for seed in range(3)]
    for deep in (False, True):
        given = [frame.astype(np.uint16) * 257 if deep else frame for frame in frames]
        together = converter.translate_frames(item, given)
        for frame, made in zip(given, together, strict=True):
            (alone,) = converter.translate_frames(item, [frame])
            assert made.dtype == alone.dtype == frame.dtype
            assert np.abs(made.astype(int) - alone).max() <= (257 if deep else 1)


@pytest.mark.usefixtures("invert")
def test_the_progress_of_a_long_video_is_told(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_item, "SAY_SECONDS", 0.0)
    said: list[str] = []
    convert(write_video(tmp_path / "a.mp4", map(picture, range(3))), tmp_path / "b.mp4", said=said)
    assert [line.partition(" frames,")[0] for line in said] == [f"'a.mp4': {n} of 3" for n in (1, 2, 3)]


class StopAfter:
    """Stop request that is true after so many questions."""

    signal = signal.SIGINT

    def __init__(self, count: int) -> None:
        self.left = count

    def __bool__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("temporal", [0.0, 0.8])
def test_a_stopped_video_is_resumed_and_becomes_the_same_file(
    convert: Convert, invert: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporal: float
) -> None:
    source = write_video(tmp_path / "in" / "a.mp4", map(picture, range(18)), uneven(18), gop_size=5)
    convert(tmp_path / "in", tmp_path / "whole", temporal=temporal)
    invert.clear()
    stops = 0
    from contextlib import contextmanager

    while True:

        @contextmanager
        def stop_soon() -> Iterator[StopAfter]:
            yield StopAfter(7)  # a video asks before it begins, before each frame and at its end

        with monkeypatch.context() as context:
            context.setattr(signals, "stop_on_signal", stop_soon)
            try:
                convert(source.parent, tmp_path / "out", temporal=temporal)
                break
            except Interrupted as stopped:
                stops += 1
                assert stopped.exit_code == 128 + signal.SIGINT
                assert not (tmp_path / "out" / "a.mp4").exists()
        assert stops < 10
    assert stops >= 3
    assert sorted(set(invert)) == list(range(18))
    assert len(invert) < 18 + 4 * (stops + 1)  # of a stopped segment alone frames are translated again
    assert (tmp_path / "out" / "a.mp4").read_bytes() == (tmp_path / "whole" / "a.mp4").read_bytes()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.mp4", "manifest.jsonl"}


def test_the_blend_lessens_the_flicker_in_the_manifest(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)

    def translate_frames(converter: ItemConverter, item: Item, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [rng.integers(80, 170, frame.shape, dtype=np.uint8) for frame in frames]

    monkeypatch.setattr(ItemConverter, "translate_frames", translate_frames)
    write_video(tmp_path / "in" / "a.mp4", [picture(5)] * 12)
    flicker = []
    for temporal in (0.0, 0.8):
        convert(tmp_path / "in", tmp_path / str(temporal), temporal=temporal)
        flicker.append(last(tmp_path / str(temporal))["a.mp4"]["flicker"])
    assert 0.1 < flicker[0] < 0.13  # two independent uniform values of 90 levels differ by 30 of 255 on average
    assert flicker[1] < 0.4 * flicker[0]


def test_a_model_with_noise_is_not_blended(convert: Convert, pix2pix: Translator, tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "a.mp4", [picture(0)])
    with pytest.raises(UsageError, match=r"--temporal 0\.5: .*--dropout off"):
        convert(tmp_path / "in", tmp_path / "out", pix2pix, temporal=0.5)


@pytest.mark.usefixtures("invert")
def test_what_cannot_be_converted_is_told(convert: Convert, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "in" / "whole.mp4", map(picture, range(3)), audio=None)
    (tmp_path / "in" / "short.mp4").write_bytes(whole.read_bytes()[:200])
    (tmp_path / "in" / "text.mkv").write_text("no video")
    result = convert(tmp_path / "in", tmp_path / "out")
    assert result.done == 1
    assert result.failures.keys() == {"short.mp4", "text.mkv"}
    assert all(reason.startswith("damaged, truncated or no video: ") for reason in result.failures.values())
    assert result.notices == {"the video has no audio": 1}
    assert_clean(tmp_path / "out")
    assert (
        "more than 100 pixels"
        in convert(tmp_path / "in" / "whole.mp4", tmp_path / "o", max_pixels=100).failures["whole.mp4"]
    )


@pytest.mark.parametrize(
    ("target", "named"), [("a.png", "a video cannot become this"), ("a.avi", "this format cannot be written")]
)
def test_targets_that_are_no_videos(convert: Convert, tmp_path: Path, target: str, named: str) -> None:
    source = write_video(tmp_path / "in.mp4", [picture(0)])
    with pytest.raises(UsageError, match=named):
        convert(source, tmp_path / target)


def test_an_image_cannot_become_a_video(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="an image cannot become this"):
        convert(save(tmp_path / "a.png", draw(0)), tmp_path / "a.mp4")


@pytest.mark.usefixtures("invert")
def test_an_existing_file_is_replaced_on_demand_only(convert: Convert, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(0)])
    (tmp_path / "b.mp4").write_text("mine")
    assert convert(source, tmp_path / "b.mp4").failures["a.mp4"].startswith("exists: ")
    assert convert(source, tmp_path / "b.mp4", overwrite=True).done == 1
    assert numbers(tmp_path / "b.mp4") == [0]


def test_without_its_package_the_command_to_install_it_is_told(
    convert: Convert, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of photos with a video between them is converted as before, and a line tells how to convert the video."""
    source = write_video(tmp_path / "in" / "a.mp4", [picture(0)])
    monkeypatch.setitem(sys.modules, "av", None)
    for target in (tmp_path / "b.mp4", tmp_path / "out"):
        with pytest.raises(UsageError, match=r"pip install 'image-translate\[video\]'"):
            convert(source, target)
    said: list[str] = []
    save(tmp_path / "in" / "b.png", draw(0))
    result = convert(tmp_path / "in", tmp_path / "out", said=said)
    assert (result.done, result.others) == (1, 1)
    assert said == ["1 videos are left out: a.mp4; to convert them: pip install 'image-translate[video]'"]


@pytest.mark.usefixtures("invert")
def test_a_report_shows_a_clip_side_by_side(convert: Convert, tmp_path: Path) -> None:
    import base64
    import io
    import re

    from PIL import Image

    write_video(tmp_path / "in" / "a.mp4", map(picture, range(30)))
    convert(tmp_path / "in", tmp_path / "out", report=True)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'<img class="clip"[^>]*src="data:image/webp;base64,([^"]*)"', page)
    with Image.open(io.BytesIO(base64.b64decode(data))) as clip:
        assert clip.size == (96, 32)
        assert clip.n_frames == 10  # of 30 in 1.2 s, every third
        clip.seek(5)
        shown = np.asarray(clip.convert("RGB"))
        assert (number_of(shown[:, :48]), number_of(shown[:, 48:], inverted=True)) == (15, 15)


def flat_memory(convert: Convert, tmp_path: Path, frames: int) -> int:
    import tracemalloc

    source = write_video(tmp_path / f"{frames}.mkv", map(picture, range(frames)), audio=None)
    tracemalloc.start()
    try:
        convert(source, tmp_path / "out" / f"{frames}.mkv")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("invert")
def test_memory_does_not_grow_with_a_video(convert: Convert, tmp_path: Path) -> None:
    """Of a frame only its timestamp, size and duration are kept: some hundred bytes."""
    (tmp_path / "out").mkdir()
    short, long = flat_memory(convert, tmp_path, 300), flat_memory(convert, tmp_path, 1200)
    assert long - short < 900 * 1000


@pytest.mark.slow
@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.hours)])
def test_many_frames_of_a_variable_rate(convert: Convert, invert: list[int], tmp_path: Path, count: int) -> None:
    frames = uneven(count)
    source = write_video(tmp_path / "a.mp4", map(picture, range(count)), frames, seconds=frames[-1] / 90000)
    assert convert(source, tmp_path / "b.mp4").failures == {}
    assert invert == numbers(tmp_path / "b.mp4") == list(range(count))
    assert times(tmp_path / "b.mp4") == times(source)
    assert packets(tmp_path / "b.mp4", "audio") == packets(source, "audio")


def test_the_result_of_a_video_is_one_object_of_json(tmp_path: Path, convert: Convert, invert: list[int]) -> None:
    write_video(tmp_path / "in" / "a.mp4", [picture(0)] * 2)
    convert(tmp_path / "in", tmp_path / "out")
    line: dict[str, Any] = json.loads((tmp_path / "out" / "manifest.jsonl").read_text(encoding="utf-8"))
    assert line["flicker"] == 0.0
