"""Checkpoints of pix2pixHD's authors: files and folders are read as models, and written again to the same weights."""

import io

import pytest
import torch

from translate.errors import ModelError
from translate.nn.networks import find, find_discriminator
from translate.trained import reference_pth

GENERATORS = ["pix2pixhd_global_1downs_2blocks", "pix2pixhd_local_1downs_2blocks"]


def write(path, network):
    torch.save(network.state_dict(), path)
    return network.state_dict()


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_alone_is_a_model_and_is_written_as_it_was(name, tmp_path):
    weights = write(tmp_path / "latest_net_G.pth", find(name)(5, 3, 4))
    model = reference_pth.read_pth(tmp_path / "latest_net_G.pth")
    assert (model.method.name, model.info.networks["generator"], model.info.networks["g_width"]) == (
        "pix2pixhd",
        name,
        4,
    )
    assert (model.info.networks["input_channels"], model.info.networks["norm"]) == (5, "instance")
    again = torch.load(io.BytesIO(reference_pth.encode_pth(model, "b")), weights_only=True)
    assert list(again) == list(weights)
    assert all(torch.equal(again[key], x) for key, x in weights.items())


@pytest.mark.parametrize("name", GENERATORS)
def test_a_folder_with_its_discriminators_is_one_model(name, tmp_path):
    write(tmp_path / "latest_net_G.pth", find(name)(5, 3, 4))
    judged = write(tmp_path / "latest_net_D.pth", find_discriminator("pix2pixhd_3scales")(8, 6, "instance", 2))
    model = reference_pth.read_pth_folder(tmp_path)
    networks = model.info.networks
    assert (model.method.name, networks["discriminator"]) == ("pix2pixhd", "pix2pixhd_3scales")
    assert (networks["d_layers"], networks["d_width"]) == (2, 6)
    assert {key.removeprefix("d."): x.shape for key, x in model.discriminators.items()} == {
        key: x.shape for key, x in judged.items()
    }


def test_discriminators_of_instance_features_are_refused(tmp_path):
    """Their generator takes three channels of features that they do not see."""
    write(tmp_path / "latest_net_G.pth", find(GENERATORS[0])(8, 3, 4))
    write(tmp_path / "latest_net_D.pth", find_discriminator("pix2pixhd")(8, 4, "instance", 3))
    with pytest.raises(ModelError, match="takes 8 channels, but the generators' images have 11"):
        reference_pth.read_pth_folder(tmp_path)
