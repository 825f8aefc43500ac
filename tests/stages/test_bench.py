"""What the benchmarks count and compare; never how fast this machine is."""

import itertools
import math
import os
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from blocks import most_of, resident_after
from torch.utils.flop_counter import FlopCounterMode

from multilevel_diffusion import memory
from multilevel_diffusion.bench import distances, errors, network, quality, report, worker
from multilevel_diffusion.bench.network import Case, Plain, Step, flops, traffic
from multilevel_diffusion.columns import COST_COLUMNS
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.storage import read_csv

MEGABYTE = 10**6
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "case",
    [
        Case("ours", 32, 2),
        Case("ours", 20, 3, width=8, layers=2, modes=5, head=12),
        Case("ours", 9, 1, width=4, layers=1, modes=6, head=8),  # modes that the grid does not resolve
    ],
)
def test_the_flops_are_those_that_pytorch_counts(case):
    step = Step(case)
    with FlopCounterMode(display=False) as counter:
        step()
    assert sum(flops(case).values()) == counter.get_total_flops()


def test_traffic_is_what_operators_read_and_write():
    x, y = torch.zeros(2, 6, 5)
    with network._Traffic() as counted:
        z = x + y  # two are read, one is written
        z.view(30).t()[None].expand(4, 30)
    assert counted.bytes == 3 * x.nbytes
    with network._Traffic() as counted:
        x += torch.zeros(1).expand(6, 5)  # of the expanded, four bytes are there to be read
    assert counted.bytes == 2 * x.nbytes + 4 + 4


def test_traffic_without_data_is_that_of_a_step_with_data():
    case = Case("ours", 10, 2, width=4, layers=2, modes=3, head=8)
    step = Step(case)
    step.differentiate()
    with network._Traffic() as counted:
        step.differentiate()
    learned = sum(parameter.nbytes for parameter in step.network.parameters())
    assert traffic(case)[0] == counted.bytes + 7 * learned


def test_traffic_and_memory_grow_by_as_much_with_every_field():
    counts = [traffic(Case("ours", 12, batch, width=4, layers=2, modes=3, head=8)) for batch in (2, 3, 4)]
    for two, three, four in zip(*counts, strict=True):  # of one field, a permutation of axes moves nothing
        assert four - three == three - two > 0


@pytest.mark.parametrize("n", [30, 50])
def test_neuraloperators_layers_compute_our_function(n):
    """The paper's network, weight by weight in their layout: what is timed is not another function."""
    case = Case("ours", n, 2)
    step = Step(case)
    fields = step.values, step.t, step.grid
    with torch.no_grad():
        plain, ours = Plain(case, step.network)(*fields), step.network(*fields)
    assert (ours - plain).norm() / plain.norm() < 1e-5


def test_neuraloperators_network_has_the_parameters_of_ours():
    ours, stock = (
        sum(each.numel() * (2 if each.is_complex() else 1) for each in Case(name, 32, 1).build().parameters())
        for name in ("ours", "neuraloperator")
    )
    assert ours == stock


@pytest.mark.parametrize(("keep", "size"), [(False, 100 * MEGABYTE), (True, 100 * MEGABYTE), (True, 2300 * MEGABYTE)])
def test_freed_memory_is_kept_where_it_should_be_and_only_there(keep, size, monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", str(500 * MEGABYTE))
    with worker.process(keep_freed=keep) as call:
        used, left = call(resident_after, size)
        assert call(os.getenv, "MALLOC_TOP_PAD_") is None
    assert used > 0.9 * size
    assert (left > 0.9 * size) == keep
    assert os.environ["MALLOC_TOP_PAD_"]


@pytest.mark.parametrize("keep", [False, True])
def test_the_peak_is_what_was_in_use_at_most(keep):
    """Whatever was in use and freed before."""
    with worker.process(keep_freed=keep) as call:
        peaks = [call(most_of, size * MEGABYTE) for size in (200, 50)]
    assert peaks == pytest.approx([200e6, 50e6], rel=0.1)


def test_a_process_that_is_killed_is_one_line():
    with worker.process(keep_freed=True) as call, pytest.raises(UserError, match="memory does not suffice"):
        call(os._exit, 9)


def test_a_lack_of_memory_is_one_line():
    with worker.process(keep_freed=True) as call, pytest.raises(UserError, match="memory does not suffice"):
        call(torch.empty, 2**50)


def test_medians_are_of_calls_in_turn():
    order, count = [], itertools.count()

    def call(name):
        order.append(name)
        return float(next(count))

    found = worker.medians({name: lambda name=name: call(name) for name in "ab"}, 3)
    assert order == list("ab" * 3)
    assert found == {"a": 2, "b": 3}


def test_what_is_timed_has_just_been_done(monkeypatch):
    events = []
    monkeypatch.setattr(worker.time, "perf_counter", lambda: events.append("clock") or float(len(events)))
    assert worker.seconds(lambda: events.append("work")) == 2
    assert events == ["work", "clock", "work", "clock"]


def test_all_ways_to_compute_the_distance_agree():
    inputs = distances.inputs(12, 20, 30)
    values = [way(*inputs) for way in distances.WAYS.values()]
    assert values == pytest.approx([values[0]] * len(values), rel=1e-9)


def test_a_table_is_shown_with_three_digits_or_as_its_column_asks(capsys):
    columns = {"n": [30], "ms": [1234.56], "GB/s": [7.8251], "of a stream": [0.6], "relative difference": [math.nan]}
    report.show({"A title": pd.DataFrame(columns)})
    title, machine, _, _, _, row = capsys.readouterr().out.splitlines()[:6]
    assert title == "A title"
    assert machine == report.machine()
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["30", "1235", "7.83", "60%", ""]


def test_training_is_measured_against_neuraloperator(mld):
    done = mld("bench", "train", "--resolution", 30, "--batch", 1, "--repeats", 1, "--ablation")
    assert done.code == 0, done.err
    assert [done.out.count(f"| {name} ") for name in ("neuraloperator", "ours")] == [1, 1]
    assert "neuraloperator, freed memory kept" in done.out
    assert "ours, default allocator" in done.out
    assert "fraction reached" in done.out


def test_without_the_package_to_compare_with_one_line_says_what_to_install(mld, monkeypatch):
    monkeypatch.setattr(import_module("multilevel_diffusion.cli.bench"), "find_spec", lambda name: None)
    done = mld("bench", "metrics")
    assert done.code != 0
    (line,) = done.err.splitlines()
    assert "pip install 'multilevel-diffusion[bench]'" in line


def test_sampling_and_metrics_are_measured_against_baselines(mld):
    done = mld("bench", "sample", "--resolution", 30, "--batch", 1, "--repeats", 1, "--steps", 2, "--sampler", "heun")
    assert done.code == 0, done.err
    assert re.search(r"\| ours, heun +\| +3 \|", done.out)  # evaluations of two steps, the last of which is Euler's
    done = mld("bench", "metrics", "--resolution", 8, "--samples", 4, "--projections", 3, "--repeats", 1)
    assert done.code == 0, done.err
    assert done.out.count("| POT, ") == 2
    assert "| ours " in done.out


def test_time_to_quality_is_the_time_of_the_first_snapshot_whose_error_is_small_enough(monkeypatch):
    histories = {"plain": [(2.0, 10, 90.0), (4.0, 20, 40.0), (6.0, 30, 50.0)], "fast": [(1.0, 5, 30.0), (8.0, 9, 10.0)]}
    along = {name: pd.DataFrame(rows, columns=["seconds", "step", "error"]) for name, rows in histories.items()}
    monkeypatch.setattr(quality, "_along", lambda spec, *others: along[spec.name])
    rows = quality.quality([SimpleNamespace(name=name) for name in along], [50, 20], 8, 0, lambda: None)
    expected = {"score error (%)": [50, 50, 20, 20], "arm": ["plain", "fast"] * 2, "seconds": [4.0, 1.0, math.nan, 8.0]}
    expected |= {"step": [20.0, 5.0, math.nan, 9.0], "times as fast": [1.0, 4.0, math.nan, math.nan]}
    pd.testing.assert_frame_equal(rows, pd.DataFrame(expected | {"error at the end (%)": [50.0, 10.0] * 2}))


def test_time_to_quality_is_measured_after_every_snapshot(mld, tmp_path):
    overlay = tmp_path / "smoke.yaml"
    overlay.write_text("preset: smoke\nexperiments: {mixture: {training: {snapshot_every: 1}}}\n")
    options = ["--arm", "mixture/fno-combined", "--samples", 4, "--error", 100000, "--error", 0]
    done = mld("bench", "quality", ROOT / "config.yaml", overlay, *options)
    assert done.code == 0, done.err
    first, never = (line.split("|")[1:-1] for line in done.out.splitlines()[-3:-1])
    assert [first[3].strip(), never[3].strip()] == ["2", "nan"]  # two steps are an epoch
    assert first[-1] == never[-1]


def test_standard_errors_are_about_the_spread_of_values(mld, tmp_path):
    """Of few repetitions, hence within a factor; they are nowhere much too small."""
    out = tmp_path / "errors.csv"
    sizes = ["--resolution", 16, "--samples", 48, "--projections", 40, "--repetitions", 24]
    done = mld("bench", "errors", *sizes, "-o", out)
    assert done.code == 0, done.err
    rows = read_csv(out)
    assert set(rows.metric) >= {"sliced_wasserstein", "mmd", "pixel_distance", "nearest_neighbour_accuracy"}
    assert set(rows.law) == set(errors.LAWS)
    assert rows.ratio.between(0.6, 2).all(), rows[~rows.ratio.between(0.6, 2)]
    assert 0.85 < rows.ratio.median() < 1.3
    null = rows[rows.law == "true"].set_index("metric")
    assert abs(null.value["mmd"]) < null.spread["mmd"]
    wide = rows[rows.law == "variance 50 % too high"].set_index("metric")
    seen = ["pixel_distance", "spectrum_distance", "sliced_wasserstein_within", "vendi_score"]
    assert (wide.value > null.value + 2 * null.spread)[seen].all()
    assert out.with_suffix(".md").exists()


def test_the_solver_is_measured_against_solve_ivp(mld):
    sizes = ["--resolution", 16, "--trajectories", 2, "--steps", 10, "--repeats", 1]
    done = mld("bench", "solver", *sizes)
    assert done.code == 0, done.err
    assert re.search(r"\| ours, float64, 10 steps +\|", done.out)
    assert "positive and finite" in mld("bench", "solver", *sizes, "--end-time", -1).refusal


def test_costs_are_a_table_and_a_figure(mld, tmp_path):
    table, picture = tmp_path / "scaling.csv", tmp_path / "cost.svg"
    sizes = ["--resolution", 12, "--resolution", 64, "--batch", 16, "--width", 32]
    done = mld("bench", "scaling", *sizes, "--repeats", 1, "-o", table)
    assert done.code == 0, done.err
    rows = read_csv(table, COST_COLUMNS)
    assert list(zip(rows.against, rows.value, strict=True)) == [
        *(("resolution", 12), ("resolution", 64)),
        *(("batch", 16), ("width", 32)),
    ]
    assert (rows[["seconds", "expected_seconds", "bytes", "expected_bytes"]] > 0).all(axis=None)
    assert rows.seconds.nunique() == 2  # one measurement serves all three
    assert mld("figure", "cost", table, "-o", picture).code == 0
    assert picture.exists()


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["train", "--resolution", 33], "odd grids"),
        (["train", "--resolution", 28], "--resolution"),
        (["train", "--batch", 0], "--batch"),
        (["train", "--repeats", 0], "--repeats"),
        (["sample", "--sampler", "runge-kutta"], "runge-kutta"),
        (["metrics", "--samples", 1], "--samples"),
        (["scaling"], "--output"),
        (["gpu"], "gpu"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(mld, args, word):
    assert word in mld("bench", *args).refusal


def test_a_peak_that_cannot_be_reset_is_no_number(monkeypatch):
    def refuse(self, text):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    monkeypatch.setattr(memory, "_before", 0.0)  # put back afterwards
    memory.reset_peak()
    assert math.isnan(memory.peak())
