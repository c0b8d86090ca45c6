"""StackGAN: right and wrong texts, both stages, sampling of texts, settings that fit together."""

import re

import numpy as np
import pytest
import torch

from translate import config, keyed_random
from translate.caption_tokens import CAPTION_LENGTH, tokenise
from translate.conversion.sampling import SamplingOptions, sample_images
from translate.errors import UsageError
from translate.methods.base import Clock
from translate.methods.stackgan import StackGAN, shift_texts
from translate.nn.losses import list_heads
from translate.runtime.precision import PRECISIONS
from translate.trained.folder import read_model_folder, write_trained_model
from translate.trained.sampler import ImageSampler
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from .helpers import START, noise_batch

SMALL = {
    "crop_size": 32, "load_size": 32, "g_width": 4, "d_width": 4, "noise_size": 5, "condition_size": 6, "text_size": 7,
    "text_width": 8,
    "batch_size": 4,
}  # fmt: skip
TEXTS = ("a red apple", "a green apple", "two pears", "a red apple")
CPU = torch.device("cpu")


def settings(**flags):
    return StackGAN.resolve_config(config.resolve(StackGAN.Config, ("test", {**SMALL, **flags})))


def method_of(**flags):
    return StackGAN(settings(**flags)).double()


def stage_two(**flags):
    return {"stage": 2, "crop_size": 64, "load_size": 64, "init_from": "one", **flags}


def batch_of(texts=TEXTS, size=32):
    key = keyed_random.image_keys(3, torch.arange(len(texts)))
    image = keyed_random.uniform(key, "a", 3, size, size).double() * 2 - 1
    return {"a": image, "label": torch.tensor([tokenise(text) for text in texts]), "key": key}


def steps_of(method, batch):
    return [(name, dict(losses)) for name, losses in method.step(batch, START, {})]


def gradients(losses, network):
    loss = torch.stack(list(losses.values())).sum()
    return torch.autograd.grad(loss, list(network.parameters()), allow_unused=True, retain_graph=True)


# A step.


def test_texts_are_learnt_with_the_discriminator_and_conditions_with_the_generator():
    method = method_of()
    steps = method.step(batch_of(), START, {})
    name, losses = next(steps)
    assert name == "d" and list(losses) == ["adv"]
    assert all(g is not None and g.any() for g in gradients(losses, method.t))
    assert all(g is None for g in gradients(losses, method.g))
    name, losses = next(steps)
    assert name == "g" and list(losses) == ["adv", "kl"]
    assert all(g is None for g in gradients(losses, method.t))
    assert all(g is not None for g in gradients(losses, method.g))


def test_a_wrong_text_is_the_neighbour_s_and_a_right_one_is_none():
    """Of four images of one text the wrong ones are right, so that fakes count twice: as without them."""
    tokens = torch.arange(8).view(4, 2)
    assert shift_texts(tokens).tolist() == [[2, 3], [4, 5], [6, 7], [0, 1]]
    method, batch = method_of(norm="instance"), batch_of(("x",) * 4)
    ((_, of_d), _) = steps_of(method, batch)
    with torch.no_grad():
        fake, mean, _ = method.generate(batch["key"], method.t(batch["label"]))
        on_real, on_fake = method.d(batch["a"], mean), method.d(fake, mean)
        plain = method.adversarial_loss.discriminator_loss(on_real, on_fake)
    torch.testing.assert_close(of_d["adv"], 2 * plain)


def test_one_of_several_captions_is_drawn_by_the_key():
    method, count = method_of(), 400
    texts = [torch.tensor(tokenise(text)) for text in ("one", "two", "three")]
    batch = {"label": torch.cat(texts).expand(count, -1), "key": keyed_random.image_keys(1, torch.arange(count))}
    drawn = method.drawn_caption(batch)
    counts = [int((drawn == text).all(1).sum()) for text in texts]
    assert sum(counts) == count and min(counts) > 90  # 133 each, less 4.5 standard deviations
    assert torch.equal(drawn, method.drawn_caption(batch))


def test_conditions_are_drawn_around_their_means_by_their_variance():
    method, text = method_of(), torch.ones(2000, 7, dtype=torch.float64)
    key = keyed_random.image_keys(2, torch.arange(2000))
    drawn, mean, log_variance = method.condition(key, "augmentation", method.g, text)
    std = (0.5 * log_variance[0]).exp()
    assert ((drawn.mean(0) - mean[0]).abs() < 5 * std / 2000**0.5).all()
    assert ((drawn.std(0) / std - 1).abs() < 5 / 4000**0.5).all()


def test_the_rate_is_halved_every_so_many_epochs():
    method = method_of(halve_lr_epochs=20)
    factors = [method.rate_factor(Clock(0, 0, epoch, 0.0)) for epoch in (0, 19, 20, 59, 60)]
    assert factors == [1, 1, 0.5, 0.25, 0.125]
    assert method_of(halve_lr_epochs=0).rate_factor(Clock(0, 0, 10**6, 0.0)) == 1


# Embeddings of the user.


def test_given_embeddings_take_the_place_of_the_encoder(tmp_path):
    cfg = StackGAN.with_embeddings(settings(), 3)
    assert (cfg.embeddings, cfg.text_size) == (True, 3)
    method = StackGAN(cfg).double()
    assert method.updates["d"].networks == ("d",) and not list(method.t.parameters())
    vectors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    batch = {**batch_of(), "label": vectors}
    (_, of_d), (_, of_g) = steps_of(method, batch)
    assert of_d["adv"].isfinite() and of_g.keys() == {"adv", "kl"}
    method.eval()
    key = torch.tensor([7])
    np.save(tmp_path / "query.npy", np.array([0.0, 1.0, 0.0]))
    query = method.encode_text(str(tmp_path / "query.npy"))
    assert torch.equal(query, vectors[1])
    expected = method.generate(key, vectors[1:2].double())[0]
    assert torch.equal(method.sample(key, query[None].double()), expected)


@pytest.mark.parametrize(("name", "said"), [
    ("red apple", r"cannot be read \(.*\); this model was trained on embeddings: give a .npy file with one of 3"),
    ("short.npy", "holds 2 numbers; this model"),
])  # fmt: skip
def test_of_a_model_of_embeddings_a_text_is_a_file(name, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("short.npy", np.zeros(2))
    method = StackGAN(StackGAN.with_embeddings(settings(), 3))
    with pytest.raises(UsageError, match=f"^--text {name}: {said}"):
        method.encode_text(name)
    assert method.blank_text().shape == (3,)


# Stage II.


def test_stage_two_refines_the_images_of_stage_one_and_leaves_it_as_it_is():
    one, two = method_of(crop_size=16, load_size=16), method_of(**stage_two())
    weights = two.initial_weights({name: one.get_submodule(name).state_dict() for name in ("g", "t")})
    assert weights.keys() == {"g1", "t"}
    for name, given in weights.items():
        two.get_submodule(name).load_state_dict(given)
    engine = Engine(
        two, Schedule(10, 0, 0, images=1000), seed=0, device=CPU, precision=PRECISIONS["fp64"], batch_size=4
    )
    batch = batch_of(size=64)
    key = batch.pop("key")
    losses = engine.step([batch])
    assert losses.keys() == {"d/adv", "g/adv", "g/kl"}
    for name, network in (("g", "g1"), ("t", "t")):
        own, frozen = one.get_submodule(name).state_dict(), two.get_submodule(network).state_dict()
        assert own.keys() == frozen.keys() and all(torch.equal(own[key], frozen[key]) for key in own)
    assert two.updates["d"].networks == ("d",) and not list(two.g1.parameters())
    one.eval()
    two.eval()
    with torch.no_grad():
        text = one.t(batch["label"])
        small = one.g(keyed_random.normal(key, "z", 5).double(), one.condition(key, "augmentation", one.g, text)[0])
        condition = two.condition(key, "augmentation of stage II", two.g, text)[0]
        assert torch.equal(two.generate(key, text)[0], two.g(small, condition))
        assert [head.shape for head in list_heads(two.d(batch["a"], condition))] == [(4, 1, 1, 1)] * 2


def test_a_model_of_stage_two_goes_on_as_it_is():
    two = method_of(**stage_two())
    given = {name: two.get_submodule(name).state_dict() for name in ("g", "t", "g1")}
    assert two.initial_weights(given) is given


# Sampling.


@pytest.fixture
def model(tmp_path):
    """A model of two classes, untrained."""
    method = StackGAN(settings(classes="red_apple,pear"))
    (tmp_path / "model").mkdir()
    write_trained_model(tmp_path / "model", method, title="fruit", seen=0)
    return tmp_path / "model"


def test_a_text_is_sampled_as_its_tokens_and_a_class_as_its_name(model):
    sampler = ImageSampler(read_model_folder(model), CPU)
    by_text = sampler([0, 1], 3, text="red apple")
    assert torch.equal(by_text, sampler([0, 1], 3, of_class="red_apple"))
    assert torch.equal(by_text, sampler([0, 1], 3, text="  Red APPLE"))
    assert not torch.equal(by_text, sampler([0, 1], 3, text="red pear"))


def test_images_of_a_text_are_files_without_class_folders(model, tmp_path):
    sampler, out = ImageSampler(read_model_folder(model), CPU), tmp_path / "out"
    options = SamplingOptions(count=2, text="red apple")
    assert sample_images(sampler, out, options).done == 2
    assert sorted(path.name for path in out.iterdir()) == ["000000.png", "000001.png", "samples.json"]
    assert sample_images(sampler, out, options).skipped == 2
    with pytest.raises(UsageError, match="samples of another model, seed, class, text or truncation"):
        sample_images(sampler, out, SamplingOptions(count=2, text="pear"))


@pytest.mark.parametrize(("flags", "said"), [
    ({"text": " "}, "--text: is empty; describe the image in words"),
    ({"text": "x", "of_class": "pear"}, "--text and --class: each says what the images show"),
])  # fmt: skip
def test_texts_that_cannot_be_sampled_are_one_line(flags, said, model, tmp_path):
    sampler = ImageSampler(read_model_folder(model), CPU)
    with pytest.raises(UsageError, match=said):
        sample_images(sampler, tmp_path / "out", SamplingOptions(**flags))
    assert not (tmp_path / "out").exists()


def test_a_model_of_captions_asks_for_a_text():
    with pytest.raises(UsageError, match="this model generates images of texts; give --text"):
        method_of().eval().sample(noise_batch(2)["key"])


def test_the_grid_shows_samples_of_each_image_s_text():
    method, batch = method_of().eval(), batch_of()
    columns = method.preview(batch)
    assert list(columns) == ["real", "sample 1", "sample 2", "sample 3"]
    key = keyed_random.fold_in(batch["key"], "preview", 1)
    assert torch.equal(columns["sample 2"], method.generate(key, method.t(batch["label"]))[0])
    assert batch["label"].shape == (4, CAPTION_LENGTH)


# Settings.


@pytest.mark.parametrize(("flags", "said"), [
    ({"crop_size": 48}, "stage 1 of stackgan generates images of a power of two from 16 pixels up; use --crop-size 32"),
    (stage_two(crop_size=32), "use --crop-size 64"),
    (stage_two(init_from=None), "--stage 2: refines the images of a trained stage I; give its model"),
    ({"batch_size": 1}, "use micro-batches of at least 2 images"),
    ({"direction": "b2a"}, "--direction b2a: stackgan has no domain b"),
    ({"output_channels": 1}, "--output-channels 1: stackgan generates images like those of the data"),
    ({"preprocess": "none"}, "--preprocess none keeps images of many sizes"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_one_line(flags, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        settings(**flags)


def test_classes_come_from_the_data():
    cfg = settings()
    assert StackGAN.with_labels(cfg, (), exclusive=False).classes is None
    assert StackGAN.with_labels(cfg, ("pear", "plum"), exclusive=False).classes == "pear,plum"
    with pytest.raises(UsageError, match="--classes pear: the data has none; leave it out"):
        StackGAN.with_labels(settings(classes="pear"), (), exclusive=False)
