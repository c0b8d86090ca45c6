"""Optimizers of a method's updates: their table, construction and state."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from translate.methods.base import Method, Update

Groups = list[dict[str, Any]]
"""Parameters of an optimizer, as torch takes them: `params`, and `factor` of the learning rate where it is not 1."""


def _adam(groups: Groups, lr: float, **options: Any) -> torch.optim.Optimizer:
    kind = groups[0]["params"][0].device.type
    if (
        kind == "cuda"
    ):  # fused Adam computes the same either way, but torch captures no graph of it without `capturable`
        warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
    return torch.optim.Adam(groups, lr, fused=kind in ("cpu", "cuda"), capturable=kind == "cuda", **options)


class RMSpropTF(torch.optim.Optimizer):
    """RMSProp of TensorFlow 1: s ← decay · s + (1 − decay) g², from s = 1 on, and w ← w − lr · g / √(s + eps).

    torch's RMSprop begins with s = 0, so that its first step is 1/√(1 − decay) times the rate however small the gradient is,
    and adds eps outside the root.

    A scale of the gradients (fp16) is divided out on the device, and a step whose gradients overflow changes nothing; the host
    waits for neither.
    """

    _step_supports_amp_scaling = True
    """torch's name for it: `GradScaler.step` gives the scale and the overflow as tensors."""

    def __init__(self, groups: Groups, lr: float, *, decay: float = 0.9, eps: float = 1e-10) -> None:
        super().__init__(groups, {"lr": lr, "decay": decay, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        scale, overflow = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["square"] = torch.ones_like(p)
                square, gradient, share = state["square"], p.grad, 1 - group["decay"]
                if scale is not None:
                    gradient = gradient / scale
                if overflow is not None:
                    gradient = torch.where(overflow > 0, 0, gradient)
                    share = share * (overflow == 0).to(p.dtype)
                square.lerp_(gradient.square(), share)
                p.addcdiv_(group["lr"] * gradient, (square + group["eps"]).sqrt(), value=-1)  # the rate may be a tensor


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": _adam, "rmsprop": RMSpropTF}
"""Optimizer of `Update.optimizer` → (groups of parameters, learning rate, **options) → the optimizer."""


def parameters_by_update(method: Method) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of each update's networks, each once."""
    return {
        name: list(dict.fromkeys(p for network in update.networks for p in method.get_submodule(network).parameters()))
        for name, update in method.updates.items()
    }


def build_optimizers(method: Method, parameters: Mapping[str, list[nn.Parameter]]) -> dict[str, Optimizer]:
    """Return the optimizer of each update, for its parameters."""
    return {
        name: OPTIMIZERS[update.optimizer](_groups(method, update, parameters[name]), update.lr, **update.options)
        for name, update in method.updates.items()
    }


def _groups(method: Method, update: Update, parameters: list[nn.Parameter]) -> Groups:
    """Return the parameters of an update, those of networks with a learning rate of their own in groups of their own."""
    if not update.network_factors:
        return [{"params": parameters}]
    groups: Groups = []
    for name in update.networks:
        factor = update.network_factors.get(name, 1.0)
        groups.append({"params": list(method.get_submodule(name).parameters()), "factor": factor})
    return groups


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer, with learning rates as floats even where they are tensors on the device."""
    state = optimizer.state_dict()
    return {**state, "param_groups": [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]}


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Restore an optimizer's moments and rates; its other options stay as this device and these settings decide."""
    pairs = zip(optimizer.param_groups, state["param_groups"], strict=True)
    groups = [{**own, "lr": was["lr"], "params": was["params"]} for own, was in pairs]
    optimizer.load_state_dict({**state, "param_groups": groups})
