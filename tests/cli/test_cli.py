"""The command line: its table, its JSON, its files, and one clear line for whatever is wrong."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpgeom
from lpgeom.cli import main, table_lines, to_json
from lpgeom.records.subspace import SubspaceResult

RNG = np.random.default_rng(0)
A = RNG.standard_normal((60, 8)) * np.linspace(3, 1, 8)


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small matrix in the current directory; its name."""
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", A)
    return "a.npy"


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lpgeom", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def fails(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """The one line on standard error of a call that fails and writes nothing."""
    before = sorted(Path().rglob("*"))
    try:
        outcome = main(arguments)
    except SystemExit as stop:  # argparse
        outcome = int(stop.code or 0)
    assert outcome == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lpgeom: error: ")
    assert err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return err


# ---------------------------------------------------------------- what works


def test_a_table_with_the_svd_below_each_rank(
    matrix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["approx", matrix, "-k", "2", "3", "-p", "1"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "a.npy: 60 x 8 float64, p = 1"
    assert lines[1].split()[:4] == ["k", "subspace", "cost", "lower"]
    assert [line.split()[0] for line in lines[2:]] == ["2", "SVD", "3", "SVD"]
    for ours, svd, k in ((lines[2], lines[3], 2), (lines[4], lines[5], 3)):
        expected = lpgeom.approx_subspace(A, k, 1.0)
        assert f"{expected.cost:.6g}" in ours
        assert f"{expected.lower_bound:.6g}" in ours
        assert f"{expected.svd_cost:.6g}" in svd
    assert err == ""  # not a terminal: no progress bar


def test_json_is_strict_and_says_what_the_library_says(
    matrix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["approx", matrix, "-k", "3", "-p", "1.5", "--json", "--certify", "none"]) == 0
    text = capsys.readouterr().out
    found = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    expected = lpgeom.approx_subspace(A, 3, 1.5, certify=False).to_dict()
    assert found["ratio"] is None  # infinite: not certified
    for name in ("shape", "k", "p", "cost", "svd_cost", "method", "history", "seed"):
        assert found[name] == expected[name]


def test_json_of_several_ranks_is_a_list(matrix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["approx", matrix, "-k", "2", "4", "--json"]) == 0
    assert [entry["k"] for entry in json.loads(capsys.readouterr().out)] == [2, 4]


def test_to_json_has_no_word_for_infinity() -> None:
    assert json.loads(to_json({"a": [math.inf, -math.inf, math.nan, 1.5]})) == {
        "a": [None, None, None, 1.5]
    }


@pytest.mark.parametrize("certify", ["fast", "tight"])
def test_out_then_verify(matrix: str, capsys: pytest.CaptureFixture[str], certify: str) -> None:
    call = ["approx", matrix, "-k", "2", "-p", "1.5", "--out", "r.npz", "--quiet"]
    assert main([*call, "--certify", certify]) == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(os.listdir()) == ["a.npy", "r.npz"]
    result = SubspaceResult.load("r.npz")
    assert result.lower_bound > 0
    assert main(["verify", "r.npz", matrix]) == 0
    out = capsys.readouterr().out
    assert "verified" in out
    assert all(bound.name in out for bound in result.certificate.bounds)  # type: ignore[union-attr]


def test_verify_fails_on_other_data(matrix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["approx", matrix, "-k", "2", "--out", "r.npz", "--quiet"]) == 0
    np.save("b.npy", A * 0.99)
    assert "does not hold" in fails(capsys, "verify", "r.npz", "b.npy", code=1)
    np.save("c.npy", A[:50])
    fails(capsys, "verify", "r.npz", "c.npy", code=1)


def test_one_file_for_each_rank(matrix: str) -> None:
    assert main(["approx", matrix, "-k", "2", "3", "--out", "r-{k}.npz", "--quiet"]) == 0
    assert [SubspaceResult.load(f"r-{k}.npz").k for k in (2, 3)] == [2, 3]


def test_every_format_gives_the_same_answer(
    matrix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.numpy import save_file

    np.savez("a.npz", points=A, other=A[:2])
    save_file({"layer.weight": A, "bias": A[0]}, "a.safetensors")
    np.savetxt("a.csv", A, delimiter=",", header="a,b,c,d,e,f,g,h", comments="", fmt="%.17g")
    costs = []
    for source in (
        ["a.npy"],
        ["a.npz", "--tensor", "points"],
        ["a.safetensors", "--tensor", "layer.weight"],
        ["a.csv"],
    ):
        assert main(["approx", *source, "-k", "3", "--json", "--certify", "none"]) == 0
        costs.append(json.loads(capsys.readouterr().out)["cost"])
    np.testing.assert_allclose(costs, costs[0], rtol=1e-12)


def test_row_weights_and_seed_reach_the_library(
    matrix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = RNG.random(60)
    np.save("w.npy", weights)
    call = ["approx", matrix, "-k", "3", "--row-weights", "w.npy", "--seed", "7", "--json"]
    assert main([*call, "--certify", "none"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = lpgeom.approx_subspace(A, 3, row_weights=weights, seed=7, certify=False)
    assert found["cost"] == expected.cost
    assert found["seed"] == 7


def test_force_replaces_a_file(matrix: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.npz").write_bytes(b"precious")
    call = ["approx", matrix, "-k", "2", "--out", "r.npz", "--quiet", "--certify", "none"]
    assert "--force replaces it" in fails(capsys, *call)
    assert Path("r.npz").read_bytes() == b"precious"
    assert main([*call, "--force"]) == 0
    assert SubspaceResult.load("r.npz").k == 2


def test_table_of_an_uncertified_result_claims_nothing() -> None:
    ours, svd = table_lines(lpgeom.approx_subspace(A, 2, certify=False)).splitlines()
    assert ours.count(" - ") == 3
    assert svd.split()[2:] == ["-", "-", "-", "-", "-", "-"]


def test_version_and_help() -> None:
    assert run("--version").stdout == f"lpgeom {lpgeom.__version__}\n"
    assert "approx" in run("--help").stdout
    assert "--row-weights" in run("approx", "--help").stdout


def test_help_needs_no_numba() -> None:
    code = (
        "import sys\nfrom lpgeom.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# ---------------------------------------------------------------- what does not


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "arguments are required: COMMAND"),
        (("approx",), "arguments are required"),
        (("approx", "a.npy"), "arguments are required: -k"),
        (("approx", "a.npy", "-k"), "expected at least one argument"),
        (("approx", "a.npy", "-k", "two"), "invalid int value: 'two'"),
        (("approx", "a.npy", "-k", "2.5"), "invalid int value: '2.5'"),
        (("approx", "a.npy", "-k", "0"), "k must lie between 1 and d - 1 = 7"),
        (("approx", "a.npy", "-k", "8"), "k must lie between 1 and d - 1 = 7"),
        (("approx", "a.npy", "-k", "2", "9", "--out", "r{k}.npz"), "k must lie between"),
        (("approx", "a.npy", "-k", "2", "-p", "0.5"), "p must be a number >= 1"),
        (("approx", "a.npy", "-k", "2", "-p", "nan"), "p must be a number >= 1"),
        (("approx", "a.npy", "-k", "2", "-p", "one"), "invalid float value"),
        (("approx", "a.npy", "-k", "2", "--certify", "maybe"), "invalid choice"),
        (("approx", "a.npy", "-k", "2", "--seed", "-1"), "seed must be >= 0"),
        (("approx", "none.npy", "-k", "2"), "none.npy: No such file"),
        (("approx", ".", "-k", "2"), "is a directory"),
        (("approx", "a.npy", "-k", "2", "--tensor", "w"), "holds one array"),
        (("approx", "a.safetensors", "-k", "2", "--tensor", "wieght"), "near matches: weight"),
        (("approx", "a.safetensors", "-k", "2"), "holds 2 arrays, choose one with --tensor"),
        (("approx", "truncated.npy", "-k", "2"), "truncated.npy: truncated"),
        (("approx", "vector.npy", "-k", "2"), "not two dimensions"),
        (("approx", "nan.npy", "-k", "2"), "A[1, 2] is nan"),
        (("approx", "empty.npy", "-k", "2"), "A is empty"),
        (("approx", "text.csv", "-k", "2"), "line 2, column 1: 'x' is not a number"),
        (("approx", "a.npy", "-k", "2", "--row-weights", "short.npy"), "shape (60,)"),
        (("approx", "a.npy", "-k", "2", "--row-weights", "negative.npy"), "must be finite and >="),
        (("approx", "a.npy", "-k", "2", "--row-weights", "none.npy"), "none.npy: No such file"),
        (("approx", "a.npy", "-k", "2", "--force"), "--force goes with --out"),
        (("approx", "a.npy", "-k", "2", "--out", "r.txt"), "is an .npz file"),
        (("approx", "a.npy", "-k", "2", "--out", "no/r.npz"), "no directory no"),
        (("approx", "a.npy", "-k", "2", "--out", "folder.npz"), "is a directory"),
        (("approx", "a.npy", "-k", "2", "3", "--out", "r.npz"), "several ranks need '{k}'"),
        (("approx", "one.npz", "-k", "2", "--out", "one.npz", "--force"), "is an input file"),
        (("verify", "none.npz", "a.npy"), "none.npz: No such file"),
        (("verify", "one.npz", "a.npy"), "not a readable lpgeom result"),
        (("verify", "a.npy", "a.npy"), "not a readable lpgeom result"),
        (("verify", "uncertified.npz", "a.npy"), "has no certificate"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(
    matrix: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    from safetensors.numpy import save_file

    save_file({"weight": A, "bias": A[0]}, "a.safetensors")
    np.savez("one.npz", A)
    Path("truncated.npy").write_bytes(Path("a.npy").read_bytes()[:-1])
    np.save("vector.npy", A[0])
    np.save("empty.npy", A[:0])
    bad = A.copy()
    bad[1, 2] = np.nan
    np.save("nan.npy", bad)
    Path("text.csv").write_text("1,2,3\nx,5,6\n")
    np.save("short.npy", np.ones(59))
    np.save("negative.npy", -np.ones(60))
    Path("folder.npz").mkdir()
    lpgeom.approx_subspace(A, 2, certify=False).save("uncertified.npz")
    assert message in fails(capsys, *arguments)


def test_the_process_exits_as_main_returns(matrix: str) -> None:
    done = run("approx", "none.npy", "-k", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lpgeom: error: none.npy: No such file or directory\n"
    done = run("approx", matrix, "-k", "2", "--certify", "none")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_one_line_and_leaves_nothing(
    matrix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    call = ("approx", matrix, "-k", "2", "--out", "r.npz", "--certify", "none")
    assert "No space left on device" in fails(capsys, *call)


def test_out_of_memory_is_one_line(
    matrix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*_: Any, **__: Any) -> None:
        raise MemoryError("unable to allocate 1 TiB")

    monkeypatch.setattr(lpgeom, "approx_subspace", hungry)
    assert "not enough memory (unable to" in fails(capsys, "approx", matrix, "-k", "2")


def test_warnings_are_one_line(
    matrix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    result = lpgeom.approx_subspace(A, 2, certify=False)

    def warned(*_: Any, **__: Any) -> SubspaceResult:
        warnings.simplefilter("always")
        warnings.warn("took another way", stacklevel=2)
        return result

    monkeypatch.setattr(lpgeom, "approx_subspace", warned)
    assert main(["approx", matrix, "-k", "2", "--quiet"]) == 0
    assert capsys.readouterr().err == "lpgeom: warning: took another way\n"


SLEEPER = """
import sys, time
import lpgeom
from lpgeom.cli import main

def slow(*args, **options):
    print("working", flush=True)
    time.sleep(120)

lpgeom.approx_subspace = slow
sys.exit(main(["approx", "a.npy", "-k", "2", "--out", "r.npz"]))
"""


def test_ctrl_c_exits_130_and_leaves_no_file(matrix: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "lpgeom: interrupted\n"
    assert os.listdir() == ["a.npy"]


def test_ctrl_c_while_saving_leaves_no_half_file(
    matrix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    assert main(["approx", matrix, "-k", "2", "--out", "r.npz", "--certify", "none"]) == 130
    assert capsys.readouterr().err == "lpgeom: interrupted\n"
    assert os.listdir() == ["a.npy"]


def test_a_closed_pipe_is_no_traceback(matrix: str) -> None:
    command = f"{sys.executable} -m lpgeom approx {matrix} -k 2 --certify none --json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr


def test_tables_with_names_years_and_missing_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ["who;2019;2020;2021", *(f"r{i};{i * i};{3 + i};{7 - i}" for i in range(9))]
    Path("t.csv").write_text("\n".join(lines))
    plain = np.array([[i * i, 3.0 + i, 7.0 - i] for i in range(9)])
    call = ["approx", "t.csv", "-k", "1", "--index-col", "who", "--json"]
    assert main(call) == 0
    assert json.loads(capsys.readouterr().out)["cost"] == lpgeom.approx_subspace(plain, 1).cost
    assert main([*call, "--columns", "2021", "2019"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cost"] == lpgeom.approx_subspace(plain[:, [2, 0]], 1).cost
    lines[3] = "r2;NA;5;5"
    Path("t.csv").write_text("\n".join(lines))
    assert "line 4, column 2: 'NA' is not a number" in fails(capsys, *call)
    entries = ["--objective", "entries", "--missing", "ignore", "--out", "r.npz"]
    assert main([*call, *entries]) == 0
    assert main(["verify", "r.npz", "t.csv", "--index-col", "who"]) == 0
    capsys.readouterr()
    Path("t.csv").write_text("0,1,2\n2.5,1,2\n1,1,4\n")
    assert "say --header or --no-header" in fails(capsys, "approx", "t.csv", "-k", "1")
    for option, n in (("--header", 2), ("--no-header", 3)):
        assert main(["approx", "t.csv", "-k", "1", option, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["shape"] == [n, 3]
    call = ["approx", "data:digits", "-k", "1", "--columns", "1"]
    assert "no tensors or columns" in fails(capsys, *call)
