from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas.report import figures
from nas.report.figures import add_legend, scale_by_log
from nas.report.results import Baseline, Results


@pytest.mark.parametrize(
    ("low", "high"),
    [(1.2e4, 4.1e5), (1.0e4, 1.1e5), (3, 35), (0.011, 0.4), (900, 9e6), (1e-3, 1e3), (5, 4e9), (2, 2e3)],
)
def test_labels_of_a_logarithmic_axis_stand_apart_and_there_are_several(low: float, high: float) -> None:
    figure = Figure(figsize=(5.4, 4.6), layout="constrained", dpi=140)
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.scatter([low, high], [0, 1])
    scale_by_log(axis)
    canvas.draw()
    left, right = axis.get_xlim()
    shown = [t.label1 for t in axis.xaxis.get_major_ticks() if left <= t.get_loc() <= right]
    shown += [t.label1 for t in axis.xaxis.get_minor_ticks() if t.label1.get_text()]
    boxes = sorted((label.get_window_extent().x0, label.get_window_extent().x1) for label in shown)
    assert len(boxes) >= 3
    assert all(first[1] + 2 < second[0] for first, second in pairwise(boxes))


@pytest.mark.parametrize("variant", ["int8", "prune-keep-0.5-cluster-bits-8"])
@pytest.mark.parametrize(("num_panels", "columns"), [(1, 1), (2, 2), (3, 4)])
def test_a_legend_is_no_wider_than_its_figure(num_panels: int, columns: int, variant: str) -> None:
    figure = Figure(figsize=(5.4 * num_panels, 4.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots(1, num_panels, squeeze=False)[0, 0]
    for name in (
        "evaluated (search split)",
        "search front, all objectives",
        "winners fp32",
        f"winners {variant}",
    ):
        axis.scatter([0], [0], label=f"{name} (test split)")
    add_legend(figure, axis)
    canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert len({round(text.get_window_extent().x0) for text in legend.get_texts()}) >= columns


def test_every_baseline_is_drawn_that_has_values(cli_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "_png", drawn.append)
    results = Results.read(cli_run / "report.json")
    row, names = results.values[0], ("random search", "uniform scaling", "pruned and quantized")
    baselines = tuple(Baseline(name, "", [row], [0.5]) for name in names)
    front_png, hypervolume_png = figures.front_png, figures.hypervolume_png
    hypervolume_png(replace(results, baselines=baselines))
    assert [line.get_label() for line in drawn[-1].axes[0].lines] == ["this search", *names]
    front_png(replace(results, baselines=baselines))
    labels = {text.get_text() for text in drawn[-1].legends[0].get_texts()}
    assert {f"{name} (search split)" for name in names} <= labels
    front_png(replace(results, baselines=(baselines[0], Baseline(names[1], "", [], []), baselines[2])))
    labels = {text.get_text() for text in drawn[-1].legends[0].get_texts()}
    assert {f"{name} (search split)" for name in names} - labels == {f"{names[1]} (search split)"}
