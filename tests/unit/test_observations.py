"""Operators against their matrices, from explicit waves, and against what the grids themselves say."""

import math

import pytest
import torch

from multilevel_diffusion import observations as observed
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.grids import CellCentred, Torus, prolong, restrict, squared_norm
from multilevel_diffusion.observations import Modes, Observations, Points
from multilevel_diffusion.storage import generator

GRIDS = [Torus(6), Torus(7), Torus(8), CellCentred(6), CellCentred(7)]
POSITIONS = torch.rand(5, 2, generator=generator(1), dtype=torch.float64)


def operators(kind):
    return {
        "points": Points(POSITIONS),
        "coarse": observed.coarse(kind(4)),
        "pixels": observed.outside(((0.2, 0.2), (0.7, 0.6)), kind(6)),
        "modes": Modes(kind, 2),
    }


def fields(grid, count=3):
    shape = count, grid.resolution, grid.resolution
    return torch.randn(shape, generator=generator(2, grid.resolution), dtype=torch.float64)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("name", ["points", "coarse", "pixels", "modes"])
def test_the_adjoint_is_that_of_the_matrix(grid, name):
    operator, n = operators(type(grid))[name], grid.resolution
    matrix = operator.apply(torch.eye(n * n, dtype=torch.float64).unflatten(1, (n, n)), grid).T  # of values to numbers
    assert matrix.shape == (operator.count, n * n)
    y = torch.randn(2, operator.count, generator=generator(3), dtype=torch.float64)
    torch.testing.assert_close(operator.apply(fields(grid), grid), fields(grid).flatten(1) @ matrix.T)
    torch.testing.assert_close(operator.adjoint(y, grid).flatten(1), n * n * y @ matrix)


@pytest.mark.parametrize("n", [6, 7])
def test_a_point_sees_the_interpolant(n):
    """Σ û_k exp(2πik·x) over the modes of an FFT; an even grid has a cosine at its Nyquist frequency."""
    u = fields(Torus(n))
    coefficients = torch.fft.fft2(u, norm="forward")
    k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    waves = torch.exp(2j * math.pi * POSITIONS[..., None] * k)
    waves = torch.where(2 * k == -n, waves.real + 0j, waves)
    expected = torch.einsum("bkl,jk,jl->bj", coefficients, waves[:, 0], waves[:, 1]).real
    torch.testing.assert_close(Points(POSITIONS).apply(u, Torus(n)), expected)


def test_a_point_between_walls_sees_the_sum_of_cosines():
    n, u = 6, fields(CellCentred(6))
    k, x = torch.arange(n, dtype=torch.float64), CellCentred(6).points()
    at = [torch.cos(math.pi * k * points[:, None]) for points in (x, POSITIONS[:, 0], POSITIONS[:, 1])]
    coefficients = torch.linalg.inv(at[0]) @ u @ torch.linalg.inv(at[0]).T
    expected = torch.einsum("bkl,jk,jl->bj", coefficients, at[1], at[2])
    torch.testing.assert_close(Points(POSITIONS).apply(u, CellCentred(n)), expected)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_coarse_is_the_restriction(grid):
    for m in range(3, grid.resolution + 1):
        target = type(grid)(m)
        found = observed.coarse(target).apply(fields(grid), grid)
        torch.testing.assert_close(found, restrict(fields(grid), grid, target).flatten(1))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_mask_sees_the_values_of_its_grid(grid):
    mask = fields(grid, 1)[0] > 0
    torch.testing.assert_close(observed.masked(mask, grid).apply(fields(grid), grid), fields(grid)[:, mask])


def test_a_box_is_left_out_with_its_lower_edges():
    kept = observed.outside(((0.25, 0.5), (0.75, 1.0)), Torus(4)).positions
    seen = {tuple(x) for x in kept.tolist()}
    assert {(i / 4, j / 4) for i in range(4) for j in range(4)} - seen == {
        (0.25, 0.5),
        (0.25, 0.75),
        (0.5, 0.5),
        (0.5, 0.75),
    }


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_modes_keep_the_norm(grid):
    """On modes that the grid has, Bessel's inequality is an equation."""
    u = fields(grid)
    found = Modes(type(grid), 3 * grid.resolution).apply(u, grid).square().sum(dim=1)
    fine = type(grid)(13)
    without_nyquist = fine.resample(grid.resample(u, fine), grid)
    torch.testing.assert_close(found, squared_norm(without_nyquist))


def test_modes_are_the_fourier_coefficients():
    u = fields(Torus(7))
    found, hat = Modes(Torus, 1).apply(u, Torus(7)), torch.fft.fft2(u, norm="forward")
    expected = {4: hat[:, 0, 0].real, 5: 2**0.5 * hat[:, 0, 1].real, 3: -(2**0.5) * hat[:, 0, 1].imag}
    for number, values in expected.items():  # k in the order (−1, −1), …, (0, −1), (0, 0), (0, 1), …
        torch.testing.assert_close(found[:, number].abs(), values.abs())


@pytest.mark.parametrize("kind", [Torus, CellCentred])
@pytest.mark.parametrize("name", ["points", "coarse", "pixels", "modes"])
def test_every_grid_sees_the_same_of_a_function_that_it_has(kind, name):
    operator, u = operators(kind)[name], fields(kind(5))
    seen = [operator.apply(prolong(u, kind(5), kind(n)), kind(n)) for n in (5, 6, 9, 16)]
    for other in seen[1:]:
        torch.testing.assert_close(other, seen[0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Points(torch.tensor([[0.5, 0.5], [1.2, 0.0]])), "point 2 is (1.2, 0), outside"),
        (lambda: Points(torch.tensor([[0.5, math.nan]])), "point 1"),
        (lambda: Points(torch.zeros(0, 2)), "shape (0, 2)"),
        (lambda: observed.masked(torch.ones(5, 5, dtype=torch.bool), Torus(6)), "a mask of shape (5, 5), not (6, 6)"),
        (lambda: observed.masked(torch.zeros(6, 6, dtype=torch.bool), Torus(6)), "true nowhere"),
        (lambda: observed.outside(((0, 0), (1, 1)), Torus(6)), "true nowhere"),
        (lambda: observed.masked(torch.ones(6, 6, dtype=torch.long), Torus(6)), "the mask is int64"),
        (lambda: observed.outside(((0.8, 0.2), (0.2, 0.8)), Torus(6)), "give the lower corner first"),
        (lambda: Observations(Points(POSITIONS), torch.zeros(5, dtype=torch.cfloat), 0.1), "complex values"),
        (lambda: observed.coarse(CellCentred(4)).apply(fields(Torus(6)), Torus(6)), "but the fields lie on"),
        (lambda: Modes(Torus, -1), "modes up to -1"),
        (lambda: Modes(Torus, 1.5), "modes up to 1.5"),
        (lambda: Observations(Points(POSITIONS), torch.zeros(4), 0.1), "shape (4,), not (5,)"),
        (lambda: Observations(Points(POSITIONS), torch.tensor([0, math.nan, 0, 0, 0]), 0.1), "value 2 is not finite"),
        (lambda: Observations(Points(POSITIONS), torch.zeros(5), -0.1), "the noise is -0.1"),
        (lambda: Observations(Points(POSITIONS), torch.zeros(5), math.nan), "the noise is nan"),
        (lambda: Observations(Points(POSITIONS), torch.zeros(5), 1e300), "the noise is 1e+300"),
        (lambda: Modes(Torus, 1).apply(fields(CellCentred(6)), CellCentred(6)), "modes of a Torus"),
        (lambda: Modes(Torus, 700).functions(Torus(1024)), "need"),
        (lambda: observed.coarse(Torus(3000)), "need"),
        (lambda: observed.outside(((0.4, 0.4), (0.6, 0.6)), CellCentred(3000)), "need"),
        (lambda: observed.scattered(10**7, torch.Generator()), "need"),
    ],
)
def test_what_is_no_observation_is_refused(make, words):
    with pytest.raises(UserError, match=r"^observations: ") as refusal:
        make()
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
