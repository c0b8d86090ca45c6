"""`translate status MODEL`: what it says of a model folder, of a run's model, and of files of the reference."""

import json
from pathlib import Path

from .conftest import (
    Fails,
    Run,
    row,
)
from .reference_files import generator, save

NOTICE = "a U-Net's weights do not tell whether it has dropout"


def test_status_of_a_file_a_model_and_a_run(run: Run, pth: Path, cyclegan_run: Path) -> None:
    out, err = run("status", pth)
    assert err == []
    assert row(out, "model") == "latest_net_G_A.pth"
    assert row(out, "translates") == "a (3 channels) → b (3)"
    weights = sum(p.numel() for p in generator().parameters())
    assert row(out, "weights") == f"{weights:,} parameters, float32"
    assert row(out, "sizes") == "any, padded to multiples of 4, at least 8"
    assert row(out, "norm_statistics").startswith("sample")
    assert row(out, "dropout").startswith("off")
    assert row(out, "imported from") == "latest_net_G_A.pth"
    for place in (cyclegan_run, cyclegan_run / "model"):
        out, _ = run("status", place)
        assert row(out, "model") == "run/model"
        assert row(out, "trained on") == "nothing, 8 images, 32 px"
        assert row(out, "weights") == f"{2 * weights:,} parameters, float32"
        assert row(out, "translates") == "a (3 channels) → b (3), b (3 channels) → a (3)"
        assert not [line for line in out if line.startswith("imported")]


def test_status_says_the_licence_of_the_weights(run: Run, cyclegan_run: Path) -> None:
    run("export", cyclegan_run, "mine", "--license", "CC-BY-4.0")
    assert row(run("status", "mine")[0], "licence") == "CC-BY-4.0"
    assert not [line for line in run("status", cyclegan_run)[0] if line.startswith("licence")]


def test_status_by_the_name_of_a_run(run: Run, cyclegan_run: Path) -> None:
    Path("checkpoints").mkdir()
    cyclegan_run.rename("checkpoints/mine")
    assert row(run("status", "mine")[0], "model") == "checkpoints/mine/model"


def test_status_by_the_name_of_a_folder_of_the_reference(run: Run, pth_folder: Path) -> None:
    Path("checkpoints").mkdir()
    pth_folder.rename("checkpoints/horse2zebra")
    assert row(run("status", "horse2zebra")[0], "translates").endswith("b (3 channels) → a (3)")


def test_status_as_json_is_one_object_with_all_there_is_to_know(run: Run, pth_folder: Path, cyclegan_run: Path) -> None:
    run("import-weights", pth_folder, "model")
    for place in (pth_folder, pth_folder / "latest_net_G_B.pth", "model", cyclegan_run):
        out, err = run("status", place, "--json")
        assert err == []
        (line,) = out
        known = json.loads(line)
        assert known["method"] == "cyclegan"
        assert known["networks"]["generator"] == "resnet_1blocks"
        assert (known["norm_statistics"], known["dropout"], known["dtype"]) == ("sample", "off", "float32")
        assert set(known["directions"]) == ({"b"} if str(place).endswith(".pth") else {"a", "b"})
        assert known["discriminators"] == (["d_a", "d_b"] if place in (pth_folder, "model") else [])
        assert ("imported_from" in known, "trained_on" in known) == (place != cyclegan_run, place == cyclegan_run)
        assert len(known["sha256"]) == 64
        assert known["notices"] == []


def test_status_tells_what_was_assumed(run: Run) -> None:
    path = save("latest_net_G.pth", generator("unet_32"))
    out, err = run("status", path)
    assert err == []
    assert NOTICE in row(out, "note")
    (notice,) = json.loads(run("status", path, "--json")[0][0])["notices"]
    assert NOTICE in notice


def test_status_of_double_precision(run: Run) -> None:
    """Statistics of batch norm are no parameters, and their counter has no precision."""
    net = generator("unet_16", "batch").double()
    parameters = sum(p.numel() for p in net.parameters())
    assert row(run("status", save("x.pth", net))[0], "weights") == f"{parameters:,} parameters, float64"


def test_status_of_no_model(fails: Fails) -> None:
    Path("empty").mkdir()
    Path("text.pth").write_text("no weights")
    fails(["status", "nowhere"], 4, "nowhere: no such model")
    fails(["status", "empty"], 4, "empty: ")
    fails(["status", "text.pth"], 4, "text.pth")
    fails(["status", "text.pth", "--json"], 4, "text.pth")
