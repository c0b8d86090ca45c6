"""Health checks of real methods and whole trainings: none on healthy ones, and none leaves a trace."""

import re
from dataclasses import replace

import pytest
import torch

import translate
from translate.methods import METHODS
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.log import ScalarMeans
from translate.training.monitors import health_rules
from translate.training.monitors.health_checks import HealthMonitor, chance_levels
from translate.training.schedule import Schedule

from ...helpers import batch_like, distinct_methods, read_stats, root_of, small_config, small_settings
from ..helpers import smooth_tensors

CPU = torch.device("cpu")


# Real methods.

WIDER = {"g_width": 8, "d_width": 8}


def warm(x):
    """The same picture in other colours: red up, blue down."""
    return (0.8 * x + torch.tensor([0.25, 0.0, -0.25]).view(3, 1, 1)).clamp(-1, 1)


def batch(name, first, count=1):
    """Images of domain a and warm ones: of the same pictures where the method learns from pairs, else of others."""
    other = first if METHODS[name].layout == "paired" else first + 1000
    return batch_like(name, smooth_tensors(first, count), warm(smooth_tensors(other, count)))


def train(name, method, steps, *, watched=True):
    """A training on a few images, logged at each second step and looked at four times. Returns scalars, advice and engine."""
    schedule = Schedule(10, 0, 0, images=steps)
    precision = PRECISIONS["fp32"]
    engine = Engine(method, schedule, seed=0, device=CPU, precision=precision, batch_size=1)
    count = method.cfg.batch_size
    watch, means = HealthMonitor(batch(name, 100, 4)), ScalarMeans()
    scalars, advice = {}, []
    for step in range(steps):
        means.add(engine.step([batch(name, step % 6, count)]))
        if watched and step % 2:
            watch.on_log({f"loss/{key}": value for key, value in means.read().items()})
        if watched and (step + 1) % (steps // 4) == 0:
            scalars, lines = watch(engine)
            advice += lines
    return scalars, advice, engine


def sources_of_codes(method):
    """Endings of the losses of discriminators that learn from outputs of codes of two sources apart; empty for others."""
    if method.draws_references:
        return ["_latent", "_reference"]
    return ["_encoded", "_random"] if method.layout == "paired" and method.has_noise else []


def scalars_of(method):
    """What is watched of a method: what it makes of two domains, and discriminators whose cost has an end."""
    match method.layout, len(method.generator_names):
        case "paired" | "photos", 1:
            names = ["inversion_b", "change_b", "error_b", "variety_b"]
        case "unpaired", 1:
            names = ["inversion_b", "change_b", "variety_b"]
        case "unpaired", 2:
            names = [f"{kind}_{domain}" for kind in ("inversion", "change", "variety", "hidden") for domain in "ab"]
        case _:
            names = []
    if chance_levels(method.cfg):
        judges = [child for child, _ in method.named_children() if re.fullmatch("d(_.)?", child)]
        names += [f"d_gap{ending}" for ending in sources_of_codes(method) or [child[1:] for child in judges]]
    if method.layout == "photos" and method.g.scale > 1:
        names.remove("change_b")  # an output of another size is no copy
    return {f"watch/{name}" for name in names}


def test_what_is_watched_in_words():
    """Guards the rule above: of the two first methods it is this."""
    found = {name: scalars_of(METHODS[name].on_meta(small_config(name))) for name in ("pix2pix", "cyclegan")}
    kinds = ("inversion", "change", "variety", "hidden", "d_gap")
    assert found["cyclegan"] == {f"watch/{kind}_{domain}" for kind in kinds for domain in "ab"}
    assert found["pix2pix"] == {
        "watch/inversion_b",
        "watch/change_b",
        "watch/error_b",
        "watch/variety_b",
        "watch/d_gap",
    }


HEALTHY = {"discogan": 200, "spade": 200}


@pytest.mark.slow
@pytest.mark.each_kind
@pytest.mark.parametrize("name", distinct_methods())
def test_a_healthy_training_trips_nothing(name, monkeypatch):
    monkeypatch.setattr(health_rules, "MIN_IMAGES", 0)
    method = METHODS[name](small_config(name, **WIDER, lr=1e-3, gan_curriculum=0))
    scalars, advice, _ = train(name, method, HEALTHY.get(name, 32))
    assert set(scalars) == scalars_of(method)
    assert not advice


@pytest.mark.slow
@pytest.mark.parametrize("adversarial", ["non-saturating", "lsgan", "hinge"])
def test_a_discriminator_that_wins_is_seen(adversarial, monkeypatch):
    """The generator does not move, so its few images are soon told from the real ones."""
    monkeypatch.setattr(health_rules, "MIN_IMAGES", 0)
    method = METHODS["pix2pix"](small_config("pix2pix", **WIDER, lr=2e-3, norm="none", adversarial=adversarial))
    method.updates["g"] = replace(method.updates["g"], lr=0.0)
    scalars, advice, _ = train("pix2pix", method, 60)
    assert any(line.startswith("warning: the discriminator never") for line in advice)
    assert scalars["watch/d_gap"] > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", distinct_methods())
def test_a_look_leaves_no_trace(name):
    """Weights, buffers, optimizers and the generator of dropout: bit for bit what they are without."""
    _, _, seen = train(name, METHODS[name](small_config(name, **WIDER)), 4)
    draws = torch.get_rng_state()
    _, _, unseen = train(name, METHODS[name](small_config(name, **WIDER)), 4, watched=False)
    assert torch.equal(draws, torch.get_rng_state())
    assert seen.method.training
    for (key, left), right in zip(seen.method.state_dict().items(), unseen.method.state_dict().values(), strict=True):
        assert torch.equal(left, right), key
    for update in seen.optimizers:
        left, right = (engine.optimizers[update].state_dict()["state"] for engine in (seen, unseen))
        assert all(torch.equal(left[i][key], right[i][key]) for i in left for key in left[i])


@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_other_precisions_say_the_same(precision):
    """To the few digits that bf16 has."""
    found = []
    for name in ("fp32", precision):
        method = METHODS["cyclegan"](small_config("cyclegan", **WIDER))
        engine = Engine(
            method, Schedule(10, 0, 0, images=9), seed=0, device=CPU, precision=PRECISIONS[name], batch_size=1
        )
        sample = {key: x.to(engine.precision.weights) for key, x in batch("cyclegan", 100, 4).items()}
        found.append(HealthMonitor(sample)(engine)[0])
    assert found[1] == pytest.approx(found[0], rel=0.05, abs=0.02)


# Whole trainings.


def train_folder(name, root, run, said=None, **flags):
    small = small_settings(name, device="cpu", log_every=1, images=6)
    say = said.append if said is not None else lambda line: None
    return translate.train(name, root, run=run, say=say, **{**small, **flags}).path


@pytest.mark.slow
@pytest.mark.parametrize("name", distinct_methods())
def test_the_model_is_the_same_with_and_without_and_each_look_is_in_the_next_line(name, request, tmp_path):
    """Before the first step, after image 4 and at the end; health checks and mean outputs of discriminators alike."""
    root = request.getfixturevalue(root_of(name))
    watched, alone = (train_folder(name, root, tmp_path / on, watch=on, sample_every=4) for on in ("on", "off"))
    assert (watched / "model/model.safetensors").read_bytes() == (alone / "model/model.safetensors").read_bytes()
    names = scalars_of(METHODS[name].on_meta(small_config(name)))
    assert not [key for line in read_stats(alone) for key in line if key.startswith(("watch/", "judge/"))]
    points = {point["images"]: point for point in read_stats(watched)}
    looks = [small_config(name).batch_size, 4, 6]
    watch, judge = (
        [images for images, point in points.items() if any(key.startswith(prefix) for key in point)]
        for prefix in ("watch/", "judge/")
    )
    assert judge == looks
    assert set(watch) <= set(looks)
    assert all(names - points[n].keys() <= {key for key in names if "d_gap" in key} for n in looks)
    assert names <= points[6].keys()


def test_advice_is_said_once_in_a_run(unpaired_root, tmp_path, monkeypatch):
    monkeypatch.setattr(health_rules, "MIN_IMAGES", 0)
    monkeypatch.setattr(METHODS["cyclegan"], "translate", lambda self, x, to, key=None: -x)
    said = []
    train_folder("cyclegan", unpaired_root, tmp_path, said, sample_every=1)
    lines = [line for line in said if line.startswith("warning: images translated to domain")]
    assert [line.split(" look")[0][-1] for line in lines] == ["b", "a"]
    assert [line for point in read_stats(tmp_path) for line in point.get("advice", [])] == [
        line for line in said if line.startswith("warning: ") and "domain" in line
    ]
