"""`translate import-weights SOURCE MODEL_DIR`: import a checkpoint of the reference implementation as a model folder."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from translate import api
from translate.cli.console import say
from translate.cli.status import print_status
from translate.invocation import command_line


def import_weights(
    source: Annotated[Path, Parameter(help="a .pth file, or the folder of latest_net_G_A.pth and so on")],
    folder: Annotated[Path, Parameter(help="model folder to write")],
    /,
    *,
    epoch: Annotated[
        str | None, Parameter(help="epoch to import from a folder [default: latest, else the last]")
    ] = None,
    dropout: Annotated[
        str | None, Parameter(help="on or off: dropout of a U-Net, which its weights do not show [default: on]")
    ] = None,
    norm_statistics: Annotated[
        str | None,
        Parameter(
            help="statistics for batch norm in conversion: sample (each image's own) or running [default: sample]"
        ),
    ] = None,
    overwrite: Annotated[bool, Parameter(help="replace an existing model folder", negative=())] = False,
) -> None:
    """Import a checkpoint of pytorch-CycleGAN-and-pix2pix as a model folder.

    The architecture is detected from the weights.
    """
    model = api.import_weights(
        source, folder, epoch=epoch, dropout=dropout, norm_statistics=norm_statistics, overwrite=overwrite, say=say
    )
    print_status(api.status(folder))
    to = [] if "b" in model.info.directions else ["--to", *list(model.info.directions)[:1]]
    if model.info.directions:
        print(f"\nuse it          {command_line('convert', folder, 'photos', 'out', *to)}")
