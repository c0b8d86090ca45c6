"""tools/ladder.py: which trainings are open, how long they are, their commands, and the lines of the file."""

import argparse
import json
import signal
from dataclasses import replace
from pathlib import Path

import ladder
import ladder_code
import ladder_recipes
import ladder_worker
import pytest
import results
from ladder_recipes import MAIN, MEASURES, PAIRS, RECIPES, SETS, STAGES, Cell
from ladder_worker import Calibration

from translate.errors import DivergedError, UsageError
from translate.methods import METHODS

CELL = Cell("earth_season", "cyclegan", "paper", 120, 0)
PAPER_PAIRS = [pair for pair in PAIRS if pair[0] in ("earth_season", "earth_map", "sneaker2boot")]


def flags(words):
    """{flag: value} of the words after `train METHOD ROOT`."""
    return dict(zip(words[3::2], words[4::2], strict=True))


@pytest.mark.parametrize("pair", PAPER_PAIRS, ids="-".join)
def test_paper_is_the_command_of_the_results_page(pair):
    """Flags and share of the decay; colour is the default of the channels, and the resident loader is what auto takes."""
    data, method = pair
    (recipe,) = (row for row in results.RECIPES if (row.data, row.method) == pair)
    published = flags(recipe.command(Path("datasets"), Path("run"), 0))
    cell = Cell(data, method, "paper", 120, 0)
    own = flags(ladder_recipes.command_words(cell, Path("datasets") / data, Path("run"), {}))
    assert own.pop("--loader") == "resident"
    length = {name: int(published.pop(name)) for name in ("--images", "--decay-images")}
    given = {"--input-channels": "3", "--output-channels": "3"} | published
    assert {name: _number(value) for name, value in own.items()} == {
        name: _number(value) for name, value in given.items()
    }
    assert ladder_recipes.length_settings(cell, length["--images"])["decay_images"] == length["--decay-images"]


def _number(text):
    try:
        return float(text)
    except ValueError:
        return text


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_a_preset_keeps_the_shape_of_its_learning_rate(method):
    """The rate falls over the same share of the training, whatever its length."""
    preset = METHODS[method].presets["quick"]
    cell = replace(CELL, method=method, recipe="quick")
    assert ladder_recipes.length_settings(cell, preset["images"]) == {
        name: preset[name] for name in ("images", "decay_images")
    }
    assert ladder_recipes.length_settings(cell, 800)["decay_images"] == 800 * preset["decay_images"] // preset["images"]


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("recipe", ["paper", "quick"])
def test_the_settings_of_each_set_are_settings_of_the_method(pair, recipe):
    cfg = ladder_recipes.resolve_settings(Cell(*pair, recipe, 120, 1))
    data = SETS[pair[0]]
    assert (cfg.load_size, cfg.crop_size, cfg.seed, cfg.threads) == (data.load_size, data.crop_size, 1, 1)
    assert cfg.input_channels == cfg.output_channels == data.channels


def test_a_recipe_that_the_version_lacks_is_named_in_one_line(monkeypatch, tmp_path):
    (tmp_path / "earth_season").mkdir()
    monkeypatch.setitem(RECIPES, "later", ladder_recipes.LadderRecipe("later"))
    monkeypatch.setitem(RECIPES, "unknown flag", ladder_recipes.LadderRecipe("quick", {"lambda_later": 1.0}))
    lines = [
        ladder_recipes.why_unavailable(replace(CELL, recipe=name), tmp_path)
        for name in ("later", "unknown flag", "paper")
    ]
    assert lines[0] == "this version's cyclegan has no preset later"
    assert lines[1].startswith("--lambda-later: unknown")
    assert lines[2] == ""
    assert "no such folder" in ladder_recipes.why_unavailable(replace(CELL, set="land_color"), tmp_path)


def keep_recipes(monkeypatch, *names):
    """Leave these recipes alone in the table, since a recipe is compared with each before it, in its order. Returns it."""
    table = {name: recipe for name, recipe in RECIPES.items() if name in names}
    monkeypatch.setattr(ladder_recipes, "RECIPES", table)
    return table


def test_recipes_of_equal_settings_are_trained_once(monkeypatch, tmp_path):
    (tmp_path / "earth_season").mkdir()
    again, other = (
        ladder_recipes.LadderRecipe("quick"),
        ladder_recipes.LadderRecipe("quick", decay_share={"cyclegan": 0.1}),
    )
    keep_recipes(monkeypatch, *MAIN).update({"again": again, "other decay": other})
    said = {
        name: ladder_recipes.why_unavailable(replace(CELL, recipe=name), tmp_path) for name in ("again", "other decay")
    }
    assert said["again"].startswith("again has the settings of ")
    assert said["other decay"] == ""


def test_what_cannot_be_measured_is_named():
    later = replace(MEASURES[0], extractor="later"), replace(MEASURES[2], metrics=("later",))
    assert [measure.why_missing for measure in later] == [
        "this version has no extractor later", "this version has no metric later",
    ]  # fmt: skip
    assert MEASURES[0].why_missing == ""


def test_a_network_that_is_not_installed_is_named_before_the_work(monkeypatch):
    def load(name):
        raise UsageError(f"--extractor {name}: not installed")

    monkeypatch.setattr(ladder.extractors, "load_extractor", load)
    assert "--extractor efficientnet-lite0: not installed" in ladder.missing_measures()


def test_each_stage_names_sets_and_recipes_of_the_tables():
    for stage in STAGES.values():
        assert {name for name, _ in stage.pairs} <= SETS.keys()
        assert set(stage.recipes) <= RECIPES.keys()
    main = list(ladder_recipes.stage_cells(STAGES["main"]))
    assert len(main) == len(set(main)) == len(PAIRS) * len(MAIN) * 3
    assert {cell.budget for cell in ladder_recipes.stage_cells(STAGES["main"], 3.0)} == {3.0}


def test_an_element_of_one_method_has_no_cells_of_the_other():
    cells = list(ladder_recipes.stage_cells(STAGES["elements"]))
    assert {cell.method for cell in cells if cell.recipe == "modern-identity"} == {"cyclegan"}
    assert {cell.method for cell in cells if cell.recipe == "modern-no-lowpass"} == {"pix2pix"}


def test_an_element_that_the_package_lacks_is_trained_by_a_plugin():
    cell = replace(CELL, recipe="modern-anchor")
    words = ladder_recipes.command_words(cell, Path("sets"), Path("run"), ladder_recipes.length_settings(cell, 800))
    assert words[:2] == ["train", "cyclegan-elements"]
    given = flags(words)
    assert given["--plugin"] == str(Path(ladder_recipes.__file__).with_name("ladder_variants.py"))
    assert (given["--lambda-anchor"], given["--images"], given["--anchor-images"]) == ("1", "800", "800")
    assert given["--decay-images"] == "400"
    network = ladder_recipes.command_words(replace(CELL, recipe="modern-vision-aided"), Path("sets"), Path("run"), {})
    assert network[1] == "cyclegan"
    assert flags(network)["--plugin"].endswith("ladder_networks.py")


def test_another_method_is_trained_in_its_place_and_compared_with_paper():
    """Its rate falls over the share of its own preset, not of that of pix2pix."""
    cell = Cell("earth_map", "pix2pix", "pix2pixhd", 120, 1)
    preset = METHODS["pix2pixhd"].presets["quick"]
    length = ladder_recipes.length_settings(cell, preset["images"])
    assert length["decay_images"] == preset["decay_images"]
    words = ladder_recipes.command_words(cell, Path("sets"), Path("run"), length)
    assert words[:2] == ["train", "pix2pixhd"]
    assert flags(words)["--preset"] == "quick"
    assert ladder.with_compared([cell]) == [replace(cell, recipe="paper"), cell]


def test_the_version_of_a_set_follows_its_images_alone(tmp_path):
    """Not the folder that it lies in, nor its notes: a clone of the sets has the same version."""
    for name in ("one", "two"):
        (tmp_path / name / "trainA").mkdir(parents=True)
        (tmp_path / name / "trainA" / "a.png").write_bytes(b"12")
    (tmp_path / "two" / "README.md").write_text("notes")
    assert ladder_code.data_version(tmp_path / "one") == ladder_code.data_version(tmp_path / "two")
    (tmp_path / "two" / "trainA" / "b.png").write_bytes(b"12")
    assert ladder_code.data_version(tmp_path / "two")["images"] == 2
    assert ladder_code.data_version(tmp_path / "one") != ladder_code.data_version(tmp_path / "two")


def test_a_share_of_the_images_follows_from_the_length():
    cell = replace(CELL, recipe="modern-inpainting")
    assert ladder_recipes.length_settings(cell, 1000) == {
        "images": 1000, "decay_images": 500, "inpainting_images": 200,
    }  # fmt: skip


def check_own_settings(name, sets):
    for data, method in (("earth_season", "cyclegan"), ("earth_map", "pix2pix")):
        (sets / data).mkdir(exist_ok=True)
        if method in RECIPES[name].methods:
            assert ladder_recipes.why_unavailable(Cell(data, method, name, 120, 0), sets) == ""
    assert ladder_recipes.resolve_settings(Cell("sneaker2boot", "cyclegan", name, 120, 0)).input_channels == 1


@pytest.mark.parametrize("name", ["modern-vision-aided", "modern-map-r1", "modern-anchor"])
def test_an_element_of_a_plugin_has_settings_of_its_own(name, monkeypatch, tmp_path):
    """None is that of a main recipe, and there are some for grey images too."""
    keep_recipes(monkeypatch, *MAIN, name)
    check_own_settings(name, tmp_path)


@pytest.mark.slow
def test_no_element_of_a_plugin_has_the_settings_of_another_recipe(tmp_path):
    """In one test, so that one process checks all recipes, once."""
    for name, recipe in RECIPES.items():
        if recipe.plugins:
            check_own_settings(name, tmp_path)


def test_recipes_that_differ_in_a_share_of_the_images_are_both_trained(monkeypatch, tmp_path):
    (tmp_path / "earth_season").mkdir()
    longer = replace(RECIPES["modern-inpainting"], length_shares={"inpainting_images": 0.5})
    keep_recipes(monkeypatch, *MAIN, "modern-inpainting").update({"longer": longer, "as long": replace(longer)})
    assert ladder_recipes.why_unavailable(replace(CELL, recipe="longer"), tmp_path) == ""
    assert "settings of longer" in ladder_recipes.why_unavailable(replace(CELL, recipe="as long"), tmp_path)


def test_the_number_of_images_fills_the_budget_with_whole_batches():
    """20 images a CPU second, and 5 seconds beside the steps: 115 seconds are 2,300 images, which is 143 batches of 16."""
    calibration = Calibration(rate=20.0, setup=5.0)
    assert calibration.images(120, 4) == 2300
    assert calibration.images(120, 16) == 143 * 16
    assert calibration.images(1, 16) == 16


def test_a_calibration_leaves_out_the_first_steps():
    """Steps of 4 images: two slow ones, then 0.2 seconds each. 10 steps take 5 s, of which 3 s are not the steps' 2 s."""
    marks = [(4, 2.0), (8, 2.8), *((4 * n, 2.8 + 0.2 * (n - 2)) for n in range(3, 11))]
    found = ladder_worker.calibrate_from(marks, seconds=5.0, count=40)
    assert (found.rate, found.setup) == (pytest.approx(20), pytest.approx(3))


def test_processor_time_counts_work_and_not_waiting():
    started = ladder_worker.cpu_seconds()
    sum(range(200_000))
    assert ladder_worker.cpu_seconds() > started


def test_the_same_metric_of_two_networks_has_two_names():
    kid = {"kid": {"value": 0.1, "error": 0.01, "interval": None}}
    named = [ladder_worker.named_estimates(kid, measure) for measure in MEASURES[:2]]
    assert named == [{"kid_el0": {"value": 0.1, "error": 0.01}}, {"kid_r50": {"value": 0.1, "error": 0.01}}]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Tasks of a worker whose trainings write a folder and a number, and how often they were called: (task, calls)."""
    calls = []

    def train(task, run, length, clock=None):
        calls.append(length)
        run.mkdir(parents=True)
        return task.get("said", [])

    monkeypatch.setattr(ladder_worker, "_train", train)
    monkeypatch.setattr(ladder_worker, "evaluate", lambda task: {"metrics": {}, "missing": {}, "references": {}})
    task = {
        "run": str(tmp_path / "run"),
        "length": {"images": 80},
        "resolved": {"lr": 0.1},
        "commit": "abc",
        "sheet": None,
    }
    return task, calls


def test_a_training_is_counted_after_its_first_step_elsewhere(trained):
    task, calls = trained
    result = ladder_worker.train(task)
    assert calls == [{"images": 1}, {"images": 80}]
    assert (result["images"], result["commit"], result["diverged"]) == (80, "abc", False)
    assert result.keys() >= {"cpu_seconds", "wall_seconds", "evaluation_seconds", "metrics"}


def test_a_training_whose_evaluation_failed_is_not_repeated(trained, monkeypatch):
    task, calls = trained
    monkeypatch.setattr(ladder_worker, "evaluate", lambda task: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ladder_worker.train(task)
    monkeypatch.setattr(ladder_worker, "evaluate", lambda task: {"metrics": {"swd": 1}})
    result = ladder_worker.train({**task, "length": {"images": 100}, "commit": "def"})
    assert (result["images"], result["commit"], result["metrics"]) == (80, "abc", {"swd": 1})
    assert len(calls) == 2


def test_a_training_with_other_settings_is_repeated(trained):
    task, calls = trained
    ladder_worker.train(task)
    assert ladder_worker.train({**task, "resolved": {"lr": 0.2}, "commit": "def"})["commit"] == "def"
    assert len(calls) == 4


def test_a_training_that_rolled_back_has_diverged(trained):
    """It went on with other random draws, and is evaluated; but it is none of those that did not diverge."""
    task, _ = trained
    result = ladder_worker.train({**task, "said": ["training diverged: …; rolled back to 64 images"]})
    assert result["diverged"] is True
    assert "metrics" in result


def test_a_training_that_diverged_is_a_result_without_metrics(trained, monkeypatch):
    def train(task, run, length, clock=None):
        run.mkdir(parents=True)
        if length["images"] > 1:
            raise DivergedError("loss g is NaN")
        return []

    monkeypatch.setattr(ladder_worker, "_train", train)
    result = ladder_worker.train(trained[0])
    assert (result["diverged"], result["divergence"]) == (True, "loss g is NaN")
    assert "metrics" not in result


def line(cell, cpu="CPU X", **values):
    return {**vars(cell), "cpu": cpu, "diverged": False, "metrics": {}, **values}


def test_cells_with_a_line_of_this_processor_are_passed_over():
    cells = [replace(CELL, seed=seed) for seed in range(3)]
    lines = [line(cells[0]), line(cells[2], error="out of memory")]
    assert ladder.open_cells(cells, lines, "CPU X") == [cells[1]]
    assert ladder.open_cells(cells, lines, "CPU X", retry=True) == [cells[1], cells[2]]
    assert ladder.open_cells(cells, [*lines, line(cells[2])], "CPU X", retry=True) == [cells[1]]


def test_cells_are_passed_over_that_another_processor_has_with_all_that_they_are_compared_with():
    """`quick` has the settings of `modern` there, so that `paper` and `modern` are compared alone."""
    paper, modern, change = CELL, replace(CELL, recipe="modern"), replace(CELL, recipe="modern-lsgan")
    assert ladder.open_cells([paper, modern], [line(paper, "CPU Y"), line(modern, "CPU Y")], "CPU X") == []
    assert ladder.open_cells([paper, modern], [line(paper, "CPU Y"), line(modern, "CPU X")], "CPU X") == [paper]
    assert ladder.open_cells([change], [line(change, "CPU Y"), line(modern, "CPU Y")], "CPU X") == []
    assert ladder.open_cells([change], [line(change, "CPU Y"), line(modern, "CPU X")], "CPU X") == [change]


def test_modern_is_trained_again_beside_a_single_change_on_another_machine():
    """It is finished on CPU Y, beside `paper`; the change is trained on CPU X, where nothing is yet."""
    paper, modern, change = CELL, replace(CELL, recipe="modern"), replace(CELL, recipe="modern-lsgan")
    lines = [line(paper, "CPU Y"), line(modern, "CPU Y")]
    assert ladder.open_cells([paper, modern, change], lines, "CPU X") == [modern, change]
    assert ladder.open_cells([modern, change], [*lines, line(change, "CPU Y")], "CPU X") == []
    assert ladder.open_cells([modern, change], [*lines, line(modern, "CPU X")], "CPU X") == [change]


def test_a_single_change_is_trained_beside_modern():
    modern, change = replace(CELL, recipe="modern"), replace(CELL, recipe="modern-lsgan")
    assert ladder.with_compared([change, replace(CELL, recipe="modern-tanh")]) == [
        modern, change, replace(CELL, recipe="modern-tanh"),
    ]  # fmt: skip
    assert ladder.with_compared([CELL]) == [CELL]


def test_lines_survive_their_file(tmp_path):
    """The budget is the same cell as an int and as a float."""
    path = tmp_path / "quality.jsonl"
    ladder.append_line(path, line(CELL, metrics={"swd": {"value": 0.123456789, "error": None}}))
    ladder.append_line(path, line(replace(CELL, budget=3.5)))
    first, second = ladder.read_lines(path)
    assert first["metrics"]["swd"] == {"value": 0.123457, "error": None}
    assert ladder.open_cells([replace(CELL, budget=120.0), replace(CELL, budget=3.5)], [first, second], "CPU X") == []


@pytest.mark.parametrize("text", ["{", "3"])
def test_a_damaged_line_is_named(tmp_path, text):
    path = tmp_path / "quality.jsonl"
    path.write_text(f"{json.dumps(line(CELL))}\n{text}\n")
    with pytest.raises(UsageError, match=r"quality.jsonl, line 2: .*; remove the line"):
        ladder.read_lines(path)


def test_only_chooses_by_the_values_of_fields():
    wanted = ladder.parse_only("set=earth_season,set=earth_map,seed=0,budget=120")
    others = [replace(CELL, seed=1), replace(CELL, set="land_color"), replace(CELL, budget=600)]
    assert ladder.is_wanted(CELL, wanted)
    assert ladder.is_wanted(replace(CELL, set="earth_map", budget=120.0), wanted)
    assert not any(ladder.is_wanted(cell, wanted) for cell in others)
    for text in ("sets=earth_map", "seed", "seed="):
        with pytest.raises(UsageError, match=text):
            ladder.parse_only(text)


@pytest.fixture
def climb(tmp_path, monkeypatch):
    """A ladder whose workers answer at once: `answers` by task."""
    (tmp_path / "sets" / "earth_season").mkdir(parents=True)
    args = argparse.Namespace(
        sets=tmp_path / "sets", work=tmp_path / "work", keep=None, out=tmp_path / "quality.jsonl", jobs=1, retry=False
    )
    climb = ladder.Ladder(args, "CPU X", [], "abc", "def")
    answers = {
        "calibrate": {"rate": 20.0, "setup": 0.0},
        "train": {
            "cpu_seconds": 119.0, "wall_seconds": 130.0, "diverged": False, "metrics": {"swd": {"value": 0.1, "error": 0.01}},
            "missing": {}, "references": {"copying": {"swd": {"value": 0.2, "error": 0.02}}}, "evaluation_seconds": 30.0,
        },
    }  # fmt: skip
    climb.asked = []

    def work(self, task, log):
        climb.asked.append(task)
        images = {"images": task["length"]["images"]} if task["task"] == "train" else {}
        return {**images, **answers[task["task"]]}

    monkeypatch.setattr(ladder.Ladder, "_work", work)
    climb.answers = answers
    return climb


def test_a_cell_becomes_a_line_and_a_line_of_each_reference(climb):
    climb.run(CELL)
    copying, own = ladder.read_lines(climb.args.out)
    assert (copying["recipe"], copying["seed"], copying["metrics"]["swd"]["value"]) == ("copying", None, 0.2)
    assert own | vars(CELL) == own
    assert (own["images"], own["cpu"], own["commit"], own["threads"]) == (2400, "CPU X", "abc", 1)
    assert climb.asked[1]["length"] == {"images": 2400, "decay_images": 1680}
    assert ladder.open_cells([CELL], climb.lines, "CPU X") == []


def test_a_recipe_is_measured_once_for_all_seeds(climb):
    for seed in range(3):
        climb.run(replace(CELL, seed=seed))
    assert [task["task"] for task in climb.asked] == ["calibrate", "train", "train", "train"]
    climb.args.jobs = 2  # as fast as beside another one: not known
    climb.run(replace(CELL, seed=3))
    assert climb.asked[-2]["task"] == "calibrate"


def test_a_plugin_that_changes_is_measured_and_trained_anew(climb, monkeypatch, tmp_path):
    """The package's hash does not tell: plug-ins are files of tools/."""
    file = tmp_path / "plugin.py"
    monkeypatch.setattr(ladder_recipes.LadderRecipe, "plugin_files", property(lambda self: [file] * bool(self.plugins)))
    monkeypatch.setattr(ladder_recipes, "load_plugin", lambda file: None)
    cell = replace(CELL, recipe="modern-beta1-0")
    monkeypatch.setattr(ladder, "resolve_settings", lambda cell: METHODS["cyclegan"].Config())
    for seed, text in enumerate(("first", "first", "second")):
        file.write_text(text)
        climb.run(replace(cell, seed=seed))
    assert [task["task"] for task in climb.asked] == ["calibrate", "train", "train", "calibrate", "train"]
    resolved = [task["resolved"]["plugins"] for task in climb.asked if task["task"] == "train"]
    assert resolved[0] == resolved[1] != resolved[2]
    assert climb.asked[0]["method"] == "cyclegan-elements"
    climb.run(CELL)
    assert "plugins" not in climb.asked[-1]["resolved"] and climb.asked[-1]["plugins"] == []


def test_a_speed_is_measured_with_the_shares_of_the_length(climb, monkeypatch):
    """A training whose first fifth is another one is as fast as both together."""
    climb.run(replace(CELL, recipe="modern-inpainting"))
    task = climb.asked[0]
    lengths = []

    def train(task, run, length, clock=None):
        lengths.append(length)
        if clock is not None:
            clock.marks = [(4 * n, 1.0 * n) for n in range(1, 13)]

    monkeypatch.setattr(ladder_worker, "_train", train)
    ladder_worker.calibrate(task)
    assert lengths == [{"images": 48}, {"images": 60, "inpainting_images": 12}]


def test_references_stand_once_and_grow_with_new_metrics(climb):
    climb.run(CELL)
    climb.run(replace(CELL, seed=1))
    assert [each["recipe"] for each in climb.lines].count("copying") == 1
    climb.answers["train"]["references"] = {"copying": {"c2st": {"value": 0.9, "error": 0.02}}}
    climb.run(replace(CELL, seed=2))
    assert climb.lines[-2]["metrics"].keys() == {"swd", "c2st"}


def test_a_cell_that_fails_is_a_line_with_the_error(climb):
    climb.answers["train"] = {"error": "out of memory"}
    climb.run(CELL)
    assert climb.lines[-1]["error"] == "out of memory"
    climb.answers["calibrate"] = {"error": "no images"}
    climb.run(replace(CELL, recipe="quick"))
    assert climb.lines[-1]["error"] == "no images"


def test_the_forecast_is_the_sum_over_the_jobs(climb):
    """Two seeds: 120 s of training, 30 s of evaluation as in the line, and a start each; the calibration is known."""
    climb.run(CELL)
    cells = [replace(CELL, seed=1), replace(CELL, seed=2)]
    assert ladder.forecast(cells, climb) == pytest.approx(2 * (120 + 30 + ladder.START_SECONDS))
    unknown = [replace(cell, recipe="quick") for cell in cells]
    extra = ladder.CALIBRATION_SECONDS + 2 * ladder.START_SECONDS
    assert ladder.forecast(unknown, climb) == pytest.approx(2 * (120 + 30 + ladder.START_SECONDS) + extra)


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """A ladder whose worker is a script of one's own: `worker(source)` returns it."""
    monkeypatch.setattr(ladder, "ROOT", tmp_path)
    (tmp_path / "tools").mkdir()
    (tmp_path / "sets" / "earth_season").mkdir(parents=True)
    args = argparse.Namespace(
        sets=tmp_path / "sets", work=tmp_path / "work", keep=None, out=tmp_path / "quality.jsonl", jobs=1
    )

    def build(source):
        (tmp_path / "tools" / "ladder_worker.py").write_text(source)
        return ladder.Ladder(args, "CPU X", [], "abc", "def")

    return build


def test_the_result_of_a_worker_is_its_last_line(worker, tmp_path):
    climb = worker("import sys; print('a library speaks'); print(sys.argv[1])")
    assert climb._work({"task": "train"}, tmp_path / "log") == {"task": "train"}


def test_a_worker_that_crashes_is_a_line_with_its_last_words(worker):
    worker("import sys; sys.exit('Killed by a test')").run(CELL)
    (failed,) = ladder.read_lines(worker("").args.out)
    assert failed["error"].startswith("exit code 1: Killed by a test")


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "not yet known"])
def test_a_stopped_worker_is_ended_and_leaves_its_cell_open(worker, is_known):
    """The signal comes as soon as the process is known, or before, so that nothing waits for its minute."""
    climb = worker("import time; time.sleep(60)")
    started = []

    class Processes(set):
        def add(self, process):
            started.append(process)
            if is_known:
                super().add(process)
            climb.stop()

    climb.processes = Processes()
    climb.run(CELL)
    assert started[0].returncode == -signal.SIGTERM
    assert not climb.args.out.exists()
