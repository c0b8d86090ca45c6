"""Record of a run: what config.toml holds, and which settings may differ when a run is resumed."""

from dataclasses import replace
from pathlib import Path

import pytest

from translate import config
from translate.api.run_record import RunRecord, check_same_settings, read_started_run
from translate.config import to_dict
from translate.errors import DataError, ModelError, UsageError
from translate.methods import METHODS

CYCLEGAN = METHODS["cyclegan"]


@pytest.fixture
def cfg():
    return CYCLEGAN.resolve_config(CYCLEGAN.Config(batch_size=4))


@pytest.fixture
def run(tmp_path, cfg):
    """A run that has a checkpoint, begun by two processes."""
    RunRecord("cyclegan", tmp_path / "data", 2, to_dict(cfg)).write(tmp_path)
    (tmp_path / "state-8.ckpt").write_bytes(b"")
    return tmp_path


def test_it_reads_what_it_wrote(run, cfg):
    assert RunRecord.read(run) == RunRecord("cyclegan", run / "data", 2, to_dict(cfg))


def test_the_record_comes_before_the_settings(run):
    lines = (run / "config.toml").read_text().splitlines()
    assert [line.split(" = ")[0] for line in lines[:4]] == ["method", "root", "processes", "epochs"]


def test_what_is_not_known_is_not_written(run, cfg):
    record = RunRecord("cyclegan", run / "data", 2, to_dict(cfg), root_from_run="../data", forked_from="../night@8")
    record.write(run)
    assert RunRecord.read(run) == record
    assert "root_from_run" in (run / "config.toml").read_text()
    replace(record, root_from_run=None, forked_from=None).write(run)
    assert not {"root_from_run", "forked_from"} & config.read_toml(run / "config.toml").keys()


@pytest.mark.parametrize("line", ["root_from_run = 5", "forked_from = ['x']"])
def test_keys_of_another_kind_are_named(run, line):
    path = run / "config.toml"
    path.write_text(line + "\n" + path.read_text())
    with pytest.raises(ModelError, match=line.split()[0]):
        RunRecord.read(run)


def test_a_relative_root_is_relative_to_the_run_and_told_from_here(run, cfg, tmp_path, monkeypatch):
    """So that it is recorded as relative again when the run has been resumed."""
    monkeypatch.chdir(tmp_path.parent)
    (run / "data").mkdir()
    record = RunRecord("cyclegan", Path("/nowhere/data"), 1, to_dict(cfg), root_from_run="data")
    assert record.find_root(run) == Path(tmp_path.name, "data")
    assert replace(record, root=run / "data", root_from_run=None).find_root(run) == run / "data"
    with pytest.raises(DataError, match=r"/nowhere/data.*--root DIR"):
        replace(record, root_from_run="gone").find_root(run)


@pytest.mark.parametrize("key", ["method", "root", "processes"])
def test_a_file_without_the_record_is_none(run, key):
    lines = (run / "config.toml").read_text().splitlines(keepends=True)
    (run / "config.toml").write_text("".join(line for line in lines if not line.startswith(key)))
    with pytest.raises(ModelError, match=r"config\.toml"):
        RunRecord.read(run)


def test_a_run_has_begun_with_its_first_checkpoint(run):
    assert read_started_run(run) == RunRecord.read(run)
    (run / "state-8.ckpt").unlink()
    assert read_started_run(run) is None


def test_equal_settings_and_a_new_folder_are_accepted(run, cfg, tmp_path):
    check_same_settings(tmp_path / "new", "cyclegan", cfg, may_change=False)
    alike = replace(cfg, batch_size=8, epochs=cfg.epochs + 1, device="cpu")  # by one process: the sum decides
    check_same_settings(run, "cyclegan", alike, may_change=False)


def test_differences_are_listed_by_their_flags_unless_they_may_change(run, cfg):
    other = replace(cfg, batch_size=4, lr=1.0)
    with pytest.raises(UsageError) as caught:
        check_same_settings(run, "cyclegan", other, may_change=False)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:3]] == ["--batch-size", "--lr"]
    assert str(run) in lines[0]
    check_same_settings(run, "cyclegan", other, may_change=True)


def test_another_method_is_never_accepted(run, cfg):
    with pytest.raises(UsageError, match="method: cyclegan in the run, cut now"):
        check_same_settings(run, "cut", cfg, may_change=True)


def test_micro_batches_decide_the_weights_only_if_images_influence_each_other(run, cfg):
    check_same_settings(run, "cyclegan", replace(cfg, batch_size=8, accumulate=2), may_change=False)
    settings = to_dict(replace(cfg, norm="batch"))
    RunRecord("cyclegan", run / "data", 1, settings).write(run)
    with pytest.raises(UsageError, match="--accumulate"):
        check_same_settings(run, "cyclegan", replace(cfg, norm="batch", accumulate=2), may_change=False)
