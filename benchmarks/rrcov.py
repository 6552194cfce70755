"""Robust PCA of R's rrcov, run where R has it (Debian: r-cran-rrcov)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

METHODS = {
    "PcaHubert": "PcaHubert(X, k = k, kmax = max(10, k))",
    "PcaHubert .5": "PcaHubert(X, k = k, kmax = max(10, k), alpha = 0.5)",
    "PcaGrid": "PcaGrid(X, k = k)",
    "PcaLocantore": "PcaLocantore(X, k = k)",
    "PcaCov": "PcaCov(X, k = k)",
}
"""Name -> call; X and k are there."""

SCRIPT = """
suppressMessages(library(rrcov))
set.seed(1)
X <- as.matrix(read.csv("X.csv", header = FALSE))
k <- as.integer(readLines("k"))
for (name in commandArgs(TRUE)) {{
  t <- system.time(r <- tryCatch(switch(name, {methods}), error = function(e) NULL))
  if (is.null(r)) next
  write.table(getLoadings(r)[, 1:k, drop = FALSE], paste0(name, ".V"), row.names = FALSE, col.names = FALSE)
  write.table(as.integer(r@flag), paste0(name, ".flag"), row.names = FALSE, col.names = FALSE)
  write.table(t[[1]] + t[[2]], paste0(name, ".seconds"), row.names = FALSE, col.names = FALSE)
}}
"""  # noqa: E501


def version() -> str | None:
    """rrcov's version, or None where it cannot be run."""
    if shutil.which("Rscript") is None:
        return None
    asked = ["Rscript", "-e", 'cat(as.character(packageVersion("rrcov")))']
    done = subprocess.run(asked, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def run(X: NDArray[np.float64], k: int, methods: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Of each method that gives an answer: loadings V (d, k), flagged rows (n,), CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        np.savetxt(here / "X.csv", X, delimiter=",", fmt="%.17g")
        (here / "k").write_text(f"{k}\n")
        calls = ", ".join(f'"{name}" = {call}' for name, call in METHODS.items())
        (here / "run.R").write_text(SCRIPT.format(methods=calls))
        subprocess.run(["Rscript", "run.R", *methods], cwd=here, check=True, capture_output=True)
        return {
            name: {
                "V": np.loadtxt(here / f"{name}.V", ndmin=2),
                "flagged": np.loadtxt(here / f"{name}.flag") == 0,
                "seconds": float(np.loadtxt(here / f"{name}.seconds")),
            }
            for name in methods
            if (here / f"{name}.V").exists()
        }
