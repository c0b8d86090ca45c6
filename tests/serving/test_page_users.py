"""The page with twenty users at a time, in a process of its own: each gets the results of the own images, in their order."""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate.conversion.pipeline import BYTES_PER_OUTPUT_PIXEL, BYTES_PER_PIXEL
from translate.serving.page_job import AT_A_TIME

from .server_process import PATIENCE, ServerProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process in /proc"),
    pytest.mark.filterwarnings("ignore"),  # the client leaves sockets open
]

USERS = 20
IMAGES = 3
SIDE = 768
ALL_AT_ONCE = USERS * IMAGES * SIDE * SIDE * (BYTES_PER_PIXEL + BYTES_PER_OUTPUT_PIXEL)
"""Bytes of all images, if the server held them at a time."""


@pytest.fixture
def photos(tmp_path: Path) -> list[list[Path]]:
    """Images of each user. All users have the same names, and no two images are alike."""
    random = np.random.default_rng(0)
    users = []
    for user in range(USERS):
        folder = tmp_path / "photos" / f"{user:02}"
        folder.mkdir(parents=True)
        users.append([folder / f"{name}.jpg" for name in ("second", "first", "third")])
        for path in users[-1]:
            small = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8))
            small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=80)
    return users


def test_twenty_users_each_get_their_own_results_in_their_order_and_memory_is_bounded(
    photos: list[list[Path]], tmp_path: Path, cyclegan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradio_client = pytest.importorskip("gradio_client")
    jobs_at_a_time = pytest.importorskip("translate.serving.page").JOBS_AT_A_TIME
    monkeypatch.setenv("no_proxy", "*")
    page = ServerProcess("app", cyclegan_folder, folder=tmp_path)
    try:

        def convert(user: int) -> list[tuple[str, bytes]]:
            """What one user gets: name and content of each file."""
            client = gradio_client.Client(page.url, verbose=False, download_files=str(tmp_path / f"got-{user}"))
            files = [gradio_client.handle_file(str(path)) for path in photos[user]]
            status, _, _, outputs, archive = client.submit(
                str(cyclegan_folder), files, "b", "png", 0, 1, None, api_name="/translate"
            ).result(timeout=PATIENCE)
            assert f"{IMAGES} of {IMAGES} translated" in status
            assert archive["value"]
            return [(Path(path).name, Path(path).read_bytes()) for path in outputs["value"]]

        alone = convert(0)
        before = page.peak_memory()
        with ThreadPoolExecutor(USERS) as pool:
            answers = list(pool.map(convert, range(USERS)))
        grown = page.peak_memory() - before
    finally:
        code = page.end()
    assert code == 128 + signal.SIGTERM

    assert answers[0] == alone
    for number, answer in enumerate(answers):
        assert [name for name, _ in answer] == [f"{path.stem}.png" for path in photos[number]]
    expected = converted(photos, tmp_path, cyclegan_folder)
    assert answers == expected
    assert len({content for answer in answers for _, content in answer}) == USERS * IMAGES
    assert jobs_at_a_time * AT_A_TIME * 4 < USERS * IMAGES, "or this test says nothing of memory"
    assert grown < ALL_AT_ONCE / 2


def converted(photos: list[list[Path]], tmp_path: Path, model: Path) -> list[list[tuple[str, bytes]]]:
    """What `convert` writes for the images of each user."""
    import translate

    out = tmp_path / "converted"
    translate.convert(translate.load(model, device="cpu"), tmp_path / "photos", out, format="png", say=None)
    return [
        [(f"{path.stem}.png", (out / path.parent.name / f"{path.stem}.png").read_bytes()) for path in paths]
        for paths in photos
    ]
