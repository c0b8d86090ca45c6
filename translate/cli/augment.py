"""`translate augment MODEL LABELLED_ROOT OUT`: a labelled set with translations of its images, which keep their labels."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from translate import api
from translate.cli.console import open_console, say
from translate.cli.flags import JSON, MODEL_HELP, DeviceOptions, flag_parameters, with_flags
from translate.cli.progress import print_failures, print_line, print_result, show_progress
from translate.conversion.augment.augment_options import AugmentOptions, AugmentResult


def _augment(
    model: Annotated[str, Parameter(help=MODEL_HELP)],
    labelled_root: Annotated[
        Path,
        Parameter(
            help="folder of images with labels: folders of classes, masks, boxes or keypoints (COCO JSON, YOLO txt, Pascal VOC "
            "XML, CSV)"
        ),
    ],
    out: Annotated[Path, Parameter(help="folder for the augmented set")],
    /,
    *,
    json: Annotated[bool, JSON] = False,
    **options: Any,
) -> int:
    """Write a labelled set with translations of its images, which keep their labels.

    OUT gets a copy of every file, and beside images of the split train their translations, named photo-translated. Other splits
    are copied as they are. The set is never changed. The same command again resumes.
    """
    console, dry_run = open_console(), bool(options.get("dry_run"))
    with nullcontext(lambda *counts: None) if dry_run else show_progress(console) as progress:
        result = api.augment(model, labelled_root, out, progress=progress, say=say, **options)
    print_result(result, json=json, dry_run=dry_run)
    _print_summary(result, console, dry_run)
    return 1 if result.failures else 0


augment = with_flags(_augment, [*flag_parameters(AugmentOptions, switches=True), *flag_parameters(DeviceOptions)])


def _print_summary(result: AugmentResult, console: Console, dry_run: bool) -> None:
    print_failures(result.failures, result.notices, console)
    if result.classes:
        shown = ", ".join(f"{name} {count:,}" for name, count in result.classes.items())
        print_line(console, f"translations by class: {shown}")
    made = f"{len(result.planned):,} would be translated" if dry_run else f"{result.done:,} translated"
    counts = [f"{result.originals:,} images, {result.training:,} of them for training", made]
    counts += [f"{result.skipped:,} done before"] if result.skipped else []
    counts += [f"{len(result.failures):,} failed"] if result.failures else []
    counts += [f"{result.label_files:,} files of labels written"] if result.label_files else []
    report = f"; report in {result.report}" if result.report else ""
    print_line(console, f"{', '.join(counts)}; output in {result.output}{report}")
