"""Facts of a model, for clients and for people."""

from typing import Any

from translate.trained.translator import Translator


def describe_translator(name: str, model: Translator) -> dict[str, Any]:
    """Return name, method, data, target domains and abilities of a model, as JSON values.

    Each of `targets` has the channels of its inputs and outputs, the scale of super-resolution, and whether an input has many
    outputs (`samples`); `style` says whether the model takes an example image.
    """
    trained = model.info.trained_on
    return {
        "name": name,
        "method": model.info.method,
        "data": trained["data"] if trained else None,
        "images": trained["images"] if trained else None,
        "sha256": model.sha256,
        "style": bool(model.method.style_networks),
        "targets": {
            to: {
                "input_channels": model.input_channels(to),
                "output_channels": model.output_channels(to),
                "scale": model.scale(to),
                "samples": model.has_noise(to),
                "label_maps": model.label_format(to) is not None,
            }
            for to in model.directions
        },
    }
