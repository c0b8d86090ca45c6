"""Export of trained models: model folders, files of the reference implementation, ONNX, torch.export."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from translate import atomic
from translate.callbacks import SayCallback, ignore_line
from translate.errors import UsageError
from translate.trained import find, reference_pth
from translate.trained import folder as model_folder
from translate.trained.description import DTYPES, EXPORT_DTYPES
from translate.trained.folder import TrainedModel
from translate.trained.noise import has_active_dropout

GRAPH_SUFFIXES = (".onnx", ".pt2")
"""Files that hold the generator as a program, for other software."""
GRAPH_DTYPES = ("fp32", "fp16")
"""Arithmetic that such programs can have."""


def export_model(
    model: str | Path, target: str | Path, *, to: str | None, dtype: str | None, with_preprocessing: bool,
    license: str | None, overwrite: bool, say: SayCallback | None,
) -> Path:  # fmt: skip
    """Export a model; see `api.export`."""
    path, say = Path(target), say or ignore_line
    given = find.read_model(model)
    if license is not None:
        given = replace(given, info=replace(given.info, license=license))
    suffix = path.suffix.lower()
    if with_preprocessing and suffix not in GRAPH_SUFFIXES:
        raise UsageError(f"--with-preprocessing: is for {' and '.join(GRAPH_SUFFIXES)} files; leave it out")
    if suffix in GRAPH_SUFFIXES and not path.is_dir():
        return _export_graph(given, path, to, dtype, with_preprocessing, overwrite, say)
    if path.suffix == ".pth":
        if dtype is not None:
            raise UsageError(
                f"--dtype {dtype}: is for model folders; a .pth of the reference keeps its weights unchanged"
            )
        if license is not None:
            raise UsageError(f"--license {license}: a .pth of the reference has no place for it; leave it out")
        return _export_reference(given, path, to or "b", overwrite, say)
    if path.suffix and not path.is_dir():
        raise UsageError(
            f"{path}: cannot export to this; possible: a file that ends in .pth, .onnx or .pt2, or a folder, whose name has "
            f"no extension"
        )
    return _export_folder(given, path, to, dtype, overwrite)


def _export_folder(given: TrainedModel, path: Path, to: str | None, dtype: str | None, overwrite: bool) -> Path:
    """Write a model folder."""
    if to is not None:
        given = given.with_direction(to)
    if dtype is not None and dtype not in EXPORT_DTYPES:
        raise UsageError(f"--dtype {dtype}: unknown; possible: {', '.join(EXPORT_DTYPES)}")
    folder = path.resolve()
    check_free(folder, overwrite)
    with atomic.storage_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
    stored = None if dtype is None else getattr(torch, DTYPES[dtype].torch)
    atomic.replace_folder(folder, lambda place: model_folder.write_model_copy(place, given, stored))
    return path


def _export_graph(
    given: TrainedModel, path: Path, to: str | None, dtype: str | None, with_preprocessing: bool, overwrite: bool,
    say: Callable[[str], None],
) -> Path:  # fmt: skip
    """Write the generator to domain `to` as a program, after it gave what the model gives on three sizes."""
    # Imported where they are used: the exporter takes seconds.
    from translate.trained.exported import graph, parity, writing
    from translate.trained.exported.checked_onnx import build_onnx
    from translate.trained.exported.metadata import ExportRecord, make_metadata

    if dtype is not None and dtype not in GRAPH_DTYPES:
        raise UsageError(f"--dtype {dtype}: possible for {path.suffix} files: {', '.join(GRAPH_DTYPES)}")
    _check_new_file(path, overwrite)
    spec = graph.GraphSpec(graph.resolve_direction(given, to), dtype or "fp32", with_preprocessing)
    if path.suffix.lower() == ".onnx":
        content, difference = build_onnx(given, spec, path)
    else:
        traced = graph.TranslationGraph(given, spec).eval()
        record = ExportRecord(spec.to, spec.dtype, spec.with_preprocessing, given.sha256)
        metadata = make_metadata(given.info, record, traced.generator.scale)
        content = writing.encode_program(writing.trace(given, traced), metadata)
        difference = parity.compare(given, spec, parity.run_program(content))
    with atomic.storage_errors(path.parent):
        atomic.write(path, content)
    say(f"{path}: {difference}")
    if given.method.has_noise or (given.info.has_dropout and _has_dropout(given, spec.to)):
        say(f"{path}: has no noise: dropout is left out, and a latent code is the mean of all codes")
    return path


def _has_dropout(given: TrainedModel, to: str) -> bool:
    return has_active_dropout(given.method.generator_for(given.method.target_domains(to)[0]))


def _check_new_file(path: Path, overwrite: bool) -> None:
    """Raise UsageError if a file may not be written."""
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists; --overwrite replaces it")


def check_free(folder: Path, overwrite: bool) -> None:
    """Check that a model may be written into a folder. Raises UsageError if it holds something else, or a model already."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file; give a folder for the model")
    there = {path.name for path in folder.iterdir()}
    strange = there - set(model_folder.MODEL_FILES) if model_folder.is_model_folder(folder) else there
    if strange:
        raise UsageError(f"{folder}: holds more than a model ({min(strange)}); give a new folder")
    if there and not overwrite:
        raise UsageError(f"{folder}: holds a model already; --overwrite replaces it")


def _export_reference(given: TrainedModel, path: Path, to: str, overwrite: bool, say: SayCallback) -> Path:
    """Write the generator to domain `to` as a `.pth` of the reference. Raises UsageError if it cannot."""
    given = given.with_direction(to)
    if given.method.has_noise:
        raise UsageError(
            f"{path}: a .pth of the reference holds a generator of images alone, but that of {given.info.method} takes a "
            f"latent code too; give a folder"
        )
    if any(domain.labels is not None for domain in given.method.domains.values()):
        raise UsageError(f"{path}: a .pth of the reference says nothing of label maps; export to a folder")
    if not given.method.generator_for(to).reference_names:
        raise UsageError(
            f"{path}: the reference implementation has no network like that of {given.info.method}; export a model folder: "
            f"give a name without an extension"
        )
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give a file that ends in .pth")
    _check_new_file(path, overwrite)
    with atomic.storage_errors(path.parent):
        atomic.write(path, reference_pth.encode_pth(given, to))
    generator = given.info.generator_name
    # pix2pixHD's code builds its generators by their numbers.
    if generator not in reference_pth.REFERENCE_GENERATORS and not generator.startswith("pix2pixhd"):
        say(
            f"{path}: is a {generator}; the reference has names only for {', '.join(reference_pth.REFERENCE_GENERATORS)}"
        )
    return path
