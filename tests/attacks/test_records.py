"""Records that others wrote or changed: each ends in a result or in one clear line, and never steers the terminal."""

import copy
import json
import math
import shutil
from pathlib import Path

import pytest
import tomli_w

import translate
from translate import api, cli
from translate.api import run_record, run_status
from translate.catalog import cards, download
from translate.cli.status import print_status
from translate.conversion import sampling
from translate.conversion.manifest import Manifest
from translate.conversion.options import ConversionOptions
from translate.conversion.report import conversion_page
from translate.conversion.sampling import ImageSampler, SamplingOptions
from translate.errors import ModelError, UsageError
from translate.evaluation import protocol
from translate.trained import translator
from translate.trained.folder import read_model_folder
from translate.trained.model_info import ModelInfo

from ..helpers import write_run_folder

KEPT = Path(__file__).parents[1] / "fixtures" / "v0_1"

ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e"
ODD = [None, True, -1, math.nan, 10**400, "", ESCAPE + "\ud800\x00", [[1]], {"a": {}}]
"""Values of every kind that a record may hold in place of another."""


def variants(record):
    """Copies of a record with one value, at any depth, left out or replaced by an odd one."""
    for path in places(record):
        *way, key = path
        for odd in (copy, *ODD):
            changed = copy.deepcopy(record)
            inside = changed
            for step in way:
                inside = inside[step]
            if odd is copy:
                del inside[key]
            else:
                inside[key] = odd
            yield changed


def places(value, path=()):
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def harmless(text):
    """Nothing in it steers a terminal or cannot be printed."""
    return all(char.isprintable() or char == "\n" for char in text) and text.encode()


@pytest.mark.parametrize(
    "name", ["cyclegan", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dcgan", "stargan"))]
)
def test_a_description_of_any_content_is_shown_or_refused(tmp_path, capsys, name):
    """By the status of a run, which builds no network: it must be at least as strict as what it prints."""
    source = KEPT / ("runs/cyclegan/model" if name == "cyclegan" else f"models/{name}")
    write_run_folder(tmp_path, [])
    shutil.copytree(source, tmp_path / "model")
    known = json.loads((source / "config.json").read_text()) | {"imported_from": {"a.pth": "0"}, "direction": "a2b"}
    refused = shown = 0
    for record in variants(known):
        (tmp_path / "model" / "config.json").write_text(json.dumps(record))
        try:
            described = run_status.status(tmp_path)
        except ModelError as e:
            refused += 1
            assert "\n" not in str(e)
            assert harmless(str(e))
        else:
            shown += 1
            print_status(described)
            assert ModelInfo.read(tmp_path / "model" / "config.json").title.isprintable()
    assert min(refused, shown) > 20
    assert harmless(capsys.readouterr().out)


@pytest.mark.slow
def test_a_description_of_any_content_is_loaded_or_refused(tmp_path):
    """With the networks: loaded only where all that conversion relies on is as in the networks."""
    shutil.copytree(KEPT / "models/pix2pix", tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    known = json.loads(path.read_text())
    kept = {key: known[key] for key in ("method", "directions", "size", "domains", "norm_statistics", "dropout")}
    for record in variants(kept):
        path.write_text(json.dumps({**record, "networks": known["networks"]}))
        try:
            info = read_model_folder(tmp_path / "model").info
        except ModelError as e:
            assert "\n" not in str(e)
        else:
            assert (info.method, info.size, info.domains) == (known["method"], known["size"], known["domains"])
            assert info.directions.items() <= known["directions"].items()


@pytest.mark.parametrize("key", ["g_width", "generator", "norm", "dropout", "norm_statistics", "output_channels"])
def test_a_network_setting_of_any_content_is_loaded_or_refused(tmp_path, key):
    shutil.copytree(KEPT / "models/pix2pix", tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    known = json.loads(path.read_text())
    for record in variants({key: known["networks"][key]}):
        path.write_text(json.dumps({**known, "networks": {**known["networks"], **record}}))
        try:
            read_model_folder(tmp_path / "model")
        except ModelError as e:
            assert "\n" not in str(e)


RUN = {"method": "cyclegan", "root": "/data", "processes": 1, "images": 400, "lr": 0.001, "flip": True}


def toml_variants():
    """Those of a run's record that TOML can hold."""
    for record in variants(RUN):
        try:
            yield tomli_w.dumps(record)
        except (TypeError, ValueError, OverflowError):
            continue


def test_a_run_of_any_settings_has_a_status_and_a_record_or_is_refused(tmp_path, capsys):
    write_run_folder(tmp_path, [{"images": 5}])
    (tmp_path / "state-5.ckpt").write_bytes(b"")
    count = 0
    for text in toml_variants():
        (tmp_path / "config.toml").write_bytes(text.encode("utf-8", "replace"))
        count += 1
        for use in (
            lambda: print_status(api.status(tmp_path)),
            lambda: run_record.RunRecord.read(tmp_path).resolve(tmp_path),
        ):
            try:
                use()
            except ModelError as e:
                assert str(tmp_path) in str(e)
                assert harmless(str(e))
    assert count > 50
    assert harmless(capsys.readouterr().out)


def test_log_points_of_any_content_are_shown_or_left_out(tmp_path, capsys):
    point = {
        "images": 30, "epoch": 1, "progress": 0.5, "loss/g/adv": 1.0, "time/images_per_second": 2.0, "memory/gib": 1.0,
        "watch/variety_b": 1.0, "advice": ["fine"],
    }  # fmt: skip
    named = [{**point, f"loss/{ESCAPE}": 1.0}]
    for changed in [*variants(point), *named]:
        write_run_folder(tmp_path, [{"images": 10}, changed], settings='method = "cyclegan"\nroot = "/data"\n')
        print_status(run_status.status(tmp_path))
    assert harmless(capsys.readouterr().out)


@pytest.mark.slow
def test_manifest_lines_of_any_content_stop_no_conversion(tmp_path):
    """A line of another kind is none of ours: what it says is done is converted again."""
    model = translate.load(KEPT / "models/pix2pix", device="cpu", say=lambda line: None)
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    shutil.copy(KEPT / "conversion/in/grey.png", source / "grey.png")
    translate.convert(model, source, out, say=lambda line: None)
    (line,) = map(json.loads, (out / "manifest.jsonl").read_text().splitlines())
    options = ConversionOptions()
    for changed in variants({**line, "notices": ["one"], "error": None}):
        (out / "manifest.jsonl").write_text(json.dumps(changed) + "\n")
        manifest = Manifest(out, model.sha256, options.output_settings(model))
        (item,) = manifest.plan(["grey.png"], "keep")
        assert item.output == "grey.png"
        manifest.select_undone([item], source)
        outcome = conversion_page._outcome(manifest, [item])
        assert all(isinstance(notice, str) for notice in outcome.notices)
    (out / "manifest.jsonl").write_text("[" * 100_000 + "\n" + json.dumps(line) + "\n")
    assert translate.convert(model, source, out, say=lambda line: None).skipped == 1


def test_results_of_any_content_are_compared_or_refused(tmp_path):
    figures = {"l1": {"value": 3.0, "error": 0.5, "interval": [2.0, 4.0]}}
    known = {"metrics": figures, "protocol": {"size": 32, "code": "x", "settings": {"l1": {"a": 1}}}}
    good = tmp_path / "good.json"
    good.write_text(json.dumps(known))
    for record in variants(known):
        (tmp_path / "odd.json").write_text(json.dumps(record))
        try:
            first, second = (protocol.read_results(path) for path in (good, tmp_path / "odd.json"))
            protocol.compare_results(first, second, ("good", "odd"))
        except UsageError:
            continue


def test_a_metric_of_another_version_is_compared_without_a_verdict(tmp_path, capsys):
    paths = [tmp_path / "1.json", tmp_path / "2.json"]
    for value, path in enumerate(paths):
        metrics = {f"new{ESCAPE}": {"value": value, "error": 0.1}}
        path.write_text(json.dumps({"metrics": metrics, "protocol": {"settings": {}}}))
    assert cli.run(["evaluate", "--compare", *map(str, paths)]) == 0
    assert harmless(capsys.readouterr().out)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "[]", "\x00", '{"model": {}}'])
def test_a_record_of_samples_of_any_content_is_of_other_samples(tmp_path, text):
    model = ImageSampler(translator.read_model(KEPT / "models/dcgan"), translator.devices.resolve_device("cpu"))
    (tmp_path / "samples.json").write_text(text)
    with pytest.raises(UsageError, match="other"):
        sampling.sample_images(model, tmp_path, SamplingOptions(count=1))


def test_a_note_of_a_download_of_any_content_is_used_or_ignored(tmp_path):
    part = download._PartialFile(tmp_path / "x.zip")
    known = {"url": "https://example.org/x.zip", "etag": '"a"', "modified": None, "total": 5}
    for record in [*variants(known), [], None, "text"]:
        part.note_path.write_text(json.dumps(record))
        note = part.note()
        assert note is None or isinstance(note.validator(), str | None)
    part.note_path.write_text("[" * 100_000)
    assert part.note() is None


@pytest.mark.parametrize("text", [f"a = {'[' * 5000}", f"a = {'9' * 5000}", "files = [1]", 'counts = {"a" = true}'])
def test_cards_of_any_content_are_refused_by_name(tmp_path, text):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(UsageError, match=r"x\.toml"):
        cards.read_card(tmp_path / "x.toml")


def test_a_card_with_an_address_that_is_none_is_refused(tmp_path):
    card = (Path(__file__).parents[2] / "datasets" / "earth_season.toml").read_text()
    lines = ["homepage = 'http://[x'" if line.startswith("homepage") else line for line in card.splitlines()]
    (tmp_path / "x.toml").write_text("\n".join(lines))
    with pytest.raises(UsageError, match="must be an http or https address"):
        cards.read_card(tmp_path / "x.toml")


@pytest.mark.parametrize(
    "words",
    [
        ["convert", f"{ESCAPE}x.pth", "in", "out"],
        ["status", ESCAPE],
        [ESCAPE],
        ["train", "cyclegan", ESCAPE, f"--{ESCAPE}"],
        ["evaluate", "--compare", ESCAPE, ESCAPE],
    ],
)
def test_error_lines_do_not_steer_the_terminal(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    assert cli.run(words) in (2, 3, 4)
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert harmless(out + err)


def test_advice_does_not_steer_the_terminal(capsys):
    api.models.say_to_stderr(f"{ESCAPE} one\ntwo")
    assert capsys.readouterr().err == "\\x1b]0;owned\\x07\\x1b[2J\\u202e one\ntwo\n"
