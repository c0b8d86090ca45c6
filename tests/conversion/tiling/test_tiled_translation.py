"""Images in tiles: the result is that of the whole image, whatever the tile, norm, size or memory."""

import errno
import hashlib
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from translate import keyed_random
from translate.conversion import tiling
from translate.conversion.tiling import DoesNotFitError, feature_maps, tiled_forward, tiled_translation
from translate.conversion.tiling.memory import USABLE_FRACTION, _Estimate
from translate.conversion.tiling.moments import Moments
from translate.conversion.tiling.partial_layers import LayerChain, Region
from translate.errors import StorageError, UsageError
from translate.nn.base import Generator
from translate.nn.blocks import BatchNorm2d, Dropout, keyed_dropout, set_test_time_behaviour
from translate.nn.networks import GENERATORS
from translate.nn.networks.resnet import ResnetGenerator
from translate.trained import translator
from translate.trained.translator import Translator

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]

KEY = torch.tensor([2024])


def resnet(
    norm: str = "instance", *, channels: tuple[int, int] = (3, 3), dtype: torch.dtype = torch.float32, **more: Any
):
    """A small ResNet whose output spreads over [-1, 1] with any norm."""
    torch.manual_seed(1)
    net = ResnetGenerator(*channels, **{"width": 4, "blocks": 2, **more}, norm=norm).eval()
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, std=math.sqrt(2 / module.weight[0].numel()))
        elif isinstance(module, BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    return net.to(dtype)


def image(height: int, width: int, channels: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    """(1, C, H, W) in [-1, 1]: smooth, so that tiles differ in brightness, and rough."""
    generator = torch.Generator().manual_seed(height * width)
    coarse = torch.rand(1, channels, 5, 4, generator=generator, dtype=dtype)
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return smooth * 1.6 - 1 + 0.4 * torch.rand(1, channels, height, width, generator=generator, dtype=dtype)


def cut(x: Tensor, region: Region) -> Tensor:
    return x[:, :, region.rows.start : region.rows.stop, region.columns.start : region.columns.stop]


def tiled(net: Generator, x: Tensor, tile: int, scratch: Path | None = None) -> Tensor:
    """The network in tiles; every value must be written once."""
    assert net.stages is not None
    parts = []
    run = tiled_forward.TiledForward(
        stages=net.stages,
        size=(x.shape[2], x.shape[3]),
        source=lambda region: cut(x, region),
        make_map=feature_maps.feature_map_factory(scratch, x.dtype, x.device),
        tile=tile,
    )
    with torch.inference_mode():
        run.run(lambda region, part: parts.append((region, part)))
        out = torch.full((1, parts[0][1].shape[1], *x.shape[2:]), math.nan, dtype=x.dtype)
        for region, part in parts:
            cut(out, region).copy_(part)
    assert sum(region.area for region, _ in parts) == x.shape[2] * x.shape[3]
    return out


def difference(net: Generator, x: Tensor, tile: int, scratch: Path | None = None) -> float:
    """The largest, of tiled and whole."""
    with torch.inference_mode():
        whole = net(x)
    assert whole.std() > 0.1
    assert (whole.abs() < 0.99).double().mean() > 0.5  # where tanh would hide a difference
    return float((tiled(net, x, tile, scratch) - whole).abs().max())


# Equality with the whole image.

NORMS = [("instance", "sample"), ("batch", "sample"), ("batch", "running"), ("none", "sample")]


def test_a_photo_in_tiles_is_the_photo_as_a_whole() -> None:
    """Without the statistics of the whole the difference would be of the order of 1."""
    assert difference(resnet(blocks=3), image(1100, 1536), 400) < 1e-5


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize(("norm", "statistics"), NORMS)
@pytest.mark.parametrize("tile", [8, 37, 64, 1000])
def test_every_norm_and_dropout_and_tile(norm: str, statistics: str, dropout: bool, tile: int) -> None:
    net = resnet(norm, dropout=dropout)
    set_test_time_behaviour(net, statistics)
    with keyed_dropout(net, KEY):
        assert difference(net, image(100, 132), tile) < 1e-5


@pytest.mark.parametrize(("norm", "statistics"), NORMS)
def test_in_double_precision(norm: str, statistics: str) -> None:
    net = resnet(norm, dropout=True, dtype=torch.float64)
    set_test_time_behaviour(net, statistics)
    with keyed_dropout(net, KEY):
        assert difference(net, image(84, 60, dtype=torch.float64), 20) < 1e-12


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 400), (400, 8), (12, 76)])
@pytest.mark.parametrize("channels", [(1, 1), (5, 2)])
def test_other_channels_and_narrow_images(height: int, width: int, channels: tuple[int, int]) -> None:
    assert difference(resnet(channels=channels), image(height, width, channels[0]), 24) < 1e-5


def test_maps_in_a_file_give_the_same_bits(tmp_path: Path) -> None:
    net, x = resnet(), image(100, 132)
    assert torch.equal(tiled(net, x, 40, tmp_path), tiled(net, x, 40))


def test_dropout_in_tiles_is_the_dropout_of_the_whole() -> None:
    """The bound above could be met by a mask that does nothing."""
    net, x = resnet(dropout=True), image(100, 132)
    bare = tiled(net, x, 32)
    with keyed_dropout(net, KEY):
        assert (tiled(net, x, 32) - bare).abs().max() > 0.1


@pytest.mark.parametrize("name", GENERATORS)
def test_the_references_networks_of_finite_reach_can_be_tiled(name: str) -> None:
    with torch.device("meta"):
        net = GENERATORS[name](3, 3, 4)
    # Those of other methods reach as far, but have layers that are not computed in part: blurs, zero padding, other ranges.
    assert tiling.is_tileable(net) == (net.receptive_radius is not None and name.startswith("resnet"))


def test_the_stages_are_all_layers_in_their_order() -> None:
    net = resnet(dropout=True)
    assert [layer for stage in net.stages for layer in stage] == list(net.model)


# Chains.


def part_of(length: int, data: Any) -> range:
    """Any part of range(length)."""
    ends = data.draw(st.tuples(st.integers(0, length - 1), st.integers(0, length - 1)))
    return range(min(ends), max(ends) + 1)


@st.composite
def layers(draw: st.DrawFn) -> list[nn.Module]:
    made: list[nn.Module] = []
    for kind in draw(st.lists(st.sampled_from(["conv", "reflect", "spread"]), min_size=1, max_size=4)):
        kernel, stride, padding = draw(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)))
        if kind == "conv":
            made.append(nn.Conv2d(1, 1, kernel, stride, min(padding, kernel - 1)))
        elif kind == "reflect":
            made.append(nn.ReflectionPad2d(padding))
        else:
            more = draw(st.integers(0, min(padding, stride - 1)))
            made.append(nn.ConvTranspose2d(1, 1, max(kernel, stride), stride, padding, output_padding=more))
    return made


@settings(deadline=None, max_examples=40)
@given(layers=layers(), size=st.tuples(st.integers(9, 14), st.integers(9, 14)), data=st.data())
def test_any_part_of_any_chain_is_that_of_the_whole(layers: list[nn.Module], size: tuple[int, int], data: Any) -> None:
    x = torch.rand(1, 1, *size, dtype=torch.float64)
    try:
        with torch.inference_mode():
            whole = nn.Sequential(*layers).double()(x)
    except RuntimeError:  # a map too small for its kernel or reflection
        return
    if 0 in whole.shape:
        return
    chain = LayerChain(layers, size, {})
    assert chain.size == whole.shape[2:]
    region = Region(*(part_of(length, data) for length in chain.size))
    for reached, size in zip(chain.regions(region), chain.sizes, strict=True):
        assert all(0 <= ends.start < ends.stop <= n for ends, n in zip(reached, size, strict=True))
    with torch.inference_mode():
        part = chain(region, lambda asked: cut(x, asked))
    torch.testing.assert_close(part, cut(whole, region), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(2),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(1, 1, 3, dilation=2),
        nn.Conv2d(1, 1, 3, padding="same"),
        nn.Conv2d(1, 1, 1, padding=1),
        nn.ConvTranspose2d(1, 1, 1, 2),
    ],
)
def test_a_layer_that_is_not_known_is_refused(layer: nn.Module) -> None:
    with pytest.raises(TypeError, match=type(layer).__name__):
        LayerChain([layer], (8, 8), {})


def test_what_a_source_gives_is_not_written_to() -> None:
    x = image(16, 16)
    before = x.clone()
    LayerChain([nn.ReLU(inplace=True), nn.Tanh()], (16, 16), {})(Region(range(16), range(16)), lambda region: x)
    assert torch.equal(x, before)


# Statistics.


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (3e4, 1), (-2e-3, 1e-6)])
def test_moments_of_parts_are_those_of_the_whole(mean: float, deviation: float) -> None:
    """A sum of squares in float32 has no digit left of a variance of 1 about 3e4."""
    rng = np.random.default_rng(0)
    x = (mean + deviation * rng.standard_normal((2, 90, 70)) + deviation * np.arange(70)).astype(np.float32)
    moments = Moments()
    for rows in (slice(0, 1), slice(1, 40), slice(40, 90)):
        for columns in (slice(0, 33), slice(33, 70)):
            moments.add(torch.from_numpy(x[None, :, rows, columns].copy()))
    exact = x.astype(np.float64)
    got_mean, got_variance = moments.result(torch.empty(0, dtype=torch.float64))
    np.testing.assert_allclose(got_mean, exact.mean((1, 2)), rtol=0, atol=1e-7 * deviation * 70)
    np.testing.assert_allclose(got_variance, exact.var((1, 2)), rtol=1e-6)


def test_moments_of_one_value() -> None:
    moments = Moments()
    moments.add(torch.full((1, 1, 1, 1), 0.1))
    mean, variance = moments.result(torch.empty(0))
    assert (mean.item(), variance.item()) == (pytest.approx(0.1), 0)


# Noise in part.


@given(data=st.data())
def test_a_part_of_a_draw_is_a_part_of_the_whole(data: Any) -> None:
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    part = [part_of(length, data) for length in shape]
    keys = keyed_random.image_keys(3, torch.arange(2))
    whole = keyed_random.bits(keys, "x", *shape)[(slice(None), *(slice(r.start, r.stop) for r in part))]
    assert torch.equal(keyed_random.bits(keys, "x", *shape, part=part), whole)


def test_a_part_of_a_dropout_is_a_part_of_the_whole() -> None:
    layer, x = Dropout().eval(), torch.rand(1, 3, 9, 7)
    part = range(3), range(4, 8), range(2, 3)
    with keyed_dropout(layer, KEY):
        assert torch.equal(layer.apply_keyed_mask(x[:, :, 4:8, 2:3], (3, 9, 7), part), layer(x)[:, :, 4:8, 2:3])


# Pictures.


def steps(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())


@pytest.mark.parametrize(("height", "width"), [(93, 61), (1, 200), (7, 5), (64, 64)])
@pytest.mark.parametrize("stored", ["ram", "scratch"])
def test_a_picture_of_a_size_that_is_padded(
    cyclegan: Translator, draw: Draw, tmp_path: Path, height: int, width: int, stored: str
) -> None:
    picture = draw(1, width, height)
    for to in cyclegan.directions:
        (whole,) = cyclegan.translate_pixels([picture], to)
        got = tiling.translate_pixels(cyclegan, picture, to, tile=24, scratch=tmp_path if stored == "scratch" else None)
        assert steps(got, whole) <= 1  # where a value is at the middle between two integers
        assert (got != whole).mean() < 1e-3
    assert isinstance(got, np.memmap) == (stored == "scratch")


@pytest.mark.parametrize("pixels", ["rounded", "reference"])
@pytest.mark.parametrize(("depth", "bound"), [("uint16", 1), ("float32", 1e-5)])
def test_a_picture_of_another_depth(cyclegan: Translator, depth: str, bound: float, pixels: str) -> None:
    values = np.random.default_rng(0).random((45, 50, 3))
    picture = (values * 65535).astype(np.uint16) if depth == "uint16" else values.astype(np.float32)
    (whole,) = cyclegan.translate_pixels([picture], "b", pixels=pixels)
    got = tiling.translate_pixels(cyclegan, picture, "b", tile=16, pixels=pixels)
    assert got.dtype == depth
    assert steps(got, whole) <= bound


def test_a_picture_with_declared_values(build: Build) -> None:
    folder = build(
        "cyclegan", generator="resnet_3blocks", input_channels=1, output_channels=1, range_a="0:1000", range_b="-5:5"
    )
    model = translator.load(folder, device="cpu")
    picture = np.random.default_rng(0).integers(0, 1001, (40, 30, 1)).astype(np.uint16)
    for to, bound in (("b", 1e-4), ("a", 1)):
        (whole,) = model.translate_pixels([picture], to)
        assert steps(tiling.translate_pixels(model, picture, to, tile=16), whole) <= bound


def test_noise_of_a_picture_in_tiles(build: Build, draw: Draw) -> None:
    """Dropout in conversion: the key is that of the whole picture, and so is the mask."""
    model = translator.load(build("pix2pix", generator="resnet_3blocks", norm="batch", dropout=True), device="cpu")
    picture = draw(3, 50, 41)
    results = {}
    for seed in (0, 1):
        (whole,) = model.translate_pixels([picture], "b", seed=seed)
        results[seed] = tiling.translate_pixels(model, picture, "b", tile=20, seed=seed)
        assert steps(results[seed], whole) <= 1
    assert steps(results[0], results[1]) > 1


@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_a_picture_in_another_precision(cyclegan_folder: Path, draw: Draw, precision: str) -> None:
    model, picture = translator.load(cyclegan_folder, device="cpu", precision=precision), draw(4, 50, 41)
    (whole,) = model.translate_pixels([picture], "b")
    assert steps(tiling.translate_pixels(model, picture, "b", tile=20), whole) <= (3 if precision == "bf16" else 0)


@given(length=st.integers(1, 40), multiple=st.sampled_from([1, 4, 8]), minimum=st.sampled_from([8, 16]))
def test_padded_places_are_those_of_the_padding(length: int, multiple: int, minimum: int) -> None:
    x = torch.arange(length, dtype=torch.float32).view(1, length, 1)
    padded = translator.pad_to_size_rule(x, multiple, minimum)[0, :, 0]
    assert tiled_translation.padded_indices(length, len(padded)).tolist() == padded.tolist()


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_key_of_a_picture_is_that_of_its_bytes(draw: Draw, order: Any) -> None:
    picture = np.asarray(draw(5, 9, 200).astype(np.uint16), order=order)
    digest = hashlib.sha256(picture.tobytes()).digest()
    assert translator.pixel_key(picture, 4) == keyed_random.derive_key(4, 0, int.from_bytes(digest[:8], "little"))


def test_progress_rises_to_one(cyclegan: Translator, draw: Draw) -> None:
    shares: list[float] = []
    tiling.translate_pixels(cyclegan, draw(6, 60, 60), "b", tile=24, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == 1


@pytest.mark.parametrize(
    ("options", "told"), [({"tile": 7}, "--tile 7"), ({"pixels": "odd"}, "--pixels odd"), ({"to": "c"}, "'c'")]
)
def test_what_cannot_be_is_refused(cyclegan: Translator, draw: Draw, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        tiling.translate_pixels(cyclegan, draw(), **{"to": "b", "tile": 16, **options})


def test_a_network_that_sees_the_whole_image_is_refused(pix2pix: Translator, draw: Draw) -> None:
    with pytest.raises(UsageError, match="unet_64 works on the whole image"):
        tiling.translate_pixels(pix2pix, draw(), "b", tile=16)


# Memory that runs out.

SHORTAGES = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1"),
]


@contextmanager
def shortage(monkeypatch: pytest.MonkeyPatch, error: BaseException, most: int) -> Iterator[list[int]]:
    """Convolutions of more than `most` values fail; what they were given is listed."""
    convolve, given = nn.functional.conv2d, []

    def failing(x: Tensor, *arguments: Any) -> Tensor:
        given.append(x.numel())
        if x.numel() > most:
            raise error
        return convolve(x, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(nn.functional, "conv2d", failing)
        yield given


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: type(error).__name__)
def test_tiles_are_halved_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """In every stage: tiles of the image and strips of the kept maps, which are then half overwritten."""
    net, x = resnet(), image(128, 160)
    with torch.inference_mode():
        whole = net(x)
    for most in (50_000, 14_000, 6_000):
        with shortage(monkeypatch, error, most) as given:
            got = tiled(net, x, 160)
        assert max(given) > most
        assert (got - whole).abs().max() < 1e-5


def test_memory_that_runs_out_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    """At any one convolution: what was done stays, what was not is done in smaller parts."""
    net, x = resnet(blocks=1), image(48, 64)
    with torch.inference_mode():
        whole = net(x)
    with shortage(monkeypatch, MemoryError(), 10**9) as given:
        tiled(net, x, 32)
    convolve = nn.functional.conv2d
    for broken in range(len(given)):
        count = iter(range(10**6))

        def failing(*arguments: Any) -> Tensor:
            if next(count) == broken:  # noqa: B023
                raise MemoryError
            return convolve(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(nn.functional, "conv2d", failing)
            assert (tiled(net, x, 32) - whole).abs().max() < 1e-5, broken


def test_the_least_tile_is_too_large(
    cyclegan: Translator, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shortage(monkeypatch, MemoryError(), 0), pytest.raises(DoesNotFitError, match="60 × 52 pixels") as caught:
        tiling.translate_pixels(cyclegan, draw(0, 60, 50), "b", tile=64, scratch=tmp_path)
    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_another_failure_is_not_taken_for_a_shortage(
    cyclegan: Translator, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shortage(monkeypatch, RuntimeError("no such kernel"), 0) as given, pytest.raises(RuntimeError, match="kernel"):
        tiling.translate_pixels(cyclegan, draw(), "b", tile=64)
    assert len(given) == 1


# Scratch.


def test_scratch_files_have_no_names_and_are_gone_at_the_end(cyclegan: Translator, draw: Draw, tmp_path: Path) -> None:
    opened = []

    def look(share: float) -> None:
        assert not list(tmp_path.iterdir())
        opened.append(mapped(tmp_path))

    result = tiling.translate_pixels(cyclegan, draw(0, 40, 40), "b", tile=16, scratch=tmp_path, progress=look)
    assert max(opened) == 3  # two maps and the result
    assert opened[-1] == 2  # the second map made room for the decoder
    assert mapped(tmp_path) == 1
    del result
    assert mapped(tmp_path) == 0


def mapped(folder: Path) -> int:
    """Files of a folder that this process maps."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return len({line.split(maxsplit=5)[5] for line in lines if str(folder) in line})


def test_nothing_is_left_when_the_work_is_ended(cyclegan: Translator, draw: Draw, tmp_path: Path) -> None:
    def stop(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiling.translate_pixels(cyclegan, draw(0, 40, 40), "b", tile=16, scratch=tmp_path, progress=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_full_scratch_disk(
    cyclegan: Translator, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Told when the files are made, since writing to mapped memory could only end the process."""
    calls, reserve = iter(range(1, 9)), os.posix_fallocate

    def full(*arguments: int) -> None:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(*arguments)

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=f"{tmp_path}: .* No space left on device; make room") as caught:
        tiling.translate_pixels(cyclegan, draw(0, 40, 40), "b", tile=16, scratch=tmp_path)
    assert caught.value.exit_code == 6
    assert not list(tmp_path.iterdir())


def test_a_scratch_folder_that_is_not_there(cyclegan: Translator, draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        tiling.translate_pixels(cyclegan, draw(), "b", tile=16, scratch=tmp_path / "none")


@pytest.mark.parametrize("way", ["reserved", "refused", "absent"])
def test_a_reserved_file_has_all_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    def refused(*arguments: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "")

    if way == "refused":
        monkeypatch.setattr(os, "posix_fallocate", refused)
    elif way == "absent":
        monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(feature_maps, "_ZEROS", 1000)
    with open(tmp_path / "file", "w+b") as file:
        feature_maps._fill(file, 123_456)
        stat = os.fstat(file.fileno())
    assert stat.st_size == 123_456
    assert stat.st_blocks * 512 >= 123_456


# How much memory, and which tile.


def test_the_kept_maps_are_two_bytes_a_pixel_and_channel(cyclegan: Translator, cyclegan_folder: Path) -> None:
    """Two maps of 4 · width channels at a 16th of the pixels, 4 bytes each: 2 · width a pixel."""
    assert tiling.estimate_tiled(cyclegan, "b", 800, 1000, 64).scratch == 2 * 4 * 800 * 1000
    double = translator.load(cyclegan_folder, device="cpu", precision="fp64")
    assert tiling.estimate_tiled(double, "b", 800, 1000, 64).scratch == 2 * 2 * 4 * 800 * 1000


def test_needs_grow_as_they_must(cyclegan: Translator, pix2pix: Translator) -> None:
    for model in (cyclegan, pix2pix):
        assert tiling.estimate_whole(model, "b", 2048, 1024) == pytest.approx(
            8 * tiling.estimate_whole(model, "b", 512, 512), rel=0.02
        )
    tiles = [tiling.estimate_tiled(cyclegan, "b", 4096, 4096, tile).memory for tile in (64, 128, 256, 512)]
    assert tiles == sorted(set(tiles))
    assert tiles[-1] < tiling.estimate_whole(cyclegan, "b", 4096, 4096) / 20
    larger = tiling.estimate_tiled(cyclegan, "b", 16384, 4096, 512)
    assert larger.memory == tiles[-1]


def test_the_need_of_a_convolution_by_hand() -> None:
    """1 channel to 1, 100 × 100: input, output, and both in blocks of 16 channels; in float64 the patches unfolded."""
    conv = nn.Conv2d(1, 1, 3, padding=1)
    shape = 1, 100, 100
    cpu = torch.device("cpu")
    assert _Estimate(cpu, 4).whole(conv, shape) == (shape, 4 * 10_000 * (1 + 1 + 16 + 16))
    assert _Estimate(cpu, 8).whole(conv, shape) == (shape, 8 * 10_000 * (1 + 1 + 9))


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how much is free."""
    return lambda count: monkeypatch.setattr("translate.conversion.tiling.memory.free_memory", lambda device: count)


def test_the_whole_image_where_it_fits(
    cyclegan: Translator, pix2pix: Translator, memory: Callable[[int], None]
) -> None:
    for model in (cyclegan, pix2pix):
        memory(int(tiling.estimate_whole(model, "b", 1024, 1024) / USABLE_FRACTION) + 2)
        assert tiling.choose_tile(model, "b", 1024, 1024) is None


def test_the_largest_tile_that_fits(cyclegan: Translator, memory: Callable[[int], None], tmp_path: Path) -> None:
    for tile in (512, 256, 64):
        wanted = tiling.estimate_tiled(cyclegan, "b", 4096, 4096, tile)
        memory(int((wanted.memory + wanted.scratch) / USABLE_FRACTION) + 2)
        assert tiling.choose_tile(cyclegan, "b", 4096, 4096) == tile
        memory(int(wanted.memory / USABLE_FRACTION) + 2)
        assert tiling.choose_tile(cyclegan, "b", 4096, 4096, scratch=tmp_path) == tile


def test_no_tile_fits(cyclegan: Translator, memory: Callable[[int], None], tmp_path: Path) -> None:
    memory(100_000)
    with pytest.raises(DoesNotFitError, match=r"4096 × 4096 pixels .* MB of scratch; .* --scratch"):
        tiling.choose_tile(cyclegan, "b", 4096, 4096)
    with pytest.raises(DoesNotFitError, match=r"free some memory$"):
        tiling.choose_tile(cyclegan, "b", 4096, 4096, scratch=tmp_path)


def test_a_network_without_tiles_names_the_size_that_fits(pix2pix: Translator, memory: Callable[[int], None]) -> None:
    memory(50_000_000)
    with pytest.raises(
        DoesNotFitError, match=r"5000 × 4000 pixels .* unet_64, .* images up to (\d+) × \1 fit"
    ) as caught:
        tiling.choose_tile(pix2pix, "b", 4000, 5000)
    side = int(str(caught.value).split(" × ")[-1].split()[0])
    assert tiling.choose_tile(pix2pix, "b", side, side) is None
    with pytest.raises(DoesNotFitError):
        tiling.choose_tile(pix2pix, "b", side + 64, side + 64)


def test_a_tile_that_is_asked_for(cyclegan: Translator, pix2pix: Translator) -> None:
    assert tiling.choose_tile(cyclegan, "b", 1000, 900, 256) == 256
    assert tiling.choose_tile(cyclegan, "b", 256, 200, 256) is None
    assert tiling.choose_tile(pix2pix, "b", 256, 256, 256) is None
    assert tiling.choose_tile(pix2pix, "b", 10**5, 10**5, "off") is None
    with pytest.raises(UsageError, match="unet_64"):
        tiling.choose_tile(pix2pix, "b", 257, 256, 256)
    for wrong in (7, 0, -1, True, "on", "256"):
        with pytest.raises(UsageError, match=f"--tile {wrong}: must be auto, off or a number of pixels from 8 up"):
            tiling.choose_tile(cyclegan, "b", 1000, 900, wrong)


def test_maps_that_do_not_fit_into_memory(cyclegan: Translator, memory: Callable[[int], None], tmp_path: Path) -> None:
    memory(9 * 10**8)
    assert tiling.choose_tile(cyclegan, "b", 9_000, 9_000, 256) == 256  # 0.65 GB
    with pytest.raises(DoesNotFitError, match=r"10000 × 10000 pixels need 763 MiB .* --scratch"):
        tiling.choose_tile(cyclegan, "b", 10_000, 10_000, 256)
    assert tiling.choose_tile(cyclegan, "b", 10_000, 10_000, 256, tmp_path) == 256


def test_memory_that_cannot_be_had() -> None:
    with pytest.raises(DoesNotFitError, match=r"^931322\.6 GiB do not fit into memory; give --scratch"):
        feature_maps.allocate_array(None, (10**9, 10**6), np.dtype(np.uint8))


def test_a_scratch_disk_without_room_is_told_before_the_start(
    cyclegan: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10**9))
    assert tiling.choose_tile(cyclegan, "b", 10_000, 10_000, 256, tmp_path) == 256  # 0.8 GB
    with pytest.raises(StorageError, match=r"1\.0 GB free, but 3\.2 GB of scratch"):
        tiling.choose_tile(cyclegan, "b", 20_000, 20_000, 256, tmp_path)


MEASURE = """
import sys, threading, time
from pathlib import Path
import numpy as np
import torch
from translate.conversion import tiling, translator

def anonymous():
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) * 1024

def peak(side):
    most, ended = [anonymous()], threading.Event()
    def sample():
        while not ended.wait(0.002):
            most.append(anonymous())
    picture = np.memmap(folder / "picture", np.uint8, "w+", shape=(side, side, 3))
    watch = threading.Thread(target=sample)
    watch.start()
    result = tiling.translate_pixels(model, picture, "b", tile=256, scratch=folder)
    ended.set()
    watch.join()
    assert result.shape == picture.shape
    return max(most)

torch.set_num_threads(1)
folder, sides = Path(sys.argv[1]), sys.argv[3:]
model = translator.load(sys.argv[2], device="cpu")
tiling.translate_pixels(model, np.zeros((300, 300, 3), np.uint8), "b", tile=256)
start = anonymous()
for side in sides:
    print(peak(int(side)) - start)
"""


def peaks(folder: Path, model: Path, *sides: int) -> list[int]:
    """Bytes of memory above the start that squares of these sides take at most, maps, picture and result being in files.

    A process of its own; a thread reads the pages of the process that belong to no file (RssAnon) every 2 ms.
    """
    command = [sys.executable, "-c", MEASURE, str(folder), str(model), *map(str, sides)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return [int(line) for line in told.stdout.split()]


def test_memory_does_not_grow_with_the_picture(build: Build, tmp_path: Path) -> None:
    """16 times the pixels: a whole-image map of one channel alone would be 67 MB more. Half of that leaves room for what an
    allocator holds back."""
    model = build("cyclegan", generator="resnet_1blocks", g_width=2, norm="batch", norm_statistics="running")
    small, large = peaks(tmp_path, model, 1024, 4096)
    assert large < small + 67e6 / 2
    assert large < tiling.estimate_tiled(translator.load(model, device="cpu"), "b", 4096, 4096, 256).memory


@pytest.mark.hours
def test_20000_pixels_a_side_in_4_gib(build: Build, tmp_path: Path) -> None:
    """400 megapixels; 6.4 GB of maps and 2.4 GB of pictures are in files."""
    if shutil.disk_usage(tmp_path).free < 9e9:
        pytest.skip("needs 9 GB of disk")
    model = build("cyclegan", generator="resnet_3blocks", g_width=8)
    assert peaks(tmp_path, model, 20_000)[0] < 4 * 2**30
