"""How wide code may be: what a block of the site holds without a scroll bar."""

from __future__ import annotations

import inspect
import re

COLUMNS = 79
"""The site's text is 46em wide in a window for a desk (16px; the theme's), 42em for a method's
description; a block of code has 14px of padding on both sides and characters of 13px, which are at
most 0.62em wide in the theme's fonts: 80 of them fit. `make site-check` looks at every block."""

MARKER = re.compile(r" *([-*+]|\d+[.)]) ")


def code_of(page: str) -> list[tuple[int, str]]:
    """Numbered lines of a page's code and output: in fences, or indented by four."""
    found: list[tuple[int, str]] = []
    fenced = in_list = False
    for number, line in enumerate(page.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced:
            found.append((number, line))
        elif line.strip():
            in_list = bool(MARKER.match(line)) or (in_list and line.startswith(" "))
            if line.startswith("    ") and not in_list:
                found.append((number, line[4:]))
    return found


def examples_of(docstring: str) -> list[str]:
    """Lines of a docstring's examples, and of what they print."""
    found: list[str] = []
    inside = False
    for line in inspect.cleandoc(docstring).splitlines():
        inside = bool(line.strip()) and (inside or line.lstrip().startswith(">>>"))
        if inside:
            found.append(line)
    return found


def too_wide(lines: list[str]) -> list[str]:
    """Those that would need a scroll bar."""
    return [line for line in lines if len(line) > COLUMNS]
