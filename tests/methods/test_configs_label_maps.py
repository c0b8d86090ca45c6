"""Settings of label maps: what follows from what, and what does not go together."""

import pytest

from translate import config, images
from translate.errors import UsageError
from translate.images import LabelFormat
from translate.methods import METHODS
from translate.methods.configs import LabelMapConfig, label_format
from translate.nn.networks import find

TEXT = "0,0,0,0,sky\n1,255,0,0\n4,0,255,0,tree\n255,1,1,1,none\n"
TAKE_LABELS = [name for name, cls in METHODS.items() if issubclass(cls.Config, LabelMapConfig)]


def resolve(name="pix2pix", **flags):
    cls = METHODS[name]
    settings = {"crop_size": 32, "g_width": 2, "d_width": 2, **flags}
    return cls.resolve_config(config.resolve(cls.Config, (config.FLAGS, settings)))


@pytest.fixture
def palette(tmp_path):
    path = tmp_path / "palette.txt"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("name", TAKE_LABELS)
@pytest.mark.parametrize(("unknown", "edges"), [(None, None), (True, False), (True, True)])
def test_channels_follow_from_the_classes(name, unknown, edges):
    cfg = resolve(name, label_count=7, unknown_label=unknown, instance_edges=edges)
    assert cfg.input_channels == 7 + bool(unknown) + bool(edges)
    method = METHODS[name].on_meta(cfg)
    assert method.domains["a"].labels == LabelFormat(7, 255, bool(unknown), bool(edges))
    assert method.domains["a"].channels == cfg.input_channels
    assert method.domains["b"].labels is None


def test_without_label_flags_domain_a_has_images():
    cfg = resolve()
    assert label_format(cfg) is None
    assert cfg.input_channels == 3
    assert "ignore_index" not in config.to_dict(cfg)


def test_the_palette_is_kept_as_its_text(palette):
    """A run does not depend on the file, and its own settings are those that it is resumed with."""
    cfg = resolve(palette=str(palette))
    assert (cfg.label_count, cfg.palette) == (5, TEXT)
    palette.unlink()
    assert resolve(**{name: getattr(cfg, name) for name in ("label_count", "palette")}) == cfg
    assert label_format(cfg).palette == images.parse_palette(TEXT)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"ignore_index": 3}, "--ignore-index: is for label maps"),
        ({"label_count": 5, "ignore_index": 3}, "--ignore-index 3: is one of the 5 classes"),
        ({"label_count": 5, "palette": "missing.txt"}, "--palette missing.txt: cannot be read"),
        ({"label_count": 4, "palette": TEXT}, "--label-count 4: the palette has a class 4"),
        ({"palette": "0,0,0\n1,1,1,1\n"}, "--palette: row 1"),
        ({"label_count": 5, "range_a": "0:4"}, "--range-a 0:4: label maps have classes"),
        ({"label_count": 5, "input_channels": 4}, "--input-channels 4: follows from the 5 classes"),
        ({"label_count": 5, "residual": True, "generator": "resize_unet_3levels_2blocks"}, "--residual on"),
    ],
)
def test_settings_that_do_not_go_together_are_named(flags, words):
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        resolve(**flags)
    assert words in str(caught.value)


def test_differences_of_palettes_are_one_line(palette):
    old, new = resolve(palette=str(palette)), resolve(label_count=5, augment="flip")
    lines = config.differences(old, new)
    assert all("\n" not in line for line in lines)
    assert "--augment:  in the run, flip now" in lines


def test_labelled_generators_are_built_with_the_channels():
    assert find("unet_32") is not None
    method = METHODS["pix2pix"].on_meta(resolve(label_count=9, unknown_label=True))
    assert next(method.g.parameters()).shape[1] == 10
    assert next(method.d.parameters()).shape[1] == 13
