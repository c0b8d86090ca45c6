import signal

import pytest

from translate import errors

CODES = {
    errors.TranslateError: 1, errors.UsageError: 2, errors.DataError: 3, errors.ModelError: 4, errors.BusyError: 5,
    errors.StorageError: 6, errors.DivergedError: 7, errors.ProcessLostError: 1,
}  # fmt: skip


@pytest.mark.parametrize(("error", "code"), CODES.items(), ids=lambda part: getattr(part, "__name__", ""))
def test_each_error_has_its_exit_code(error, code):
    raised = error("photos/: no such folder")
    assert (raised.exit_code, str(raised)) == (code, "photos/: no such folder")
    assert isinstance(raised, errors.TranslateError)


def test_a_wrong_setting_is_a_value_error_to_python():
    assert issubclass(errors.UsageError, ValueError)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_has_the_exit_code_of_its_signal(number, code):
    assert errors.Interrupted("stopped", number).exit_code == code
