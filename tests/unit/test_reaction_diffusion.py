"""The solver against a converged method of lines, its order, and what it must keep."""

import math
from functools import cache
from itertools import pairwise

import h5py
import numpy as np
import pytest
import scipy.integrate
import torch

from multilevel_diffusion.data.reaction_diffusion import (
    ReactionDiffusion,
    graded_times,
    initial_values,
    method_of_lines,
    read_published,
    snapshots,
)

STEPS = 20


@cache
def converged(resolution, seed=0):
    """(u, v) at t = 2.5 and 5, each (2, N, N), by an adaptive method at tolerance 1e-9."""
    solution = scipy.integrate.solve_ivp(
        method_of_lines(resolution),
        (0, 5),
        initial_values(seed, resolution).numpy().ravel(),
        method="DOP853",
        t_eval=(2.5, 5),
        rtol=1e-9,
        atol=1e-9,
    )
    assert solution.success
    return torch.from_numpy(solution.y.T.reshape(2, 2, resolution, resolution).copy())


def error(ours, true):
    return ((ours[0].double() - true).norm() / true.norm()).item()


def solved(resolution, end, steps, dtype=torch.float64, **options):
    u, v = initial_values(0, resolution)[:, None].to(dtype)
    return ReactionDiffusion(resolution, **options).solve(u, v, graded_times(end, steps))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 5e-4), (torch.float64, 1e-4)])
@pytest.mark.parametrize(("end", "index"), [(2.5, 0), (5.0, 1)])
def test_fields_agree_with_a_converged_method_of_lines(end, index, dtype, bound):
    for ours, true in zip(solved(128, end, STEPS, dtype), converged(128)[index], strict=True):
        assert error(ours, true) <= bound


@pytest.mark.parametrize("resolution", [16, 33, 64])
def test_the_order_in_time_is_four(resolution):
    """Smooth or rough, on even and odd grids: from white noise, with graded steps."""
    errors = [
        [error(ours, true) for ours, true in zip(solved(resolution, 2.5, steps), converged(resolution)[0], strict=True)]
        for steps in (20, 40, 80)
    ]
    for coarse, fine in pairwise(errors):
        assert all(math.log2(a / b) >= 3.5 for a, b in zip(coarse, fine, strict=True))


def test_even_steps_do_not_resolve_the_white_noise_start():
    """As many equal steps are two orders of magnitude worse: the reason for the graded grid."""
    u, v = initial_values(0, 64)[:, None]
    even = ReactionDiffusion(64).solve(u, v, torch.linspace(0, 2.5, STEPS + 1, dtype=torch.float64))
    graded = solved(64, 2.5, STEPS)
    assert error(even[0], converged(64)[0, 0]) > 100 * error(graded[0], converged(64)[0, 0])


@pytest.mark.parametrize("laplacian", ["finite-volume", "spectral"])
def test_constant_fields_follow_the_reaction(laplacian):
    solution = scipy.integrate.solve_ivp(
        lambda _, y: [y[0] - y[0] ** 3 - 5e-3 - y[1], y[0] - y[1]], (0, 2.5), [0.7, -0.2], rtol=1e-11, atol=1e-12
    )
    u, v = (torch.full((1, 9, 9), value, dtype=torch.float64) for value in (0.7, -0.2))
    ends = ReactionDiffusion(9, laplacian).solve(u, v, graded_times(2.5, 160))
    for ours, true in zip(ends, solution.y[:, -1], strict=True):
        assert (ours - true).abs().max() < 1e-7


@pytest.mark.parametrize("laplacian", ["finite-volume", "spectral"])
def test_small_cosine_waves_decay_and_turn_as_the_linear_system_says(laplacian):
    """Without the cube a mode is y(t) = exp(L t) y(0); its mean is that of the forcing, so that diffusion keeps the mean."""
    n, end, k = 24, 1.5, (3, 5)
    points = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    wave = torch.cos(math.pi * k[0] * points)[:, None] * torch.cos(math.pi * k[1] * points)
    amplitude = 1e-5
    u, v = amplitude * wave[None], -0.5 * amplitude * wave[None]
    u_end, v_end = ReactionDiffusion(n, laplacian).solve(u, v, graded_times(end, 40))

    if laplacian == "spectral":
        mu = sum((math.pi * i / 2) ** 2 for i in k)
    else:
        mu = sum((n * math.sin(math.pi * i / (2 * n))) ** 2 for i in k)
    linear = torch.tensor([[1 - 1e-3 * mu, -1.0], [1.0, -1 - 5e-3 * mu]], dtype=torch.float64)
    expected = torch.linalg.matrix_exp(end * linear) @ torch.tensor([1.0, -0.5], dtype=torch.float64)
    for ours, factor in zip((u_end, v_end), expected, strict=True):
        deviation = ours - ours.mean()
        torch.testing.assert_close(deviation[0] / amplitude, factor * wave, rtol=0, atol=2e-3)
    mean = ReactionDiffusion(n, laplacian).solve(0 * u, 0 * v, graded_times(end, 40))[0]
    torch.testing.assert_close(u_end.mean(), mean.mean(), rtol=1e-5, atol=0)


def test_the_spectral_laplacian_is_the_limit_of_the_finite_volumes():
    for k in (1, 4):
        coarse, fine = (
            ReactionDiffusion(n).eigenvalues()[k, 0] / ReactionDiffusion(n, "spectral").eigenvalues()[k, 0] - 1
            for n in (32, 64)
        )
        assert coarse / fine == pytest.approx(4, rel=0.05)


def test_trajectories_do_not_depend_on_those_beside_them():
    values = torch.stack([initial_values(seed, 16) for seed in range(11)])
    together = ReactionDiffusion(16).solve(values[:, 0], values[:, 1], graded_times(2.5, 5))[0]
    alone = ReactionDiffusion(16).solve(values[9:10, 0], values[9:10, 1], graded_times(2.5, 5))[0]
    torch.testing.assert_close(together[9:10], alone, rtol=0, atol=1e-12)
    drawn = snapshots(ReactionDiffusion(16), range(11), graded_times(2.5, 5), torch.device("cpu"))
    torch.testing.assert_close(drawn.double(), together, rtol=0, atol=1e-5)


def test_trajectories_loaded_one_part_after_another_are_those_loaded_together(monkeypatch):
    system, times = ReactionDiffusion(8), graded_times(1.0, 3)
    together = snapshots(system, range(7), times, torch.device("cpu"))
    monkeypatch.setattr("multilevel_diffusion.data.reaction_diffusion.LOADED", 3)
    torch.testing.assert_close(snapshots(system, range(7), times, torch.device("cpu")), together, rtol=0, atol=1e-6)


def test_initial_values_are_those_of_the_published_data():
    """u then v, row by row, from numpy's default generator with the number of the trajectory as its seed."""
    numbers = np.random.default_rng(7).standard_normal(2 * 128 * 128)
    u, v = initial_values(7, 128)
    assert u[3, 5] == numbers[3 * 128 + 5]
    assert v[0, 0] == numbers[128 * 128]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cpu_and_gpu_agree():
    u, v = initial_values(0, 64)[:, None]
    system, times = ReactionDiffusion(64), graded_times(2.5, STEPS)
    on_gpu = system.solve(u.cuda(), v.cuda(), times)[0].cpu()
    torch.testing.assert_close(on_gpu, system.solve(u, v, times)[0], rtol=0, atol=1e-10)


def test_what_cannot_be_solved_is_refused():
    with pytest.raises(ValueError, match="positive and finite"):
        graded_times(-1.0, 5)
    with pytest.raises(ValueError, match="positive and finite"):
        graded_times(math.inf, 5)
    with pytest.raises(ValueError, match="steps must be ≥ 1"):
        graded_times(1.0, 0)
    u = torch.zeros(1, 8, 8)
    for times in ([0.0, 1.0, 0.5], [1.0]):
        with pytest.raises(ValueError, match="increase"):
            ReactionDiffusion(8).solve(u, u, torch.tensor(times))
    with pytest.raises(ValueError, match="finite"):
        ReactionDiffusion(8).solve(u, u, torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match=r"\(batch, 8, 8\)"):
        ReactionDiffusion(8).solve(u[:, :, :7], u[:, :, :7], graded_times(1.0, 2))
    with pytest.raises(ValueError, match="laplacian must be one of finite-volume, spectral"):
        ReactionDiffusion(8, "nine-point")


def test_a_field_that_blows_up_is_refused():
    u = torch.full((1, 8, 8), 1e6)
    with pytest.raises(FloatingPointError, match=r"blow up before t = 2\.5"):
        ReactionDiffusion(8).solve(u, u, graded_times(2.5, 3))


@pytest.fixture
def published(tmp_path):
    """A file laid out as the published one, of smaller fields."""

    def write(trajectories=3, shape=(101, 8, 8, 2), dataset="data", dtype=np.float32, spoilt=None, times=None):
        path = tmp_path / "published.h5"
        with h5py.File(path, "w") as archive:
            for i in range(trajectories):
                values = (np.arange(math.prod(shape)).reshape(shape) + i).astype(dtype)
                if spoilt and i == 1:
                    values[50, 0, 0, 0] = spoilt
                archive.create_dataset(f"{i:04d}/{dataset}", data=values)
                if times is not None:
                    archive[f"{i:04d}/grid/t"] = times
        return path

    return write


def test_the_published_file_is_read_at_the_time_asked_for(published):
    fields = read_published(published(), 2, 2.5, 8)
    expected = np.arange(101 * 8 * 8 * 2, dtype=np.float32).reshape(101, 8, 8, 2)[50, :, :, 0]
    np.testing.assert_array_equal(fields[0], expected)
    np.testing.assert_array_equal(fields[1], expected + 1)


def test_the_times_in_the_file_are_believed(published):
    times = np.linspace(0, 5, 101, dtype=np.float32)
    assert torch.equal(read_published(published(times=times), 2, 2.5, 8), read_published(published(), 2, 2.5, 8))
    first = read_published(published(times=times[:60], shape=(60, 8, 8, 2)), 2, 2.5, 8)
    assert first[1, 0, 0] == 50 * 8 * 8 * 2 + 1


@pytest.mark.parametrize(
    ("written", "asked", "word"),
    [
        ({"shape": (201, 8, 8, 2)}, (2, 2.5, 8), "shape \\(201, 8, 8, 2\\)"),
        ({"shape": (201, 8, 8, 2), "times": np.linspace(0, 5, 201)}, (2, 2.5, 8), "field 50 is of t = 1.25, not 2.5"),
        ({"times": np.linspace(0, 5, 201)}, (2, 2.5, 8), "not floats of shape \\(201, 8, 8, 2\\)"),
        ({"times": np.full(101, np.nan)}, (2, 2.5, 8), "field 50 is of t = nan"),
        ({"dataset": "fields"}, (2, 2.5, 8), "no dataset 0000/data"),
        ({}, (4, 2.5, 8), "no dataset 0003/data"),
        ({}, (2, 2.5, 16), "not floats of shape \\(101, 16, 16, 2\\)"),
        ({"shape": (20, 8, 8, 2)}, (2, 2.5, 8), "shape \\(20, 8, 8, 2\\)"),
        ({"shape": (50, 8, 8, 2)}, (2, 2.5, 8), "shape \\(50, 8, 8, 2\\)"),
        ({"dtype": int}, (2, 2.5, 8), "0000/data is int64"),
        ({"dataset": "data/inside"}, (2, 2.5, 8), "no dataset 0000/data"),
        ({"spoilt": np.nan}, (2, 2.5, 8), "0001/data is not finite"),
        ({"spoilt": 1e300, "dtype": float}, (2, 2.5, 8), "0001/data is not finite"),
        ({}, (2, 2.51, 8), "none at t = 2.51"),
    ],
)
def test_a_published_file_that_lacks_something_is_refused_by_name(published, written, asked, word):
    path = published(**written)
    with pytest.raises(ValueError, match=word) as refused:
        read_published(path, *asked)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_hdf5_is_refused_by_name(tmp_path):
    path = tmp_path / "not.h5"
    path.write_text("no")
    with pytest.raises(ValueError, match=r"not\.h5: cannot be read as HDF5"):
        read_published(path, 1, 2.5, 8)
    with pytest.raises(ValueError, match="nowhere"):
        read_published(tmp_path / "nowhere.h5", 1, 2.5, 8)
