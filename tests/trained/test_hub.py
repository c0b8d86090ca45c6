"""Models of a hub: what is asked of its server, what is kept, and what is told. The server is on this machine."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate import api, cli
from translate.errors import ModelError, StorageError, UsageError
from translate.trained.find import read_model
from translate.trained.hub import parse_hub_name

constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")

COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """Server of models. `files[user/name]` are the files of its only commit; `asked` is what it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.refuses = 0
        self.headers: dict[str, str] = {}
        """Headers in place of the right ones."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Request(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        user, name, kind, revision, file = (self.path.strip("/").split("/", 4) + [""] * 5)[:5]
        content = self.server.files.get(f"{user}/{name}", {}).get(file)
        if kind != "resolve" or content is None or revision not in ("main", "v1", COMMIT):
            code = "EntryNotFound" if f"{user}/{name}" in self.server.files else "RepoNotFound"
            return self.answer(404, b"", X_Error_Code=code)
        right = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X_Repo_Commit": COMMIT}
        return self.answer(200, content, **{**right, **self.server.headers})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"POST {self.path}")
        if self.server.refuses:
            return self.answer(self.server.refuses, b'{"error": "not yours"}')
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization')}/{asked['name']}"
            self.server.files.setdefault(name, {})
            return self.answer_json({"url": f"{self.server.url}/{name}"})
        if "/preupload/" in self.path:
            given = json.loads(body)["files"]
            return self.answer_json(
                {"files": [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in given]}
            )
        if "/commit/" in self.path:
            name = "/".join(self.path.split("/")[3:5])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"{self.server.url}/{name}/commit/{COMMIT}"
            return self.answer_json({"commitUrl": url, "commitOid": COMMIT, "success": True})
        return self.answer_json({"warnings": [], "errors": []})  # of the card's metadata

    def answer_json(self, values: object) -> None:
        self.answer(200, json.dumps(values).encode(), Content_Type="application/json")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    for name, value in {"no_proxy": "127.0.0.1", "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with Hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def published(hub: Hub, cyclegan_folder: Path) -> Hub:
    hub.files["anna/winter"] = {path.name: path.read_bytes() for path in cyclegan_folder.iterdir()}
    return hub


def test_a_model_of_the_hub_is_that_of_the_folder(published: Hub, cyclegan_folder: Path) -> None:
    found, own = read_model("hf://anna/winter"), read_model(cyclegan_folder)
    assert (found.sha256, found.info) == (own.sha256, own.info)
    assert found.origin == f"hf://anna/winter@{COMMIT}"
    assert found.notices[0] == f"hf://anna/winter@{COMMIT}: SHA-256 of its weights {own.sha256}"
    assert {line.rsplit("/", 1)[1] for line in published.asked} == {"config.json", "model.safetensors"}  # no other file
    assert read_model("hf://anna/winter@v1").sha256 == own.sha256


def test_offline_the_cache_is_used_and_nothing_else(published: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="hf://anna/winter: not in the hub's cache, and HF_HUB_OFFLINE") as caught:
        read_model("hf://anna/winter")
    assert caught.value.exit_code == 4
    with pytest.raises(StorageError, match="HF_HUB_OFFLINE"):
        api.push("blond-hair", "anna/x", say=None)
    assert published.asked == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    read_model("hf://anna/winter")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(published.asked)
    assert read_model("hf://anna/winter").origin.endswith(COMMIT)
    assert len(published.asked) == asked


def test_a_conversion_records_where_its_model_is_from(published: Hub, tmp_path: Path, draw) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(draw()).save(tmp_path / "in" / "a.png")
    assert cli.run(["convert", "hf://anna/winter", str(tmp_path / "in"), str(tmp_path / "out"), "--device", "cpu"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [line["origin"] for line in lines if "origin" in line] == [f"hf://anna/winter@{COMMIT}"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf://anna/none", "hf://anna/none: not found, or not yours to read"),
        ("hf://anna/winter@v9", "hf://anna/winter: not found"),
    ],
)
def test_what_is_not_there(published: Hub, name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        read_model(name)
    assert "\n" not in str(caught.value)


def test_without_a_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # it tries again several times
    with pytest.raises(StorageError, match="hf://anna/winter: the hub cannot be reached") as caught:
        read_model("hf://anna/winter")
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("damage", [b"no weights", b""])
def test_hostile_folders_are_refused_as_models_are(published: Hub, damage: bytes) -> None:
    published.files["anna/winter"] |= {"model.safetensors": damage, "model.py": b"raise SystemExit('code was run')"}
    with pytest.raises(ModelError, match=r"hf://anna/winter: .*not a usable model"):
        read_model("hf://anna/winter")
    assert not any("model.py" in line for line in published.asked)


@pytest.mark.parametrize("name", ["ETag", "X_Linked_Etag", "X_Repo_Commit"])
@pytest.mark.parametrize(
    "value", ["../../../../evil", '"../../../../evil"', 'W/"a/../../../../evil"', "{}/evil", "..\\..\\evil", "c:evil"]
)
def test_an_answer_that_leads_out_of_the_cache_is_refused(
    published: Hub, tmp_path: Path, name: str, value: str
) -> None:
    published.headers = {name: value.format(tmp_path)}
    with pytest.raises(
        ModelError, match=f"hf://anna/winter: refused: .* {name.replace('_', '-')} .*leads out of the cache"
    ) as caught:
        read_model("hf://anna/winter")
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]
    published.headers = {}
    read_model("hf://anna/winter")


def test_what_is_pushed_is_a_model_again(hub: Hub, cyclegan_folder: Path, draw) -> None:
    said: list[str] = []
    url = api.push(cyclegan_folder, "anna/winter", license="CC-BY-4.0", say=said.append)
    assert url == f"{hub.url}/anna/winter/commit/{COMMIT}"
    files = hub.files["anna/winter"]
    assert files.keys() == {"config.json", "model.safetensors", "README.md"}
    assert json.loads(files["config.json"])["license"] == "CC-BY-4.0"
    assert b"license: cc-by-4.0\n" in files["README.md"]
    models = [api.load(model, device="cpu", say=None) for model in ("hf://anna/winter", cyclegan_folder)]
    first, second = (model(draw(), "b") for model in models)
    assert np.array_equal(first, second)
    assert said == []


def test_the_card_of_a_folder_stays_and_a_missing_licence_is_told(
    hub: Hub, cyclegan_folder: Path, tmp_path: Path
) -> None:
    api.export(cyclegan_folder, tmp_path / "m", say=None)
    (tmp_path / "m" / "README.md").write_text("my own words\n")
    said: list[str] = []
    api.push(tmp_path / "m", "anna/m", say=said.append)
    assert hub.files["anna/m"]["README.md"] == b"my own words\n"
    assert "states no licence" in said[0]


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refused_upload(hub: Hub, cyclegan_folder: Path, status: int) -> None:
    hub.refuses = status
    with pytest.raises(StorageError, match="push anna/winter: ") as caught:
        api.push(cyclegan_folder, "anna/winter", say=None)
    assert caught.value.exit_code == 6
    assert hub.files == {}


def test_names() -> None:
    assert parse_hub_name("hf://a/b") == ("a/b", None)
    assert parse_hub_name(Path("hf://a/b.c@refs/pr/1")) == ("a/b.c", "refs/pr/1")
    for wrong in ("hf://a", "hf://a/b/c", "hf://a/b@", "hf://../b", "hf://a/b c", "hf://"):
        with pytest.raises(UsageError, match="must be hf://user/name"):
            parse_hub_name(wrong)
