"""Recipes of albumentations: read safely, drawn by key, the same for both sides of a pair, no network."""

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from translate.data import albumentations_recipe
from translate.data.albumentations_recipe import load_recipe
from translate.errors import UsageError

RICH = """
transforms:
  - HorizontalFlip: {p: 0.5}
  - OneOf:
      p: 0.9
      transforms:
        - GaussianBlur: {blur_limit: [3, 5]}
        - RandomGamma
  - Affine: {rotate: [-20, 20], scale: [0.9, 1.1], border_mode: cv2.BORDER_REFLECT_101, p: 1}
  - GaussNoise: {p: 0.5}
"""


@pytest.fixture
def recipe(tmp_path):
    """Makes a recipe of a text."""

    def of(text: str, name: str = "recipe.yaml") -> albumentations_recipe.AlbumentationsRecipe:
        (tmp_path / name).write_text(text)
        return load_recipe(tmp_path / name)

    return of


def image(seed: int = 0, channels: int = 3, size: int = 32) -> np.ndarray:
    """Smooth uint8 that cannot be written to."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, channels), dtype=np.uint8)
    out = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).reshape(size, size, channels)
    out.flags.writeable = False
    return out


# What a result depends on.


def test_the_same_key_gives_the_same_image_in_any_order_and_another_key_another(recipe):
    r, x = recipe(RICH), image()
    first = [r({"a": x}, key)["a"] for key in range(8)]
    again = [r({"a": x}, key)["a"] for key in reversed(range(8))][::-1]
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one, two)
        assert (one.shape, one.dtype) == (x.shape, np.uint8)
    assert len({one.tobytes() for one in first}) == 8
    assert np.array_equal(r({"a": x}, -(2**63))["a"], r({"a": x}, -(2**63))["a"])


def test_both_sides_of_a_pair_get_the_same_draws(recipe):
    r, x = recipe(RICH), image()
    for key in range(8):
        pair = r({"a": x, "b": x}, key)
        assert np.array_equal(pair["a"], pair["b"])


def test_a_pair_of_other_channels_moves_together(recipe):
    r = recipe("[{HorizontalFlip: {p: 0.5}}, {VerticalFlip: {p: 0.5}}, {Rotate: {p: 0.9, limit: 60}}]")
    x = image()
    for key in range(8):
        pair = r({"a": x, "b": x[:, :, 1:2]}, key)
        assert np.array_equal(pair["a"][:, :, 1:2], pair["b"])


def test_images_that_are_no_pair_are_drawn_apart(recipe):
    r, x = recipe(RICH), image()
    assert not any(np.array_equal(r({"a": x}, key)["a"], r({"b": x}, key)["b"]) for key in range(8))


def test_transforms_of_one_recipe_draw_apart(recipe):
    """albumentations seeds all transforms alike: then two coins would always fall on the same side."""
    r = recipe("[HorizontalFlip, VerticalFlip]")
    x = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    seen = [r({"a": x}, key)["a"].tobytes() for key in range(400)]
    assert sorted(seen.count(each) // 50 for each in set(seen)) == pytest.approx([2, 2, 2, 2], abs=1)
    assert len(set(seen)) == 4


def test_the_inputs_stay_as_they_are(recipe):
    r, x = recipe("[{InvertImg: {p: 1}}, {CoarseDropout: {p: 1}}, {RandomBrightnessContrast: {p: 1}}]"), image().copy()
    before = x.copy()
    r({"a": x}, 1)
    assert np.array_equal(x, before)


def test_known_values(recipe):
    x = image()
    assert np.array_equal(recipe("[{InvertImg: {p: 1}}]")({"a": x}, 1)["a"], 255 - x)
    assert np.array_equal(recipe("[{HorizontalFlip: {p: 1}}]")({"a": x}, 1)["a"], x[:, ::-1])
    assert np.array_equal(recipe("[{HorizontalFlip: {p: 0}}]")({"a": x}, 1)["a"], x)


def test_threads_do_not_disturb_one_another(recipe):
    r, x = recipe(RICH), image()
    alone = [r({"a": x}, key)["a"] for key in range(24)]
    found: dict[int, np.ndarray] = {}

    def work(first: int) -> None:
        for key in range(first, 24, 3):
            found[key] = r({"a": x}, key)["a"]

    threads = [threading.Thread(target=work, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(alone[key], found[key]) for key in range(24))


# Another process, without a network.

CHILD = """
import pickle, sys

def guard(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.")):
        print("NETWORK", event, arguments, file=sys.stderr)
        raise RuntimeError(event)

sys.addaudithook(guard)
recipe, x, path = pickle.load(open(sys.argv[1], "rb"))
assert "albumentations" not in sys.modules, "imported before it is needed"
from translate.data import albumentations_recipe
again = albumentations_recipe.load_recipe(path)
assert again == recipe
pickle.dump([recipe({"a": x, "b": x}, key) for key in range(4)], open(sys.argv[2], "wb"))
"""


@pytest.mark.slow
def test_a_new_process_gives_the_same_images_and_opens_no_socket(recipe, tmp_path):
    """A recipe travels by pickle, as to a spawned worker; without our setting the import would ask the network."""
    r, x = recipe(RICH), image().copy()
    given, taken = tmp_path / "given", tmp_path / "taken"
    given.write_bytes(pickle.dumps((r, x, r.path)))
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, given, taken], env=environment, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    assert "NETWORK" not in child.stderr
    for key, images in enumerate(pickle.loads(taken.read_bytes())):
        for name in "ab":
            assert np.array_equal(images[name], r({"a": x, "b": x}, key)[name])


# Types and sizes.


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_sixteen_bits_and_floats_keep_their_depth(channels, recipe):
    r = recipe("[{Rotate: {limit: [30, 30], p: 1}}, {VerticalFlip: {p: 1}}]")
    x = image(channels=channels)
    eight = r({"a": x}, 1)["a"].astype(float)
    for dtype, top in ((np.uint16, 65535), (np.float32, 1)):
        y = r({"a": (x.astype(np.float64) * top / 255).astype(dtype)}, 1)["a"]
        assert (y.dtype, y.shape) == (dtype, x.shape)
        assert np.abs(y.astype(float) * 255 / top - eight).max() < 2
        assert len(np.unique(y)) > len(np.unique(eight))


def test_floats_beyond_the_range_are_refused(recipe):
    with pytest.raises(ValueError, match=r"image a has values from 0.0 to 2.0; float32 must be in \[0, 1\]"):
        recipe("[Blur]")({"a": np.array([[[0.0], [2.0]]], np.float32)}, 1)


@pytest.mark.parametrize(
    ("text", "dtype", "channels", "message"),
    [
        (
            "[{HueSaturationValue: {p: 1}}]",
            np.uint16,
            3,
            r"HueSaturationValue cannot be applied to uint16 \(32, 32, 3\): ",
        ),
        ("[{ToGray: {p: 1}}]", np.uint8, 5, r"ToGray cannot be applied to uint8 \(32, 32, 5\): .*; remove it"),
        (
            "[{Normalize: {p: 1}}]",
            np.uint8,
            3,
            r"turns uint8 \(32, 32, 3\) into float32 \(32, 32, 3\); .*the type",
        ),
        (
            "[{ToRGB: {p: 1}}]",
            np.uint8,
            1,
            r"turns uint8 \(32, 32, 1\) into uint8 \(32, 32, 3\); .*the type",
        ),
        ("[{CenterCrop: {height: 9, width: 8, p: 1}}]", np.uint8, 3, r"into uint8 \(9, 8, 3\); .*`resizes: true`"),
        ("[{OneOf: {transforms: [{FDA: {}}], p: 1}}]", np.uint8, 3, r"FDA cannot be applied to .*fda_metadata"),
    ],
)
def test_what_a_transform_cannot_do_is_one_line_that_names_it(text, dtype, channels, message, recipe):
    r = recipe(text)
    with pytest.raises(UsageError, match=message) as caught:
        r({"a": image(channels=channels).astype(dtype)}, 1)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(r.path + ": ")


def test_another_size_is_allowed_where_the_recipe_says_so(recipe):
    r = recipe("{transforms: [{CenterCrop: {height: 9, width: 8, p: 1}}], resizes: true}")
    x = image()
    assert r.resizes
    assert np.array_equal(r({"a": x}, 1)["a"], x[11:20, 12:20])
    assert not recipe("[Blur]").resizes


# Reading.


def test_the_hash_is_of_what_a_recipe_says(recipe):
    plain = recipe("transforms: [{Blur: {p: 0.5, blur_limit: 3}}]")
    assert recipe("# mine\n- Blur:\n    blur_limit: 3\n    p: 0.5\n", "other.yaml").digest == plain.digest
    for other in (
        "[{Blur: {p: 0.6, blur_limit: 3}}]",
        "{transforms: [{Blur: {p: 0.5, blur_limit: 3}}], resizes: true}",
    ):
        assert recipe(other).digest != plain.digest
    assert len(plain.digest) == 16


def test_the_recipe_of_the_documentation_works(recipe):
    page = (Path(__file__).parents[2] / "docs" / "augmentation.md").read_text(encoding="utf-8")
    r = recipe(page.split("```yaml\n")[1].split("```")[0])
    assert len({r({"a": image()}, key)["a"].tobytes() for key in range(8)}) > 3


def test_what_albumentations_saves_is_read(tmp_path):
    a = albumentations_recipe._albumentations()
    saved = a.Compose([a.HorizontalFlip(p=1), a.OneOf([a.InvertImg(p=1)], p=1), a.SafeRotate(p=0)], p=1)
    a.save(saved, tmp_path / "saved.yaml", data_format="yaml")
    assert np.array_equal(load_recipe(tmp_path / "saved.yaml")({"a": image()}, 1)["a"], 255 - image()[:, ::-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no transforms in it; write a list"),
        ("transforms: []", "no transforms in it"),
        ("transforms: {Blur: {}}", "no transforms in it; write a list of them"),
        ("steps: [Blur]", "unknown key 'steps'; a recipe has transforms"),
        ("{transforms: [Blur], resizes: maybe}", "resizes is 'maybe', but must be true or false"),
        ("[{Blur: {p: 1}, Sharpen: {p: 1}}]", "write its name"),
        ("[3]", "3 is "),
        ("[{Blur: [1]}]", "write its name"),
        ("[HorizontlFlip]", "no transform 'HorizontlFlip' that can be used here; did you mean HorizontalFlip"),
        ("[Lambda]", "no transform 'Lambda' that can be used here"),
        ("[DualTransform]", "no transform 'DualTransform'"),
        ("[ToTensorV2]", "no transform 'ToTensorV2'"),
        ("[{SelectiveChannelTransform: {transforms: [Blur]}}]", "no transform 'SelectiveChannelTransform'"),
        ("[os.system]", "no transform 'os.system'"),
        ("[{os.system: {command: 'touch hacked'}}]", "no transform 'os.system'"),
        (
            "{transform: {__class_fullname__: subprocess.Popen, args: [touch, hacked]}}",
            "no transform 'subprocess.Popen'",
        ),
        (
            "[{__class_fullname__: translate.data.albumentations_recipe.load_recipe, path: x}]",
            "no transform 'translate.data.albumentations_recipe.load_recipe'",
        ),
        ("[{Blur: {blur_limits: 3}}]", "Blur has no argument 'blur_limits'; did you mean blur_limit"),
        ("[{Blur: {p: 2}}]", "Blur: p: Input should be less than or equal to 1"),
        ("[RandomCrop]", "RandomCrop: height: Field required; width: Field required"),
        ("[{OneOf: {p: 1}}]", "OneOf needs a list of transforms"),
        ("[{OneOf: {transforms: [Blurr]}}]", "no transform 'Blurr' that can be used here; did you mean Blur"),
        ("[{OneOf: {transforms: [{Blur: {p: 0}}]}}]", "OneOf: .*division by zero"),
        ("[{Blur: {p: 2020-01-01}}]", "date is not JSON serializable; use numbers, "),
        ("[unclosed", "not a readable YAML file: while parsing a flow sequence"),
        ("!!python/object/apply:os.system ['touch hacked']", "could not determine a constructor for the tag"),
        ("- Blur: !!python/object/new:os.system [touch hacked]", "could not determine a constructor for the tag"),
        ("[&a [Blur], *a]", r"aliases \(\*name\) are not allowed"),
        ("&a [*a]", r"aliases \(\*name\) are not allowed"),
        ("[" * 5000, "not a readable YAML file"),
        ("p: " + "9" * 5000, "not a readable YAML file"),
        ("\x00", "not a readable YAML file"),
    ],
)
def test_a_bad_recipe_is_one_line_that_names_the_file(text, message, recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        recipe(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'recipe.yaml'}: ")
    assert len(str(caught.value)) < 500
    assert not (tmp_path / "hacked").exists()


def test_what_is_no_file_is_said(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / "huge").write_bytes(b"#" * (albumentations_recipe.MAX_RECIPE_BYTES + 1))
    for name, message in (
        ("none.yaml", "no such file"), ("", "not a regular file"), ("pipe", "not a regular file"),
        ("bytes", "not a readable YAML file"), ("huge", "more than 1048576 bytes"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"{message}.*; --albumentations takes a YAML file of transforms"):
            load_recipe(tmp_path / name)
