"""The page for people: its components and what they do."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import gradio as gr

from translate import images
from translate.errors import TranslateError
from translate.html import escape_text
from translate.serving.conversion_service import ConversionService
from translate.serving.model_list import ListedModel
from translate.serving.page_head import PLACE_OF_REFUSALS
from translate.serving.page_job import PageChoices, PageResult, convert_files, remove_old, show_pair, write_zip
from translate.serving.serving_options import LimitOptions
from translate.trained import translator
from translate.trained.translator import Translator

JOBS_AT_A_TIME = 2
"""Jobs of people that are under way at a time; the others wait, in the order in which they came."""

DIRECTIONS = {"b": "forward (to b)", "a": "backward (to a)"}
"""Words for the target domains of models with two."""

EXTENSIONS = sorted(f".{extension}" for extension in images.READABLE_EXTENSIONS)
"""Extensions of the files that the page takes."""

EMPTY = '<div class="empty"><p>The result appears here, before and after side by side.</p></div>'


SCROLL = "() => document.getElementById('status').scrollIntoView({block: 'nearest', behavior: 'smooth'})"
"""Script that shows a person the result, which is below the fold of a narrow screen."""


class Page:
    """State behind the page: loaded models, and the results of jobs.

    Args:
        service: Queue of the conversions.
        models: Models to choose from.
        limits: Limits of the images.
        behaviour: Arguments of `translator.load`: device, precision and the like.
        folder: Folder for results.
    """

    def __init__(
        self, service: ConversionService, models: Sequence[ListedModel], limits: LimitOptions, behaviour: dict[str, Any],
        folder: Path,
    ) -> None:  # fmt: skip
        self.service, self.limits, self.behaviour, self.folder = service, limits, behaviour, folder
        self.models = {model.name: model for model in models}
        self._loaded: dict[str, Translator] = {}
        self._loading = threading.Lock()

    def load(self, name: str) -> Translator:
        """Return a model by its name, read from the disk the first time."""
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = model = translator.load(name, **self.behaviour)
                self.service.prepare(model)
            return self._loaded[name]

    def describe(self, name: str) -> list[Any]:
        """Return what the page says of a model before it is read: description, card, directions and the chosen one."""
        listed = self.models[name]
        words = [listed.summary, f"Made for: {listed.intended_input}." if listed.intended_input else ""]
        words.append(f"*{listed.info.method}, trained on {listed.trained_on}*" if listed.trained_on else "")
        targets = list(listed.info.directions)
        targets += ["all"] if targets[2:] or not set(targets) <= DIRECTIONS.keys() else []
        choices = [(DIRECTIONS.get(to, to), to) for to in targets]
        about = "\n\n".join(filter(None, words))
        return [
            about, listed.card or "This model has no card.", gr.Radio(choices, value=targets[0], visible=len(targets) > 1)
        ]  # fmt: skip

    def prepare(self, name: str) -> list[Any]:
        """Read a model, and return which of the options samples, seed and style it has."""
        try:
            model = self.load(name)
        except TranslateError as e:
            raise gr.Error(str(e)) from None
        has_noise = model.has_noise(model.directions[0])
        return [
            gr.update(visible=has_noise, value=1),
            gr.update(visible=has_noise),
            gr.update(visible=bool(model.method.style_networks), value=None),
        ]

    def translate(
        self, name: str, files: list[str] | None, to: str, fmt: str, seed: float | None, samples: float,
        style: str | None, progress: gr.Progress = gr.Progress(),  # noqa: B008 (how gradio passes it)
    ) -> list[Any]:  # fmt: skip
        """Convert the files, and return status, choice of what is shown, pair, files to download, zip and results."""
        if not files:
            return [_failure("Choose one or more images first."), *[gr.skip()] * 5]
        remove_old(self.folder)
        place = self.folder / uuid4().hex
        place.mkdir()
        choices = PageChoices(
            to, fmt, int(seed or 0), int(samples) if samples > 1 else None, Path(style) if style else None
        )
        try:
            results = convert_files(
                self.service, self.load(name), [Path(file) for file in files], choices, place, self.limits.max_pixels,
                lambda done, total: progress((done, total), desc="translating", unit="images"),
            )  # fmt: skip
        except TranslateError as e:
            return [_failure(str(e)), *[gr.skip()] * 5]
        done = [result for result in results if result.output is not None]
        zipped = str(write_zip(done, place / "translated.zip")) if len(done) > 1 else None
        return [
            status_of(results),
            gr.update(choices=[(result.name, number) for number, result in enumerate(done)], value=0 if done else None,
                      visible=len(done) > 1),
            show_pair(done[0]) if done else EMPTY,
            gr.update(value=[str(result.output) for result in done] or None, visible=bool(done)),
            gr.update(value=zipped, visible=zipped is not None),
            done,
        ]  # fmt: skip

    def show(self, number: int | None, results: list[PageResult]) -> str:
        """Return the pair of the result that was chosen."""
        return show_pair(results[number]) if number is not None and results else EMPTY


def _failure(reason: str) -> str:
    """Return the reason why nothing was translated, as HTML."""
    return f'<div class="status"><p class="failed">{escape_text(reason)}</p></div>'


def status_of(results: Sequence[PageResult]) -> str:
    """Return what was done, what failed and why, and what outputs lost, as HTML."""
    failed = [result for result in results if result.output is None]
    lines = [f"<p>{len(results) - len(failed)} of {len(results)} translated.</p>"]
    if failed:
        items = "".join(f"<li>{escape_text(result.name)}: {escape_text(result.error)}</li>" for result in failed)
        lines.append(f'<div class="failed">{len(failed)} failed:<ul>{items}</ul></div>')
    notices = dict.fromkeys(notice for result in results for notice in result.notices)
    if notices:
        lines.append(f"<ul>{''.join(f'<li>{escape_text(notice)}</li>' for notice in notices)}</ul>")
    return f'<div class="status">{"".join(lines)}</div>'


def build_page(page: Page) -> gr.Blocks:
    """Return the page. Everything on it is served by this machine."""
    first = next(iter(page.models))
    text, about_card, directions = page.describe(first)
    formats = [("as the input", "keep"), *((name, name) for name in images.WRITERS)]
    with gr.Blocks(title="Translate images", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.Markdown(
            f"# Translate images\nChoose a model, add images of up to {page.limits.max_upload} MiB each, and press Translate. "
            "They stay on the computer that runs this page."
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                model = gr.Dropdown(list(page.models), value=first, label="1. Model", filterable=False, elem_id="model")
                about = gr.Markdown(text, elem_id="about")
                with gr.Accordion("About this model", open=False):
                    card = gr.Markdown(about_card, elem_id="card")
                to = gr.Radio(
                    directions.choices, value=directions.value, visible=directions.visible, label="Direction",
                    elem_id="direction",
                )  # fmt: skip
                files = gr.File(
                    label="2. Your images", file_count="multiple", file_types=EXTENSIONS, height=160, elem_id="files",
                )  # fmt: skip
                gr.HTML(PLACE_OF_REFUSALS, padding=False)
                style = gr.File(
                    label="Style: an example of what the result shall look like (optional)", file_types=EXTENSIONS,
                    visible=False, height=120, elem_id="style",
                )  # fmt: skip
                with gr.Accordion("More options", open=False):
                    fmt = gr.Dropdown(
                        formats, value="keep", label="File format of the results", filterable=False, elem_id="format"
                    )
                    samples = gr.Slider(
                        1, 16, 1, step=1, label="Results for each image", visible=False, elem_id="samples"
                    )
                    seed = gr.Number(
                        0, label="Seed: another number gives another result", precision=0, visible=False, elem_id="seed"
                    )
                run = gr.Button("Translate", variant="primary", elem_id="run")
            with gr.Column(scale=3, min_width=300):
                status = gr.HTML(elem_id="status")
                shown = gr.Dropdown([], label="Result shown", visible=False, filterable=False, elem_id="shown")
                pair = gr.HTML(EMPTY, elem_id="pair")
                outputs = gr.File(
                    label="Download", file_count="multiple", interactive=False, visible=False, elem_id="outputs"
                )
                archive = gr.DownloadButton("Download all as a zip", visible=False, elem_id="archive")
        results = gr.State([])
        options = [samples, seed, style]
        blocks.load(page.prepare, model, options, show_progress="hidden")
        model.change(page.describe, model, [about, card, to], show_progress="hidden")
        model.change(page.prepare, model, options, show_progress="hidden")
        run.click(
            page.translate, [model, files, to, fmt, seed, samples, style], [status, shown, pair, outputs, archive, results],
            concurrency_limit=JOBS_AT_A_TIME,
        ).then(js=SCROLL)  # fmt: skip
        shown.change(page.show, [shown, results], pair)
    blocks.queue(max_size=page.limits.queue)
    return blocks
