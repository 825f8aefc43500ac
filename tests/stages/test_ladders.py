"""The comparison of ladders stage by stage, on a few digits."""

import json
from types import SimpleNamespace

import pytest
import torch
from test_mnist import fetching, sampling

from multilevel_diffusion.builders import build_denoiser
from multilevel_diffusion.grids import Torus
from multilevel_diffusion.models import read_model
from multilevel_diffusion.settings import Gain
from multilevel_diffusion.storage import read_csv, read_tensors
from multilevel_diffusion.training import Dataset, Trainer, Validation

LADDERS = {
    "cold": [{"resolution": 16, "epochs": 3}],
    "warm": [{"resolution": 8, "epochs": 1}, {"resolution": 16, "steps": 4}],
}


def spec_of(tiny, arm, gain="values", **validation):
    settings = tiny(ladder=LADDERS[arm])
    return settings | {
        "experiment": "ladders",
        "kind": "mnist",
        "paired": True,
        "arm": arm,
        "data_set": "mnist",
        "gain": gain,
        "validation": {"resolutions": [16], "draws": 2, "test": 3} | validation,
    }


@pytest.fixture(scope="module")
def stages(mld, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladders")
    made = SimpleNamespace(folder=folder, data=folder / "data", truth=folder / "truth")
    commands = [[*fetching(), "-o", made.data], ["data", "restrict", made.data, "--resolution", 24, "-o", made.truth]]
    for name, arm, gain in (("cold", "cold", "values"), ("warm", "warm", "values"), ("other", "warm", "coefficients")):
        spec, trained = folder / f"{name}.json", folder / name
        spec.write_text(json.dumps(spec_of(tiny, arm, gain) | {"arm": name}))
        commands.append(["train", spec, "--data", made.data, "--seed", 1, "-o", trained])
        for epoch in ("epoch_0001", "epoch_0003"):
            model = trained / "snapshots" / f"{epoch}.safetensors"
            commands.append(["sample", model, *sampling(24), "-o", folder / f"{name}-{epoch}"])
    for command in commands:
        done = mld(*command)
        assert done.code == 0, done.err
    made.histories = [folder / name / "history.csv" for name in ("cold", "warm", "other")]
    return made


def test_a_level_in_steps_ends_the_history_at_its_steps(stages):
    history = read_csv(stages.histories[1])
    assert list(history.step) == [2, 4, 6]
    assert list(history.resolution) == [8, 16, 16]
    assert set(history.ladder) == {"8-16"}


@pytest.mark.parametrize(("name", "gain"), [("cold", Gain.VALUES), ("warm", Gain.VALUES), ("other", Gain.COEFFICIENTS)])
def test_losses_are_those_of_validation_and_of_the_first_test_fields_under_the_gain_of_the_arm(stages, name, gain):
    on, tensors = torch.device("cpu"), read_tensors(stages.data)[0]
    history = read_csv(stages.folder / name / "history.csv")
    for epoch in (1, 3):
        model = read_model(stages.folder / name / "snapshots" / f"epoch_{epoch:04d}.safetensors", on)
        denoiser = build_denoiser(model.settings, model.network, model.prior, gain)
        for column, fields in (("validation_16", tensors["validation"]), ("test_16", tensors["reference"][:3])):
            (loss,) = Validation(Dataset(fields, Torus(16)), [Torus(16)], 2, denoiser, on).losses(denoiser).values()
            assert history[column][epoch - 1] == pytest.approx(loss, rel=1e-5)


def test_gains_differ_on_the_coarse_level_only(stages):
    """γ = N_native/N_ref = 1 under `values`; N_native/N under `coefficients`: 2 on the coarse level, 1 on the finest."""
    _, warm, other = (read_csv(path) for path in stages.histories)
    assert warm.loss[0] != other.loss[0]
    model = read_model(stages.folder / "other" / "model.safetensors", torch.device("cpu"))
    gains = [build_denoiser(model.settings, model.network, model.prior, gain).gain for gain in Gain]
    assert [[gain(n) for n in (8, 16)] for gain in gains] == [[1, 1], [2, 1]]


def test_arms_on_the_same_level_start_from_the_same_weights_and_see_the_same_batches(mld, tiny, stages, tmp_path):
    spec, settings = tmp_path / "spec.json", spec_of(tiny, "warm")
    settings["training"]["ladder"] = [LADDERS["warm"][0], {"resolution": 16, "steps": 1}]
    spec.write_text(json.dumps(settings | {"arm": "shorter"}))
    assert mld("train", spec, "--data", stages.data, "--seed", 1, "-o", tmp_path / "shorter").code == 0
    folders = (stages.folder / "warm", tmp_path / "shorter")
    a, b = (read_tensors(folder / "snapshots" / "epoch_0001.safetensors")[0] for folder in folders)
    assert all(torch.equal(a[name], b[name]) for name in a)
    losses = [read_csv(folder / "history.csv").loss for folder in folders]
    assert losses[0][0] == losses[1][0]


def test_data_are_restricted_before_the_first_step_so_that_no_time_of_training_has_it_in(
    mld, stages, tmp_path, monkeypatch
):
    run = Trainer.run

    def without_restriction(*args):
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr("multilevel_diffusion.training.restrict")
            return run(*args)

    monkeypatch.setattr(Trainer, "run", without_restriction)
    spec = stages.folder / "warm.json"
    assert mld("train", spec, "--data", stages.data, "--seed", 1, "-o", tmp_path / "warm").code == 0


def test_the_epoch_kept_has_the_least_validation_loss_whatever_the_test_says(stages):
    for path in stages.histories:
        kept = read_model(path.parent / "model.safetensors", torch.device("cpu")).epoch
        assert kept == read_csv(path).set_index("epoch").validation_16.idxmin()


def test_samples_know_the_epoch_of_their_network(stages):
    for name, epoch in (("cold-epoch_0001", 1), ("warm-epoch_0003", 3)):
        assert read_tensors(stages.folder / name / "values-24.safetensors")[1]["epoch"] == epoch


def test_figures_and_table_are_made_from_the_stages(mld, stages, tmp_path):
    drawn = [
        stages.folder / f"{name}-epoch_{n}" / "values-24.safetensors"
        for name in ("cold", "warm")
        for n in ("0001", "0003")
    ]
    for against in (["epoch"], ["seconds"], ["epoch", "seconds"]):
        options, name = [word for each in against for word in ("--against", each)], "-".join(against)
        assert mld("figure", "ladders", *stages.histories, *options, "-o", tmp_path / f"{name}.svg").code == 0
        assert len(read_csv(tmp_path / f"{name}.csv")) == 9
    assert mld("figure", "fields", stages.truth, *drawn, "-o", tmp_path / "fields.svg").code == 0
    assert mld("table", "ladders", *stages.histories, "--baseline", "cold", "-o", tmp_path / "ladders.csv").code == 0
    assert set(read_csv(tmp_path / "ladders.csv").arm) == {"cold", "warm", "other"}
    assert "| warm" in (tmp_path / "ladders.md").read_text()


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["table", "ladders", "{histories[1]}", "--baseline", "cold"], "no history of 'cold'"),
        (["figure", "ladders", "{mixture}"], "test_8"),
        (["table", "ladders", "{mixture}", "--baseline", "tiny"], "no loss on test fields at 8"),
        (["train", "{cold}", "--data", "{truth}", "--seed", 1], "train, validation"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_written(mld, files, stages, tmp_path, args, word):
    out = tmp_path / "out"
    places = vars(stages) | {"mixture": files.history, "cold": stages.folder / "cold.json"}
    refused = mld(*[str(arg).format_map(places) for arg in args], "-o", out / "x").refusal
    assert word in refused
    assert not out.exists()


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"validation": None}, "validation: what is trained on a file of data has one"),
        ({"resolutions": [8]}, "16, where the ladder of warm ends"),
        ({"test": -1}, "test"),
    ],
)
def test_a_spec_that_does_not_fit_together_is_refused(mld, tiny, stages, tmp_path, changed, word):
    spec = tmp_path / "spec.json"
    whole = "validation" in changed
    settings = spec_of(tiny, "warm") | changed if whole else spec_of(tiny, "warm", **changed)
    spec.write_text(json.dumps(settings | {"training": settings["training"] | {"steps_per_epoch": 2}}))
    assert word in mld("train", spec, "--data", stages.data, "--seed", 1, "-o", tmp_path / "x").refusal
