"""Validation: images held out, the best model, and when training should stop."""

import pytest

from translate.data.split import ImageRef, Split
from translate.errors import DataError
from translate.methods.cyclegan import CycleGAN
from translate.run_folder import BEST_MODEL
from translate.training.ema import EMA
from translate.training.validation import Validation, ValidationDeferred


def refs(folder, names):
    return tuple(ImageRef(folder / f"{name}.png") for name in names)


class TestHoldOut:
    NAMES = [f"{n:03d}" for n in range(40)]

    def test_a_share_of_the_names_goes_in_both_domains(self, tmp_path):
        split = Split(refs(tmp_path / "A", self.NAMES), refs(tmp_path / "B", self.NAMES[:20]), paired=False)
        rest, aside = split.hold_out(0.2)
        names = [{ref.path.stem for ref in side} for side in (rest.a, aside.a, rest.b, aside.b)]
        assert len(aside.a) == 8
        assert names[0] | names[1] == set(self.NAMES)
        assert not (names[0] & names[1] or names[2] & names[1] or names[3] & names[0])

    def test_pairs_stay_together(self, tmp_path):
        split = Split(refs(tmp_path / "A", self.NAMES), refs(tmp_path / "B", self.NAMES), paired=True)
        for part in split.hold_out(0.1):
            assert [a.path.stem for a in part.a] == [b.path.stem for b in part.b]

    def test_one_more_file_moves_few_others(self, tmp_path):
        def aside(names):
            split = Split(refs(tmp_path / "A", names), refs(tmp_path / "B", names), paired=True)
            return {ref.path.stem for ref in split.hold_out(0.25)[1].a}

        assert len(aside(self.NAMES) ^ aside([*self.NAMES, "new"])) <= 2

    def test_a_domain_without_images_is_refused(self, tmp_path):
        split = Split(refs(tmp_path / "A", ["x"]), refs(tmp_path / "B", ["y"]), paired=False)
        with pytest.raises(DataError, match=r"--hold-out 0\.5"):
            split.hold_out(0.5)

    def test_a_subset_is_spread_evenly(self, tmp_path):
        split = Split(refs(tmp_path / "A", self.NAMES), refs(tmp_path / "B", self.NAMES), paired=True).subsample(4)
        assert [ref.path.stem for ref in split.a] == ["000", "010", "020", "030"] == [b.path.stem for b in split.b]


class ListedMetrics:
    """Metrics of a list of values, one for each validation."""

    best_by = "score"

    def __init__(self, values, higher=False):
        self.values, self.higher_is_better = iter(values), higher

    def __call__(self, model, is_stopping):
        assert (model / "weights").read_text() == "now"
        if is_stopping():
            raise ValidationDeferred
        value = next(self.values)
        if isinstance(value, Exception):
            raise value
        (model / "metrics.json").write_text(str(value))
        return {"score": value}


def validation(tmp_path, values, *, higher=False, patience=None, said=None):
    def write(place):
        (place / "weights").write_text("now")

    averages = EMA(CycleGAN.on_meta(CycleGAN.Config()), (), 0)
    say = (lambda line: None) if said is None else said.append
    return Validation(ListedMetrics(values, higher), tmp_path, write, averages, patience, say)


class TestBestModel:
    @pytest.mark.parametrize(("higher", "best", "at"), [(False, 1.0, 3), (True, 5.0, 2)])
    def test_the_best_is_kept(self, higher, best, at, tmp_path):
        check = validation(tmp_path, [3.0, 5.0, 1.0, 1.0, 2.0], higher=higher)
        for images in range(1, 6):
            figures = check(images)
            assert set(figures) == {"val/score", "time/validation_seconds"}
        assert (check.best, check.best_at) == (best, at)
        assert (tmp_path / BEST_MODEL / "metrics.json").read_text() == str(best)
        assert [path.name for path in tmp_path.iterdir()] == [BEST_MODEL]

    def test_it_ends_after_so_many_that_were_no_better(self, tmp_path):
        check = validation(tmp_path, [3.0, 3.0, 2.0, 4.0, 4.0, 4.0], patience=3)
        ends = []
        for images in range(6):
            check(images)
            ends.append(check.should_stop)
        assert ends == [False, False, False, False, False, True]

    def test_its_state_goes_on(self, tmp_path):
        first, second = (validation(tmp_path, values) for values in ([3.0, 4.0], [3.5, 2.0]))
        for images in (1, 2):
            first(images)
        second.load_state(first.state())
        second(3)
        assert (second.best, second.best_at, second.misses) == (3.0, 1, 2)
        second(4)
        assert (second.best, second.best_at, second.misses) == (2.0, 4, 0)

    def test_another_figure_begins_anew(self, tmp_path):
        check = validation(tmp_path, [])
        check.load_state({"chosen": "other", "best": 0.0, "best_at": 7, "misses": 2})
        assert (check.best, check.misses) == (None, 0)

    def test_a_figure_that_cannot_be_had_is_said_once(self, tmp_path):
        said = []
        check = validation(tmp_path, [DataError("too few"), DataError("too few"), 1.0], said=said)
        assert set(check(1)) == {"time/validation_seconds"}
        check(2)
        assert said == ["warning: no validation after 1 images: too few"]
        check(3)
        assert check.best == 1.0

    def test_who_asks_for_the_end_does_not_wait_and_it_is_made_up_for(self, tmp_path):
        check, again = validation(tmp_path, [1.0]), validation(tmp_path, [2.0])
        assert set(check(1, lambda: True)) == {"time/validation_seconds"}
        again.load_state(check.state())
        assert again.is_deferred
        again(1)
        assert (again.best, again.is_deferred) == (2.0, False)
