"""Charts say what they were given."""

import itertools
import json

import numpy as np
import pytest

from hpa_jax import charts


def test_bars_are_as_high_as_a_character_is_frequent():
    first, second = charts.positions([{"A": 100, "皖": 50}, {"7": 10, "湘": 0}]).axes
    assert [bar.get_height() for bar in first.patches] == [0, 100, 50, 0]
    assert [bar.get_height() for bar in second.patches] == [10, 0, 0, 0]
    ticks = second.get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["7", "A", "AH", "HN"]  # as charsets have them
    assert not any(tick.get_rotation() for tick in ticks)
    assert (first.get_ylabel(), second.get_ylabel()) == ("place 1\ntop 67%", "place 2\ntop 100%")


def test_reliability_is_the_share_right_in_each_bin():
    confidence = np.repeat([0.25, 0.85, 1.0], [4, 5, 1])
    right = np.array([1, 0, 0, 0] + [1, 1, 1, 1, 0] + [1], bool)
    (axis,) = charts.reliability(confidence, right).axes
    heights = {round(bar.get_x(), 2): bar.get_height() for bar in axis.patches}
    assert {x: height for x, height in heights.items() if height} == {0.2: 0.25, 0.8: 0.8, 0.9: 1.0}
    assert {text.get_text() for text in axis.texts} - {""} == {"4", "5", "1"}
    assert axis.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]  # where confidence is perfect
    assert axis.get_xlim() == (0, 1) and axis.get_ylim()[1] > 1
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("confidence", "share of plates right")


def test_numbers_of_many_plates_keep_apart_and_are_said_to_be_of_plates():
    confidence = np.tile(np.arange(10) / 10 + 0.05, 12_345)
    figure = charts.reliability(confidence, np.ones(len(confidence), bool))
    figure.draw_without_rendering()
    (axis,) = figure.axes
    boxes = [number.get_window_extent() for number in axis.texts]
    assert [number.get_text() for number in axis.texts] == ["12345"] * 10
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))
    names = [text.get_text() for text in axis.get_legend().get_texts()]
    assert sorted(names) == ["measured, and on how many plates", "perfect"]


def test_curves_show_each_loss_and_accuracy_over_its_steps(tmp_path):
    lines = [{"step": 1, "loss": 2.0, "learning_rate": 0.1}, {"step": 2, "loss": 1.0}]
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (axis,) = charts.curves(file).axes
    (line,) = axis.lines
    assert line.get_label() == "loss" and line.get_xydata().tolist() == [[1, 2.0], [2, 1.0]]
    assert (axis.get_xlabel(), axis.get_yscale()) == ("step", "log")
    assert all(step.is_integer() for step in axis.get_xticks())
    for step in (1, 2, 30):
        (tmp_path / "one.jsonl").write_text(json.dumps({"step": step, "loss": 2.0}) + "\n")
        (alone,) = charts.curves(tmp_path / "one.jsonl").axes
        assert all(tick.is_integer() for tick in alone.get_xticks())
        assert alone.get_xlim()[0] == 0 and alone.get_xlim()[1] > step
    with file.open("a") as appended:
        appended.write(json.dumps({"step": 2, "accuracy_test": 0.5}) + "\n")
    losses, axis = charts.curves(file).axes
    assert (losses.get_ylabel(), axis.get_ylabel()) == ("loss", "share of plates right")
    assert "2" in [tick.get_text() for tick in losses.get_yticklabels()]  # within one decade too
    assert axis.lines[0].get_xydata().tolist() == [[2, 0.5]]
    assert axis.get_ylim()[0] <= 0 and axis.get_ylim()[1] >= 1
    charts.curves(file).savefig(tmp_path / "curves.png")
    file.write_text(json.dumps({"step": 2, "accuracy": 0.5}) + "\n")
    assert [line.get_label() for axis in charts.curves(file).axes for line in axis.lines] == [
        "accuracy"
    ]


def test_characters_that_take_more_room_stand_upright():
    (axis,) = charts.positions([{"A": 1, "가": 1}]).axes
    assert [tick.get_rotation() for tick in axis.get_xticklabels()] == pytest.approx([90, 90])


def test_curves_leave_out_terms_that_are_not_trained(tmp_path):
    file = tmp_path / "metrics.jsonl"
    line = {"step": 1, "loss": 2.0, "character_loss": 2.0, "semantic_loss": 0.0}
    file.write_text(json.dumps(line) + "\n")
    assert [line.get_label() for line in charts.curves(file).axes[0].lines] == ["loss"]
    with file.open("a") as appended:  # boxes may be rare
        appended.write(json.dumps(line | {"step": 2, "semantic_loss": 0.5}) + "\n")
    (axis,) = charts.curves(file).axes
    shown = [line.get_label() for line in axis.lines]
    assert axis.get_yscale() == "log"  # though a term was 0
    assert shown == ["loss", "character_loss", "semantic_loss"]


def test_a_loss_below_zero_is_drawn(tmp_path):
    """As one with a term of one's own may be; a logarithmic axis would leave it out."""
    file = tmp_path / "metrics.jsonl"
    for loss, scale in ((-1.0, "linear"), (0.5, "log")):
        lines = [{"step": step, "loss": loss * step} for step in (1, 2)]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert charts.curves(file).axes[0].get_yscale() == scale


def test_legends_hide_no_curve(tmp_path):
    file = tmp_path / "metrics.jsonl"
    names = ["loss", "character_loss", "position_loss", "semantic_loss", "accuracy"]
    names += [f"accuracy_{name}" for name in ("LE582", "LE757", "challenge", "rotate", "weather")]
    lines = [{"step": step} | dict.fromkeys(names, 0.5) for step in (1, 2)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    figure = charts.curves(file)
    figure.savefig(tmp_path / "curves.png")
    for axis in figure.axes:
        legend = axis.get_legend().get_window_extent()
        assert legend.y0 >= axis.get_window_extent().y1 and legend.x1 <= figure.bbox.x1
