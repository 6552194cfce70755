"""Pictures of a compression, read back from what was drawn."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lpgeom import plots
from lpgeom.plots.layers import MANY, abbreviate, columns, count, places, printable, rows_of
from tests.reports import EVERY, bert, entries, layer, minilm, nasty, report, several, untouched


def line(ax: Any, name: str) -> np.ndarray:
    return next(x.get_xydata() for x in ax.lines if x.get_label() == name)


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("name", EVERY)
def test_every_report_can_be_drawn(name: str, tmp_path: Path) -> None:
    figure = plots.plot_compression(EVERY[name]())
    assert len(figure.axes) == 3
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # fonts, not layers
        plots.save(figure, tmp_path / "picture.png", dpi=40)


@pytest.mark.parametrize("name", ["minilm", "bert", "entries", "several"])
def test_errors_are_drawn_where_they_are(name: str) -> None:
    whole = EVERY[name]()
    ax = plots.plot_compression(whole).axes[0]
    shared = [x for row in rows_of(whole.compressed) for x in row.layers]
    np.testing.assert_allclose(line(ax, "these factors")[:, 0], [x.error for x in shared])
    np.testing.assert_allclose(line(ax, "SVD")[:, 0], [x.svd_error for x in shared])
    bars = next(c for c in ax.containers if c.get_label() == "proved impossible")
    bounds = [x.error_bound for x in shared if x.error_bound is not None]
    np.testing.assert_allclose([bar.get_width() for bar in bars], bounds)
    low, high = ax.get_xlim()
    assert low < min(x.error for x in shared)
    assert max(x.svd_error for x in shared) < high
    # No two layers on the same line, all inside.
    y = line(ax, "these factors")[:, 1]
    assert len(np.unique(y)) == len(y)
    assert y.min() > ax.get_ylim()[1]
    assert y.max() < ax.get_ylim()[0]


def test_a_wide_band_is_drawn_wide() -> None:
    ax = plots.plot_compression(entries()).axes[0]
    gaps = next(c for c in ax.collections if len(c.get_segments()) and c.get_alpha() == 0.45)
    lengths = [segment[1][0] / segment[0][0] for segment in gaps.get_segments()]
    np.testing.assert_allclose(lengths, [x.ratio for x in entries().layers])
    assert "16.200" in texts(ax)


def test_parameters_add_up() -> None:
    whole = bert()
    ax = plots.plot_compression(whole).axes[1]
    widths = [container[0].get_width() for container in ax.containers]
    before = [c[0].get_width() for c in ax.containers if c[0].get_facecolor()[0] > 0.5]
    assert widths[0] == whole.parameters_before
    assert widths[1] == whole.parameters_after
    assert sum(before[1:]) == whole.parameters_before
    assert "whole model" in texts(ax)
    assert "not selected" in texts(ax)


def test_spectra_are_normalised_and_ranks_marked() -> None:
    whole = several()
    ax = plots.plot_compression(whole).axes[2]
    assert ax.get_yscale() == "log"
    curves = [x.get_xydata() for x in ax.lines if x.get_marker() == "None"]
    marks = [x.get_xydata() for x in ax.lines if x.get_marker() == "o"]
    assert len(curves) == len(marks) == 3
    for one, curve, mark in zip(whole.layers, curves, marks, strict=True):
        spectrum = np.array(one.spectrum)
        np.testing.assert_allclose(curve[:, 1], spectrum[curve[:, 0].astype(int) - 1] / spectrum[0])
        assert one.rank is not None
        np.testing.assert_allclose(mark, [[one.rank, spectrum[one.rank - 1] / spectrum[0]]])


def test_a_shared_row_spans_its_spectra() -> None:
    ax = plots.plot_compression(bert()).axes[2]
    spectra = [x.spectrum for x in bert().layers if x.name.endswith("self.query")]
    ends = [np.array(s)[-1] / s[0] for s in spectra]
    band = ax.collections[0].get_paths()[0].vertices
    at_end = band[band[:, 0] == len(spectra[0])][:, 1]
    np.testing.assert_allclose([at_end.min(), at_end.max()], [min(ends), max(ends)])


def test_the_height_grows_with_the_layers_but_not_without_end() -> None:
    def height(layers: int, name: str) -> float:
        many = report(*(layer(name.format(i), shape=(64, 64), rank=8) for i in range(layers)))
        return float(plots.compression_picture(many, "errors").get_size_inches()[1])

    assert height(1, "w.{}") < 2.0
    assert height(20, "w.{}") > height(5, "w.{}") > height(1, "w.{}")
    assert height(MANY + 1, "w.{}") < height(MANY, "w.{}")  # they share a row
    assert height(600, "w.{}") == pytest.approx(height(100, "w.{}"))
    assert height(80, "w{}") > 20.0  # nothing in common


def test_what_is_not_there_is_said() -> None:
    errors, _, spectra = plots.plot_compression(untouched()).axes
    assert texts(errors) == ["no layer was compressed"]
    assert texts(spectra) == ["no singular values were recorded"]
    errors, parameters, _ = plots.plot_compression(minilm(dry_run=True)).axes
    assert texts(errors) == ["a dry run: nothing was solved, so there are no errors yet"]
    assert parameters.get_title(loc="left") == "Parameters, if it were done"
    bare = report(layer("w", solved=False, spectrum=(0.0, 0.0)))
    assert texts(plots.plot_compression(bare).axes[0]) == ["no errors were recorded"]


def test_exact_and_worthless_factors() -> None:
    exact = layer("exact", cost=0.0, lower_bound=0.0, svd_cost=0.0)
    figure = plots.plot_compression(report(exact, layer("loose", lower_bound=0.0)))
    assert {"1.000", "∞"} <= set(texts(figure.axes[0]))
    assert plots.plot_compression(report(exact)).axes[0].get_xlim() == (0.0, 1.0)


def test_names_are_not_mathematics_and_fit() -> None:
    figure = plots.compression_picture(nasty(), "errors")
    names = texts(figure.axes[0])
    assert "_hidden.$x^2_1$.cost" in names
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.draw_without_rendering()
        width = figure.bbox.width
        for text in figure.axes[0].texts:
            box = text.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= width
    legend = plots.compression_picture(nasty(), "spectra").axes[0].get_legend()
    assert "_hidden.$x^2_1$.cost" in [text.get_text() for text in legend.get_texts()]


def test_axes_given_are_drawn_in() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4))
    axes = figure.subplots(1, 3)
    assert plots.plot_compression(minilm(), axes=axes) is figure
    assert minilm().plot(list(axes)) is figure
    assert len(figure.axes) == 3
    with pytest.raises(ValueError, match="axes must be three, got 2"):
        plots.plot_compression(minilm(), axes=axes[:2])
    with pytest.raises(ValueError, match="which must be one of 'errors'"):
        plots.compression_picture(minilm(), "beauty")


def test_layers_of_a_large_model_share_rows() -> None:
    rows = rows_of(bert().layers)
    first = next(row for row in rows if row.numbers)
    assert first.label == "encoder.layer.*.attention.self.query ×12"
    assert rows[3].numbers == tuple(map(str, range(12)))
    assert sum(len(row.layers) for row in rows) == len(bert().layers)
    labels, lines, height = places(rows)
    assert all(label < at[0] for label, at in zip(labels, lines, strict=True))
    assert lines[-1][-1] < height
    few = bert().layers[:MANY]
    assert [row.layers for row in rows_of(few)] == [(layer,) for layer in few]


@pytest.mark.parametrize("width", [12, 30, 200])
@pytest.mark.parametrize("name", ["short", "x" * 119 + "1", "层" * 60 + "尾", ""])
def test_abbreviations_fit_and_keep_both_ends(name: str, width: int) -> None:
    short = abbreviate(name, width)
    assert columns(short) <= width
    if columns(name) <= width:
        assert short == name
    else:
        assert (short[0], short[-1]) == (name[0], name[-1])


def test_counts_and_marks() -> None:
    assert [count(x) for x in (0, 999, 1000, 999_499, 999_500, 1_234_567)] == [
        "0", "999", "1 K", "999 K", "1 M", "1.23 M",
    ]  # fmt: skip
    assert printable("a\nb\x00\ud800\u202e") == "a b" + "\N{REPLACEMENT CHARACTER}" * 3


def test_svg_replaces_colours_in_styles_only() -> None:
    odd = report(layer("#0072b2"))
    text = plots.svg(
        lambda: plots.compression_picture(odd, "errors"), name="x", colours={"#0072b2": "var(--c)"}
    )
    assert ">#0072b2<" in text
    assert "fill: var(--c)" in text
