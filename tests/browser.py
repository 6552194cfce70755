"""A headless Chromium, spoken to over a pipe: pages as a reader sees them.

Speaks the DevTools protocol (JSON with a NUL after each message) on file descriptors 3 and 4.
"""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def find() -> str | None:
    """Path of the browser; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of one browser, with an empty profile in `folder`."""

    def __init__(self, folder: Path, *, timeout: float = 20.0) -> None:
        program = find()
        assert program is not None
        self.timeout = timeout
        self.events: list[dict[str, Any]] = []
        self._count = 0
        self._unread = b""
        read, theirs_out = os.pipe()
        theirs_in, write = os.pipe()
        # The shell puts the pipes where Chromium looks for them.
        line = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", line, program, *OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._read, self._write = read, write
        self._session: str | None = None
        try:
            target = self("Target.createTarget", url="about:blank")["targetId"]
            attached = self("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def __call__(self, method: str, **parameters: Any) -> Any:
        """Send a command, return its result."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + self.timeout
        while True:
            answer = self._next(end, method)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _next(self, end: float, waiting_for: str) -> dict[str, Any]:
        while b"\0" not in self._unread:
            left = end - time.monotonic()
            if left <= 0.0 or not select.select([self._read], [], [], left)[0]:
                raise TimeoutError(f"the browser did not answer {waiting_for}")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError(f"the browser ended before it answered {waiting_for}")
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\0")
        return dict(json.loads(line))

    def show(
        self, path: Path, *, width: int, dark: bool = False, script: bool = True, height: int = 800
    ) -> None:
        """Open a file in a window of that width."""
        self("Emulation.setScriptExecutionDisabled", value=not script)
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        self.events.clear()
        self("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + self.timeout
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next(end, "Page.navigate"))

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def screenshot(self, box: Sequence[float] | None = None) -> np.ndarray:
        """(height, width, 3) pixels of the page, or of a box (x, y, width, height) of it."""
        from PIL import Image

        if box is None:
            size = self("Page.getLayoutMetrics")["cssContentSize"]
            box = (0, 0, size["width"], size["height"])
        clip = {**dict(zip(("x", "y", "width", "height"), box, strict=True)), "scale": 1}
        picture = self("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"))

    def requests(self) -> list[str]:
        """Addresses asked for since `show`."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """What the console would show as errors since `show`."""
        return [
            json.dumps(event["params"])
            for event in self.events
            if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")
        ]
