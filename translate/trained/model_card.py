"""The model card, README.md of a model folder, with the metadata that the Hugging Face hub reads; and the facts for it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from translate import records
from translate.catalog.cards import cards_folder, read_card
from translate.errors import TranslateError
from translate.invocation import portable_line
from translate.records import is_number
from translate.run_folder import METRICS_FILE, SAMPLES, run_of_model, sample_path
from translate.text import one_line
from translate.trained.model_info import ModelInfo

SAMPLE_IMAGE = "samples.png"
"""Name of the sample grid in a model folder."""
MAX_METRICS = 20
"""Rows of the card's table of metrics, at most."""
_PROTOCOL = ("data", "split", "to", "paired", "real_images", "output_images", "size", "extractor", "seed", "code")
"""Keys of an evaluation's protocol that the card shows."""


@dataclass(frozen=True)
class CardFacts:
    """Facts of a card that are in files beside a model."""

    samples: bytes | None = None
    """Sample grid of the training, as PNG."""
    results: Mapping[str, Any] = field(default_factory=dict)
    """Results of an evaluation of this very model, with `metrics` and `protocol`; empty if there was none."""
    data_licence: str | None = None
    """Licence of the training data, if its card is known."""


NO_FACTS = CardFacts()


def collect_facts(source: Path, info: ModelInfo) -> CardFacts:
    """Collect the facts for the card of a model that was read from `source`. What is missing or damaged is left out."""
    if info.trained_on is None:
        return NO_FACTS
    run, images = run_of_model(source), info.trained_on["images"]
    grids = [source / SAMPLE_IMAGE, *([sample_path(run, images)] if run else [])]
    if run is not None and (run / SAMPLES).is_dir():  # the newest of those that this model may have made
        grids += sorted(
            (p for p in (run / SAMPLES).glob("*.png") if p.stem.isdecimal() and int(p.stem) <= images), reverse=True
        )
    samples = next((path.read_bytes() for path in grids if path.is_file()), None)
    evaluations = (_read_results(place / METRICS_FILE) for place in (source, *([run] if run else [])))
    results = next((found for found in evaluations if _is_of(found, images)), {})
    return CardFacts(samples, results, _data_licence(info.trained_on["data"]))


def _read_results(path: Path) -> dict[str, Any]:
    try:
        results = records.read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    is_whole = isinstance(results, dict) and all(isinstance(results.get(key), dict) for key in ("metrics", "protocol"))
    return results if is_whole else {}


def _is_of(results: Mapping[str, Any], images: int) -> bool:
    """Return whether an evaluation is of the model after so many training images."""
    subject = results.get("subject")
    trained = subject.get("trained_on") if isinstance(subject, dict) else None
    return isinstance(trained, dict) and trained.get("images") == images


def _data_licence(name: str) -> str | None:
    """Return the licence on the card of a data set of this name; None without a card."""
    path = cards_folder() / f"{name.replace('-', '_')}.toml"
    try:
        return read_card(path).licence if re.fullmatch(r"\w+", path.stem) and path.is_file() else None
    except (TranslateError, OSError):
        return None


def make_card(info: ModelInfo, facts: CardFacts = NO_FACTS) -> str:
    """Return the text of a model's card."""
    task, command = describe_task(info)
    task_tag = "image-to-image" if info.directions else "unconditional-image-generation"
    parts = [
        "---\n"
        "library_name: image-translate\n"
        f"pipeline_tag: {task_tag}\n"
        f"tags: [{info.method}, {'image-to-image' if info.directions else 'image-generation'}]\n"
        f"{_license_lines(info.license)}---\n",
        f"# {info.title}\n",
        f"{task}; {_origin(info)} {info.version}. In the folder of this file:\n",
        f"    {command}\n",
    ]
    parts += [f"![samples]({SAMPLE_IMAGE})\n"] if facts.samples else []
    parts += [_training_table(info, facts), *_metric_section(facts.results), _use_section(info)]
    return "\n".join(parts)


def _license_lines(text: str | None) -> str:
    """Return the lines of the hub's metadata on a licence: an identifier, or any text as the name of another one."""
    if text is None:
        return ""
    if re.fullmatch(r"[A-Za-z0-9.+-]+", text):
        return f"license: {text.lower()}\n"
    return f"license: other\nlicense_name: {_quoted(text)}\n"


def _quoted(text: str) -> str:
    escaped = one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _cell(value: object) -> str:
    """Return a value as the text of a table's cell, whatever it holds."""
    return one_line(value).replace("|", "\\|")


def _origin(info: ModelInfo) -> str:
    if trained := info.trained_on:
        return f"trained on {trained['images']} images at {trained['crop_size']} px with image-translate"
    return "imported from a checkpoint of pytorch-CycleGAN-and-pix2pix by image-translate"


def _training_table(info: ModelInfo, facts: CardFacts) -> str:
    """Return the table of what is known of a model."""
    rows = {"method": info.method, "networks": _networks(info)}
    if info.trained_on is not None:
        rows["training data"] = info.trained_on["data"]
        rows["licence of the data"] = facts.data_licence or "not known here; state it before you publish the model"
        rows["training images seen"] = f"{info.trained_on['images']:,}"
    rows["licence of the weights"] = info.license or "not stated"
    if info.directions:
        rows["sizes"] = f"any; padded to multiples of {info.size['multiple_of']} px, at least {info.size['minimum']} px"
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines, ""])


def _networks(info: ModelInfo) -> str:
    return f"{info.generator_name}, width {info.networks.get('g_width', '?')}, norm {info.networks.get('norm', 'of its own')}"


def _metric_section(results: Mapping[str, Any]) -> list[str]:
    """Return the section of metrics, with the protocol that they were measured by; none without results."""
    rows = []
    for name, row in list(results.get("metrics", {}).items())[:MAX_METRICS]:
        if isinstance(row, dict) and is_number(row.get("value")):
            error = f" ± {row['error']:.2g}" if is_number(row.get("error")) else ""
            rows.append(f"| {_cell(name)} | {row['value']:.4g}{error} |")
    if not rows:
        return []
    protocol = results["protocol"]
    shown = [f"{key} {_cell(protocol[key])}" for key in _PROTOCOL if protocol.get(key) is not None]
    text = f"Protocol: {', '.join(shown)}. The whole record is in `{METRICS_FILE}`.\n"
    return ["## Metrics\n", "\n".join(["| metric | value |", "|---|---|", *rows, ""]), text]


def _use_section(info: ModelInfo) -> str:
    """Return the sections on intended use and limits that hold for every model; a person adds those of this one."""
    if info.directions:
        inputs = "images like those of its training data" if info.trained_on else "images like those it was trained on"
        use = f"Translation of {inputs}, at about the size of the training images."
        limits = [
            "Other images than those, and other sizes of what they show, give worse results, without a warning.",
            "Details of an output are plausible, not evidence: do not measure, diagnose or identify anybody by them.",
        ]
    else:
        use, limits = (
            "Images that look like those of its training data.",
            ["Outputs may resemble images of the training data."],
        )
    limits.append(
        "People who see the outputs should know that a model made them: conversion says so in their metadata."
    )
    return "\n".join(["## Intended use\n", f"{use}\n", "## Limits\n", *(f"* {line}" for line in limits), ""])


def describe_task(info: ModelInfo) -> tuple[str, str]:
    """Return a sentence on the task of a model, and the command for it."""
    if not info.directions:
        size = info.size["minimum"]
        of_text = "text_size" in info.networks
        words = ("--text", "what they show") if of_text else ()
        source = "a text" if of_text else "noise"
        command = portable_line("sample", ".", "out", "--count", 100, *words)
        return f"Makes images of {size}×{size} pixels from {source}", command
    targets = " and ".join(info.directions)
    task = f"{info.generator_name} of width {info.networks['g_width']}, translates to domain {targets}"
    labels = info.domains["a"].get("labels") if "a" in info.domains else None
    if labels is not None:
        ignored = f", {labels['ignore']} for pixels without a label" if labels["unknown"] else ""
        edges = ", beside instance maps" if labels["edges"] else ""
        task += f"; its inputs are label maps of {labels['count']} classes (values 0 to {labels['count'] - 1}{ignored}){edges}"
        words = ("convert", ".", "label_maps", "out", *(("--instances", "instance_maps") if labels["edges"] else ()))
        return task, portable_line(*words)
    return task, portable_line("convert", ".", "photos", "out")
