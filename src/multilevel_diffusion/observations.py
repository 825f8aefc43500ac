"""Linear observations of functions: y = A u + ε with ε ~ N(0, σ² I), the same on every grid.

An operator A has a function φ_j for each of its m numbers, and in the inner product of L², the mean over the pixels,

    (A u)_j = ⟨u, φ_j⟩,        A* y = Σ_j y_j φ_j.

On a grid φ_j is what its modes have of that function. A point x observes the interpolant of the grid values (Fourier on the
torus, cosines between walls). It has φ(x') = k(x₁, x'₁) k(x₂, x'₂) with the kernel of the modes of the grid,

    torus       k(x, x') = 1 + 2 Σ_{0 < k < N/2} cos 2πk(x − x')  [+ cos πN(x − x') for an even N]
    walls       k(x, x') = 1 + 2 Σ_{0 < k < N} cos(πk x) cos(πk x').

At points of the grid that is the value on the grid. A coarser grid of M points sees the values of the modes that it has, as
`grids.restrict`: the sums end there. Pixels outside a box are points of the grid on which the box is given. So a mask belongs
to one grid, and what is seen through it is defined on all others.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import ObservationsError
from .grids import CellCentred, Grid, cosines
from .memory import available

__all__ = ["Modes", "Observations", "Operator", "Points", "coarse", "masked", "observe", "outside", "scattered"]

Box = tuple[tuple[float, float], tuple[float, float]]
"""Lower and upper corner."""
WORKSPACE = 5
"""Matrices of m × m and m × N² numbers that are in memory at once, at most."""


class Operator(ABC):
    """A, from functions to `count` numbers. A subclass writes `_functions`."""

    count: int

    def __init__(self) -> None:
        self._kept: dict[tuple[Grid, torch.device], Tensor] = {}
        self.factors: dict[Hashable, Tensor] = {}
        """What `posteriors.factor` found."""

    @abstractmethod
    def _functions(self, grid: Grid) -> Tensor:
        """φ_j on a grid, shape (m, N, N), float64."""

    def functions(self, grid: Grid, device: torch.device | str = "cpu") -> Tensor:
        """φ_j on a grid, shape (m, N, N), float64.

        Raises a UserError if memory does not suffice for what is computed with them.
        """
        key = grid, torch.device(device)
        if key not in self._kept:
            self.demand_memory(grid)
            self._kept[key] = self._functions(grid).to(device)
        return self._kept[key]

    def demand_memory(self, grid: Grid) -> None:
        """Raise a UserError if memory does not suffice for what is computed with them on a grid."""
        _demand_memory(self.count, grid.resolution**2)

    def apply(self, u: Tensor, grid: Grid) -> Tensor:
        """A u, shape (batch, m), of fields (batch, N, N)."""
        functions = self.functions(grid, u.device).to(u.dtype).flatten(1)
        return u.flatten(1) @ functions.T / grid.resolution**2

    def adjoint(self, y: Tensor, grid: Grid) -> Tensor:
        """A* y, shape (batch, N, N), of numbers (batch, m)."""
        functions = self.functions(grid, y.device).to(y.dtype)
        return (y @ functions.flatten(1)).unflatten(1, functions.shape[1:])


class Points(Operator):
    """Values at points.

    Args:
        positions: shape (m, 2), in [0, 1]².
        band: a grid, for what that has of the function; None for the interpolant of the grid that it lies on.

    Raises:
        UserError: if there are none, or one lies elsewhere; later, if the fields lie on another kind of grid than the band.
    """

    def __init__(self, positions: Tensor, band: Grid | None = None) -> None:
        super().__init__()
        positions = torch.as_tensor(positions)
        if positions.is_complex():
            raise ObservationsError("observations: complex positions; give real ones")
        self.positions, self.band = positions.detach().double().cpu().clone(), band
        if self.positions.ndim != 2 or self.positions.shape[1] != 2 or not len(self.positions):
            raise ObservationsError(f"observations: points of shape {tuple(positions.shape)}, not (m, 2) with m ≥ 1")
        inside = ((self.positions >= 0) & (self.positions <= 1)).all(dim=1)
        if not inside.all():
            number = int(inside.int().argmin())
            wrong = ", ".join(f"{x:g}" for x in self.positions[number].tolist())
            raise ObservationsError(
                f"observations: point {number + 1} is ({wrong}), outside [0, 1]²; give points inside"
            )
        self.count = len(self.positions)

    def _functions(self, grid: Grid) -> Tensor:
        if self.band is not None and type(self.band) is not type(grid):
            raise ObservationsError(f"observations: values on a {self.band}, but the fields lie on a {grid}")
        first, second = (self._kernel(self.positions[:, axis], grid) for axis in (0, 1))
        return first[:, :, None] * second[:, None, :]

    def _kernel(self, x: Tensor, grid: Grid) -> Tensor:
        """k(x_j, x') on the points x' along one axis of a grid, shape (m, N)."""
        n = grid.resolution
        band = self.band.resolution if self.band else n
        m = min(band, n)
        if isinstance(grid, CellCentred):
            return cosines(x, m).T @ cosines(grid.points(), m)
        k = torch.arange(1, (m + 1) // 2, dtype=torch.float64)
        angle = 2 * math.pi * (x[:, None] - grid.points())
        kernel = 1 + 2 * torch.cos(k[:, None, None] * angle).sum(dim=0)
        at_nyquist = n % 2 == 0 and band == n
        return kernel + torch.cos(n // 2 * angle) if at_nyquist else kernel


class Modes(Operator):
    """Coefficients of the modes |k_i| ≤ r of a kind of grid; of those that a grid lacks, 0.

    Of the torus 1, √2 cos(2πk·x) and √2 sin(2πk·x), one k of each pair ±k; between walls the products of 1 and √2 cos(πk x_i).

    Raises a UserError if r is no whole number ≥ 0; later, if the fields lie on another kind of grid.
    """

    def __init__(self, kind: type[Grid], radius: int) -> None:
        super().__init__()
        if radius < 0 or radius != int(radius):
            raise ObservationsError(f"observations: modes up to {radius}; give a whole number ≥ 0")
        self.kind, self.radius = kind, radius
        self.count = (radius + 1) ** 2 if kind is CellCentred else (2 * radius + 1) ** 2

    def _functions(self, grid: Grid) -> Tensor:
        if type(grid) is not self.kind:
            raise ObservationsError(f"observations: modes of a {self.kind.__name__}, but the fields lie on a {grid}")
        n, r, x = grid.resolution, self.radius, grid.points()
        if self.kind is CellCentred:
            waves = cosines(x, r + 1)
            waves[n:] = 0
            return (waves[:, None, :, None] * waves[None, :, None, :]).flatten(0, 1)
        k = torch.cartesian_prod(*2 * [torch.arange(-r, r + 1, dtype=torch.float64)])
        phase = 2 * math.pi * (k[:, 0, None, None] * x[:, None] + k[:, 1, None, None] * x)
        half = (k[:, 0] > 0) | ((k[:, 0] == 0) & (k[:, 1] > 0))
        waves = 2**0.5 * torch.where(half[:, None, None], phase.cos(), phase.sin())
        waves[(k == 0).all(dim=1)] = 1.0
        waves[(2 * k.abs() >= n).any(dim=1)] = 0
        return waves


@dataclass(frozen=True)
class Observations:
    """y = A u + ε: what was seen of one function.

    Args:
        operator: A.
        values: y, shape (m,).
        noise: σ, in units of y.

    Raises:
        UserError: if y is not real, not finite or not of as many numbers as A has, or σ ≥ 0 and σ² are not finite.
    """

    operator: Operator
    values: Tensor
    noise: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", torch.as_tensor(self.values))
        if self.values.shape != (self.operator.count,):
            raise ObservationsError(
                f"observations: values of shape {tuple(self.values.shape)}, not ({self.operator.count},)"
            )
        if self.values.is_complex():
            raise ObservationsError("observations: complex values; give real ones")
        if not self.values.isfinite().all():
            wrong = int(self.values.isfinite().int().argmin()) + 1
            raise ObservationsError(f"observations: value {wrong} is not finite; leave it out")
        if not (self.noise >= 0 and math.isfinite(self.noise * self.noise)):
            raise ObservationsError(
                f"observations: the noise is {self.noise:g}; give a standard deviation ≥ 0 whose square is finite"
            )

    def to(self, device: torch.device) -> Observations:
        """Itself, its values moved to a device."""
        return Observations(self.operator, self.values.to(device), self.noise)

    def residual(self, u: Tensor, grid: Grid) -> Tensor:
        """y − A u, shape (batch, m), of fields (batch, N, N)."""
        return self.values.to(u) - self.operator.apply(u, grid)


def observe(operator: Operator, u: Tensor, grid: Grid, noise: float, generator: torch.Generator) -> Observations:
    """y = A u + ε of a field of shape (N, N), ε drawn on the CPU."""
    error = torch.randn(operator.count, generator=generator, dtype=torch.float64)
    return Observations(operator, operator.apply(u.double()[None], grid)[0] + noise * error.to(u.device), noise)


def scattered(count: int, generator: torch.Generator) -> Points:
    """The values at so many random points, drawn evenly. Raises a UserError if memory does not suffice for them."""
    _demand_memory(count)
    return Points(torch.rand(count, 2, generator=generator, dtype=torch.float64))


def coarse(grid: Grid) -> Points:
    """The values on a coarser grid, as `grids.restrict` gives them. Raises a UserError if memory does not suffice for them."""
    _demand_memory(grid.resolution**2)
    x = grid.points()
    return Points(torch.cartesian_prod(x, x), grid)


def masked(mask: Tensor, grid: Grid) -> Points:
    """The values at the points of a grid where a mask of shape (N, N) is true.

    Raises a UserError if the mask is of another shape or type, or true nowhere.
    """
    n = grid.resolution
    if mask.dtype != torch.bool:
        raise ObservationsError(
            f"observations: the mask is {str(mask.dtype).removeprefix('torch.')}, not of true and false"
        )
    if mask.shape != (n, n):
        raise ObservationsError(f"observations: a mask of shape {tuple(mask.shape)}, not ({n}, {n}) as the field")
    if not mask.any():
        raise ObservationsError("observations: a mask that is true nowhere; it is true where the field is seen")
    return Points(grid.points()[mask.nonzero().cpu()])


def outside(box: Box, grid: Grid) -> Points:
    """The values at the points of a grid outside a box: inpainting. Raises a UserError if there are none, or it is no box."""
    x, (low, high) = grid.points(), box
    if not all(a < b for a, b in zip(low, high, strict=True)):
        raise ObservationsError(f"observations: a box from {low} to {high}; give the lower corner first")
    inside = [(low[axis] <= x) & (x < high[axis]) for axis in (0, 1)]
    _demand_memory(grid.resolution**2 - int(inside[0].sum()) * int(inside[1].sum()))
    return masked(~(inside[0][:, None] & inside[1]), grid)


def _demand_memory(count: int, points: int = 0) -> None:
    """Raise a UserError if memory does not suffice for so many observations of fields of so many points."""
    asked = 8 * WORKSPACE * count * max(count, points)
    if asked > available():
        wrong = f"{count} observations of fields of {max(points, count)} points need {asked / 2**30:.3g} GiB"
        raise ObservationsError(f"observations: {wrong}, more than is free; give fewer, or a coarser grid")
