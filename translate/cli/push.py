"""`translate push MODEL USER/NAME`: upload a model to the Hugging Face hub."""

from typing import Annotated

from cyclopts import Parameter

from translate import api
from translate.cli.console import say
from translate.cli.flags import MODEL_HELP


def push(
    model: Annotated[str, Parameter(help=MODEL_HELP)],
    name: Annotated[str, Parameter(help="user/name on the hub; it is created if there is no such model")],
    /,
    *,
    to: Annotated[str | None, Parameter(help="target domain of the only generator to upload [default: all]")] = None,
    dtype: Annotated[
        str | None, Parameter(help="precision of the weights: fp32, fp16 or bf16 [default: unchanged]")
    ] = None,
    license: Annotated[
        str | None, Parameter(help="licence of the weights, such as Apache-2.0 [default: the model's]")
    ] = None,
    private: Annotated[
        bool, Parameter(help="make a new model private [default: public]", negative=(), show_default=False)
    ] = False,
) -> None:
    """Upload a model to the Hugging Face hub: weights, description, card, samples and metrics.

    It needs the extra hub and a token: hf auth login, or HF_TOKEN. Others use the model as hf://user/name.
    """
    print(api.push(model, name, to=to, dtype=dtype, license=license, private=private, say=say))
