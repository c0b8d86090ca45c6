"""Helpers of the tests of `translate data check`: folders of images, and reports on them."""

from translate import api, cli

from ..helpers import smooth_image


def write_images(root, *names, **size):
    """Write images of different contents, each decided by the name, and return the folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        smooth_image(list(name.encode("utf-8", "surrogateescape")), **size).save(path)
    return root


def write_unpaired(root, a=3, b=3):
    """Write trainA and trainB of so many images, and return the folder."""
    return write_images(root, *(f"trainA/a{i}.png" for i in range(a)), *(f"trainB/b{i}.png" for i in range(b)))


def report_of(root, **settings):
    """Return the report on a data folder, by a small crop."""
    return api.check_data(root, **{"crop_size": 32, **settings}, say=lambda line: None)


def run_data_check(capfd, *arguments):
    """Return exit code, stdout and stderr of the command."""
    code = cli.run(["data", "check", *map(str, arguments)])
    return code, *capfd.readouterr()
