import math

import pytest
import torch

from multilevel_diffusion.grids import (
    CellCentred,
    Torus,
    prolong,
    resample_noise,
    restrict,
    squared_norm,
    wavenumbers,
    white_noise,
)
from multilevel_diffusion.storage import generator

PAIRS = [(32, 64), (32, 50), (32, 51), (51, 64), (31, 33), (50, 51), (2, 3)]


def band_limited(grid, seed=0):
    """A random field of all modes that the grid's restriction rule keeps."""
    field = torch.randn(3, grid.resolution, grid.resolution, generator=generator(seed), dtype=torch.float64)
    if isinstance(grid, Torus) and grid.resolution % 2 == 0:
        spectrum = torch.fft.fft2(field)
        spectrum[..., grid.resolution // 2, :] = 0
        spectrum[..., :, grid.resolution // 2] = 0
        field = torch.fft.ifft2(spectrum).real
    return field


@pytest.mark.parametrize("kind", [Torus, CellCentred])
@pytest.mark.parametrize(("coarse", "fine"), PAIRS)
def test_restriction_inverts_prolongation_and_keeps_the_norm(kind, coarse, fine):
    source, target = kind(coarse), kind(fine)
    u = band_limited(source)
    finer = prolong(u, source, target)
    torch.testing.assert_close(restrict(finer, target, source), u, rtol=0, atol=1e-12)
    torch.testing.assert_close(squared_norm(finer), squared_norm(u), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("n", "m"), [*PAIRS, (64, 32), (64, 51), (50, 32)])
def test_a_trigonometric_polynomial_keeps_its_values_on_the_torus(n, m):
    def u(grid):
        x, y = grid.points()[:, None], grid.points()
        top = (min(n, m) - 1) // 2
        one = min(1, top)
        return 0.3 + torch.cos(2 * math.pi * (top * x - one * y)) + torch.sin(2 * math.pi * (one * x + top * y))

    source, target = Torus(n), Torus(m)
    torch.testing.assert_close(source.resample(u(source), target), u(target), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [*PAIRS, (64, 32), (64, 51), (50, 32)])
def test_a_cosine_polynomial_keeps_its_values_on_the_cells(n, m):
    def u(grid):
        x, y = grid.points()[:, None], grid.points()
        top = min(n, m) - 1
        return 0.3 + torch.cos(math.pi * top * x) * torch.cos(math.pi * y) + torch.cos(math.pi * top * y)

    source, target = CellCentred(n), CellCentred(m)
    torch.testing.assert_close(source.resample(u(source), target), u(target), rtol=0, atol=1e-12)


def test_restriction_to_an_even_grid_zeroes_nyquist_and_to_an_odd_grid_keeps_all():
    u = torch.randn(64, 64, generator=generator(1), dtype=torch.float64)
    full = torch.fft.rfft2(u, norm="forward")
    for m in (32, 31):
        spectrum = torch.fft.rfft2(restrict(u, Torus(64), Torus(m)), norm="forward")
        k1, k2 = wavenumbers(m)
        kept = (2 * k1.abs() < m) & (2 * k2 < m)
        assert kept.all() == (m % 2 == 1)
        torch.testing.assert_close(spectrum[kept], full[k1, k2][kept], rtol=0, atol=1e-13)
        assert spectrum[~kept].abs().sum() < 1e-12


def test_restriction_on_the_torus_is_the_orthogonal_projection():
    u, v = (torch.randn(50, 50, generator=generator(seed), dtype=torch.float64) for seed in (2, 3))
    low = prolong(restrict(v, Torus(50), Torus(17)), Torus(17), Torus(50))
    residual = u - prolong(restrict(u, Torus(50), Torus(17)), Torus(17), Torus(50))
    assert abs((residual * low).mean()) < 1e-14


@pytest.mark.parametrize("kind", [Torus, CellCentred])
def test_a_noise_draw_is_one_function_on_every_grid(kind):
    """A periodic field evaluated at the points of a fine and of a coarse grid is the same draw resampled."""
    waves = [(3, 0, 0.4), (0, 5, 1.1), (-4, 2, 0.7), (6, -6, 2.0)]

    def eta(grid):
        x, y = grid.points()[:, None], grid.points()
        return sum(torch.cos(2 * math.pi * (k1 * x + k2 * y) + phase) for k1, k2, phase in waves)

    for n, m in [(64, 32), (51, 16), (16, 51)]:
        torch.testing.assert_close(resample_noise(eta(kind(n)), kind(n), kind(m)), eta(kind(m)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [8, 9])
def test_white_noise_has_unit_fourier_coefficients_on_every_grid(n):
    xi = white_noise(40_000, Torus(n), generator(4), torch.float64)
    power = torch.fft.fft2(xi, norm="forward").abs().square()
    deviation = (power.mean(dim=0) - 1) / (power.std(dim=0) / math.sqrt(len(xi)))
    assert deviation.abs().max() < 4.5
    assert xi.std().item() == pytest.approx(n, rel=0.01)


def test_parseval_in_the_forward_normalisation():
    u = torch.randn(33, 33, generator=generator(5), dtype=torch.float64)
    torch.testing.assert_close(squared_norm(u), torch.fft.fft2(u, norm="forward").abs().square().sum())


def test_wrong_directions_kinds_and_sizes_are_refused():
    u = torch.zeros(32, 32)
    with pytest.raises(ValueError, match="use prolong"):
        restrict(u, Torus(32), Torus(64))
    with pytest.raises(ValueError, match="use restrict"):
        prolong(u, Torus(32), Torus(16))
    with pytest.raises(ValueError, match="different kinds"):
        restrict(u, Torus(32), CellCentred(16))
    for size in (0, 1, 33.5):
        with pytest.raises(ValueError, match="integer ≥ 2"):
            Torus(size)
