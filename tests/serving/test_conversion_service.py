"""The queue: its answers are the files of a conversion, each to its own request, and what it holds at a time is bounded."""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from translate.conversion.item import ItemConverter, LoadedInput, TranslatedItem
from translate.conversion.options import ConversionOptions
from translate.errors import UsageError
from translate.images import ImageError
from translate.serving.conversion_service import (
    INPUT,
    ConversionService,
    QueueFullError,
    UnknownFormatError,
    _ByteBudget,
)
from translate.trained import translator
from translate.trained.translator import Translator

from .conftest import Ask, Encode

Converted = Callable[..., bytes]
FORMATS = [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif"), ("BMP", "bmp")]


@pytest.mark.parametrize(("kind", "extension"), FORMATS)
def test_an_answer_has_the_bytes_that_convert_writes(
    kind: str, extension: str, ask: Ask, converted: Converted, encode: Encode, cyclegan: Translator
) -> None:
    data = encode(kind)
    answer = ask(cyclegan, data)
    assert answer.data == converted(cyclegan, f"photo.{extension}", data)
    assert b"compositeWithTrainedAlgorithmicMedia" in answer.data  # the mark, in the XMP of each of these formats


@pytest.mark.parametrize(
    "options", [{"to": "a"}, {"format": "webp", "quality": 40}, {"mark": False}, {"source_type": "generated"}]
)
def test_options_are_those_of_convert(
    options: dict[str, Any], ask: Ask, converted: Converted, encode: Encode, cyclegan: Translator
) -> None:
    data = encode("JPEG")
    assert ask(cyclegan, data, **options).data == converted(cyclegan, "photo.jpg", data, **options)


def test_animations_are_converted_frame_by_frame(
    ask: Ask, converted: Converted, encode: Encode, cyclegan: Translator, tmp_path: Any, draw: Any
) -> None:
    from PIL import Image

    first, second = (Image.fromarray(draw(seed)) for seed in (1, 2))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second], duration=80)
    data = (tmp_path / "a.gif").read_bytes()
    assert ask(cyclegan, data).data == converted(cyclegan, "a.gif", data)


def test_sample_k_is_photo_k_of_convert(
    ask: Ask, encode: Encode, convert: Any, pix2pix: Translator, tmp_path: Any
) -> None:
    data = encode("PNG", width=64, height=64)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.png").write_bytes(data)
    convert(tmp_path / "in", tmp_path / "out", pix2pix, samples=2, seed=3)
    files = [(tmp_path / "out" / f"photo-{k}.png").read_bytes() for k in (0, 1)]
    assert [ask(pix2pix, data, sample=k, seed=3).data for k in (0, 1)] == files
    assert files[0] != files[1]


def test_a_style_gives_what_convert_gives(
    ask: Ask, converted: Converted, encode: Encode, build: Any, tmp_path: Any
) -> None:
    model = translator.load(build("bicyclegan"), device="cpu")
    data, style = encode("PNG", width=64, height=64), encode("JPEG", seed=5, width=64, height=64)
    (tmp_path / "style.jpg").write_bytes(style)
    answer = ask(model, data, style=style).data
    assert answer == converted(model, "photo.png", data, style=tmp_path / "style.jpg")
    assert answer != ask(model, data).data


def test_refusals_have_the_words_of_the_command_line_and_no_path_of_the_server(
    ask: Ask, encode: Encode, cyclegan: Translator
) -> None:
    with pytest.raises(UnknownFormatError, match=r"^image holds no image of a known format; readable: jpg, png"):
        ask(cyclegan, b"%PDF-1.7 and so on")
    with pytest.raises(UnknownFormatError, match="is empty"):
        ask(cyclegan, b"")
    with pytest.raises(ImageError, match=r"^12×10 is more than 100 pixels; raise --max-pixels to allow it$"):
        ask(cyclegan, encode(), max_pixels=100)
    with pytest.raises(UsageError, match="winter"):
        ask(cyclegan, encode(), to="winter")
    with pytest.raises(UsageError, match="--samples"):
        ask(cyclegan, encode(), sample=1)
    with pytest.raises(UsageError, match=r"^--style"):
        ask(cyclegan, encode(), style=encode())
    with pytest.raises(ImageError) as caught:
        ask(cyclegan, encode()[:60])
    assert "/" not in str(caught.value)


def test_files_of_a_request_are_gone_after_it(service: ConversionService, encode: Encode, cyclegan: Translator) -> None:
    with service.request() as place:
        place.path(INPUT).write_bytes(encode())
        place.submit(cyclegan, ConversionOptions()).result(120)
        assert list(place.folder.iterdir())
    assert not place.folder.exists()
    assert service.taken == 0


def test_requests_beyond_the_places_are_refused_until_one_is_free() -> None:
    service = ConversionService(places=2)
    with service.request():
        with service.request(), pytest.raises(QueueFullError, match=r"^2 requests"), service.request():
            pass
        with service.request():
            pass
    service.close()


def test_answers_belong_to_their_requests_and_closing_loses_none(encode: Encode, cyclegan: Translator) -> None:
    service = ConversionService(places=20)
    one_by_one, files = [], [encode(seed=seed, width=9 + seed % 3) for seed in range(10)]
    for data in files:
        with service.request() as place:
            place.path(INPUT).write_bytes(data)
            one_by_one.append(place.submit(cyclegan, ConversionOptions()).result(120).data)
    futures = []
    with ExitStack() as places:
        for data in files:
            place = places.enter_context(service.request())
            place.path(INPUT).write_bytes(data)
            futures.append(place.submit(cyclegan, ConversionOptions()))
        service.close()
    assert [future.result(0).data for future in futures] == one_by_one
    assert len(set(one_by_one)) == 10


class _Held:
    """Translator whose translations wait for `go`, and note the size of their batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        self.go, self.started = threading.Event(), threading.Event()
        translate = ItemConverter.translate

        def held(converter: ItemConverter, batch: Sequence[LoadedInput]) -> list[TranslatedItem]:
            self.started.set()
            assert self.go.wait(120)
            self.batches.append(len(batch))
            return [one for loaded in batch for one in translate(converter, [loaded])]

        monkeypatch.setattr(ItemConverter, "translate", held)
        monkeypatch.setattr("translate.conversion.tiling.TilePlanner.measure", lambda planner: None)
        monkeypatch.setattr("translate.conversion.tiling.TilePlanner.choose_tile", lambda *args: None)


def _wait_until_ready(service: ConversionService, count: int) -> None:
    with service._changed:
        assert service._changed.wait_for(lambda: len(service._ready) == count, 120)


def test_equal_requests_that_wait_share_a_batch_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, encode: Encode, cyclegan: Translator
) -> None:
    held = _Held(monkeypatch)
    service = ConversionService(places=20, batch_size=3)
    service.prepare(cyclegan)
    sizes = [(12, 10), (12, 10), (40, 10), (11, 9), (12, 10), (12, 10)]  # 11×9 and 12×10 are padded to the same
    futures, places = [], ExitStack()
    for number, (width, height) in enumerate(sizes):
        place = places.enter_context(service.request())
        place.path(INPUT).write_bytes(encode(seed=number, width=width, height=height))
        futures.append(place.submit(cyclegan, ConversionOptions()))
        if number == 0:
            assert held.started.wait(120)  # the first is alone: the others arrive while it is translated
        else:
            _wait_until_ready(service, number)
    monkeypatch.setattr(service, "_limit", lambda job: 3)
    held.go.set()
    results = [future.result(120) for future in futures]
    places.close()
    service.close()
    assert held.batches == [1, 3, 1, 1]  # 12×10, 11×9, 12×10; then 40×10; then the fourth of the first size
    assert len({answer.data for answer in results}) == len(sizes)


def test_what_is_cancelled_before_its_turn_is_left_out(
    monkeypatch: pytest.MonkeyPatch, encode: Encode, cyclegan: Translator
) -> None:
    held = _Held(monkeypatch)
    service = ConversionService(places=20)
    futures, places = [], ExitStack()
    for number in range(3):
        place = places.enter_context(service.request())
        place.path(INPUT).write_bytes(encode(seed=number))
        futures.append(place.submit(cyclegan, ConversionOptions()))
        assert held.started.wait(120)
        _wait_until_ready(service, number)
    assert futures[1].cancel()
    held.go.set()
    service.close()
    places.close()
    assert held.batches == [1, 1]
    assert futures[0].result(0).data != futures[2].result(0).data
    assert service._budget.used == 0


def test_a_failure_in_the_network_is_an_answer_and_the_next_request_is_served(
    monkeypatch: pytest.MonkeyPatch, ask: Ask, encode: Encode, cyclegan: Translator
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Translator, "translate_pixels", lambda *args, **how: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ask(cyclegan, encode())
    assert ask(cyclegan, encode()).data


def test_decoded_images_wait_for_memory_and_a_larger_one_is_alone() -> None:
    budget, got = _ByteBudget(10), threading.Event()
    budget.take(6)

    def take_more() -> None:
        budget.take(5)
        got.set()

    thread = threading.Thread(target=take_more)
    thread.start()
    assert not got.wait(0.05)
    budget.give_back(6)
    assert got.wait(120)
    thread.join()
    budget.give_back(5)
    assert budget.take(1000) == 1000
