"""Instance maps found by the names of their label maps."""

import pytest

from translate.data import layouts
from translate.data.instances import attach_instances, has_instances
from translate.errors import DataError

from ..helpers import write_smooth_image


@pytest.fixture
def root(tmp_path):
    for folder, ending in (("trainA", "_labelIds"), ("trainB", "_leftImg"), ("train_inst", "_instanceIds")):
        for name in ("x/1", "x/2", "y/1"):
            write_smooth_image(tmp_path / folder / f"{name}{ending}.png", 8, 8, 0)
    return tmp_path


def test_each_label_map_gets_the_file_of_its_name(root):
    """As the names of Cityscapes do, theirs differ in one ending; the reading direction decides which folder is a."""
    for direction, ending in (("a2b", "_labelIds"), ("b2a", "_leftImg")):
        split = layouts.find_split(root, "paired", direction=direction)
        found = attach_instances(split, root, "train", direction)
        for ref in found.a:
            name = ref.path.relative_to(ref.path.parents[1]).as_posix().removesuffix(f"{ending}.png")
            assert ref.instances == root / "train_inst" / f"{name}_instanceIds.png"
        assert all(ref.instances is None for ref in found.b)
        assert found.fingerprint() != split.fingerprint()
        assert all(ref.instances for part in found.hold_out(0.4) for ref in part.a)
    assert has_instances(root)


def test_label_maps_without_an_instance_map_are_named(root):
    (root / "train_inst" / "y" / "1_instanceIds.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 label maps: 1_labelIds\.png"):
        attach_instances(layouts.find_split(root, "paired"), root, "train")
    with pytest.raises(DataError, match="val_inst: no such folder"):
        attach_instances(layouts.find_split(root, "paired"), root, "val")
