"""`translate import-weights SOURCE MODEL_DIR`: a checkpoint of the reference implementation as a model folder."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from translate import api
from translate.cli.status import print_status


def import_weights(
    source: Annotated[Path, Parameter(help="a .pth, or the folder that holds latest_net_G_A.pth and the like")],
    folder: Annotated[Path, Parameter(help="model folder to make")],
    /,
    *,
    epoch: Annotated[str | None, Parameter(help="of a folder's networks [default: latest, else the last]")] = None,
    dropout: Annotated[str | None, Parameter(help="on or off, where a U-Net does not tell")] = None,
    norm_statistics: Annotated[str | None, Parameter(help="sample or running [default: sample, the paper's]")] = None,
    overwrite: Annotated[bool, Parameter(help="replace a model that is there", negative=())] = False,
) -> None:
    """Make a model folder of a checkpoint of pytorch-CycleGAN-and-pix2pix; its architecture is found from the weights."""
    api.import_weights(
        source, folder, epoch=epoch, dropout=dropout, norm_statistics=norm_statistics, overwrite=overwrite
    )
    print_status(api.status(folder))
