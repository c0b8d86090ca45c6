"""Which network a state dict belongs to. Shapes are enough: the weights are memory that nobody has touched."""

import re
from collections import OrderedDict

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from translate.nn.networks import DISCRIMINATORS, GENERATORS, find
from translate.trained.description import RUNNING_STATISTICS
from translate.trained.detect import (
    WRAPPER_PREFIXES,
    UnknownArchitecture,
    clean_state_dict,
    detect_architecture,
)

NORMS = ["batch", "instance", "none"]
REFERENCE = [name for name in GENERATORS if name.startswith(("resnet_", "unet_"))]
HD = ["pix2pixhd_global", "pix2pixhd_local", "pix2pixhd_global_3downs_2blocks", "pix2pixhd_local_1downs_1blocks"]
OTHERS = ["resnet_1blocks", "resnet_4blocks", "resnet_12blocks", "unet_512"]
SHAPES = [(1, (3, 3)), (2, (4, 2)), (64, (3, 7)), (5, (1, 3))]
"""Width, and channels in and out; every other one is tried with dropout."""
JUDGES = [
    ("basic", 3), ("pixel", 3), *(("n_layers", layers) for layers in range(1, 7)), ("pix2pixhd", 3), ("pix2pixhd", 1),
    ("pix2pixhd_3scales", 2),
]  # fmt: skip


def untouched(network):
    """The state of a network on the meta device, in memory that costs nothing until it is written to."""
    return OrderedDict((key, torch.empty_like(value, device="cpu")) for key, value in network.state_dict().items())


def generator(name, norm="instance", dropout=False, channels=(3, 3), width=4):
    with torch.device("meta"):
        network = find(name)(*channels, width, norm, dropout)
    return untouched(network)


def discriminator(name, norm="instance", layers=3, channels=3, width=4):
    with torch.device("meta"):
        network = DISCRIMINATORS[name](channels, width, norm, layers)
    return untouched(network)


def empty(*shape):
    return torch.empty(shape)


def refused(state):
    """The key that is named when no network has these weights."""
    with pytest.raises(UnknownArchitecture) as caught:
        detect_architecture(clean_state_dict(state))
    assert "\n" not in str(caught.value)
    found = re.match(r"key ('.*?'|\".*?\") (?:is|has|holds|begins|does)\b", str(caught.value))
    assert found, caught.value
    return found[1][1:-1]


RESNET, UNET, PATCH = generator("resnet_2blocks"), generator("unet_16", "batch"), discriminator("basic", "batch")


# What is found.


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", [*REFERENCE, *OTHERS, *HD])
def test_every_generator_is_found_from_its_weights(name, norm):
    for dropout in (False, True):
        for width, channels in SHAPES[dropout::2]:
            found = detect_architecture(clean_state_dict(generator(name, norm, dropout, channels, width)))
            assert (found.kind, found.name, found.norm, found.width) == ("generator", name, norm, width)
            assert (found.in_channels, found.out_channels) == channels
            assert found.dropout is (None if name.startswith("unet") else dropout)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("name", "layers"), JUDGES)
def test_every_discriminator_is_found_from_its_weights(name, layers, norm):
    for width, channels in [(1, 1), (3, 3), (64, 6)]:
        found = detect_architecture(clean_state_dict(discriminator(name, norm, layers, channels, width)))
        assert (found.kind, found.norm, found.width, found.in_channels) == ("discriminator", norm, width, channels)
        assert found.name == ("basic" if layers == 3 and name == "n_layers" else name)
        if name != "pixel":
            assert found.layers == layers


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["resnet_2blocks", "unet_32"])
def test_what_is_found_can_be_built_and_filled(name, norm):
    state = generator(name, norm, True, (1, 3), 5)
    detect_architecture(clean_state_dict(state)).build().load_state_dict(
        clean_state_dict(state), strict=True, assign=True
    )


@pytest.mark.parametrize(
    ("name", "norm", "keys", "words"),
    [
        (
            "resnet_9blocks",
            "instance",
            ["model.1.weight", "model.10.conv_block.5.bias", "model.26.bias"],
            "resnet_9blocks",
        ),
        ("unet_256", "batch", ["model.model.0.weight", "model.model.1.model.2.running_var"], "unet_256"),
    ],
)
def test_a_network_in_words(name, norm, keys, words):
    state = generator(name, norm, width=64)
    assert set(keys) <= state.keys()
    said = str(detect_architecture(clean_state_dict(state)))
    assert all(word in said for word in (words, "width 64", f"{norm} norm", "3 channels"))


# What is taken off first.


@pytest.mark.parametrize(
    "wrapper", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
)
@pytest.mark.parametrize(
    "state",
    [generator("resnet_2blocks", "batch"), generator("unet_16"), discriminator("basic"), discriminator("pixel")],
)
def test_wrappers_are_taken_off(state, wrapper):
    cleaned = clean_state_dict({wrapper + key: tensor for key, tensor in state.items()})
    assert list(cleaned) == list(state)
    assert all(cleaned[key] is tensor for key, tensor in state.items())
    assert detect_architecture(cleaned) == detect_architecture(clean_state_dict(state))


def test_metadata_of_torch_is_passed_over():
    state = OrderedDict(RESNET, _metadata=OrderedDict({"": {"version": 1}}))
    assert list(clean_state_dict(state)) == list(RESNET)
    assert detect_architecture(clean_state_dict(state)) == detect_architecture(clean_state_dict(RESNET))


def norms_of(network, *args, **options):
    """The places of a network's norms, and their channels: where the same network with batch norm has statistics."""
    state = network(*args, **{**options, "norm": "batch"})
    return {key.removesuffix(".running_mean"): t.shape for key, t in state.items() if key.endswith("running_mean")}


OLD = [
    (generator, ("resnet_9blocks",), {}, {"model.2", "model.10.conv_block.2", "model.18.conv_block.6", "model.23"}),
    (generator, ("resnet_6blocks",), {"dropout": True}, {"model.5", "model.10.conv_block.7", "model.20"}),
    (generator, ("unet_32",), {}, {"model.model.1.model.2", "model.model.1.model.6"}),
    (discriminator, ("basic",), {}, {"model.3", "model.6", "model.9"}),
    (discriminator, ("n_layers",), {"layers": 2}, {"model.3", "model.6"}),
    (discriminator, ("pixel",), {}, {"net.3"}),
]


@pytest.mark.parametrize("statistics", [RUNNING_STATISTICS, RUNNING_STATISTICS[:2]], ids=["with counter", "without"])
@pytest.mark.parametrize(("network", "args", "options", "places"), OLD)
def test_statistics_that_instance_norms_carried_before_torch_0_4_are_dropped(
    network, args, options, places, statistics
):
    """As in the official CycleGAN downloads: beside each norm, though it has neither weight nor bias."""
    plain = network(*args, norm="instance", **options)
    norms = norms_of(network, *args, **options)
    assert places <= norms.keys()
    old = dict(plain)
    for place, shape in norms.items():
        old |= {f"{place}.{name}": empty(*(() if name == "num_batches_tracked" else shape)) for name in statistics}
    assert len(old) > len(plain)
    assert list(clean_state_dict(old)) == list(plain)
    assert detect_architecture(clean_state_dict(old)) == detect_architecture(clean_state_dict(plain))
    assert detect_architecture(clean_state_dict({"module." + key: t for key, t in old.items()})).norm == "instance"


@pytest.mark.parametrize(
    "state",
    [generator("resnet_2blocks", "batch", True), generator("unet_16", "batch"), discriminator("basic", "batch")],
)
def test_batch_norms_from_before_torch_0_4_1_get_their_counter(state):
    old = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    cleaned = clean_state_dict(old)
    assert cleaned.keys() == state.keys()
    for key in state.keys() - old.keys():
        assert cleaned[key].shape == ()
        assert cleaned[key].dtype == torch.int64
        assert cleaned[key] == 0
    assert detect_architecture(cleaned) == detect_architecture(clean_state_dict(state))


def test_cleaning_changes_neither_the_file_s_dict_nor_its_tensors():
    state = {"module." + key: tensor for key, tensor in generator("resnet_1blocks", "batch").items()}
    before = dict(state)
    cleaned = clean_state_dict(state)
    assert state == before
    assert {id(t) for t in cleaned.values()} == {id(t) for t in before.values()}


# What is none of the networks.


@pytest.mark.parametrize("value", [None, 3, 1.5, "text", [1.0], {"weight": 1}, OrderedDict()], ids=repr)
def test_what_is_no_tensor_is_named(value):
    for key in ("epoch", "model.7.weight"):
        assert refused({**generator("resnet_1blocks"), key: value}) == key


def test_nothing_at_all():
    for state in ({}, {"_metadata": OrderedDict()}):
        with pytest.raises(UnknownArchitecture, match="no weights"):
            detect_architecture(clean_state_dict(state))


@pytest.mark.parametrize(
    "key", ["fc.weight", "features.0.weight", "model.2.weight", "net.1.weight", "netG.model.1.weight", "", "module."]
)
def test_weights_of_something_else_are_refused_by_their_first_key(key):
    other = {key: empty(4, 3, 3, 3), "last.weight": empty(4)}
    assert refused(other) == key.removeprefix("module.")


VALID = {
    "resnet": RESNET,
    "resnet, batch norm and dropout": generator("resnet_1blocks", "batch", True),
    "resnet, no norm": generator("resnet_2blocks", "none"),
    "unet": UNET,
    "unet, instance norm": generator("unet_16"),
    "patch": PATCH,
    "patch, instance norm": discriminator("n_layers", layers=2),
    "pixel": discriminator("pixel", "batch"),
    "local": generator("pix2pixhd_local_2downs_2blocks"),
    "scales": discriminator("pix2pixhd", layers=1),
}
FIRST = (
    "model1_1.1.weight", "model.1.weight", "model.model.0.weight", "model.0.weight", "net.0.weight",
    "scale0_layer0.0.weight",
)  # fmt: skip
"""The convolutions that see the image: the only tensors that tell how many channels it has."""
TELLING = {
    "resnet": r"model\.1\.(weight|bias)|model\.10\.conv_block\.6\.weight",
    "unet": r"model\.model\.0\.(weight|bias)|.*\.3\.model\.1\.weight",
    "patch": r"model\.(0|8|11)\.weight|model\.2\.bias",
    "local": r"model1_1\.1\.(weight|bias)|model1_2\.7\.weight",
    "scales": r"scale0_layer0\.0\.weight|scale0_layer1\.0\.bias",
    "pixel": r"net\.0\.weight|net\.2\.bias|net\.3\..*",
}
"""Without these it looks like another network, so another key may be the one that does not fit it."""


@pytest.mark.parametrize("name", VALID)
def test_a_key_that_is_missing_is_named(name):
    for key in VALID[name]:
        damaged = {k: t for k, t in VALID[name].items() if k != key}
        if key.endswith("num_batches_tracked"):
            assert detect_architecture(clean_state_dict(damaged)) == detect_architecture(clean_state_dict(VALID[name]))
        elif not re.fullmatch(TELLING[name.split(",")[0]], key):
            assert refused(damaged) == key
        else:
            refused(damaged)


@pytest.mark.parametrize("name", VALID)
def test_a_key_with_another_shape_is_named(name):
    for key, tensor in VALID[name].items():
        for shape in ((*tensor.shape, 1), tensor.shape[1:] if tensor.ndim else (2,)):
            damaged = {**VALID[name], key: empty(*shape)}
            if tensor.shape == shape:
                continue
            if re.fullmatch(TELLING[name.split(",")[0]], key):
                refused(damaged)
            else:
                assert refused(damaged) == key


@pytest.mark.parametrize("name", VALID)
@pytest.mark.parametrize(
    "more", ["model.99.weight", "model.1.gamma", "optimizer", "model.10.conv_block.9.bias", "x.model"]
)
def test_a_key_too_many_is_named(name, more):
    assert refused({**VALID[name], more: empty(4)}) == more


@pytest.mark.slow
@pytest.mark.parametrize("name", VALID)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_no_change_of_one_key_gives_anything_but_a_refusal(name, data):
    """Dropped, renamed or of another shape: never another exception, never a network that these weights do not fill."""
    state = VALID[name]
    key = data.draw(st.sampled_from(sorted(state)), label="key")
    damaged = {k: t for k, t in state.items() if k != key}
    change = data.draw(st.sampled_from(["drop", "rename", "reshape"]), label="change")
    if change == "rename":
        renamed = data.draw(others(key), label="name")
        assume(renamed not in state and renamed != "_metadata")
        assume(not renamed.startswith(WRAPPER_PREFIXES) and not renamed.endswith(RUNNING_STATISTICS))
        damaged[renamed] = state[key]
    elif change == "reshape":
        shape = tuple(data.draw(st.lists(st.integers(0, 9), max_size=5), label="shape"))
        assume(shape != state[key].shape)
        damaged[key] = empty(*shape)
        if key in FIRST and len(shape) == 4 and shape[1] and (shape[0], *shape[2:]) == (4, *state[key].shape[2:]):
            assert (
                detect_architecture(clean_state_dict(damaged)).in_channels == shape[1]
            )  # a whole network, for other images
            return
    if key.endswith("num_batches_tracked") and change == "drop":
        assert detect_architecture(clean_state_dict(damaged)) == detect_architecture(clean_state_dict(state))
    else:
        assert refused(damaged) is not None


def others(key):
    """Names that look like the key's."""
    words = st.sampled_from(["model", "net", "conv_block", "weight", "bias", ".", ""])
    return st.one_of(
        st.integers(0, 30).map(lambda n: re.sub(r"\d+", str(n), key, count=1)),
        words.flatmap(lambda w: st.sampled_from([key.replace("model", w), key.replace("weight", w), key + w, w + key])),
        st.text(),
    )


@pytest.mark.parametrize("name", VALID)
def test_a_first_convolution_without_channels_is_named(name):
    """Its shape gives the sizes of all the others, so it must not be empty."""
    first = next(key for key in FIRST if key in VALID[name])
    for axis in range(4):
        shape = [0 if n == axis else size for n, size in enumerate(VALID[name][first].shape)]
        assert refused({**VALID[name], first: empty(*shape)}) == first


def test_a_resnet_without_blocks_and_a_discriminator_of_two_convolutions():
    assert refused({k: t for k, t in RESNET.items() if "conv_block" not in k}) == "model.10.conv_block.1.weight"
    assert refused({k: t for k, t in PATCH.items() if k in ("model.0.weight", "model.0.bias")}) == "model.5.weight"


def test_two_networks_in_one_file_are_refused():
    other = {f"other.{key}": tensor for key, tensor in RESNET.items()}
    assert refused({**RESNET, **other}) == next(iter(other))
    assert refused({**RESNET, **UNET}).startswith("model.")
