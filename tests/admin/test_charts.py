"""The scale beside a chart: its labels differ, tell the numbers that they stand at, and are seen
whole.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from llmcache.admin import charts, formats
from llmcache.admin.charts import Chart, Series


def bars(most: float, show: charts.Format) -> Chart:
    return charts.stacked_bars("", "", ["today"], [Series("hits", "llmcache-hit", [most])], show)


@pytest.mark.parametrize("most", [*range(1, 60), 999, 12_345])
def test_a_scale_of_whole_numbers_has_each_once(most: int) -> None:
    chart = bars(most, formats.count)
    told = [int(tick.label.replace(",", "")) for tick in chart.up]
    heights = [float(tick.at) for tick in chart.up]
    assert told[0] == 0 and told[-1] >= most
    (step,) = {after - before for before, after in pairwise(told)}
    assert step * (len(told) - 1) == told[-1]
    assert heights == sorted(set(heights), reverse=True)


@pytest.mark.parametrize("most", [0.000004, 0.0000099, 0.00001, 0.00023, 0.04, 0.7, 3.1, 99.0])
def test_a_scale_of_money_tells_no_rounded_sums(most: float) -> None:
    told = [float(tick.label) for tick in bars(most, formats.money).up]
    steps = [after - before for before, after in pairwise(told)]
    assert steps == pytest.approx([steps[0]] * len(steps)) and steps[0] > 0


@pytest.mark.parametrize("label", ["4", "0.000010", "1,234,567.00"])
def test_the_view_begins_before_the_longest_label(label: str) -> None:
    chart = bars(1, lambda value: label)
    left, _top, width, _height = map(float, chart.view_box.split())
    assert float(chart.left) - left >= 6 + 6.5 * len(label)
    assert left + width == charts.WIDTH
