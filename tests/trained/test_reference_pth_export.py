"""Export to the reference's own format: import after export is the identity."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import translate
from translate.errors import UsageError
from translate.trained import find

from .reference_files import (
    discriminator,
    equal,
    generator,
    in_precision,
    load,
    noise,
    part,
    randomised,
    same,
    save,
    save_all,
)

Draw = Callable[..., np.ndarray]
Weights = Mapping[str, Tensor]


@pytest.mark.parametrize(
    ("name", "norm", "dropout", "channels", "dtype"),
    [
        ("resnet_2blocks", "instance", False, (3, 3), torch.float32),
        ("resnet_1blocks", "batch", True, (1, 3), torch.float64),
        ("resnet_1blocks", "none", True, (4, 2), torch.float16),
        ("unet_32", "batch", False, (3, 3), torch.bfloat16),
        ("unet_32", "batch", True, (3, 3), torch.float32),
        ("unet_64", "instance", True, (3, 1), torch.float64),
    ],
)
def test_import_after_export_is_the_identity(
    tmp_path: Path, name: str, norm: str, dropout: bool, channels: tuple[int, int], dtype: torch.dtype
) -> None:
    """Every tensor bit for bit, its type and its name; from the folder and from the file alike."""
    net = in_precision(generator(name, norm, dropout, channels), dtype)
    state = net.state_dict()
    first = save(tmp_path / "latest_net_G.pth", net)
    imported = translate.import_weights(first, tmp_path / "model", say=lambda line: None)
    for source, target in ((tmp_path / "model", "from_folder.pth"), (first, "from_file.pth")):
        assert translate.export(source, tmp_path / target, say=lambda line: None) == tmp_path / target
        written = torch.load(tmp_path / target, weights_only=True)
        assert type(written) is dict
        assert same(written, state)
    again = translate.import_weights(tmp_path / "from_folder.pth", tmp_path / "again", say=lambda line: None)
    assert same(again.generators(), imported.generators())
    kept = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("model", "again")]
    assert kept[0] == kept[1], "equal weights are equal bytes"


def test_discriminators_are_kept_bit_for_bit(tmp_path: Path) -> None:
    nets = {"D_A": discriminator("n_layers", layers=2), "D_B": discriminator("n_layers", layers=2, key=1)}
    save_all(tmp_path / "ref", **{name: in_precision(net, torch.float64) for name, net in nets.items()})
    translate.import_weights(tmp_path / "ref", tmp_path / "model")
    kept = find.read_model(tmp_path / "model").discriminators
    assert equal(part(kept, "d_b"), nets["D_A"].state_dict())
    assert equal(part(kept, "d_a"), nets["D_B"].state_dict())


def test_a_trained_model_is_exported_in_both_directions(tmp_path: Path, cyclegan_folder: Path) -> None:
    kept = load_file(cyclegan_folder / "model.safetensors")
    for to, attribute in (("b", "g_ab"), ("a", "g_ba")):
        said: list[str] = []
        path = translate.export(cyclegan_folder, tmp_path / to / "latest_net_G.pth", to=to, say=said.append)
        assert equal(torch.load(path, weights_only=True), part(kept, attribute))
        assert torch.equal(load(path)(noise()), load(cyclegan_folder)(noise(), to=to))
        assert ["resnet_3blocks" in line and "resnet_9blocks" in line for line in said] == [True]
    with pytest.raises(UsageError, match="--to c"):
        translate.export(cyclegan_folder, tmp_path / "c.pth", to="c")


def test_the_two_exports_are_one_model_again(tmp_path: Path, cyclegan_folder: Path) -> None:
    for to, name in (("b", "G_A"), ("a", "G_B")):
        translate.export(cyclegan_folder, tmp_path / "ref" / f"latest_net_{name}.pth", to=to, say=lambda line: None)
    model = translate.import_weights(tmp_path / "ref", tmp_path / "model")
    assert same(model.generators(), find.read_model(cyclegan_folder).generators())


def test_what_the_reference_builds_by_name_is_exported_without_a_word(tmp_path: Path) -> None:
    said: list[str] = []
    path = save(tmp_path / "x.pth", generator("resnet_6blocks", width=1))
    translate.export(path, tmp_path / "y.pth", say=said.append)
    assert said == []


class Theirs(nn.Module):
    """ResNet of three blocks with instance norm, in torch's own layers: the names of the reference follow from the order."""

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.conv_block = nn.Sequential(
                nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
                nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width),
            )  # fmt: skip

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv_block(x)

    def __init__(self, w: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, w, 7), nn.InstanceNorm2d(w), nn.ReLU(),
            nn.Conv2d(w, 2 * w, 3, 2, 1), nn.InstanceNorm2d(2 * w), nn.ReLU(),
            nn.Conv2d(2 * w, 4 * w, 3, 2, 1), nn.InstanceNorm2d(4 * w), nn.ReLU(),
            *[self.Block(4 * w) for _ in range(3)],
            nn.ConvTranspose2d(4 * w, 2 * w, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(2 * w), nn.ReLU(),
            nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(w), nn.ReLU(),
            nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def test_what_is_exported_fills_another_implementation(tmp_path: Path, cyclegan_folder: Path) -> None:
    path = translate.export(cyclegan_folder, tmp_path / "latest_net_G_A.pth", say=lambda line: None)
    theirs = Theirs(4)
    theirs.load_state_dict(torch.load(path, weights_only=True), strict=True)
    with torch.no_grad():
        expected = theirs(noise())
    torch.testing.assert_close(load(cyclegan_folder)(noise()), expected, rtol=0, atol=1e-5)
    path = save(tmp_path / "latest_net_G_B.pth", randomised(theirs, 9))
    with torch.no_grad():
        torch.testing.assert_close(load(path)(noise()), theirs(noise()), rtol=0, atol=1e-5)


RESNET_CONVS = ["1", "4", "7", "10.conv_block.1", "11.conv_block.1", "12.conv_block.1", "13", "16", "20"]


BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


INNER = "model.model.1.model"


KEYS = {
    ("resnet_3blocks", "instance", False): [
        f"model.{place}.{kind}"
        for place in (*RESNET_CONVS, "10.conv_block.5", "11.conv_block.5", "12.conv_block.5")
        for kind in ("weight", "bias")
    ],
    ("resnet_3blocks", "batch", True): [
        *(f"model.{place}.weight" for place in RESNET_CONVS),
        "model.20.bias",
        *(f"model.{block}.conv_block.6.weight" for block in (10, 11, 12)),
        *(f"model.{place}.{kind}" for place in (2, 5, 8, 14, 17) for kind in BATCH_NORM),
        *(f"model.{block}.conv_block.{n}.{kind}" for block in (10, 11, 12) for n in (2, 7) for kind in BATCH_NORM),
    ],
    ("unet_16", "batch", True): [
        "model.model.0.weight", "model.model.3.weight", "model.model.3.bias",
        *(f"{INNER}{level}.{n}.weight" for level in ("", ".3.model") for n in (1, 5)),
        *(f"{INNER}{level}.{n}.{kind}" for level in ("", ".3.model") for n in (2, 6) for kind in BATCH_NORM),
        *(f"{INNER}.3.model.3.model.{n}.weight" for n in (1, 3)),
        *(f"{INNER}.3.model.3.model.4.{kind}" for kind in BATCH_NORM),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "norm", "dropout"), KEYS)
def test_exported_names_are_the_reference_s(tmp_path: Path, name: str, norm: str, dropout: bool) -> None:
    path = save(tmp_path / "x.pth", generator(name, norm, dropout, width=2))
    translate.export(path, tmp_path / "y.pth", say=lambda line: None)
    assert sorted(torch.load(tmp_path / "y.pth", weights_only=True)) == sorted(KEYS[name, norm, dropout])
