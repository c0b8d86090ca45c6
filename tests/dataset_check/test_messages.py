"""Errors and warnings of the report, in words: each names its folder or split."""

from PIL import Image

from .helpers import report_of


def put(root, *names, size=(40, 40), mode="RGB"):
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").rotate(7 * len(name) + 31 * i).resize(size).convert(mode).save(root / name)
    return root


def test_a_sound_folder_has_no_messages(tmp_path):
    report = report_of(put(tmp_path, "trainA/1.png", "trainB/2.png"))
    assert (report["errors"], report["warnings"]) == ([], [])


def test_an_error_names_the_missing_folder(tmp_path):
    (error,) = report_of(put(tmp_path, "trainA/1.png"))["errors"]
    assert error.startswith(f"{tmp_path}/trainB: ")


def test_an_error_names_the_folder_without_a_readable_image(tmp_path):
    put(tmp_path, "trainA/1.png", "trainB/2.png")
    (tmp_path / "trainB/2.png").write_text("no image")
    (error,) = report_of(tmp_path)["errors"]
    assert error.startswith(f"{tmp_path}/trainB: ")


def test_warnings_name_folder_and_flag(tmp_path):
    put(tmp_path, "trainA/1.png", size=(90, 40))
    put(tmp_path, "trainB/2.png", size=(31, 40))
    long, small = report_of(tmp_path, load_size=40)["warnings"]
    assert long.startswith("trainA: ")
    assert "--preprocess" in long
    assert small.startswith("trainB: ")
    assert "--crop-size" in small


def test_a_warning_counts_grey_images_among_colour(tmp_path):
    put(tmp_path, "trainA/1.png", "trainA/3.png", "trainB/2.png")
    Image.linear_gradient("L").save(tmp_path / "trainA/grey.png")
    assert [line for line in report_of(tmp_path)["warnings"] if line.startswith("trainA: 1 of 3 ")]
