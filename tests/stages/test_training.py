import copy
import itertools
import json
import math
import signal
import subprocess
import time
from contextlib import contextmanager

import pandas as pd
import pytest
import torch
from conftest import MLD

from multilevel_diffusion.builders import build_denoiser, build_network, build_prior
from multilevel_diffusion.checkpoints import Checkpoint
from multilevel_diffusion.denoise import LearnedDenoiser
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.grids import CellCentred, Torus, restrict
from multilevel_diffusion.mixture import GaussianMixture, MixtureDenoiser
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.settings import ArmSpec, Gain, TrainingSettings, parse
from multilevel_diffusion.storage import generator, read_csv, read_tensors, write_tensors
from multilevel_diffusion.training import (
    Dataset,
    Epoch,
    Trainer,
    Validation,
    denoising_loss,
    epochs_of,
    one_cycle,
)


@pytest.fixture
def warned():
    """What trainers warned of."""
    return []


@pytest.fixture
def trainer(tiny, tmp_path, warned):
    """A trainer of the tiny arm, whose checkpoints go to `folder`."""

    def make(folder="run", seed=1, loss_scale=256, checkpoint_seconds=0.0, validate=None, **training):
        spec = parse(ArmSpec, tiny(**training), source="tiny")
        prior, network = build_prior(spec), build_network(spec, seed)
        mixture, keep = GaussianMixture(prior), Checkpoint(tmp_path / folder, checkpoint_seconds, warn=warned.append)
        keep.bind("train", torch.device("cpu"), {"spec": spec.model_dump(mode="json"), "seed": seed})
        return Trainer(
            network,
            build_denoiser(spec, network, prior, Gain.VALUES),
            spec.training,
            batches=lambda grids, stream, batch: (mixture.sample(batch, grid, stream) for grid in grids),
            steps_in_pass=None,
            grid=Torus,
            loss_scale=loss_scale,
            generator=generator(seed, "train"),
            write_model=lambda path, network, epoch: write_tensors(path, network.state_dict(), {}),
            keep=keep,
            validate=validate,
        )

    return make


def snapshots(trainer):
    return trainer.keep.folder / "snapshots"


def interrupt_at(epoch):
    def progress(row):
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    return progress


def weights(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def without_seconds(history):
    return history.drop(columns="seconds")


def one_level(epochs, resolution=8):
    return [{"resolution": resolution, "epochs": epochs}]


def test_the_loss_reported_is_the_mean_of_the_l2_loss_of_the_steps(trainer):
    t = trainer(learning_rate=1e-30, weight_decay=0.0, steps_per_epoch=3, ladder=one_level(1))
    stream, network, prior = generator(1, "train"), copy.deepcopy(t.network), t.denoiser.prior
    sde, grid, gamma, losses = ForwardSDE(), Torus(8), 16 / 8, []
    for _ in range(3):
        u_0 = GaussianMixture(prior).sample(4, grid, stream)
        time = torch.rand(4, generator=stream)
        eta = prior.sample(4, grid, stream)
        a, b = (scale(time)[:, None, None] for scale in (sde.mean_scale, sde.noise_scale))
        with torch.no_grad():
            score = network(gamma * (a * u_0 + b * eta), time, grid) / gamma
        residual = b / sde.alpha(time)[:, None, None].sqrt() * score + eta
        losses.append(0.5 * residual.square().mean().item())
    assert t.run().loss.item() == pytest.approx(sum(losses) / 3, rel=1e-5)


def test_the_gradient_is_that_of_loss_scale_times_the_loss(trainer):
    t = trainer(loss_scale=256, steps_per_epoch=1, ladder=one_level(1))
    stream, parameters = generator(1, "train"), list(t.network.parameters())
    u_0 = GaussianMixture(t.denoiser.prior).sample(4, Torus(8), stream)
    times, eta = torch.rand(4, generator=stream), t.denoiser.prior.sample(4, Torus(8), stream)
    loss = denoising_loss(t.denoiser, u_0, times, eta, Torus(8)).mean()
    expected = torch.autograd.grad(loss, parameters)
    t.run()
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(parameter.grad, 256 * gradient, rtol=1e-5, atol=0)


def test_a_run_is_adam_by_its_formulas_with_coupled_weight_decay_at_the_rates_of_the_schedule(trainer):
    """Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1, on the gradient of N_native² L + ½ λ‖θ‖²."""
    ladder = [{"resolution": 8, "epochs": 1}, {"resolution": 12, "epochs": 1, "learning_rate": 2e-3}]
    t = trainer(ladder=ladder, steps_per_epoch=3, learning_rate=5e-3, weight_decay=30.0, schedule="one-cycle")
    network, prior, stream = copy.deepcopy(t.network), t.denoiser.prior, generator(1, "train")
    denoiser, mixture = LearnedDenoiser(network, ForwardSDE(), prior, t.denoiser.gain), GaussianMixture(prior)
    parameters = list(network.parameters())
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    for step in range(6):
        grid, rate = (Torus(8), 5e-3) if step < 3 else (Torus(12), 2e-3)
        u_0 = mixture.sample(4, grid, stream)
        times, eta = torch.rand(4, generator=stream), prior.sample(4, grid, stream)
        loss = 256 * denoising_loss(denoiser, u_0, times, eta, grid).mean()
        for p, g, m, v in zip(parameters, torch.autograd.grad(loss, parameters), first, second, strict=True):
            g = g + 30 * p.detach()
            m.lerp_(g, 0.1)
            v.lerp_(g.square(), 0.001)
            m_hat, v_hat = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
            p.detach().sub_(rate * one_cycle(step, 6) * m_hat / (v_hat.sqrt() + 1e-8))
    t.run()
    for ours, expected in zip(t.network.parameters(), parameters, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_the_loss_scale_does_not_show_in_the_history(trainer):
    first = [trainer(f"{c}", loss_scale=c, steps_per_epoch=1, ladder=one_level(1)).run().loss.item() for c in (1, 256)]
    assert first[0] == first[1]


def test_the_history_follows_the_ladder(trainer):
    ladder = [{"resolution": 8, "epochs": 2}, {"resolution": 12, "epochs": 3}]
    history = trainer(ladder=ladder, steps_per_epoch=3).run()
    assert list(history.epoch) == [1, 2, 3, 4, 5]
    assert list(history.resolution) == [8, 8, 12, 12, 12]
    assert list(history.step) == [3, 6, 9, 12, 15]
    assert history.seconds.is_monotonic_increasing
    assert list(history.columns) == ["epoch", "resolution", "step", "loss", "learning_rate", "seconds"]


def test_a_level_has_its_own_length_batch_size_and_learning_rate(trainer):
    ladder = [
        {"resolution": 8, "steps": 5, "learning_rate": 3e-3},
        {"resolution": 12, "epochs": 1, "batch_size": 2},
        {"resolution": 16, "steps": 1},
    ]
    t = trainer(ladder=ladder, steps_per_epoch=3)
    expected = [(8, 3, 4, 3e-3), (8, 2, 4, 3e-3), (12, 3, 2, 1e-3), (16, 1, 4, 1e-3)]
    assert t.epochs == [Epoch(*epoch, {epoch[0]: 1}) for epoch in expected]
    seen, drawn = [], t.batches
    t.batches = lambda *args: (seen.append(tuple(u_0.shape)) or u_0 for u_0 in drawn(*args))
    history = t.run()
    assert list(history.step) == [3, 5, 8, 9]
    assert list(history.learning_rate) == [3e-3, 3e-3, 1e-3, 1e-3]
    assert seen == [(4, 8, 8)] * 5 + [(2, 12, 12)] * 3 + [(4, 16, 16)]


def test_an_epoch_is_a_pass_through_the_data_at_the_batch_size_of_its_level(tiny):
    ladder = [{"resolution": 8, "epochs": 1}, {"resolution": 12, "epochs": 1, "batch_size": 8}]
    settings = parse(TrainingSettings, tiny(ladder=ladder, steps_per_epoch=None)["training"], "tiny")
    data = Dataset(torch.zeros(18, 16, 16), Torus(16))
    assert [epoch.steps for epoch in epochs_of(settings, data.steps)] == [5, 3]


@pytest.mark.parametrize("steps", [4, 10, 500])
def test_one_cycle_is_pytorchs(steps):
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2.0, total_steps=steps + 1, cycle_momentum=False)
    for step in range(steps):
        assert 2 * one_cycle(step, steps) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        schedule.step()


def test_one_cycle_spans_the_whole_ladder(trainer):
    ladder = [*one_level(2), *one_level(3, 12)]
    history = trainer(ladder=ladder, steps_per_epoch=4, schedule="one-cycle", learning_rate=1e-3).run()
    assert list(history.learning_rate) == pytest.approx([1e-3 * one_cycle(step - 1, 20) for step in (4, 8, 12, 16, 20)])


def test_snapshots_are_taken_every_so_many_epochs_and_at_the_end(trainer):
    t = trainer(ladder=one_level(5), snapshot_every=2)
    t.run()
    assert sorted(path.name for path in snapshots(t).iterdir()) == [f"epoch_000{i}.safetensors" for i in (2, 4, 5)]
    assert_same(read_tensors(snapshots(t) / "epoch_0005.safetensors")[0], weights(t.result))


def test_a_constant_schedule_keeps_the_learning_rate(trainer):
    assert set(trainer(ladder=one_level(4)).run().learning_rate) == {1e-3}


def test_one_cycle_climbs_to_the_learning_rate_and_falls_to_nothing(trainer):
    rates = trainer(ladder=one_level(20), schedule="one-cycle").run().learning_rate
    top = rates.idxmax()
    assert rates[top] == pytest.approx(1e-3, rel=0.05)
    assert rates[: top + 1].is_monotonic_increasing
    assert rates[top:].is_monotonic_decreasing
    assert rates.iloc[-1] < 1e-5


def test_averaging_is_an_exponential_mean_of_the_weights(trainer):
    after = []
    for epochs in (1, 2, 3):
        t = trainer(f"plain{epochs}", steps_per_epoch=1, ladder=one_level(epochs))
        t.run()
        after.append(weights(t.result))
    averaged = trainer("averaged", steps_per_epoch=1, ladder=one_level(3), averaging=0.9)
    averaged.run()
    assert_same(weights(averaged.network), after[2])
    for key, value in averaged.result.state_dict().items():
        mean = 0.9 * (0.9 * after[0][key] + 0.1 * after[1][key]) + 0.1 * after[2][key]
        torch.testing.assert_close(value, mean)


def test_what_is_validated_written_along_training_and_kept_is_the_average(trainer):
    losses, averages, means = iter([2.0, 1.0, 3.0]), [], []

    def validate(network):
        averages.append(weights(network))
        return {"validation_8": next(losses)}

    def average_by_hand(row):
        now = weights(t.network)
        means.append({key: 0.9 * means[-1][key] + 0.1 * value for key, value in now.items()} if means else now)

    t = trainer(ladder=one_level(3), steps_per_epoch=1, learning_rate=0.1, averaging=0.9, validate=validate)
    t.run(average_by_hand)
    for number, (average, mean) in enumerate(zip(averages, means, strict=True), start=1):
        torch.testing.assert_close(average, mean)
        assert_same(read_tensors(snapshots(t) / f"epoch_{number:04d}.safetensors")[0], average)
    assert_same(weights(t.result), averages[1])


def test_training_twice_gives_the_same_numbers(trainer):
    runs = [trainer(name, ladder=one_level(4)) for name in ("a", "b")]
    histories = [run.run() for run in runs]
    pd.testing.assert_frame_equal(*map(without_seconds, histories), check_exact=True)
    assert_same(*(weights(run.result) for run in runs))


def test_another_seed_gives_other_numbers(trainer):
    a, b = (trainer(f"seed{seed}", seed=seed).run() for seed in (1, 2))
    assert (a.loss != b.loss).all()


def test_training_leaves_the_global_stream_alone(trainer):
    before = torch.get_rng_state()
    trainer().run()
    assert torch.equal(torch.get_rng_state(), before)


def by_epoch(losses):
    """A validation that says the next of the losses each time."""
    said = iter(losses)
    return lambda network: {"validation_8": next(said), "validation_12": 0.0}


def test_the_network_of_the_epoch_with_least_validation_loss_is_kept(trainer):
    after_two = trainer("two", ladder=one_level(2))
    after_two.run()
    tied = trainer("tie", ladder=one_level(3), validate=by_epoch([2.0, 1.0, 1.0]))
    tied.run()
    assert tied.kept == 3
    validated = trainer("five", ladder=one_level(5), validate=by_epoch([3.0, 1.0, 2.0, 4.0, 1.5]))
    history = validated.run()
    assert list(history.validation_8) == [3.0, 1.0, 2.0, 4.0, 1.5]
    assert_same(weights(validated.result), weights(after_two.result))
    assert (validated.kept, after_two.kept) == (2, 2)
    assert_same(read_tensors(snapshots(validated) / "epoch_0002.safetensors")[0], weights(validated.result))


def test_the_best_epoch_is_that_on_the_finest_level(trainer):
    losses = iter([{"validation_8": a, "validation_12": b} for a, b in ((1.0, 3.0), (2.0, 1.0), (3.0, 2.0))])
    t = trainer(ladder=[*one_level(1), *one_level(2, 12)], validate=lambda network: next(losses))
    t.run()
    assert_same(weights(t.result), read_tensors(snapshots(t) / "epoch_0002.safetensors")[0])


def test_a_validation_loss_that_is_not_finite_stops_the_run(trainer):
    with pytest.raises(UserError, match="validation loss is not finite in epoch 2"):
        trainer(ladder=one_level(3), validate=by_epoch([1.0, math.nan, 1.0])).run()


def test_the_best_network_outlives_an_interruption(trainer):
    losses = [3.0, 1.0, 2.0, 4.0, 1.5]
    with pytest.raises(KeyboardInterrupt):
        trainer(ladder=one_level(5), validate=by_epoch(losses)).run(interrupt_at(3))
    resumed, whole = trainer(ladder=one_level(5), validate=by_epoch(losses[3:])), trainer("whole", ladder=one_level(2))
    resumed.run()
    whole.run()
    assert_same(weights(resumed.result), weights(whole.result))


def test_validation_neither_changes_training_nor_counts_as_its_time(trainer, monkeypatch):
    """By a clock on which a step takes a second and a validation a hundred."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def passes(seconds):
        now[0] += seconds
        return {"validation_8": 1.0}

    plain = trainer("plain", ladder=one_level(4))
    validated = trainer("validated", ladder=one_level(4), validate=lambda network: passes(100))
    drawn = validated.batches
    validated.batches = lambda *args: (passes(1) and u_0 for u_0 in drawn(*args))
    a, b = plain.run(), validated.run()
    pd.testing.assert_series_equal(a.loss, b.loss, check_exact=True)
    assert list(b.seconds) == list(b.step)
    assert_same(weights(plain.network), weights(validated.network))


def test_a_pass_through_the_data_meets_every_field_once():
    fields = torch.arange(10.0)[:, None, None].expand(10, 4, 4).clone()
    data, grid = Dataset(fields, Torus(4)), Torus(4)
    assert data.steps(4) == 3
    first, second = (
        [batch[:, 0, 0].tolist() for batch in data.batches([grid] * 3, generator(seed), batch_size=4)]
        for seed in (1, 2)
    )
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(value for batch in first for value in batch) == list(range(10))
    assert first != second
    assert [len(batch) for batch in data.batches([grid] * 5, generator(1), batch_size=4)] == [4, 4, 2, 4, 4]


def test_the_grids_of_a_mixed_level_are_drawn_as_often_as_their_probability(trainer):
    others = [{"resolution": 4, "probability": 0.5}, {"resolution": 6, "probability": 0.2}]
    t = trainer(ladder=[{"resolution": 8, "epochs": 1, "others": others}], steps_per_epoch=2000)
    (epoch,) = t.epochs
    drawn = [grid.resolution for grid in t._grids(epoch)]
    share = {resolution: drawn.count(resolution) / 2000 for resolution in (4, 6, 8)}
    assert share == pytest.approx({4: 0.5, 6: 0.2, 8: 0.3}, abs=0.04)


def test_a_mixed_level_trains_on_all_of_its_grids(trainer, monkeypatch):
    seen = []
    draw = GaussianMixture.sample
    monkeypatch.setattr(
        GaussianMixture,
        "sample",
        lambda self, n, grid, *r, **k: seen.append(grid.resolution) or draw(self, n, grid, *r, **k),
    )
    trainer(ladder=[{"resolution": 8, "epochs": 4, "others": [{"resolution": 4, "probability": 0.5}]}]).run()
    assert set(seen) == {4, 8}


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([{"resolution": 8, "probability": 0.5}], "others: 8, which is not coarser"),
        ([{"resolution": 4, "probability": 0.2}, {"resolution": 4, "probability": 0.2}], "others: 4 is there twice"),
        ([{"resolution": 4, "probability": 0.5}, {"resolution": 6, "probability": 0.5}], "below 1 together"),
        ([{"resolution": 4, "probability": 1}], "others.0.probability"),
    ],
)
def test_a_mixed_level_of_finer_grids_or_too_much_probability_is_refused(tiny, others, words):
    with pytest.raises(UserError, match=words):
        parse(ArmSpec, tiny(ladder=[{"resolution": 8, "epochs": 1, "others": others}]), source="tiny")


def test_a_dataset_is_restricted_to_the_grid_of_the_level():
    fields = torch.randn(3, 8, 8, generator=generator(1))
    data = Dataset(fields, CellCentred(8))
    torch.testing.assert_close(data.on(CellCentred(4)), restrict(fields, CellCentred(8), CellCentred(4)))
    batch = next(data.batches([CellCentred(4)], generator(1), batch_size=3))
    assert batch.shape == (3, 4, 4)


def test_the_validation_loss_is_fixed_and_that_of_the_exact_field_is_least(trainer):
    t = trainer()
    prior = t.denoiser.prior
    exact = MixtureDenoiser(GaussianMixture(prior), ForwardSDE())
    fields = GaussianMixture(prior).sample(64, Torus(16), generator(3))
    grids = [Torus(8), Torus(16)]
    validations = [Validation(Dataset(fields, Torus(16)), grids, 8, exact, torch.device("cpu")) for _ in range(2)]
    first, second = (validation.losses(t.denoiser) for validation in validations)
    assert first == second
    assert list(first) == [8, 16]
    least = validations[0].losses(exact)
    assert all(least[n] < first[n] for n in (8, 16))
    stream, m = generator(4), 4000
    u_0, time_, eta = (
        GaussianMixture(prior).sample(m, Torus(8), stream),
        torch.rand(m, generator=stream),
        prior.sample(m, Torus(8), stream),
    )
    fresh = denoising_loss(exact, u_0, time_, eta, Torus(8))
    spread = fresh.std().item() / math.sqrt(64 * 8)
    assert least[8] == pytest.approx(fresh.mean().item(), abs=5 * spread)


def test_validation_times_are_one_in_each_of_as_many_equal_parts_as_draws(trainer):
    parts = []

    class Recorder:
        sde, prior = ForwardSDE(), trainer().denoiser.prior

        def predict_noise(self, u_t, t, grid):
            parts.append((5 * t).floor().tolist())
            return u_t

    data = Dataset(torch.zeros(3, 16, 16), Torus(16))
    Validation(data, [Torus(8), Torus(16)], 5, Recorder(), torch.device("cpu")).losses(Recorder())
    assert parts == [[j] * 3 for j in range(5)] * 2


def test_parts_bound_memory_and_change_nothing(trainer, monkeypatch):
    t, fields = trainer(), torch.randn(7, 16, 16, generator=generator(1, "fields"))

    def measured():
        data = Dataset(fields, Torus(16))
        validation = Validation(data, [Torus(8), Torus(12)], 2, t.denoiser, torch.device("cpu"))
        return data.on(Torus(8)), validation.losses(t.denoiser)

    together, losses = measured()
    monkeypatch.setattr("multilevel_diffusion.training.CHUNK", 3)
    parts, again = measured()
    torch.testing.assert_close(parts, together, rtol=0, atol=1e-6)
    assert again == pytest.approx(losses, rel=1e-5)


def test_an_interrupted_run_goes_on_from_its_checkpoint(trainer):
    with pytest.raises(KeyboardInterrupt):
        trainer(ladder=one_level(5)).run(interrupt_at(3))
    assert [row["epoch"] for row in trainer(ladder=one_level(5)).history] == [1, 2, 3]


def test_a_run_stopped_within_an_epoch_ends_with_the_bits_of_an_uninterrupted_one(trainer):
    settings = {"ladder": one_level(3), "steps_per_epoch": 4, "averaging": 0.9, "schedule": "one-cycle"}
    whole = trainer("whole", **settings)
    history = whole.run()
    for step in (1, 3, 4, 6):
        cut, seen = trainer(f"cut{step}", **settings), itertools.count(1)
        save = cut.keep.saving

        @contextmanager
        def saving(name, save=save, seen=seen, step=step):
            with save(name) as inner:

                def then_stop(collect, last=False):
                    inner(collect, last)
                    if next(seen) == step:
                        raise KeyboardInterrupt

                yield then_stop

        cut.keep.saving = saving
        with pytest.raises(KeyboardInterrupt):
            cut.run()
        resumed = trainer(f"cut{step}", **settings)
        assert sum(row["step"] for row in resumed.history[-1:]) + resumed._done > 0
        pd.testing.assert_frame_equal(*map(without_seconds, (resumed.run(), history)), check_exact=True)
        assert_same(weights(resumed.result), weights(whole.result))


def test_a_run_goes_on_from_the_bytes_of_its_checkpoint_and_not_from_what_else_is_there(trainer):
    with pytest.raises(KeyboardInterrupt):
        trainer(ladder=one_level(5), checkpoint_seconds=1e9).run(interrupt_at(3))
    again = trainer(ladder=one_level(5), checkpoint_seconds=1e9)
    assert again.history == []
    left = snapshots(again) / ".epoch_0001.safetensors.1234.partial"
    left.write_bytes(b"half")
    (snapshots(again) / "notes.txt").write_text("mine")
    third = trainer(ladder=one_level(5))
    assert not left.exists()
    third.run()
    third.keep.finish()
    assert [path.name for path in snapshots(third).iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("other", [{"learning_rate": 2e-3}, {"seed": 2}, {"ladder": one_level(6)}, {"averaging": 0.5}])
def test_a_checkpoint_of_other_settings_is_kept_told_and_not_taken_up(trainer, warned, other):
    first = trainer(ladder=one_level(5))
    with pytest.raises(KeyboardInterrupt):
        first.run(interrupt_at(3))
    settings = {"ladder": one_level(5)} | other
    second, fresh = trainer(**settings), trainer("fresh", **settings)
    assert second.history == []
    (told,) = warned
    assert f"{first.keep.folder}: kept, but not gone on from" in told
    assert all(key in told for key in other)
    pd.testing.assert_frame_equal(without_seconds(second.run()), without_seconds(fresh.run()), check_exact=True)
    assert_same(weights(second.result), weights(fresh.result))
    assert len(trainer(ladder=one_level(5)).history) == 3


def test_a_loss_that_is_finite_but_beyond_all_reason_ends_the_run(trainer):
    with pytest.raises(UserError, match=r"beyond all reason, in epoch 1 .*: lower training.learning_rate"):
        trainer(learning_rate=1e4, ladder=one_level(5)).run()


def test_a_damaged_checkpoint_is_refused_with_path_and_mend(trainer):
    with pytest.raises(KeyboardInterrupt):
        trainer(ladder=one_level(5)).run(interrupt_at(3))
    path = trainer(ladder=one_level(5)).keep.folder / "training.state.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=f"{path}: .*make it again"):
        trainer(ladder=one_level(5))


@pytest.mark.parametrize(
    "training",
    [
        {"ladder": one_level(90), "schedule": "constant", "averaging": 0.0},
        {"ladder": one_level(90), "schedule": "one-cycle", "averaging": 0.9},
        {
            "ladder": [{"resolution": 8, "epochs": 60}, {"resolution": 12, "epochs": 60}],
            "schedule": "one-cycle",
            "averaging": 0.9,
        },
        {
            "ladder": [
                {"resolution": 8, "steps": 21, "learning_rate": 2e-3},
                {"resolution": 12, "epochs": 90, "batch_size": 3},
            ],
            "schedule": "constant",
            "averaging": 0.0,
        },
    ],
    ids=["constant", "one-cycle-averaged", "killed-on-the-first-level", "killed-on-the-second-level"],
)
def test_a_killed_run_ends_with_the_bits_of_an_uninterrupted_one(mld, tiny, tmp_path, training):
    spec, killed, whole = tmp_path / "spec.json", tmp_path / "killed", tmp_path / "whole"
    spec.write_text(json.dumps(tiny(snapshot_every=15, **training)))
    command = ["train", spec, "--seed", 1, "--checkpoint-seconds", 0, "-o"]
    folder = killed / "checkpoint" / "train"

    process = subprocess.Popen([MLD, *map(str, [*command, killed])], stdout=subprocess.DEVNULL)
    while not (seen := [*folder.glob("*/snapshots/epoch_0015.safetensors")]):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "model.safetensors").exists()
    done = read_tensors(seen[0].parents[1] / "training.state.safetensors")[1]["history"]
    assert len(done) >= 14
    shown = read_csv(seen[0].parents[1] / "history.csv")
    assert len(shown) >= len(done) - 1  # it is written after the state

    assert mld(*command, killed).code == 0
    assert mld(*command, whole).code == 0
    resumed, uninterrupted = (read_csv(folder / "history.csv") for folder in (killed, whole))
    assert list(resumed.seconds[: len(done)]) == [row["seconds"] for row in done]
    pd.testing.assert_frame_equal(*map(without_seconds, (resumed, uninterrupted)), check_exact=True)
    pd.testing.assert_frame_equal(*map(without_seconds, (shown, uninterrupted[: len(shown)])), check_exact=True)
    models = sorted(path.relative_to(whole) for path in whole.rglob("*.safetensors"))
    assert models == sorted(path.relative_to(killed) for path in killed.rglob("*.safetensors"))
    for model in models:
        assert_same(read_tensors(killed / model)[0], read_tensors(whole / model)[0])
    assert not (killed / "checkpoint").exists()
