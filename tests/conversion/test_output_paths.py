"""Names of outputs: each input has its own, whatever is converted when."""

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from translate import images
from translate.conversion import output_paths as names_of
from translate.conversion.job import ConversionOptions, ConversionResult
from translate.conversion.sampling import SamplingOptions
from translate.errors import UsageError

from .output_folder import last, save, tree

Draw = Callable[..., np.ndarray]
Convert = Callable[..., ConversionResult]


STEMS = ["a", "a.png", "a.bmp", "a.bmp.png", "a.jpg", "b", "a.png/x", "a.png/a"]
LISTING = st.sets(
    st.builds("{}.{}".format, st.sampled_from(STEMS), st.sampled_from(["png", "jpg", "bmp", "eps", "JPG"])), min_size=1
)


FORMAT = st.sampled_from(["keep", "png", "jpg", "jpeg"])


def names(inputs: list[str], fmt: str, kept: dict[str, str] | None = None) -> dict[str, str]:
    before = {names_of.ItemKey(name): output for name, output in (kept or {}).items()}
    return {item.input: item.output for item in names_of.plan_outputs(sorted(inputs), fmt, before)}


@pytest.mark.parametrize(("fmt", "expected"), [
    ("png", {"a.jpg": "a.png"}),
    ("png", {"a.mp4": "a.mp4", "a.jpg": "a.png", "b.avi": "b.mkv", "c.MOV": "c.MOV"}),
    ("keep", {"a.mkv": "a.mkv", "a.avi": "a.avi.mkv", "a.mp4": "a.mp4"}),
    ("png", {"a.JPG": "a.png", "b.Png": "b.png", "c.d.jpg": "c.d.png"}),
    ("png", {"a.jpg": "a.jpg.png", "a.png": "a.png.png", "sub/a.jpg": "sub/a.png"}),
    ("png", {"a.jpg": "a.jpg.png", "a.png": "a.png.png", "sub/a.jpg": "sub/a.png", "a.jpg.png": "a.jpg.png.png"}),
    ("png", {"a.eps": "a.eps.png", "a.jpg": "a.jpg.png"}),
    ("jpg", {"a.jpeg": "a.jpeg.jpg", "a.jpg": "a.jpg.jpg", "a.JPG": "a.JPG.jpg"}),
    ("keep", {"a.jpg": "a.jpg", "a.png": "a.png", "a.JPG": "a.JPG", "a.tif": "a.tif", "a.tiff": "a.tiff"}),
    ("keep", {"a.bmp": "a.bmp.png", "a.png": "a.png", "a.ppm": "a.ppm.png"}),
    ("keep", {"a.bmp": "a.png", "b.npy": "b.npy"}),
])  # fmt: skip
def test_inputs_that_would_share_a_name_keep_their_extension(fmt: str, expected: dict[str, str]) -> None:
    assert names(list(expected), fmt) == expected


def folders(names: Iterable[str]) -> set[str]:
    return {parent.as_posix() for name in names for parent in Path(name).parents}


def possible(inputs: set[str]) -> set[str]:
    """A listing without files that are called like a folder of others."""
    return inputs - folders(inputs)


@settings(deadline=None)
@given(inputs=LISTING, fmt=FORMAT)
def test_every_input_has_an_output_of_its_own(inputs: set[str], fmt: str) -> None:
    inputs = possible(inputs)
    outputs = names(list(inputs), fmt)
    assert outputs.keys() == inputs
    assert len(set(outputs.values())) == len(inputs)
    assert not folders(outputs.values()) & set(outputs.values())  # a name cannot be a file and a folder
    done = dict(sorted(outputs.items())[::2])
    assert names(list(inputs), fmt, done) == outputs  # stopped half-way, a run goes on as if it had not been


@settings(deadline=None)
@given(before=LISTING, more=LISTING, fmt=FORMAT)
def test_what_is_done_keeps_its_name_and_nobody_else_gets_it(before: set[str], more: set[str], fmt: str) -> None:
    more = possible(before | more)
    before = before & more
    kept = names(list(before), fmt)
    outputs = names(list(more), fmt, kept)
    assert {name: outputs[name] for name in before} == kept
    assert len(set(outputs.values())) == len(outputs)
    assert names(list(more), fmt, outputs) == outputs


def test_a_clash_is_decided_over_the_whole_listing(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    for seed, name in enumerate(("a.jpg", "a.png", "b.png", "sub/a.jpg")):
        save(tmp_path / "in" / name, draw(seed))
    convert(tmp_path / "in", tmp_path / "whole", format="png")
    assert tree(tmp_path / "whole").keys() == {"a.jpg.png", "a.png.png", "b.png", "sub/a.png"}
    for _ in range(4):
        assert convert(tmp_path / "in", tmp_path / "parts", format="png", limit=1).done == 1
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")


def test_a_new_input_does_not_take_the_name_of_an_older_one(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.bmp", draw(1))
    convert(tmp_path / "in", tmp_path / "out")
    first = tree(tmp_path / "out")
    save(tmp_path / "in" / "a.png", draw(2))
    result = convert(tmp_path / "in", tmp_path / "out")
    assert (result.done, result.skipped, result.failures) == (1, 1, {})
    assert tree(tmp_path / "out").items() > first.items()
    assert convert(tmp_path / "in", tmp_path / "out").skipped == 2


def test_a_folder_that_is_called_like_an_image(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    for seed, name in enumerate(("x.bmp", "x.png/y.png", "z.png")):
        save(tmp_path / "in" / name, draw(seed))
    result = convert(tmp_path / "in", tmp_path / "out")
    assert (result.done, result.failures) == (3, {})
    assert {"x.png/y.png", "z.png"} < tree(tmp_path / "out").keys()


def test_a_file_in_the_way_of_a_folder_fails_that_image_only(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    for seed, name in enumerate(("a.png", "sub/b.png", "z.png")):
        save(tmp_path / "in" / name, draw(seed))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_bytes(b"mine")
    result = convert(tmp_path / "in", tmp_path / "out")
    assert result.failures.keys() == {"sub/b.png"}
    assert tree(tmp_path / "out").keys() == {"a.png", "sub", "z.png"}


@pytest.mark.parametrize("name", ["ü ñ 猫.png", "-rf.png", "new\nline.png", "\x1b[31mred.png", "%s{}.png", b"\xff.png"])
def test_strange_names(convert: Convert, draw: Draw, tmp_path: Path, name: str | bytes) -> None:
    name = os.fsdecode(name)
    save(tmp_path / "in" / "x.png", draw(8)).rename(tmp_path / "in" / name)
    assert convert(tmp_path / "in", tmp_path / "out").done == 1
    assert list(tree(tmp_path / "out")) == [name]
    assert convert(tmp_path / "in", tmp_path / "out").skipped == 1


def test_a_name_that_grows_too_long_fails_alone(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    long = "n" * 249
    for seed, name in enumerate((f"{long}.jpg", f"{long}.png", "short.png")):
        save(tmp_path / "in" / name, draw(seed))
    result = convert(tmp_path / "in", tmp_path / "out", format="png")
    assert result.failures == dict.fromkeys((f"{long}.jpg", f"{long}.png"), os.strerror(errno.ENAMETOOLONG))
    assert list(tree(tmp_path / "out")) == ["short.png"]
    assert {line["status"] for name, line in last(tmp_path / "out").items() if name != "short.png"} == {"failed"}


SAMPLED = st.sets(
    st.builds(
        "{}.{}".format, st.sampled_from(["a", "a-0", "a-1", "a-0-1", "a-0.png/x", "b"]), st.sampled_from(["png", "jpg"])
    ),
    min_size=1,
)
"""Listings with inputs that are called like a sample of another."""


@settings(deadline=None)
@given(inputs=SAMPLED, fmt=FORMAT, before=st.sampled_from([None, 1, 2]), samples=st.sampled_from([None, 1, 3]))
def test_samples_take_no_name_of_another_output(
    inputs: set[str], fmt: str, before: int | None, samples: int | None
) -> None:
    """Nor that of an earlier job with another number of samples; and what that job has made keeps its name."""
    listing = sorted(possible(inputs))
    kept = {item.key: item.output for item in names_of.plan_outputs(listing, fmt, {}, before)}
    items = names_of.plan_outputs(listing, fmt, kept, samples)
    assert [item.key for item in items] == [
        (name, k) for name in listing for k in ([None] if samples is None else range(samples))
    ]
    everything = {**kept, **{item.key: item.output for item in items}}
    assert len(set(everything.values())) == len(everything)
    assert not set(everything.values()) & folders(everything.values())
    assert all(item.output == kept[item.key] for item in items if item.key in kept)


def test_the_number_of_a_sample_stands_before_the_extension() -> None:
    def outputs(inputs: list[str], fmt: str) -> list[str]:
        return [item.output for item in names_of.plan_outputs(inputs, fmt, {}, 2)]

    assert outputs(["sub/a.JPG"], "keep") == ["sub/a-0.JPG", "sub/a-1.JPG"]
    assert outputs(["a.bmp"], "keep") == ["a-0.png", "a-1.png"]
    assert outputs(["a.jpg", "a.png"], "png") == ["a.jpg-0.png", "a.jpg-1.png", "a.png-0.png", "a.png-1.png"]
    assert outputs(["a.jpg", "a-0.jpg"], "png") == ["a-0.png", "a-1.png", "a-0-0.png", "a-0-1.png"]


def test_heic_without_its_extra_is_refused_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(images.WRITERS, "heic", raising=False)
    for options in (ConversionOptions, SamplingOptions):
        with pytest.raises(UsageError, match="--format heic: pillow-heif is not installed; run: uv sync --extra heic"):
            options(format="heic")
