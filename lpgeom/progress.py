"""A progress bar on stderr for the steps of a solver, whose number is not known beforehand."""

from __future__ import annotations

from typing import Any


class Progress:
    """Context manager: a tqdm counter of steps, or nothing.

    Leaving it by an exception (Ctrl-C included) closes the bar and lets the exception through.
    """

    def __init__(self, enabled: bool) -> None:
        self._bar: Any = None
        if enabled:
            from tqdm import tqdm

            self._bar = tqdm(desc="lpgeom", unit=" steps", leave=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def stage(self, name: str) -> None:
        """What is being done now."""
        if self._bar is not None:
            self._bar.set_description(name)

    def step(self, note: str = "") -> None:
        """One step is done."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update()
