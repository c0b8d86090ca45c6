"""Augmentation of a labelled set as a job that can be stopped at any moment and resumed.

The output folder gets all files of the set, translations of images of its training split beside their originals, and labels for
these. Everything is journaled in `manifest.jsonl` as by a conversion; `augment.json` says which translations they are.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from translate import atomic, locks, records
from translate.callbacks import ProgressCallback
from translate.conversion.augment import copying
from translate.conversion.augment.augment_options import AugmentOptions, AugmentResult
from translate.conversion.augment.draw import PlannedTranslation, check_names, plan_translations
from translate.conversion.augment.label_files import LabelFile, read_label_files
from translate.conversion.augment.labelled_set import LabelledSet, list_labelled_set
from translate.conversion.augment.moving import LEAST_CORRELATION, measure_edge_correlation
from translate.conversion.committer import Committer
from translate.conversion.inputs import WHOLE, Listing
from translate.conversion.item import ItemConverter
from translate.conversion.job import convert_items
from translate.conversion.manifest import Manifest
from translate.conversion.options import ConversionResult
from translate.conversion.output_paths import Item
from translate.errors import DataError, UsageError
from translate.text import join_names, printable
from translate.trained.translator import Translator

RECORD = "augment.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Job:
    """Checked plan of an augmentation."""

    labelled: LabelledSet
    labels: Sequence[LabelFile]
    planned: Sequence[PlannedTranslation]
    converters: Mapping[str, ItemConverter]
    """Target domain → converter."""
    options: AugmentOptions
    output: Path

    @property
    def has_places(self) -> bool:
        """True if labels of images that are to be translated say where something is."""
        translated = {item.input for item, _ in self.planned}
        return any(file.has_places and not translated.isdisjoint(file.images) for file in self.labels)

    def items_to(self, to: str) -> list[Item]:
        """Return the translations to a domain."""
        return [item for item, target in self.planned if target == to]


def augment(
    translator: Translator,
    root: str | Path,
    output: str | Path,
    options: AugmentOptions,
    progress: ProgressCallback = lambda finished, failed, total: None,
    say: Say = lambda line: None,
) -> AugmentResult:
    """Write a labelled set with translations of its training images, which keep their labels. The set is never changed.

    Raises UsageError, DataError (no images, labels that do not fit them), StorageError, BusyError, and Interrupted after a
    clean stop; images that cannot be translated are in the result's `failures`.
    """
    started, root, output = time.monotonic(), Path(root), Path(output)
    result = AugmentResult(output)
    job = _plan(translator, root, output, options, result, say)
    if options.dry_run:
        result.planned = [item for item, _ in job.planned]
        return result
    atomic.check_writable(output)
    with locks.lock_folder(output, "wait for it or use another output folder"):
        atomic.remove_temporaries(output)
        try:
            _write(job, _check_record(job, translator), result, progress, say)
        except BaseException:
            atomic.remove_temporaries(output)
            raise
        result.seconds = time.monotonic() - started
    return result


def _write(job: _Job, record: bytes, result: AugmentResult, progress: ProgressCallback, say: Say) -> None:
    """Write all that is missing in the output folder, which is locked."""
    files = _all_files(job.labelled)
    fold = atomic.name_folding(job.output)
    folded = [PlannedTranslation(Item(item.input, fold(item.output)), to) for item, to in job.planned]
    check_names(folded, {fold(path): path for path in files})
    todo = {to: _todo(converter, job.items_to(to)) for to, converter in job.converters.items()}
    _check_moving(job, todo, result, say)
    with atomic.storage_errors(job.output):
        atomic.write(job.output / RECORD, record)
    shared = {file.path for file in job.labels if file.is_shared}
    unshared = [path for path in files if path not in shared]
    result.copied = copying.copy_files(job.labelled.root, job.output, unshared, _copies_committer(job))
    conversions = {to: _convert(job, to, todo[to], progress, say) for to in job.converters}
    for conversion in conversions.values():
        _count(conversion, result)
    outputs = _label_outputs(job, _made(job), set(files))
    result.label_files = copying.write_labels(job.output, outputs, _copies_committer(job))
    if job.options.report:
        result.report = _write_report(job, conversions)


def _all_files(labelled: LabelledSet) -> list[str]:
    return [*labelled.images, *(mask.path for mask in labelled.masks), *labelled.others]


def _plan(
    translator: Translator, root: Path, output: Path, options: AugmentOptions, result: AugmentResult, say: Say
) -> _Job:
    """Check everything that can be checked before the output folder is touched, and count images in the result."""
    for to in options.targets:
        _check_target(translator, to)
    labelled = list_labelled_set(root, output)
    own = [path for path in labelled.others if path == RECORD or PurePosixPath(path).match("manifest*.jsonl")]
    if own := [path for path in own if "/" not in path]:
        say(f"{join_names(own)}: records of an earlier job, which are left out")
        labelled.others = [path for path in labelled.others if path not in own]
    labels = read_label_files(labelled)
    labelled = labelled.with_splits({file.path: file.images for file in labels})
    training = labelled.training_images()
    if not training:
        raise DataError(
            f"{root}: has no training images; put them into a folder train, or name them in a list of train"
        )
    result.originals, result.training = len(labelled.images), len(training)
    _check_ratio(translator, options, len(training))
    planned = plan_translations(training, options.ratio, options.seed, options.targets, options.format)
    result.classes = dict(sorted(Counter(labelled.images[item.input].label for item, _ in planned).items()))
    result.classes.pop("", None)
    converters = {to: ItemConverter(translator, root, output, options.conversion_options(to)) for to in options.targets}
    job = _Job(labelled, labels, planned, converters, options, output)
    if job.has_places and any(translator.scale(to) > 1 for to in options.targets):
        raise UsageError(
            f"{translator.name}: its outputs are larger than its inputs, so boxes, masks and keypoints do not fit them; "
            f"use another model"
        )
    return job


def _check_target(translator: Translator, to: str) -> None:
    translator.check_target(to)
    if len(translator.method.target_domains(to)) > 1:
        raise UsageError(f"--to {to}: makes a row of images of each one; name the domains, with commas between")


def _check_ratio(translator: Translator, options: AugmentOptions, count: int) -> None:
    """Raise UsageError where more translations of an image are asked for than the model has different ones."""
    if any(translator.has_noise(to) for to in options.targets):
        return
    most = len(options.targets)
    if round(options.ratio * count) > most * count:
        raise UsageError(
            f"--ratio {options.ratio:g}: {translator.info.method} has one output for an image in each direction, so at most "
            f"{most} with --to {options.to}; a larger ratio would only repeat images"
        )


def _check_record(job: _Job, translator: Translator) -> bytes:
    """Return the record of the job. UsageError if the folder has another augmentation, or translations of other images."""
    path = job.output / RECORD
    settings = {name: converter.settings for name, converter in job.converters.items()}
    wanted = {
        "model": translator.sha256, "ratio": job.options.ratio, "seed": job.options.seed, "format": job.options.format,
        "settings": settings,
    }  # fmt: skip
    if path.exists():
        try:
            known = records.read_json(path)
        except (OSError, ValueError):
            known = None
        if known != records.parse_json(json.dumps(wanted)):
            raise UsageError(
                f"{job.output}: holds an augmentation by another model, or of another ratio, seed or format; use another "
                f"folder"
            )
        if _has_stale_files(job):
            raise UsageError(f"{job.output}: holds files of images that the set no longer has; use another folder")
    return (json.dumps(wanted, indent=2) + "\n").encode()


def _has_stale_files(job: _Job) -> bool:
    """Return True if an earlier run has written files that this one would not write, since the set has changed."""
    files, planned = set(_all_files(job.labelled)), {item.output for item, _ in job.planned}
    return any(
        key.input not in files or (key.sample is not None and key.input in job.labelled.images and name not in planned)
        for key, name in copying.copies_manifest(job.output).output_names.items()
    )


def _todo(converter: ItemConverter, items: Sequence[Item]) -> list[Item]:
    """Return the translations that are still to be made."""
    manifest = _manifest(converter)
    return manifest.select_undone(items, converter.root, converter.instance_map)


def _manifest(converter: ItemConverter) -> Manifest:
    return Manifest(converter.output, converter.translator.sha256, converter.settings)


def _check_moving(job: _Job, todo: Mapping[str, Sequence[Item]], result: AugmentResult, say: Say) -> None:
    """Measure whether the model moves what labels say the place of. UsageError if it does, unless that is allowed."""
    if not job.has_places:
        return
    for to, converter in job.converters.items():
        if not todo[to]:
            continue
        with converter.translator.convolutions_of({}, say):
            value = measure_edge_correlation(converter, [PlannedTranslation(item, to) for item in todo[to]])
        if value is None:
            continue
        result.edge_correlation = value if result.edge_correlation is None else min(value, result.edge_correlation)
        say(f"edges of images and their translations to {to} have a correlation of {value:.2f}")
        if value < LEAST_CORRELATION and not job.options.allow_moving:
            raise UsageError(
                f"{converter.translator.name}: edges of images and their translations have a correlation of {value:.2f}, "
                f"less than {LEAST_CORRELATION:g}: boxes, masks and keypoints may not fit the translations; look at some, and "
                f"give --allow-moving to translate all the same"
            )


def _copies_committer(job: _Job) -> Committer:
    """Return a committer of files that no model makes; it reports no progress."""
    converter = next(iter(job.converters.values()))
    manifest = copying.copies_manifest(job.output)
    return Committer(converter, manifest, ConversionResult(job.output), lambda finished, failed, total: None, 0)


def _convert(job: _Job, to: str, todo: list[Item], progress: ProgressCallback, say: Say) -> ConversionResult:
    """Make the translations to a domain that are missing."""
    converter = job.converters[to]
    result = ConversionResult(job.output, skipped=len(job.items_to(to)) - len(todo))
    convert_items(converter, _manifest(converter), _all_files(job.labelled), todo, result, progress, say)
    return result


def _count(conversion: ConversionResult, result: AugmentResult) -> None:
    result.done += conversion.done
    result.skipped += conversion.skipped
    result.failures.update(conversion.failures)
    result.notices.update(conversion.notices)


def _made(job: _Job) -> dict[str, list[str]]:
    """Return the translations that are there, by their originals."""
    names = copying.copies_manifest(job.output).output_names
    made: dict[str, list[str]] = {}
    for item, _ in job.planned:
        if names.get(item.key) == item.output:
            made.setdefault(item.input, []).append(item.output)
    return made


def _label_outputs(
    job: _Job, made: Mapping[str, Sequence[str]], files: Set[str]
) -> list[tuple[Item, Callable[[], bytes]]]:
    """Return the files of labels that the translations need. DataError where the set has a file of one of their names."""
    found = []
    for file in job.labels:
        of_file = {image: made[image] for image in file.images if image in made}
        for number, (path, content) in enumerate(file.outputs(of_file)):
            if path in files and not file.is_shared:
                raise DataError(f"{printable(path)}: is the name of the labels of a translation; rename it")
            found.append((Item(file.path, path, None if file.is_shared else number), content))
    return found


def _write_report(job: _Job, conversions: Mapping[str, ConversionResult]) -> Path:
    """Write a page for each target domain; return the path of the first."""
    from translate.conversion.report import conversion_page  # imported where it is used: few jobs have a page

    listing = Listing(job.labelled.root, tuple(job.labelled.images), source=str(job.labelled.root))
    pages = []
    for to, conversion in conversions.items():
        name = conversion_page.PAGE_NAME if len(conversions) == 1 else f"report-{to}.html"
        pages.append(
            conversion_page.write_conversion_page(
                job.converters[to], listing, WHOLE, conversion, items=job.items_to(to), name=name
            )
        )
    return pages[0]
