import tomllib
from dataclasses import dataclass, fields, replace

import pytest

from translate.config import TrainConfig, default_load_size, differences, option, read_toml, resolve, to_dict, to_toml
from translate.errors import UsageError
from translate.text import flag_name


@dataclass(frozen=True)
class Settings(TrainConfig):
    """A method's settings with one of each kind."""

    cost: str = option("lsgan", "a choice", choices=("lsgan", "hinge"))
    share: float = option(0.5, "limited on both sides", low=0.0, high=1.0)
    ratio: float | None = option(None, "a number or nothing")
    dropout: bool = option(False, "a switch")


def settings(**values):
    return resolve(Settings, ("flags", values))


def refused(**values):
    with pytest.raises(UsageError) as caught:
        settings(**values)
    assert caught.value.exit_code == 2
    return str(caught.value)


# Layers.


def test_later_layers_win():
    layers = [
        ("preset", {"lr": 1.0, "epochs": 1, "seed": 1}),
        ("file", {"lr": 2.0, "epochs": 2}),
        ("flags", {"lr": 3.0}),
    ]
    cfg = resolve(Settings, *layers)
    assert (cfg.lr, cfg.epochs, cfg.seed) == (3.0, 2, 1)
    assert cfg.decay_epochs == Settings().decay_epochs


def test_none_is_not_given():
    cfg = resolve(Settings, ("file", {"lr": 2.0, "ratio": 4.0}), ("flags", {"lr": None, "ratio": None}))
    assert (cfg.lr, cfg.ratio) == (2.0, 4.0)


def test_no_layers_give_the_defaults():
    assert resolve(Settings) == Settings()


@pytest.mark.parametrize("f", fields(Settings), ids=lambda f: f.name)
def test_every_default_is_within_its_own_limits(f):
    if f.default is not None:
        assert getattr(settings(**{f.name: f.default}), f.name) == f.default


@pytest.mark.parametrize("key", ["batch_size", "batch-size"])
def test_keys_are_taken_with_hyphens_too(key):
    assert settings(**{key: 4}).batch_size == 4


@pytest.mark.parametrize(
    ("key", "meant"), [("batchsize", "batch_size"), ("epoch", "epochs"), ("drop-out", "dropout"), ("costs", "cost")]
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(key, meant):
    message = refused(**{key: 1})
    assert flag_name(key) in message
    assert f"did you mean {flag_name(meant)}?" in message


def test_an_unknown_setting_like_no_other_is_refused_with_all_names():
    message = refused(xyzzy=1)
    assert all(flag_name(f.name) in message for f in fields(Settings))


@pytest.mark.parametrize("source", ["preset modern", "my.toml", "flags"])
def test_errors_name_their_source_and_setting(source):
    for layer in ({"lr": "fast"}, {"cost": "none"}, {"decay_epochs": -1}):
        (name, value), flag = next(iter(layer.items())), flag_name(next(iter(layer)))
        with pytest.raises(UsageError) as caught:
            resolve(Settings, (source, layer))
        start = f"{flag} {value}:" if source == "flags" else f"{source}: {name} is {value!r}"
        assert str(caught.value).startswith(start)


# Types.


@pytest.mark.parametrize(("given", "value"), [("on", True), ("off", False), (True, True), (False, False)])
def test_switches_are_on_or_off(given, value):
    assert settings(dropout=given).dropout is value
    assert settings(flip=given).flip is value


@pytest.mark.parametrize("given", ["yes", "true", "", 1, 0, 1.0, [True], {"on": 1}])
def test_other_values_are_no_switch(given):
    assert "must be on or off" in refused(dropout=given)


@pytest.mark.parametrize("given", [2, 0, 3])
def test_whole_numbers_are_numbers(given):
    lr = settings(lr=given).lr
    assert lr == given
    assert isinstance(lr, float)


@pytest.mark.parametrize(
    ("key", "given", "wanted"),
    [
        ("epochs", True, "a whole number"),
        ("epochs", 1.0, "a whole number"),
        ("epochs", "3", "a whole number"),
        ("epochs", [3], "a whole number"),
        ("images", False, "a whole number"),
        ("lr", True, "a number"),
        ("lr", "0.1", "a number"),
        ("ratio", "1", "a number"),
        ("device", 0, "a name"),
        ("cost", 1, "a name"),
        ("cost", ["lsgan"], "a name"),
    ],
)
def test_values_of_another_type_are_refused(key, given, wanted):
    assert f"must be {wanted}" in refused(**{key: given})


# Limits and choices.


@pytest.mark.parametrize("given", [0, 1, 0.25])
def test_limits_are_included(given):
    assert settings(share=given).share == given


@pytest.mark.parametrize("given", [-0.001, 1.001, float("nan"), float("inf")])
def test_values_beyond_both_limits_are_refused(given):
    assert "must be from 0.0 to 1.0" in refused(share=given)


@pytest.mark.parametrize(
    ("key", "least"),
    [("epochs", 0), ("decay_epochs", 0), ("images", 1), ("batch_size", 1), ("accumulate", 1), ("crop_size", 2)],
)
def test_least_values(key, least):
    assert getattr(settings(**{key: least}), key) == least
    assert f"must be at least {least}" in refused(**{key: least - 1})


@pytest.mark.parametrize(("key", "choices"), [("cost", "lsgan, hinge"), ("direction", "a2b, b2a")])
def test_other_choices_are_refused_with_the_possible_ones(key, choices):
    assert f"must be one of {choices}" in refused(**{key: "other"})


# Sizes.


@pytest.mark.parametrize(("crop", "load"), [(256, 286), (128, 143), (64, 71), (33, 36), (2, 2)])
def test_the_load_size_is_286_for_crops_of_256(crop, load):
    assert default_load_size(crop) == settings(crop_size=crop).default_load_size == crop * 286 // 256 == load


# Files.


def test_settings_survive_a_file(tmp_path):
    cfg = settings(lr=1e-5, images=7, dropout=True, direction="b2a", init_from='a "quoted" \\ ünï\nname', seed=-3)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(to_dict(cfg)), encoding="utf-8")
    assert resolve(Settings, ("file", read_toml(path))) == cfg


def test_what_is_not_set_is_not_written():
    assert "images" not in to_dict(Settings())
    assert tomllib.loads(to_toml(to_dict(Settings()))) == to_dict(Settings())


@pytest.mark.parametrize(
    "content", [b"lr = ", b"\xff\xfe", b"lr = 1\nlr = 2", None], ids=["cut", "binary", "twice", "none"]
)
def test_a_file_that_is_no_toml_is_a_usage_error_that_names_it(content, tmp_path):
    path = tmp_path / "my.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"my\.toml"):
        read_toml(path)


def test_a_folder_is_no_toml(tmp_path):
    with pytest.raises(UsageError, match="not a readable TOML file"):
        read_toml(tmp_path)


def test_a_table_in_a_file_is_an_unknown_setting(tmp_path):
    (tmp_path / "my.toml").write_text("[optimizer]\nlr = 1.0\n")
    with pytest.raises(UsageError, match="unknown setting 'optimizer'"):
        resolve(Settings, ("file", read_toml(tmp_path / "my.toml")))


# What a run may change.


def changed(value, by):
    """Another value of the same setting."""
    if isinstance(value, bool):
        return not value
    return value + by if isinstance(value, (int, float)) else "another"


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("f", fields(Settings), ids=lambda f: f.name)
def test_a_change_is_a_difference_unless_the_setting_is_free_or_the_plan_grows(f, by):
    value = changed(f.default, by)
    lines = differences(Settings(), replace(Settings(), **{f.name: value}))
    allowed = f.metadata["resumable"] or (f.name == "epochs" and by == 1)
    assert lines == ([] if allowed else [f"{flag_name(f.name)}: {f.default} in the run, {value} now"])


def test_what_does_not_decide_the_weights_is_free():
    """The list of the contract: device, workers, loader, logging, sample and save intervals, and what stops a run."""
    free = {"device", "threads", "loader", "workers", "save_every", "sample_every", "log_every", "strict"}
    free |= {"keep_every", "watch", "auto_batch"}  # the last splits a batch, and changes no more than `accumulate` may
    free |= {
        "channels_last",
        "compile",
        "convolution",
        "graph",
        "gradient_checkpointing",
        "max_memory",
        "tune",
    }  # the same numbers in another way
    free |= {
        "evaluate_every",
        "evaluate_metrics",
        "evaluate_images",
        "truth",
        "best_by",
        "patience",
    }  # looks, and a stop
    assert {f.name for f in fields(TrainConfig) if f.metadata["resumable"]} == free


@pytest.mark.parametrize("key", ["epochs", "images"])
def test_a_longer_plan_is_no_difference_and_a_shorter_one_is(key):
    short, long = replace(Settings(), **{key: 5}), replace(Settings(), **{key: 6})
    assert differences(short, long) == []
    assert differences(long, short) == [f"--{key}: 6 in the run, 5 now"]
    assert differences(long, long) == []


def test_counting_images_instead_of_epochs_is_a_difference():
    assert differences(Settings(), replace(Settings(), images=5)) == ["--images: None in the run, 5 now"]


def test_each_difference_has_its_line():
    new = replace(Settings(), lr=1.0, seed=9, device="cpu")
    assert [line.split(":")[0] for line in differences(Settings(), new)] == ["--lr", "--seed"]


def test_every_setting_has_a_help_text():
    assert all(f.metadata["help"] for f in fields(Settings))


@pytest.mark.parametrize("name", ["images", "lr"])
@pytest.mark.parametrize("source", ["flags", "x.toml"])
def test_whole_numbers_beyond_64_bits_are_refused(name, source):
    """Floats cannot hold them all, and Python does not print them all."""
    for value in (2**63, 10**400, 10**5000):
        with pytest.raises(UsageError, match="must be at most 9223372036854775807"):
            resolve(TrainConfig, (source, {name: value}))
