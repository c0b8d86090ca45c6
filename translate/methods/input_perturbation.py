"""Perturbed inputs of generators in training: adversarial training, and noise on the middle images of cycles.

One place for all methods: while a step runs, hooks on its generators replace what these are given. A generator's input that
carries no gradient is an image of the data; one that does is the output of another generator, in the middle of a cycle.
"""

from collections import Counter
from collections.abc import Generator as Steps
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from translate import keyed_random
from translate.config import TrainConfig
from translate.errors import UsageError
from translate.nn import attacks
from translate.nn.base import Generator

LEVEL = 2 / 255
"""One level of 255, where images are in [-1, 1]."""

PGD_STEPS = 7
"""Steps of the attack in training by PGD, as Madry et al., 2018, sec. 5, have for CIFAR-10."""


def check_input_perturbation(cls: type[Any], cfg: TrainConfig) -> None:
    """Raise UsageError where a method's inputs cannot be perturbed as its config asks."""
    attack, noise = getattr(cfg, "adversarial_training", "off"), getattr(cfg, "cycle_noise", 0.0)
    if attack != "off":
        flag = f"--adversarial-training {attack}"
        if cls.sampling_networks:
            raise UsageError(f"{flag}: {cls.name} makes images of noise and has no input images; leave it out")
        if getattr(cfg, "label_count", None) is not None:
            raise UsageError(f"{flag}: the inputs are label maps, which have no small changes; leave it out")
    if noise and not cls.has_cycle:
        raise UsageError(
            f"--cycle-noise {noise:g}: {cls.name} translates no output back, so that there is no middle image; leave it out"
        )
    if (attack != "off" or noise) and cfg.compile:
        raise UsageError(
            "--compile on: does not work with perturbed inputs, which are made between networks; leave it out"
        )


class InputPerturbation:
    """Perturbation of the inputs of generators within a step.

    Args:
        networks: The generators by name, each with the number of its input's first channels that are an image.
        attack: "off", "fgsm" or "pgd": with the chance of one half, an image of the data is replaced by one within ±epsilon of
            it, chosen to change the generator's output most.
        epsilon: In levels of 255.
        cycle_noise: Standard deviation of the Gaussian noise that is added to middle images, in the unit of [-1, 1].
    """

    def __init__(
        self, networks: Mapping[str, tuple[Generator, int]], attack: str, epsilon: float, cycle_noise: float
    ) -> None:
        self.networks, self.attack, self.epsilon, self.cycle_noise = networks, attack, epsilon * LEVEL, cycle_noise

    def apply(self, step: Steps[Any, None, None], key: Tensor) -> Steps[Any, None, None]:
        """Yield what a step yields, whose generators are given perturbed inputs; key (N,) decides the draws."""
        calls: Counter[str] = Counter()
        try:
            while True:
                with self._hooks(key, calls):
                    item = next(step, None)
                if item is None:
                    return
                yield item
        finally:
            step.close()

    @contextmanager
    def _hooks(self, key: Tensor, calls: Counter[str]) -> Iterator[None]:
        """Perturb inputs within the block; `calls` counts those of each generator, which have draws of their own."""
        handles = []
        for name, (net, channels) in self.networks.items():
            hook = partial(self._perturb, name, channels, key, calls)
            handles.append(net.register_forward_pre_hook(hook, with_kwargs=True))
            net.inputs_apart = True
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for net, _ in self.networks.values():
                net.inputs_apart = False

    def _perturb(
        self, name: str, channels: int, key: Tensor, calls: Counter[str], net: Generator, args: Any, kwargs: Any
    ) -> tuple[Any, Any] | None:
        """Return the arguments of a generator's call with a perturbed image; None: they stay."""
        x = args[0]
        is_middle = x.requires_grad
        if not torch.is_grad_enabled() or (self.cycle_noise == 0 if is_middle else self.attack == "off"):
            return None
        own = keys_of_inputs(key, len(x))
        drawn = keyed_random.fold_in(own, "input", name, calls[name])
        calls[name] += 1
        image, rest = x[:, :channels], x[:, channels:]
        if is_middle:
            noise = keyed_random.normal(drawn, "cycle noise", *image.shape[1:])
            image = image + self.cycle_noise * noise.to(image.dtype)
        else:
            attacked = self._attacked(net, image, rest, args[1:], kwargs, drawn)
            is_attacked = keyed_random.uniform(keyed_random.fold_in(own, "is attacked"), "chance", 1, 1, 1) < 0.5
            image = torch.where(is_attacked, attacked, image)
        perturbed = torch.cat([image, rest], 1) if rest.shape[1] else image
        return (perturbed, *args[1:]), kwargs

    def _attacked(self, net: Generator, image: Tensor, rest: Tensor, others: Any, kwargs: Any, key: Tensor) -> Tensor:
        """Return images within ±epsilon of the given ones that move the output of the generator, as in conversion, far."""
        fixed = [value.detach() if isinstance(value, Tensor) else value for value in others]

        def output(x: Tensor) -> Tensor:
            made = net.forward(torch.cat([x, rest], 1) if rest.shape[1] else x, *fixed, **kwargs)
            assert isinstance(made, Tensor)
            return made

        with _evaluation_mode(net):
            with torch.no_grad():
                loss = attacks.squared_distance(output, output(image))
            if self.attack == "fgsm":
                signs = attacks.random_signs(key, "signs", *image.shape[1:]).to(image.dtype)
                return attacks.random_fgsm(loss, image, self.epsilon, signs)
            noise = attacks.random_start(key, "start", *image.shape[1:]).to(image.dtype)
            return attacks.disrupt(loss, image, self.epsilon, PGD_STEPS, noise)


def keys_of_inputs(key: Tensor, count: int) -> Tensor:
    """Return the keys (count,) of a generator's inputs from those of a batch's images (N,).

    Fewer inputs are every other image, or every third, as of a method that splits its batch; more are several sets of N.
    """
    if count < len(key):
        return key[:: len(key) // count]
    return torch.cat([key, *(keyed_random.fold_in(key, "set", n) for n in range(1, count // len(key)))])


@contextmanager
def _evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode within the block, in which no pass moves statistics or draws dropout."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
