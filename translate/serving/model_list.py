"""Models that can be chosen on the page: own runs and those that ship, with what their cards say."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from translate.errors import ModelError
from translate.text import one_line, printable
from translate.trained.find import find_named_model, model_homes
from translate.trained.folder import find_model_folder
from translate.trained.model_info import ModelInfo

CARD = "README.md"


@dataclass(frozen=True)
class ListedModel:
    """A model of the list."""

    name: str
    """Name by which commands take it."""
    info: ModelInfo
    summary: str
    """First sentence of its card, which says what it does; else its method and data."""
    intended_input: str
    """Images that it is meant for, as its card says; empty where it does not."""
    card: str
    """The whole card as Markdown, without its metadata; empty without a card."""

    @property
    def trained_on(self) -> str:
        """Training data and their number of images in words; empty where they are not known."""
        trained = self.info.trained_on
        return f"{printable(trained['data'])}, {trained['images']:,} images seen" if trained else ""


def list_models(names: Sequence[str] = ()) -> list[ListedModel]:
    """Return the models that translate images: those named, else all in checkpoints/, own ones first, and all that ship.

    ModelError for a name without a model folder, and if there is no model at all. Folders that cannot be read are left out.
    """
    if names:
        return [_read_named(name) for name in names]
    found: dict[str, ListedModel] = {}
    for place in (place for home in model_homes() if home.is_dir() for place in sorted(home.iterdir())):
        model = _read(place.name, place)
        if model is not None and model.info.directions:
            found.setdefault(model.name, model)
    if not found:
        raise ModelError("no model that translates images in checkpoints/; translate train makes one, or give models")
    return list(found.values())


def _read_named(name: str) -> ListedModel:
    path = Path(name) if Path(name).exists() else find_named_model(name)
    model = None if path is None else _read(name, path)
    if model is None or not model.info.directions:
        raise ModelError(f"{name}: no run or model folder with a model that translates images")
    return model


def _read(name: str, place: Path) -> ListedModel | None:
    """Read what is known of a model; None where there is none that can be read."""
    folder = find_model_folder(place) if place.is_dir() else None
    if folder is None:
        return None
    try:
        info = ModelInfo.read(folder / "config.json")
    except (OSError, ValueError):
        return None
    try:
        card = (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        card = ""
    card = re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL).strip()
    summary = next(_sentences(card), info.title)
    intended = re.search(r"^\| intended input \| (.+?) \|$", card, flags=re.MULTILINE)
    return ListedModel(name, info, summary, intended[1] if intended else "", card)


def _sentences(card: str) -> Iterator[str]:
    """Yield the first sentence of the first paragraph of a card, if it has one."""
    paragraphs = (part for part in card.split("\n\n") if part and not part.startswith(("#", "|", "```", "<", "!")))
    for paragraph in paragraphs:
        yield one_line(re.split(r"(?<=[.!?])\s", paragraph.replace("\n", " "), maxsplit=1)[0])
