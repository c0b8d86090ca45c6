"""`translate status MODEL`: what a model is and how it converts."""

import json as json_module
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api


def status(
    model: Annotated[str, Parameter(help="run folder, model folder, .pth, or a name in checkpoints/")],
    /,
    *,
    json: Annotated[bool, Parameter(help="one JSON object on stdout", negative=())] = False,
) -> None:
    """Show what a model is: networks, sizes, behaviour in conversion, origin."""
    known = api.status(model)
    if json:
        print(json_module.dumps(known))
    else:
        show(known)


def show(known: dict[str, Any]) -> None:
    """What `api.status` says, one line each, on stdout."""
    for name, value in _rows(known).items():
        print(f"{name:<16}{value}")


def _rows(known: dict[str, Any]) -> dict[str, str]:
    networks, size, domains = known["networks"], known["size"], known["domains"]
    rows = {"model": known["path"], "method": known["method"]}
    if known["directions"]:
        rows["translates"] = ", ".join(
            f"{source} ({domains[source]['channels']} channels) → {to} ({domains[to]['channels']})"
            for to, source in (("b", "a"), ("a", "b"))
            if to in known["directions"]
        )
        rows["generator"] = f"{networks['generator']}, width {networks['g_width']}, {networks['norm']} norm"
        rows["weights"] = f"{known['parameters']:,} parameters, {known['dtype']}"
        rows["sizes"] = f"any; padded to multiples of {size['multiple_of']}, at least {size['minimum']}"
        meaning = (
            _NORM_STATISTICS[known["norm_statistics"]]
            if networks["norm"] == "batch"
            else "without batch norm, no matter"
        )
        rows["norm_statistics"] = f"{known['norm_statistics']} ({meaning})"
        rows["dropout"] = f"{known['dropout']} in conversion"
    if known["discriminators"]:
        kind = f"{networks['discriminator']}, width {networks['d_width']}, {networks['norm']} norm"
        rows["discriminators"] = f"{', '.join(known['discriminators'])}: {kind}; training can go on from them"
    if "trained_on" in known:
        trained = known["trained_on"]
        rows["trained on"] = f"{trained['data']}, {trained['images']} images, {trained['crop_size']} px"
    if "imported_from" in known:
        rows["imported from"] = ", ".join(known["imported_from"])
    rows["SHA-256"] = known["sha256"]
    if known["notices"]:
        rows["note"] = "; ".join(known["notices"])
    return rows


_NORM_STATISTICS = {
    "sample": "batch norm divides by each image's own statistics",
    "running": "batch norm divides by those of training",
}
