"""A real browser for tests of pages: Chromium without a window, spoken to through two pipes in its own protocol."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 40.0
"""Seconds that the browser has for one answer."""
VOID = set("area base br col embed hr img input link meta source track wbr".split())


class Page(HTMLParser):
    """What a page's text holds: open elements, anchors of sections, scripts, and everything that would be fetched."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.fetched, self.ids, self.seen, self.scripts = [], [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.seen.add(tag)
        self.open += [tag] * (tag not in VOID)
        self.ids += [attrs["id"]] if tag in ("h2", "svg") and "id" in attrs else []
        self.scripts += [attrs] if tag == "script" else []
        links = [attrs[k] for k in ("src", "href", "xlink:href", "srcset", "data") if attrs.get(k)]
        self.fetched += [link for link in links if not link.startswith(("#", "data:"))]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class Tab:
    """One tab of the browser.

    Attributes:
        requests: addresses of everything that was asked for.
        faults: what scripts threw or wrote as an error.
    """

    def __init__(self, reader: int, writer: int):
        self.reader, self.writer, self.rest, self.number, self.session = reader, writer, b"", 0, None
        self.requests: list[str] = []
        self.faults: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for room in ("Page", "Runtime", "Network"):
            self.ask(f"{room}.enable")

    def show(self, page: Path, width: int = 1400, scheme: str = "light", media: str = "screen") -> None:
        """Open a file at a width [pixel] in a colour scheme, as on a screen or as in print."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=width < 600)
        self.ask("Emulation.setEmulatedMedia", media=media, features=features)
        self.requests, self.faults = [], []
        self.ask("Page.navigate", url=page.resolve().as_uri())
        until = time.monotonic() + PATIENCE
        while self.run("document.readyState + location.protocol") != "completefile:":
            assert time.monotonic() < until, f"{page} did not load"

    def run(self, script: str) -> Any:
        """The value of an expression in the page, which JSON can hold."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press keys one after the other, such as Tab or ArrowRight."""
        for key in keys:
            code = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
                    "ArrowDown": 40, "Escape": 27}[key]  # fmt: skip
            text = {"text": "\r"} if key == "Enter" else {}
            for kind in ("keyDown", "keyUp"):
                self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a place of the window [pixel]."""
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def touch(self, x: float, y: float) -> None:
        """Touch a place of the window [pixel] and let go."""
        self.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[dict(x=x, y=y)])
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.run("new Promise((done) => setTimeout(() => done(1), 100))")  # the click comes after the touch

    def picture(self, path: Path, top: float = 0.0, height: float | None = None) -> None:
        """Write the page as PNG, all of it or a part [pixel]."""
        width, whole = self.run("[innerWidth, document.documentElement.scrollHeight]")
        clip = dict(x=0, y=top, width=width, height=min(height or whole, whole - top), scale=1)
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def ask(self, method: str, **facts: Any) -> dict[str, Any]:
        """What the browser answers to one method of its protocol."""
        self.number += 1
        call = dict(id=self.number, method=method, params=facts) | ({"sessionId": self.session} if self.session else {})
        os.write(self.writer, json.dumps(call).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self.number:
                assert "error" not in said, f"{method}: {said['error']}"
                return said["result"]
            self._heard(said.get("method"), said.get("params", {}))

    def _heard(self, event: str | None, facts: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        if event == "Runtime.exceptionThrown":
            self.faults.append(str(facts["exceptionDetails"]))
        if event == "Runtime.consoleAPICalled" and facts["type"] == "error":
            self.faults.append(str(facts["args"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            assert select.select([self.reader], [], [], PATIENCE)[0], f"Chromium said nothing for {PATIENCE:g} s"
            piece = os.read(self.reader, 1 << 20)
            assert piece, "Chromium has ended"
            self.rest += piece
        said, self.rest = self.rest.split(b"\0", 1)
        return json.loads(said)


@contextmanager
def browse() -> Iterator[Tab]:
    """A tab of a browser that ends with the block; the test is skipped where no Chromium is installed."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium is installed, so no page can be looked at; apt-get install chromium")
    (there_out, there_in), (back_out, back_in) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        command = [program, *FLAGS, f"--user-data-dir={home}"]
        joined = f'exec "$@" 3<&{there_out} 4>&{back_in}'  # Chromium reads its third and writes its fourth file
        child = subprocess.Popen(["/bin/bash", "-c", joined, "-", *command], pass_fds=(there_out, back_in),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        os.close(there_out), os.close(back_in)
        try:
            tab = Tab(back_out, there_in)
            yield tab
            with suppress(AssertionError, OSError):
                tab.session = None
                tab.ask("Browser.close")
        finally:
            os.close(there_in), os.close(back_out)
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
