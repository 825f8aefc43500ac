"""Runs side by side: laws of the differences and of what is told of the settings."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from multilevel_diffusion.columns import COLUMNS
from multilevel_diffusion.storage import read_csv, write_csv
from multilevel_diffusion.tables import changes, compare, read_run

SPEC = {"prior": {"kind": "bessel"}, "training": {"ladder": [{"resolution": 16, "epochs": 2}], "learning_rate": 0.005}}


def metrics(seed, seeds=3, moved=0.0, **columns):
    """Two arms on two grids over some seeds, of which the second has one only."""
    rng = np.random.default_rng(seed)
    rows = [
        {"experiment": "mnist", "arm": arm, "network": "fno", "prior": "bessel", "gain": "values", "ladder": "16-32"}
        | {"seed": s, "resolution": n, "metric": "sliced_wasserstein", "value": 1 + moved + 0.1 * rng.standard_normal()}
        | {"sampler": "heun", "steps": 20, "n_samples": 64, "stderr": 0.1, "floor": 0.5}
        for arm in ("a", "b")
        for s in (range(seeds) if arm == "a" else [0])
        for n in (32, 64)
    ]
    return pd.DataFrame(rows).assign(**columns).reindex(columns=COLUMNS)


@pytest.fixture
def run(tmp_path):
    """A folder of results: its metrics and a spec.json for each arm, if there are any."""

    def make(name, table, specs, **facts):
        folder = tmp_path / name
        write_csv(folder / "tables" / "metrics.csv", table, {"command": name, "seconds": len(name), **facts})
        for arm, spec in specs.items():
            (folder / "mnist" / arm).mkdir(parents=True)
            (folder / "mnist" / arm / "spec.json").write_text(json.dumps(spec))
        return folder

    return make


def test_differences_are_antisymmetric_and_0_of_a_run_against_itself():
    a, b = metrics(1), metrics(2, seeds=5)
    for floor in (0, 1e-6, 0.5):
        ab, ba = compare(a, b, floor), compare(b, a, floor)
        for name in ("difference", "sigmas"):
            np.testing.assert_allclose(ab[name], -ba[name])
            assert (compare(a, a, floor)[name] == 0).all()
        np.testing.assert_allclose(ab.stderr, ba.stderr)
        assert (ab.sigmas != 0).all()


def test_what_has_an_error_of_its_own_is_judged_by_it_alone():
    a, b = metrics(1), metrics(2)
    pd.testing.assert_frame_equal(compare(a, b), compare(a, b, relative_floor=0))


def test_rounding_of_an_exact_number_is_less_than_a_standard_error_and_a_change_of_a_ten_thousandth_is_not():
    a = metrics(1, value=0.3, stderr=0.0)
    rounded = a.assign(value=np.nextafter(np.float32(0.3), np.float32(1)).astype(float))
    assert 0 < compare(a, rounded).sigmas.abs().max() < 1
    assert compare(a, a.assign(value=0.30003)).sigmas.abs().min() > 4
    assert np.isinf(compare(a, rounded, relative_floor=0).sigmas).all()
    for scale in (1e-5, 1e5):
        scaled = [table.assign(value=table.value * scale, floor=table.floor * scale) for table in (a, rounded)]
        np.testing.assert_allclose(compare(*scaled).sigmas, compare(a, rounded).sigmas)


def test_a_difference_of_sums_is_rounded_as_they_are():
    a = metrics(1, value=0.0, stderr=0.0, floor=1.0)
    assert compare(a, a.assign(value=1e-8)).sigmas.abs().max() < 1
    assert compare(a, a.assign(value=1e-4)).sigmas.abs().min() > 4


def test_an_error_that_is_not_known_stays_unknown():
    a = metrics(1, seeds=1, stderr=math.nan)
    assert compare(a, a.assign(value=a.value + 1)).sigmas.isna().all()


def test_runs_of_the_same_settings_have_no_changes_and_others_those_that_were_made(run):
    changed = json.loads(json.dumps(SPEC))
    changed["training"]["learning_rate"] = 0.002
    changed["training"]["ladder"].append({"resolution": 32, "epochs": 1})
    a = read_run(run("a", metrics(1), {"a": SPEC, "b": SPEC}, torch="2.13"))
    same = read_run(run("same", metrics(2), {"a": SPEC, "b": SPEC}, torch="2.13"))
    b = read_run(run("b", metrics(1, n_samples=128), {"a": changed, "b": changed, "c": SPEC}, torch="2.14"))
    assert changes(a, a) == changes(a, same) == {}
    assert changes(a, b) == {
        "torch 2.13 -> 2.14": ["all"],
        "n_samples 64 -> 128": ["mnist/a", "mnist/b"],
        "training.ladder.1.resolution – -> 32": ["mnist/a", "mnist/b"],
        "training.ladder.1.epochs – -> 1": ["mnist/a", "mnist/b"],
        "training.learning_rate 0.005 -> 0.002": ["mnist/a", "mnist/b"],
    }
    swapped = {" -> ".join(reversed(change.split(" ", 1)[1].split(" -> "))) for change in changes(a, b)}
    assert {change.split(" ", 1)[1] for change in changes(b, a)} == swapped


def test_a_table_alone_tells_what_it_has_of_the_settings(run, tmp_path):
    a = run("a", metrics(1), {"a": SPEC})
    write_csv(tmp_path / "b.csv", metrics(1, steps=40), {})
    assert changes(read_run(a), read_run(tmp_path / "b.csv")) == {"steps 20 -> 40": ["mnist/a", "mnist/b"]}
    of_table = read_run(a / "tables" / "metrics.csv")
    assert of_table.specs == read_run(a).specs == {"mnist/a": SPEC}


def test_three_runs_are_each_compared_with_the_first(mld, run, tmp_path):
    a, near, far = (
        run(name, metrics(1, moved=moved), {"a": SPEC}) for name, moved in (("a", 0), ("n", 0.01), ("f", 9))
    )
    assert mld("compare", a, near, a).code == 0
    told = mld("compare", a, near, far, "-o", tmp_path / "out.csv")
    assert told.code == 1
    assert f"a: {a}, b: {near}" in told.out
    assert f"a: {a}, b: {far}" in told.out
    rows = read_csv(tmp_path / "out.csv")
    assert rows.groupby("run").difference.mean().to_dict() == pytest.approx({str(near): 0.01, str(far): 9})
    pair = mld("compare", near, far, "-o", tmp_path / "pair.csv")
    assert pair.code == 1
    assert read_csv(tmp_path / "pair.csv").difference.mean() == pytest.approx(8.99)
    assert "two or more" in mld("compare", a).refusal


def test_settings_that_differ_are_told_once_and_at_most_twenty(mld, run):
    many = {f"option{i:02}": i for i in range(30)}
    a, b = (run(name, metrics(1), {arm: {**SPEC, **spec} for arm in "ab"}) for name, spec in (("a", {}), ("b", many)))
    told = mld("compare", a, b).out
    assert "30 settings differ\n" in told
    assert "mnist/a and 1 more: option19 – -> 19\nand 10 more\n" in told
    assert "option20" not in told
    assert "no settings differ\n" in mld("compare", a, a).out
    assert "without spec.json" in mld("compare", a, run("c", metrics(1), {})).out


def test_the_floor_of_the_command_is_that_of_the_comparison(mld, run):
    table = metrics(1, value=0.3, stderr=0.0)
    a, b = (run(name, each, {}) for name, each in (("a", table), ("b", table.assign(value=0.3003))))
    assert mld("compare", a, b).code == 1
    assert mld("compare", a, b, "--relative-floor", 1e-3).code == 0
