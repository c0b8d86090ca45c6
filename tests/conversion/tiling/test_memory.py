"""Memory of an image, whole and in tiles, and the choice of the tile size."""

import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from translate.conversion.tiling import DoesNotFitError
from translate.conversion.tiling.memory import USABLE_FRACTION, TilePlanner, _InferenceMeter
from translate.errors import StorageError, UsageError
from translate.nn.base import Generator
from translate.trained import translator
from translate.trained.translator import Translator

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]


def test_the_kept_maps_are_two_bytes_a_pixel_and_channel(cyclegan: Translator, cyclegan_folder: Path) -> None:
    """Two maps of 4 · width channels at a 16th of the pixels, 4 bytes each: 2 · width a pixel."""
    assert TilePlanner(cyclegan, "b").estimate_tiled(800, 1000, 64).scratch == 2 * 4 * 800 * 1000
    double = translator.load(cyclegan_folder, device="cpu", precision="fp64")
    assert TilePlanner(double, "b").estimate_tiled(800, 1000, 64).scratch == 2 * 2 * 4 * 800 * 1000


def test_needs_grow_as_they_must(cyclegan: Translator, pix2pix: Translator) -> None:
    for model in (cyclegan, pix2pix):
        assert TilePlanner(model, "b").estimate_whole(2048, 1024) == pytest.approx(
            8 * TilePlanner(model, "b").estimate_whole(512, 512), rel=0.02
        )
    tiles = [TilePlanner(cyclegan, "b").estimate_tiled(4096, 4096, tile).memory for tile in (64, 128, 256, 512)]
    assert tiles == sorted(set(tiles))
    assert tiles[-1] < TilePlanner(cyclegan, "b").estimate_whole(4096, 4096) / 20
    larger = TilePlanner(cyclegan, "b").estimate_tiled(16384, 4096, 512)
    assert larger.memory == tiles[-1]


@pytest.mark.parametrize(
    ("dtype", "scratch"), [(torch.float32, 16 + 16), (torch.float64, 9)], ids=["float32", "float64"]
)
def test_the_memory_of_a_convolution_by_hand(dtype: torch.dtype, scratch: int) -> None:
    """1 channel to 1, 100 × 100: input, output, and both in blocks of 16 channels; in float64 the patches unfolded."""
    conv = nn.Conv2d(1, 1, 3, padding=1, dtype=dtype)
    with torch.no_grad(), _InferenceMeter() as meter:
        conv(torch.zeros(1, 1, 100, 100, dtype=dtype))
    assert meter.peak == dtype.itemsize * 10_000 * (1 + 1 + scratch)


class Unseen(Generator):
    """A generator of a class that no other file knows: four maps of 32 channels are alive at once."""

    multiple_of, minimum, receptive_radius = 1, 1, None

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 32, 1), nn.Conv2d(128, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        maps = [first, first.sin(), first.cos()]
        return self.last(torch.cat([*maps, first.exp()], 1)).tanh()


def test_a_generator_class_of_any_kind_is_measured(build: Build) -> None:
    """Its estimate is between 1 and 1.5 times the maps that are alive at the peak: while they are joined, their copy too, and
    while that is convolved, the copy in blocks of 16 channels."""
    model = translator.load(build("cyclegan", generator="resnet_1blocks"), device="cpu")
    model.method.g_ab = Unseen()
    alive = 4 * (3 + 3 * 32 + 4 * 32 + 3 + 4 * 32 + 16)
    for height, width in ((64, 64), (500, 300)):
        pixels = math.prod(model.padded_size(height, width))
        assert 1 <= TilePlanner(model, "b").estimate_whole(height, width) / (alive * pixels) <= 1.5


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that sets how many bytes are free."""
    return lambda count: monkeypatch.setattr("translate.conversion.tiling.memory.free_memory", lambda device: count)


def test_the_whole_image_where_it_fits(
    cyclegan: Translator, pix2pix: Translator, memory: Callable[[int], None]
) -> None:
    for model in (cyclegan, pix2pix):
        memory(int(TilePlanner(model, "b").estimate_whole(1024, 1024) / USABLE_FRACTION) + 2)
        assert TilePlanner(model, "b").choose_tile(1024, 1024) is None


def test_the_largest_tile_that_fits(cyclegan: Translator, memory: Callable[[int], None], tmp_path: Path) -> None:
    for tile in (512, 256, 64):
        wanted = TilePlanner(cyclegan, "b").estimate_tiled(4096, 4096, tile)
        memory(int((wanted.memory + wanted.scratch) / USABLE_FRACTION) + 2)
        assert TilePlanner(cyclegan, "b").choose_tile(4096, 4096) == tile
        memory(int(wanted.memory / USABLE_FRACTION) + 2)
        assert TilePlanner(cyclegan, "b").choose_tile(4096, 4096, scratch=tmp_path) == tile


def test_no_tile_fits(cyclegan: Translator, memory: Callable[[int], None], tmp_path: Path) -> None:
    memory(100_000)
    with pytest.raises(DoesNotFitError, match=r"4096 × 4096 pixels .* MB of scratch; .* --scratch"):
        TilePlanner(cyclegan, "b").choose_tile(4096, 4096)
    with pytest.raises(DoesNotFitError, match=r"free some memory$"):
        TilePlanner(cyclegan, "b").choose_tile(4096, 4096, scratch=tmp_path)


def test_a_network_without_tiles_names_the_size_that_fits(pix2pix: Translator, memory: Callable[[int], None]) -> None:
    memory(50_000_000)
    with pytest.raises(
        DoesNotFitError, match=r"5000 × 4000 pixels .* unet_64, .* images up to (\d+) × \1 fit"
    ) as caught:
        TilePlanner(pix2pix, "b").choose_tile(4000, 5000)
    side = int(str(caught.value).split(" × ")[-1].split()[0])
    assert TilePlanner(pix2pix, "b").choose_tile(side, side) is None
    with pytest.raises(DoesNotFitError):
        TilePlanner(pix2pix, "b").choose_tile(side + 64, side + 64)


def test_a_tile_that_is_asked_for(cyclegan: Translator, pix2pix: Translator) -> None:
    assert TilePlanner(cyclegan, "b").choose_tile(1000, 900, 256) == 256
    assert TilePlanner(cyclegan, "b").choose_tile(256, 200, 256) is None
    assert TilePlanner(pix2pix, "b").choose_tile(256, 256, 256) is None
    assert TilePlanner(pix2pix, "b").choose_tile(10**5, 10**5, "off") is None
    with pytest.raises(UsageError, match="unet_64"):
        TilePlanner(pix2pix, "b").choose_tile(257, 256, 256)
    for wrong in (7, 0, -1, True, "on", "256"):
        with pytest.raises(UsageError, match=f"--tile {wrong}: must be auto, off or a number of pixels from 8 up"):
            TilePlanner(cyclegan, "b").choose_tile(1000, 900, wrong)


def test_maps_that_do_not_fit_into_memory(cyclegan: Translator, memory: Callable[[int], None], tmp_path: Path) -> None:
    memory(9 * 10**8)
    assert TilePlanner(cyclegan, "b").choose_tile(9_000, 9_000, 256) == 256  # 0.65 GB
    with pytest.raises(DoesNotFitError, match=r"10000 × 10000 pixels need 763 MiB .* --scratch"):
        TilePlanner(cyclegan, "b").choose_tile(10_000, 10_000, 256)
    assert TilePlanner(cyclegan, "b").choose_tile(10_000, 10_000, 256, tmp_path) == 256


def test_a_scratch_disk_without_room_is_told_before_the_start(
    cyclegan: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10**9))
    assert TilePlanner(cyclegan, "b").choose_tile(10_000, 10_000, 256, tmp_path) == 256  # 0.8 GB
    with pytest.raises(StorageError, match=r"1\.0 GB free, but 3\.2 GB of scratch"):
        TilePlanner(cyclegan, "b").choose_tile(20_000, 20_000, 256, tmp_path)


MEASURE = """
import sys, threading, time
from pathlib import Path
import numpy as np
import torch
from translate.conversion import tiling
from translate.trained import translator

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
    result = tiling.TiledTranslation(model, "b", tile=256, scratch=folder)(picture)
    ended.set()
    watch.join()
    assert result.shape == picture.shape
    return max(most)

torch.set_num_threads(1)
folder, sides = Path(sys.argv[1]), sys.argv[3:]
model = translator.load(sys.argv[2], device="cpu")
tiling.TiledTranslation(model, "b", tile=256)(np.zeros((300, 300, 3), np.uint8))
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


@pytest.mark.slow
def test_memory_does_not_grow_with_the_picture(build: Build, tmp_path: Path) -> None:
    """16 times the pixels: a whole-image map of one channel alone would be 67 MB more. Half of that leaves room for what an
    allocator holds back."""
    model = build("cyclegan", generator="resnet_1blocks", g_width=2, norm="batch", norm_statistics="running")
    small, large = peaks(tmp_path, model, 1024, 4096)
    assert large < small + 67e6 / 2
    assert large < TilePlanner(translator.load(model, device="cpu"), "b").estimate_tiled(4096, 4096, 256).memory


@pytest.mark.hours
def test_20000_pixels_a_side_in_4_gib(build: Build, tmp_path: Path) -> None:
    """400 megapixels; 6.4 GB of maps and 2.4 GB of pictures are in files."""
    if shutil.disk_usage(tmp_path).free < 9e9:
        pytest.skip("needs 9 GB of disk")
    model = build("cyclegan", generator="resnet_3blocks", g_width=8)
    assert peaks(tmp_path, model, 20_000)[0] < 4 * 2**30
