"""The Gaussian fit of a data set, and the Gaussian baseline: mean and covariance give a denoiser without any training.

Let X_0 ~ N(m, C) and η ~ N(0,Q). In whitened coordinates w = Q^(−½)(u − a_t m) the process has covariance a_t² K + b_t² I with

    K = Q^(−½) C Q^(−½) = Σ_j κ_j φ_j ⊗ φ_j        on the range of Q,

so that one eigenbasis serves all times. With v_j = a_t² κ_j + b_t²:

    E[η | u_t]   = Q^½ Σ_j (b_t / v_j) ⟨φ_j, w⟩ φ_j                  E[X_0 | u_t] = m + Q^½ Σ_j (a_t κ_j / v_j) ⟨φ_j, w⟩ φ_j
    u_t          ~ a_t m + Q^½ Σ_j v_j^½ ξ_j φ_j,  ξ_j ~ N(0, 1)     η − E[η | u_t]: variance a_t² κ_j / v_j in mode j
    the probability flow from t to s: ⟨φ_j, w_s⟩ = (v_j(s) / v_j(t))^½ ⟨φ_j, w_t⟩
    log dp_t/dN(0,Q) = −½ Σ_j (log v_j + (1/v_j − 1) ⟨φ_j, w⟩²) + a_t ⟨m, w⟩' + ½ a_t² ⟨m, m⟩'

where the last two terms are Cameron's and Martin's for the mean, ⟨m, w⟩' = ⟨Q^(−½) m, w⟩, ⟨m, m⟩' = ‖Q^(−½) m‖². Modes in the
kernel of Q carry a_t X_0 without noise: nothing is to be predicted there.

K is block diagonal here: a full matrix on the Fourier modes |k_i| ≤ r, one number per mode beyond them (stationary). A field on
any grid is whitened, its low modes go through the matrix and the others through the numbers. On a grid that lacks some of the low
modes, K is the block of those it has. Modes above the native grid have one number, `tail`: 0 for data that end there.

Between walls the noise is periodic on the index grid and the data are not: what is independent in them, cosines, jumps at the
edges of a period. If the cosines φ_j were independent, with variances c_j, the Fourier modes e_k of a grid would have
E|û_k|² = Σ_j c_j |⟨e_k, φ_j⟩|² over the cosines that it has. On the native grid the ratio of the true ones to these is known. It
is taken at the same k (above it: the nearest) on all others. K is stationary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .errors import UserError
from .grids import CellCentred, Grid, Torus, cosines, either, resample_noise, wavenumbers, white_noise
from .priors import Prior, multiplicity
from .sde import ForwardSDE

__all__ = ["GaussianDenoiser", "GaussianLaw", "estimate", "from_state", "positive", "prior_law"]

CHUNK = 512
"""Fields that are whitened together, to bound memory."""

Function = Callable[[Tensor], Tensor]
"""κ of shape (1, modes) to numbers of shape (1, modes), or (batch, modes) if they depend on the field."""


@dataclass(frozen=True)
class _OnGrid:
    """K on one grid: κ of the stationary modes (0 on the low ones), which they are, and the eigenbasis of the low block."""

    stationary: Tensor  # (N, N//2 + 1)
    high: Tensor  # bool, as it: modes in the range of Q that are not low
    eigenvalues: Tensor  # (d,)
    eigenvectors: Tensor  # (d, d), columns
    counts: Tensor  # how many modes an entry of the stationary ones stands for, (N, N//2 + 1)
    noise: Tensor  # λ_k times that
    powers: Tensor  # ‖Q^½ φ_j‖²_{L²} of the low modes, (d,)
    side: int  # of the odd grid whose d = side² values are the coordinates of the low modes; 0 if there are none


@dataclass(frozen=True, eq=False)
class GaussianLaw:
    """N(m, C) under a prior.

    Args:
        prior: N(0,Q).
        grid: the native grid.
        mean: m, shape (N, N), float64.
        variances: E|X̂_k − m̂_k|² in the layout of `rfft2`, shape (N, N//2 + 1), float64.
        low: K on the modes |k_i| ≤ r, shape (d, d) with d = (2r + 1)², in the coordinates `field values / (2r + 1)` of the grid
            of 2r + 1 points per side. None if K is stationary.
        tail: κ of modes above the native grid. Data that have one are drawn on every grid anew and not restricted, so that it is
            also κ at the Nyquist frequencies of coarser grids.
        cosines: between walls, c_j, shape (N, N), float64.
    """

    prior: Prior
    grid: Grid
    mean: Tensor
    variances: Tensor
    low: Tensor | None = None
    tail: float = 0.0
    cosines: Tensor | None = None
    sde: ForwardSDE = field(default_factory=ForwardSDE)
    _cache: dict[tuple[Grid, torch.device, torch.dtype], _OnGrid] = field(
        default_factory=dict, repr=False, compare=False
    )
    _means: dict[tuple[Grid, torch.device, torch.dtype], Tensor] = field(
        default_factory=dict, repr=False, compare=False
    )

    def state(self) -> dict[str, Tensor]:
        """What a file must keep of it."""
        found = {"mean": self.mean, "variances": self.variances, "low": self.low, "cosines": self.cosines}
        return {name: values for name, values in found.items() if values is not None}

    def truncated(self, modes: int) -> GaussianLaw:
        """The same with a full covariance of the modes |k_i| ≤ `modes` alone, or of as many as it has."""
        side = 2 * modes + 1
        if side >= self.side:
            return self
        low = _restricted(self.low, type(self.grid)(self.side), type(self.grid)(side)) if modes else None
        return GaussianLaw(self.prior, self.grid, self.mean, self.variances, low, self.tail, self.cosines, self.sde)

    @property
    def side(self) -> int:
        """2r + 1, points per side of the grid of the low modes; 0 if there are none."""
        return 0 if self.low is None else round(len(self.low) ** 0.5)

    def mean_on(self, grid: Grid, like: Tensor) -> Tensor:
        """m on a grid, shape (N, N), of the precision and on the device of another tensor."""
        key = (grid, like.device, like.dtype)
        if key not in self._means:
            self._means[key] = self.grid.resample(self.mean, grid).to(like)
        return self._means[key]

    def spectrum(self, grid: Grid) -> Tensor:
        """κ_k, the diagonal of K in the Fourier basis, in the layout of `rfft2`, shape (N, N//2 + 1), float64;
        0 in the kernel of Q.
        """
        eigenvalues = self.prior.spectrum(grid)
        variances = self._variances_on(grid)
        inside = variances.isfinite()
        kappa = torch.where(inside, variances, 0) / eigenvalues
        return torch.where(eigenvalues > 0, torch.where(inside, kappa, self.tail), 0)

    def apply(self, function: Function, w: Tensor, grid: Grid) -> Tensor:
        """f(K) w for whitened fields w of shape (batch, N, N); what w has in the kernel of Q is left out.

        Args:
            function: f, applied to κ.
        """
        on = self._on(grid, w)
        spectrum = torch.fft.rfft2(w)
        multiplier = function(on.stationary.flatten()[None]).unflatten(1, on.high.shape)
        result = torch.fft.irfft2(spectrum * torch.where(on.high, multiplier, 0), s=w.shape[-2:])
        if not on.side:
            return result
        coarse = type(grid)(on.side)
        low = resample_noise(w, grid, coarse).flatten(1) @ on.eigenvectors
        low = (low * function(on.eigenvalues[None])) @ on.eigenvectors.T
        return result + resample_noise(low.unflatten(1, (on.side, on.side)), coarse, grid)

    def whiten(self, u: Tensor, mean_scale: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """w = Q^(−½)(u − a m), and what u − a m has in the kernel of Q; shapes (batch, N, N), for a of shape (batch,)."""
        centred = u - mean_scale[:, None, None] * self.mean_on(grid, u)
        return self.prior.whiten(centred, grid), centred - self.prior.project(centred, grid)

    def sample(
        self,
        n: int,
        grid: Grid,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        *,
        t: float = 0.0,
        seed: int | None = None,
    ) -> Tensor:
        """`n` draws of u_t, shape (n, N, N), at t = 0 of X_0, from a generator and on its device, or from a seed."""
        generator = either(generator, seed)
        xi = white_noise(n, grid, generator, torch.float64)
        return self.at(xi, torch.full((n,), t, dtype=torch.float64, device=xi.device), grid).to(dtype)

    def at(self, xi: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """a_t m + Q^½ (a_t² K + b_t² I)^½ ξ for white noise ξ (batch, N, N) and t of shape (batch,);
        in the kernel of Q, a_t C^½ ξ.
        """
        a, b2 = self._scales(t)
        values = self.prior.color(self.apply(lambda kappa: (a**2 * kappa + b2).sqrt(), xi, grid), grid)
        kernel = torch.fft.irfft2(torch.fft.rfft2(xi) * self._kernel_variances(grid, xi).sqrt(), s=xi.shape[-2:])
        return a[..., None] * (self.mean_on(grid, xi) + kernel) + values

    def components(self, grid: Grid, like: Tensor) -> Tensor:
        """m in the precision and on the device of another tensor, shape (1, N, N): the law as a mixture of one."""
        return self.mean_on(grid, like)[None]

    def fluctuations(self, n: int, grid: Grid, generator: torch.Generator) -> Tensor:
        """`n` draws of N(0, C), shape (n, N, N), float64."""
        drawn = self.sample(n, grid, generator, torch.float64)
        return drawn - self.mean_on(grid, drawn)

    def covariance(self, v: Tensor, grid: Grid, t: Tensor | None = None) -> Tensor:
        """C v for fields v (batch, N, N), or, at a t of shape (1,), C_t v: the covariance of X_0 given u_t,

        C_t = Q^½ b_t² K (a_t² K + b_t² I)⁻¹ Q^½        and 0 in the kernel of Q, where X_0 is known.
        """
        a, b2 = (0.0, 1.0) if t is None else self._scales(t.to(v))
        inside = self.apply(lambda kappa: b2 * kappa / positive(a**2 * kappa + b2), self.prior.color(v, grid), grid)
        result = self.prior.color(inside, grid)
        if t is None:
            result = result + torch.fft.irfft2(torch.fft.rfft2(v) * self._kernel_variances(grid, v), s=v.shape[-2:])
        return result

    def pixel_variances(self, grid: Grid) -> Tensor:
        """The variance of the value at every point, shape (N, N), float64."""
        like = torch.empty(0, dtype=torch.float64)
        on = self._on(grid, like)
        shared = (torch.where(on.high, on.stationary, 0) * on.noise).sum()
        shared = shared + (self._kernel_variances(grid, like) * multiplicity(grid)).sum()
        result = shared.expand(grid.resolution, grid.resolution)
        if on.side:
            basis = (on.eigenvalues.sqrt() * on.eigenvectors).T.unflatten(1, (on.side, on.side)) * on.side
            for part in basis.split(CHUNK):
                fields = self.prior.color(resample_noise(part, type(grid)(on.side), grid), grid)
                result = result + fields.square().sum(dim=0)
        return result

    def _kernel_variances(self, grid: Grid, like: Tensor) -> Tensor:
        """E|X̂_k − m̂_k|² of the modes in the kernel of Q, and 0 elsewhere, in the layout of `rfft2`."""
        variances = self._variances_on(grid)
        return torch.where(self.prior.kernel(grid) & variances.isfinite(), variances.nan_to_num(), 0).to(like)

    def flow(self, u: Tensor, t: Tensor, s: Tensor, grid: Grid) -> Tensor:
        """The probability flow from t to s, exactly: fields (batch, N, N), t and s of shape (batch,), t > 0."""
        (a_t, b_t), (a_s, b_s) = self._scales(t), self._scales(s)
        w, kernel = self.whiten(u, a_t[:, 0], grid)
        moved = self.apply(lambda kappa: ((a_s**2 * kappa + b_s) / (a_t**2 * kappa + b_t)).sqrt(), w, grid)
        return a_s[..., None] * (self.mean_on(grid, u) + kernel / a_t[..., None]) + self.prior.color(moved, grid)

    def log_density(self, u: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """log dp_t/dN(0,Q), shape (batch,), of fields (batch, N, N) in the range of Q at t of shape (batch,); in nats."""
        a, b2 = self._scales(t)
        w, _ = self.whiten(u, a[:, 0], grid)
        quadratic = (w * self.apply(lambda kappa: 1 / (a**2 * kappa + b2) - 1, w, grid)).mean(dim=(-2, -1))
        whitened_mean = self.prior.whiten(self.mean_on(grid, u), grid)
        shift = a[:, 0] * (w * whitened_mean).mean(dim=(-2, -1)) + 0.5 * a[:, 0] ** 2 * whitened_mean.square().mean()
        logs = self.trace(lambda kappa: (a**2 * kappa + b2).log(), grid, u)
        return -0.5 * (logs + quadratic) + shift

    def residual(self, t: Tensor, grid: Grid) -> Tensor:
        """E‖η − E[η | u_t]‖²_{L²} = Σ_j a_t² κ_j / v_j ‖Q^½ φ_j‖² on a grid, shape of t (batch,), float64:
        twice the denoising loss.
        """
        t = t.double()
        a, b2 = self._scales(t)
        on = self._on(grid, t)
        return self._sum(lambda kappa: a**2 * kappa / positive(a**2 * kappa + b2), on, on.noise, on.powers)

    @cached_property
    def variance(self) -> float:
        """E‖X_0 − m‖²_{L²} on the native grid."""
        return float((self.variances * multiplicity(self.grid)).sum())

    def trace(self, function: Function, grid: Grid, like: Tensor) -> Tensor:
        """tr f(K) over the range of Q, shape (batch,), of the precision and on the device of another tensor."""
        on = self._on(grid, like)
        return self._sum(function, on, on.counts, 1.0)

    @staticmethod
    def _sum(function: Function, on: _OnGrid, weights: Tensor, powers: Tensor | float) -> Tensor:
        """Σ f(κ) over the stationary modes with these weights, and over the low ones with those, shape (batch,)."""
        values = function(on.stationary.flatten()[None]).unflatten(1, on.high.shape)
        total = (torch.where(on.high, values, 0) * weights).sum((1, 2))
        return total + (function(on.eigenvalues[None]) * powers).sum(1) if on.side else total

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """a_t and b_t², shapes (batch, 1)."""
        return self.sde.mean_scale(t)[:, None], self.sde.noise_scale(t)[:, None] ** 2

    def _variances_on(self, grid: Grid) -> Tensor:
        """E|X̂_k − m̂_k|² on a grid, in the layout of `rfft2`.

        It is infinite above the native grid. At a Nyquist frequency that is not its own it is 0, or infinite where there is a
        tail.
        """
        n, m = self.grid.resolution, grid.resolution
        if n == m:
            return self.variances
        if self.cosines is not None:
            independent, top = _of_cosines(self.cosines, self.grid), (n - 1) // 2
            ratio = torch.where(independent > 0, self.variances / positive(independent), 1)
            k1, k2 = (k.clamp(-top, top) % n for k in wavenumbers(m))
            result = _of_cosines(self.cosines, grid) * ratio[k1, k2]
            if m % 2 == 0:  # there k₁ and −k₁ are one mode
                result[:, -1] = (result[:, -1] + result[:, -1].flip(0).roll(1)) / 2
            return result
        result = torch.full((m, m // 2 + 1), torch.inf, dtype=torch.float64)
        top = (min(n, m) - 1) // 2
        result[: top + 1, : top + 1] = self.variances[: top + 1, : top + 1]
        if top:
            result[-top:, : top + 1] = self.variances[-top:, : top + 1]
        if m < n and m % 2 == 0 and not self.tail:  # the restriction of data has nothing there
            result[m // 2], result[:, m // 2] = 0, 0
        return result

    def _on(self, grid: Grid, like: Tensor) -> _OnGrid:
        key = (grid, like.device, like.dtype)
        if key not in self._cache:
            positive = self.prior.spectrum(grid) > 0
            stationary = self.spectrum(grid)
            side, high = 0, positive
            values, vectors = torch.zeros(0, dtype=torch.float64), torch.zeros(0, 0, dtype=torch.float64)
            if self.low is not None:
                side = min(self.side, grid.resolution - 1 + grid.resolution % 2)
                block = (
                    self.low if side == self.side else _restricted(self.low, type(grid)(self.side), type(grid)(side))
                )
                values, vectors = torch.linalg.eigh(block)
                r = side // 2
                k1 = torch.fft.fftfreq(grid.resolution, 1 / grid.resolution).round().abs()[:, None]
                high = positive & ~((k1 <= r) & (torch.arange(grid.resolution // 2 + 1)[None] <= r))
            powers = torch.zeros(0, dtype=torch.float64)
            if side:
                basis = vectors.T.unflatten(1, (side, side)) * side
                powers = self.prior.color(basis, type(grid)(side)).square().mean(dim=(-2, -1))
            counts = multiplicity(grid).expand(high.shape)
            noise = self.prior.spectrum(grid) * counts
            tensors = torch.where(high, stationary, 0), high, values.clamp(min=0), vectors, counts, noise, powers
            self._cache[key] = _OnGrid(
                *(each.to(like if each.is_floating_point() else like.device) for each in tensors), side
            )
        return self._cache[key]


class GaussianDenoiser:
    """E[η | X_t = u_t] of a Gaussian law, on any grid, in the precision of u_t."""

    def __init__(self, law: GaussianLaw) -> None:
        self.law, self.sde, self.prior = law, law.sde, law.prior

    def predict_noise(self, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """E[η | u_t], shape (batch, N, N) as u_t; t > 0 of shape (batch,)."""
        return self.predict(u_t, t, grid)[0]

    def predict_data(self, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """E[X_0 | u_t] = (u_t − b_t E[η | u_t]) / a_t, shape (batch, N, N)."""
        return self.predict(u_t, t, grid)[1]

    def predict(self, u_t: Tensor, t: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """E[η | u_t] and E[X_0 | u_t], of one whitening."""
        a, b = self.sde.mean_scale(t)[:, None], self.sde.noise_scale(t)[:, None]
        w, kernel = self.law.whiten(u_t, a[:, 0], grid)
        eta, data = (
            self.prior.color(self.law.apply(function, w, grid), grid)
            for function in (
                lambda kappa: b / positive(a**2 * kappa + b**2),
                lambda kappa: a * kappa / positive(a**2 * kappa + b**2),
            )
        )
        return eta, self.law.mean_on(grid, u_t) + kernel / a[..., None] + data

    def noise_and_trace(self, u_t: Tensor, t: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """E[η | u_t] and tr(b_t I − D E[η | u_t]) = Σ_j b_t (1 − 1/v_j) over the range of Q.

        Shapes (batch, N, N) and (batch,).
        """
        a, b = self.sde.mean_scale(t)[:, None], self.sde.noise_scale(t)[:, None]
        return self.predict_noise(u_t, t, grid), self.law.trace(
            lambda kappa: b * (1 - 1 / (a**2 * kappa + b**2)), grid, u_t
        )


def estimate(fields: Tensor, grid: Grid, prior: Prior, modes: int, tail: float = 0.0) -> GaussianLaw:
    """The law of data: mean, variance of every Fourier mode, and the covariance of the whitened low modes.

    Args:
        fields: shape (n, N, N) on the native grid.
        modes: r; the modes |k_i| ≤ r have a full covariance, and with 0 none has.
        tail: κ above the native grid.

    Raises:
        UserError: if there are fewer fields than the full covariance has rows, the grid has not so many modes, or walls.
    """
    side, walls = 2 * modes + 1, isinstance(grid, CellCentred)
    if modes and walls:
        raise UserError(
            f"modes: {modes}, but a full covariance is for the torus; between walls leave modes out, or give 0"
        )
    if modes and side > grid.resolution:
        raise UserError(
            f"modes: {modes}, but a grid of {grid.resolution} points has {(grid.resolution - 1) // 2} per direction"
        )
    if modes and len(fields) <= side**2:
        raise UserError(
            f"modes: a full covariance of {side**2} modes needs more than as many training fields, and there are {len(fields)}; "
            f"choose modes up to {max(0, int((len(fields) - 1) ** 0.5 - 1) // 2)}"
        )
    mean = fields.mean(dim=0, dtype=torch.float64)
    analysis = cosines(grid.points(), grid.resolution) / grid.resolution
    variances = torch.zeros(grid.resolution, grid.resolution // 2 + 1, dtype=torch.float64)
    powers = torch.zeros(grid.resolution, grid.resolution, dtype=torch.float64)
    low = torch.zeros(side**2, side**2, dtype=torch.float64) if modes else None
    coarse = type(grid)(max(side, 3))
    for part in fields.split(CHUNK):
        centred = part.double() - mean
        variances += torch.fft.rfft2(centred, norm="forward").abs().square().sum(dim=0)
        if walls:
            powers += (analysis @ centred @ analysis.T).square().sum(dim=0)
        if low is not None:
            w = resample_noise(prior.whiten(centred, grid), grid, coarse).flatten(1) / side
            low += w.T @ w
    count = len(fields) - 1
    full, waves = None if low is None else low / count, powers / count if walls else None
    return GaussianLaw(prior, grid, mean, variances / count, full, tail, waves)


def prior_law(prior: Prior) -> GaussianLaw:
    """N(0,Q) itself as a law, on any grid: K = I, which is what is known of data of which nothing is known."""
    grid = Torus(3)
    return GaussianLaw(prior, grid, torch.zeros(3, 3, dtype=torch.float64), prior.spectrum(grid), tail=1.0)


def from_state(prior: Prior, grid: Grid, state: Mapping[str, Tensor], tail: float = 0.0) -> GaussianLaw:
    """The law that `GaussianLaw.state` is of."""
    return GaussianLaw(prior, grid, state["mean"], state["variances"], state.get("low"), tail, state.get("cosines"))


def positive(variance: Tensor) -> Tensor:
    """A variance to divide by: what has none, at t = 0 in modes without data, is then 0 and not undefined."""
    return variance.clamp(min=torch.finfo(variance.dtype).tiny)


def _restricted(block: Tensor, fine: Grid, coarse: Grid) -> Tensor:
    """A matrix on the low modes of a grid, on those that a coarser grid has too, in its coordinates."""
    n, m = fine.resolution, coarse.resolution
    identity = torch.eye(n**2, dtype=block.dtype).unflatten(1, (n, n)) * n
    restriction = resample_noise(identity, fine, coarse).flatten(1) / m  # (n², m²)
    return restriction.T @ block @ restriction


def _of_cosines(variances: Tensor, grid: Grid) -> Tensor:
    """E|û_k|² on a grid of fields of independent cosines with these variances, in the layout of `rfft2`."""
    kept = min(len(variances), grid.resolution)
    powers = torch.fft.fft(cosines(grid.points(), kept), norm="forward").abs().square()
    return (powers.T @ variances[:kept, :kept] @ powers)[:, : grid.resolution // 2 + 1]
