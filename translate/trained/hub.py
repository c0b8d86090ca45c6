"""Models on the Hugging Face hub: `hf://user/name`, and uploads. Nothing else in this package opens a connection for a model.

Two files are downloaded, config.json and model.safetensors: numbers and their description, no code. They are kept in the
hub's own cache. HF_HUB_OFFLINE=1 forbids connections: then what is in the cache is used. HF_ENDPOINT names another server of
the same kind.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

from translate.errors import ModelError, StorageError, UsageError
from translate.invocation import command_line
from translate.text import one_line, printable
from translate.trained.extras import import_extra
from translate.trained.folder import TrainedModel, read_model_folder

SCHEME = "hf://"
DOWNLOADED = ("config.json", "model.safetensors")
"""Files of a model that are downloaded."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_REVISION = re.compile(r"[\w./-]+")
_NAMING_HEADERS = ("ETag", "X-Linked-Etag", "X-Repo-Commit")
"""Headers of answers that the library names files and folders of its cache by."""


def is_hub_name(model: str | Path) -> bool:
    """Return whether MODEL is on the hub: hf://user/name, or hf://user/name@revision. A Path has lost one of the slashes."""
    return str(model).startswith("hf:/")


def parse_hub_name(model: str | Path) -> tuple[str, str | None]:
    """Return user/name and the revision (a branch, tag or commit; None: the newest) of hf://user/name@revision.

    UsageError for other texts.
    """
    text = re.sub(r"^hf:/+", "", str(model))
    name, _, revision = text.partition("@")
    if not _NAME.fullmatch(name) or ("@" in text and not _REVISION.fullmatch(revision)):
        raise UsageError(f"{SCHEME}{printable(text)}: must be {SCHEME}user/name, or {SCHEME}user/name@revision")
    return name, revision or None


def read_hub_model(model: str | Path) -> TrainedModel:
    """Download a model of the hub, unless it is in the cache, and read it; a notice has its commit and SHA-256.

    ModelError if there is no such model or it may not be read, and offline if it is not in the cache; StorageError without a
    network; UsageError for a wrong name and without the extra `hub`.
    """
    name, revision = parse_hub_name(model)
    hub = import_extra("hub", f"{SCHEME}{name}", "huggingface_hub")
    with _errors(f"{SCHEME}{name}"), _checked_answers(hub, f"{SCHEME}{name}"):
        # The commit of the first file for the second one, too: a model that is replaced meanwhile is not mixed.
        how = {"endpoint": _endpoint(), "local_files_only": is_offline()}
        config = Path(hub.hf_hub_download(name, DOWNLOADED[0], revision=revision, **how))
        commit = config.parent.name
        weights = Path(hub.hf_hub_download(name, DOWNLOADED[1], revision=commit, **how))
    if weights.parent != config.parent:
        raise ModelError(f"{SCHEME}{name}: its files are of different revisions; try again")
    try:
        found = read_model_folder(config.parent)
    except ModelError as e:
        raise ModelError(f"{SCHEME}{name}: {e}") from None
    origin = f"{SCHEME}{name}@{commit}"
    notice = f"{origin}: SHA-256 of its weights {found.sha256}"
    return replace(found, origin=origin, notices=[notice, *found.notices])


def upload_folder(folder: Path, name: str, *, private: bool, message: str) -> str:
    """Upload a model folder to user/name on the hub, which is created if there is none, and return the address of the commit.

    The token is that of `hf auth login` or of HF_TOKEN. StorageError if the upload is refused or there is no network,
    UsageError without the extra `hub`.
    """
    hub = import_extra("hub", f"push {name}", "huggingface_hub")
    from huggingface_hub.utils import disable_progress_bars

    if is_offline():
        raise StorageError(f"push {name}: HF_HUB_OFFLINE is set, which forbids connections; unset it to upload")
    disable_progress_bars()
    interface = hub.HfApi(endpoint=_endpoint(), library_name="image-translate")
    with _errors(f"push {name}", is_upload=True):
        interface.create_repo(name, repo_type="model", private=private or None, exist_ok=True)
        commit: Any = interface.upload_folder(
            repo_id=name, folder_path=folder, repo_type="model", commit_message=message
        )
    return str(commit.commit_url)


@contextmanager
def _errors(what: str, *, is_upload: bool = False) -> Iterator[None]:
    """Translate the errors of the hub's library for the block."""
    errors = import_extra("hub", what, "huggingface_hub.errors")
    import_extra(
        "hub", what, "huggingface_hub.utils.logging"
    ).set_verbosity_error()  # errors are told here, in one line
    try:
        yield
    except errors.LocalEntryNotFoundError as e:
        if is_offline():
            raise ModelError(
                f"{what}: not in the hub's cache, and HF_HUB_OFFLINE is set, which forbids connections; unset it to download"
            ) from None
        raise StorageError(
            f"{what}: the hub cannot be reached: {_reason(e)}; try again, or give a model folder"
        ) from None
    except errors.HFValidationError as e:
        raise UsageError(f"{what}: {_reason(e)}") from None
    except errors.LocalTokenNotFoundError:
        raise StorageError(f"{what}: refused: the hub asks for a token; run: hf auth login") from None
    except errors.GatedRepoError:
        raise (StorageError if is_upload else ModelError)(
            f"{what}: its owner grants access; ask for it on the model's page, then run: hf auth login"
        ) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError) as e:
        raise (StorageError if is_upload else ModelError)(
            f"{what}: not found, or not yours to {'write' if is_upload else 'read'} ({_reason(e)}); check the name, or run: "
            f"hf auth login"
        ) from None
    except errors.HfHubHTTPError as e:
        status = getattr(e.response, "status_code", None)
        refused = "refused: " if status in (401, 403) else ""
        remedy = "; run: hf auth login" if status in (401, 403) else "; try again later"
        raise StorageError(f"{what}: {refused}the hub answers {status}: {_reason(e)}{remedy}") from None
    except OSError as e:  # no route, no name, no answer; or no room in the cache
        raise StorageError(f"{what}: {_reason(e)}; check the network and the disk, and try again") from None
    except Exception as e:
        if not type(e).__module__.startswith(("httpx", "httpcore")):
            raise
        raise StorageError(
            f"{what}: the hub cannot be reached: {_reason(e)}; try again, or give a model folder"
        ) from None


@contextmanager
def _checked_answers(hub: Any, what: str) -> Iterator[None]:
    """Raise ModelError in the block for an answer that would have the library write outside its cache.

    It checks none of these names but that of the commit.
    """

    def check(response: Any) -> None:
        for header in _NAMING_HEADERS:
            value = PureWindowsPath(
                response.headers.get(header, "").removeprefix("W/").strip('"')
            )  # both kinds of slashes
            if value.anchor or ".." in value.parts:
                raise ModelError(
                    f"{what}: refused: the server answers with the {header} {printable(str(value))[:100]}, which leads out of "
                    f"the cache; is HF_ENDPOINT right?"
                )

    hooks = hub.get_session().event_hooks["response"]
    hooks.append(check)
    try:
        yield
    finally:
        hooks.remove(check)


def is_offline() -> bool:
    """Return whether HF_HUB_OFFLINE forbids connections."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _endpoint() -> str | None:
    """Return the address of the hub's server by HF_ENDPOINT; None for the usual one."""
    return os.environ.get("HF_ENDPOINT") or None


def _reason(error: Exception) -> str:
    """Return the first line of an error, without the web addresses that follow it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(one_line(lines[0]))[:200] if lines else type(error).__name__


def check_name(name: str) -> str:
    """Return user/name of a model that is to be written. UsageError for anything else."""
    found, revision = parse_hub_name(name)
    if revision is not None:
        raise UsageError(f"{name}: is for uploads, without @revision; {command_line('push', 'MODEL', found)}")
    return found
