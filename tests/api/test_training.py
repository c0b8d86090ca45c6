"""Training from Python: how settings are put together, and what is refused before any data is read."""

import pytest

import translate
from translate import api
from translate.api.run_record import RunRecord
from translate.errors import ModelError, UsageError

SMALL = {
    "crop_size": 32, "g_width": 4, "d_width": 4, "generator": "resnet_3blocks", "device": "cpu", "watch": False,
    "images": 2, "say": lambda line: None,
}  # fmt: skip


def train(root, run, **flags):
    return translate.train("cyclegan", root, run=run, **{**SMALL, **flags})


def test_flags_win_over_the_config_file_and_that_over_the_defaults(unpaired_root, tmp_path):
    """A config file names its settings as flags or as in Python; the load size follows the crop size."""
    (tmp_path / "my.toml").write_text('method = "cyclegan"\nlr = 0.5\nlambda-cycle = 3.0\n')
    train(unpaired_root, tmp_path / "run", config=tmp_path / "my.toml", lr=1e-5)
    settings = RunRecord.read(tmp_path / "run").settings
    assert (settings["lr"], settings["lambda_cycle"], settings["lambda_identity"]) == (1e-5, 3.0, 0.5)
    assert settings["load_size"] == 35


def test_the_config_of_a_run_starts_another(unpaired_root, tmp_path):
    run = train(unpaired_root, tmp_path / "first", lr=1e-5)
    again = translate.train(
        "cyclegan", unpaired_root, run=tmp_path / "second", config=run.path / "config.toml", say=lambda line: None
    )
    assert again.images == 2
    assert RunRecord.read(again.path) == RunRecord.read(run.path)


def test_a_run_is_resumed_by_its_name_and_changed_on_purpose(unpaired_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(train(unpaired_root, "mine").path) == "checkpoints/mine"
    run = api.resume("mine", images=3, lr=1e-5, say=lambda line: None)
    assert (str(run.path), run.images) == ("checkpoints/mine", 3)
    assert RunRecord.read(run.path).settings["lr"] == 1e-5
    assert run.translator("cpu").directions


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"preset": "best"}, "--preset best"),
        ({"config": "nowhere.toml"}, r"nowhere\.toml"),
        ({"crop_size": 64, "load_size": 32}, "--crop-size 64"),
        ({"lambda_l1": 1.0}, "--lambda-l1"),
    ],
)
def test_impossible_settings_are_refused(unpaired_root, tmp_path, flags, named):
    with pytest.raises(UsageError, match=named):
        train(unpaired_root, tmp_path / "run", **flags)
    assert not (tmp_path / "run").exists()


def test_a_config_file_of_another_method_is_refused(unpaired_root, tmp_path):
    (tmp_path / "my.toml").write_text('method = "cut"\n')
    with pytest.raises(UsageError, match="is for method cut, not cyclegan"):
        train(unpaired_root, tmp_path / "run", config=tmp_path / "my.toml")


def test_an_unknown_method_is_refused_with_the_possible_ones(unpaired_root):
    with pytest.raises(UsageError, match=r"cycle_gan.*cyclegan"):
        translate.train("cycle_gan", unpaired_root)


def test_only_a_run_can_be_resumed(tmp_path):
    with pytest.raises(ModelError, match="no_such_run"):
        api.resume(tmp_path / "no_such_run")
