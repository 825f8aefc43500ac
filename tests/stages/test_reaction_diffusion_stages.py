"""The reaction-diffusion experiment stage by stage, on fields small enough to take no time."""

import json
import resource
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from multilevel_diffusion import metrics
from multilevel_diffusion.builders import build_denoiser
from multilevel_diffusion.data.reaction_diffusion import ReactionDiffusion, graded_times, snapshots
from multilevel_diffusion.grids import CellCentred
from multilevel_diffusion.models import read_model
from multilevel_diffusion.settings import Gain
from multilevel_diffusion.storage import generator, read_csv, read_tensors, write_tensors
from multilevel_diffusion.training import Dataset, Validation

SOLVE = ["data", "reaction-diffusion", "--resolution", 16, "--train", 6, "--validation", 2, "--test", 4, "--steps", 5]
SOLVE += ["--end-time", 2.5]
MODEL = "{trained}/model.safetensors"


@pytest.fixture(scope="module")
def stages(mld, tiny, tmp_path_factory):
    """Files of every stage under the prior `bessel`."""
    folder = tmp_path_factory.mktemp("pde")
    made = SimpleNamespace(
        folder=folder,
        spec=folder / "spec.json",
        data=folder / "data.safetensors",
        truth=folder / "truth.safetensors",
        trained=folder / "trained",
        samples=folder / "samples" / "values-24.safetensors",
        metrics=folder / "metrics.csv",
    )
    made.spec.write_text(json.dumps(spec_of(tiny)))
    for command in [
        [*SOLVE, "-o", made.data],
        ["train", made.spec, "--data", made.data, "--seed", 1, "-o", made.trained],
        ["sample", made.trained / "model.safetensors", *sampling(), "-o", folder / "samples"],
        ["data", "restrict", made.data, "--resolution", 24, "-o", made.truth],
        ["evaluate", made.samples, "--data", made.truth, "--projections", 4, "-o", made.metrics],
    ]:
        done = mld(*command)
        assert done.code == 0, done.err
    return made


def test_data_on_another_grid_are_refused_by_every_command_that_compares_with_them(mld, stages, tmp_path):
    """The same fields as of a torus: `kind: fields` may lie on either grid."""
    tensors, header = read_tensors(stages.data)
    arm, data, model, out = (tmp_path / name for name in ("spec.json", "data", "model", "out"))
    arm.write_text(json.dumps(json.loads(stages.spec.read_text()) | {"kind": "fields", "data_set": "fields"}))
    header["target"] |= {"kind": "fields", "name": "fields"}
    for name, grid in (("right", "cell-centred"), ("data", "torus")):
        write_tensors(tmp_path / name, tensors, header | {"grid": grid})
    assert mld("train", arm, "--data", tmp_path / "right", "--seed", 1, "-o", model).code == 0
    counts = ["--evaluations", 2, "--reference-evaluations", 2, "--samples", 2, "--projections", 2, "--seed", 1]
    curve = ["convergence", model / "model.safetensors", "--resolution", 16, "--sampler", "heun", *counts, "-o", out]
    told = ["table", "priors", arm, "-o", out]
    for command in (curve, told):
        assert "grid" in mld(*command, "--data", data).refusal
        assert not [*tmp_path.glob("out*")]
        done = mld(*command, "--data", tmp_path / "right")
        assert done.code == 0, done.err
        for path in tmp_path.glob("out*"):
            path.unlink()


def spec_of(tiny, **training):
    settings = tiny(**({"steps_per_epoch": None, "snapshot_every": None} | training))
    return settings | {
        "experiment": "reaction-diffusion",
        "kind": "reaction-diffusion",
        "data_set": "reaction-diffusion",
        "grid": "cell-centred",
        "prior": {"kind": "bessel", "shift": 8, "power": 0.55},
        "validation": {"resolutions": [8, 16], "draws": 2},
    }


def sampling():
    return ["--resolution", 24, "--samples", 3, "--steps", 2, "--seed", 1]


def test_the_sets_are_trajectories_of_disjoint_seeds(stages):
    tensors, header = read_tensors(stages.data)
    sizes = {"train": 6, "validation": 2, "reference": 4, "floor": 4}
    assert {name: tuple(fields.shape) for name, fields in tensors.items()} == {k: (n, 16, 16) for k, n in sizes.items()}
    system, times = ReactionDiffusion(16), graded_times(2.5, 5)
    for name, seeds in (
        ("train", [0, 5]),
        ("validation", [6, 7]),
        ("reference", [100_000, 100_003]),
        ("floor", [100_004]),
    ):
        drawn = snapshots(system, seeds, times, torch.device("cpu"))
        first = {"train": 0, "validation": 6, "reference": 100_000, "floor": 100_004}[name]
        torch.testing.assert_close(tensors[name][[seed - first for seed in seeds]], drawn, rtol=0, atol=1e-5)
    assert header["target"]["laplacian"] == "finite-volume"


@pytest.mark.parametrize("name", ["reference", "floor"])
def test_the_truth_on_a_finer_grid_is_the_same_function(stages, name):
    coarse, fine = read_tensors(stages.data)[0][name], read_tensors(stages.truth)[0][name]
    again = CellCentred(24).resample(fine.double(), CellCentred(16))
    torch.testing.assert_close(again.float(), coarse, rtol=0, atol=1e-5)


def test_the_validation_loss_is_that_of_the_validation_set_on_cell_centred_grids(stages):
    on, held_out = torch.device("cpu"), read_tensors(stages.data)[0]["validation"]
    last = read_csv(stages.trained / "history.csv").iloc[-1]
    model = read_model(stages.trained / "model.safetensors", on)
    denoiser = build_denoiser(model.settings, model.network, model.prior, Gain.VALUES)
    grids = [CellCentred(8), CellCentred(16)]
    losses = Validation(Dataset(held_out, CellCentred(16)), grids, 2, denoiser, on).losses(denoiser)
    assert losses == {n: pytest.approx(last[f"validation_{n}"], rel=1e-5) for n in (8, 16)}


def test_a_checkpoint_of_other_data_is_not_taken_up(mld, tiny, stages, tmp_path, monkeypatch):
    """Cut off before the history is written, started again on other fields under the same settings."""
    tensors, header = read_tensors(stages.data)
    other, cut, whole = tmp_path / "other.safetensors", tmp_path / "cut", tmp_path / "whole"
    write_tensors(other, tensors | {"train": 2 * tensors["train"]}, header)
    train = ["train", stages.spec, "--seed", 1, "--checkpoint-seconds", 0]

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("multilevel_diffusion.cli.stages.write_csv", interrupt)
        assert mld(*train, "--data", stages.data, "-o", cut).code == 130
    assert [*cut.glob("checkpoint/train/*/training.state.safetensors")]
    assert mld(*train, "--data", other, "-o", cut).code == mld(*train, "--data", other, "-o", whole).code == 0
    first, second = (read_csv(folder / "history.csv").drop(columns="seconds") for folder in (cut, whole))
    assert first.equals(second)


def test_training_validates_on_every_grid_and_leaves_no_checkpoint(stages):
    history = read_csv(stages.trained / "history.csv")
    assert list(history.step) == [2, 4]  # six fields in batches of four
    assert {"arm", "prior", "seed", "validation_8", "validation_16"} <= set(history)
    assert sorted(path.name for path in stages.trained.iterdir()) == ["history.csv", "model.safetensors", "snapshots"]
    assert not list((stages.trained / "snapshots").iterdir())


def test_metrics_have_floors_and_no_components(stages):
    table = read_csv(stages.metrics)
    assert set(table.experiment) == {"reaction-diffusion"}
    assert not {"component_share", "sliced_wasserstein_within"} & set(table.metric)
    tests = table.metric.str.endswith("p_value")
    assert table.value.notna().all()
    assert (table.floor.notna() == ~tests).all()


def test_increments_do_not_wrap_between_walls(stages):
    x, y = read_tensors(stages.samples)[0]["samples"].numpy(), read_tensors(stages.truth)[0]["reference"].numpy()
    directions = metrics.projections(y.shape[-1], 2, generator(0))
    expected = {
        wraps: metrics.Reference(y, directions, wraps).increment_distance_far(x).value for wraps in (False, True)
    }
    found = read_csv(stages.metrics).set_index("metric").value["increment_distance_far"]
    assert found == pytest.approx(expected[False], rel=1e-9)
    assert found != pytest.approx(expected[True], rel=1e-9)


def test_figures_and_table_are_drawn_from_the_stages(mld, stages, tmp_path):
    for command in [
        ["figure", "fields", stages.truth, "-o", tmp_path / "fig7.svg"],
        ["figure", "fields", stages.truth, stages.samples, "-o", tmp_path / "fig8.svg"],
        ["figure", "losses", stages.trained / "history.csv", "-o", tmp_path / "fig9.svg"],
        ["table", "distances", stages.metrics, "--experiment", "reaction-diffusion", "-o", tmp_path / "table1.csv"],
    ]:
        done = mld(*command)
        assert done.code == 0, done.err
    assert read_csv(tmp_path / "table1.csv").columns.tolist()[:4] == ["experiment", "arm", "network", "prior"]
    assert "| bessel" in (tmp_path / "table1.md").read_text()


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ([*SOLVE, "--end-time", -1], "positive and finite"),
        ([*SOLVE, "--end-time", "nan"], "positive and finite"),
        ([*SOLVE, "--end-time", "inf"], "positive and finite"),
        ([*SOLVE, "--steps", 0], "--steps"),
        ([*SOLVE, "--laplacian", "nine-point"], "nine-point"),
        ([*SOLVE, "--file", "nowhere.h5"], "nowhere.h5"),
        ([*SOLVE, "--resolution", 16.5], "--resolution"),
        (["data", "restrict", "{samples}", "--resolution", 8], "samples"),
        (["train", "{spec}", "--seed", 1], "--data"),
        (["train", "{spec}", "--data", "{truth}", "--seed", 1], "truth"),
        (["train", "{spec}", "--data", "{samples}", "--seed", 1], "samples"),
        (["evaluate", "{samples}", "--data", "{data}", "--projections", 4], "samples"),
        (["sample", "{spec}", *sampling()], "spec"),
        (["log-density", MODEL, "--resolution", 8, "--drawn-on", 9, *sampling()[2:], "--probes", 1], "mixture"),
        (["figure", "losses", "{metrics}"], "metrics"),
        (["figure", "fields", "{spec}"], "spec"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_written(mld, stages, tmp_path, args, word):
    out = tmp_path / "out"
    line = mld(*[str(arg).format_map(vars(stages)) for arg in args], "-o", out / "x").refusal
    assert word in line
    assert not out.exists()


def test_a_figure_of_fields_with_a_test_set_needs_it_on_every_grid(mld, files, stages, tmp_path):
    line = mld("figure", "fields", stages.truth, files.samples_12, "-o", tmp_path / "fig8.svg").refusal
    assert "no test set at resolution [12]" in line
    assert list(tmp_path.iterdir()) == []


def test_the_mixture_takes_no_data_file(mld, files, stages, tmp_path):
    line = mld("train", files.spec, "--data", stages.data, "--seed", 1, "-o", tmp_path / "x").refusal
    assert "--data" in line


def test_a_full_disk_leaves_no_data(mld_process, tmp_path):
    done = mld_process(*SOLVE, "-o", tmp_path / "data.safetensors", file_size=1000)
    assert "no space left" in done.refusal
    assert list(tmp_path.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_the_published_file_takes_the_place_of_training_and_validation(mld, tmp_path):
    file, out = tmp_path / "published.h5", tmp_path / "data.safetensors"
    with h5py.File(file, "w") as archive:
        for i in range(8):
            archive[f"{i:04d}/data"] = np.full((101, 16, 16, 2), i, dtype=np.float32)
    assert mld(*SOLVE, "--file", file, "-o", out).code == 0
    tensors, header = read_tensors(out)
    assert tensors["train"][:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert tensors["validation"][:, 0, 0].tolist() == [6, 7]
    assert tensors["reference"].std() > 0
    assert header["target"]["file"] == str(file)
