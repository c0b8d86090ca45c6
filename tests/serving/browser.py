"""A headless Chromium, driven by the W3C WebDriver protocol; the functions of a page that tests need."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""Key of an element's number in answers of the protocol."""
ENTER, TAB, RIGHT, DOWN = "\ue007", "\ue004", "\ue014", "\ue015"

PATIENCE = 300.0
"""Seconds that are waited for what has to appear."""


class Browser:
    """A browser of its own profile. Skips the test where there is no Chromium with its driver."""

    def __init__(self, downloads: Path, width: int = 1280, height: int = 900) -> None:
        chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
        if chromium is None or driver is None:
            pytest.skip("needs chromium and chromedriver")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.address = f"http://127.0.0.1:{port}"
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--window-size={width},{height}",
        ]
        options = {
            "binary": chromium,
            "args": arguments,
            "prefs": {"download.default_directory": str(downloads), "download.prompt_for_download": False},
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL"}}
        self.session = ""
        self.wait(self._is_up)
        self.session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", metrics)

    def close(self) -> None:
        """End the browser."""
        try:
            self._ask("DELETE", f"/session/{self.session}")
        finally:
            self.process.terminate()
            self.process.wait(30)

    def _is_up(self) -> bool:
        try:
            return bool(self._ask("GET", "/status")["ready"])
        except OSError:
            return False

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            raise AssertionError(json.load(e)["value"]["message"]) from None

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        """Run a command of the DevTools protocol."""
        return self._ask("POST", f"/session/{self.session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def open(self, url: str) -> None:
        self._ask("POST", f"/session/{self.session}/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Value of a script, a function's body."""
        body = {"script": script, "args": list(arguments)}
        return self._ask("POST", f"/session/{self.session}/execute/sync", body)

    def find(self, selector: str) -> str:
        """Number of the element that a CSS selector finds, once there is one."""
        self.wait(lambda: self.run("return document.querySelector(arguments[0]) !== null", selector), selector)
        found = self._ask("POST", f"/session/{self.session}/element", {"using": "css selector", "value": selector})
        return found[ELEMENT]

    def type(self, selector: str, text: str) -> None:
        body = {"text": text}
        self._ask("POST", f"/session/{self.session}/element/{self.find(selector)}/value", body)

    def fill(self, selector: str, text: str) -> None:
        """Type over what a field holds."""
        self.find(selector)
        self.run("document.querySelector(arguments[0]).select()", selector)
        self.type(selector, text)

    def drop(self, selector: str, files: Sequence[Path]) -> None:
        """Drop files onto an element, as a person drags them there from a folder."""
        self.find(selector)
        x, y = self.run(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]",
            selector,
        )
        data = {"items": [], "files": [str(path) for path in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.command("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})

    def click(self, selector: str) -> None:
        self._ask("POST", f"/session/{self.session}/element/{self.find(selector)}/click")

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        body = {"actions": [{"type": "key", "id": "keyboard", "actions": keys}]}
        self._ask("POST", f"/session/{self.session}/actions", body)

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("GET", f"/session/{self.session}/screenshot")))

    def requested(self) -> list[str]:
        """Addresses that the browser has asked for since the last call, also those that were blocked."""
        entries = self._ask("POST", f"/session/{self.session}/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    @staticmethod
    def wait(condition: Any, what: str = "") -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited in vain: {what}"
            time.sleep(0.2)
