"""Results kept in the user's cache folder."""

import pytest

from translate import user_cache


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "image-translate"


def test_what_is_written_is_read(folder):
    assert user_cache.read_cached("a/b.json") is None
    user_cache.write_cached("a/b.json", {"low": -0.1, "high": [1, None]})
    assert user_cache.read_cached("a/b.json") == {"low": -0.1, "high": [1, None]}
    assert (folder / "a" / "b.json").is_file()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_is_none(content, folder):
    folder.mkdir(parents=True)
    (folder / "x.json").write_bytes(content)
    assert user_cache.read_cached("x.json") is None


def test_a_folder_that_cannot_be_made_is_no_error(folder):
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("a file in its place")
    user_cache.write_cached("a/b.json", 1)
    assert user_cache.read_cached("a/b.json") is None


def test_without_the_variable_it_lies_at_home(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache.cache_folder() == tmp_path / ".cache" / "image-translate"
