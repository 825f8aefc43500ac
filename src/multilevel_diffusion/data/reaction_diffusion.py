"""Snapshots of a reaction–diffusion system (PDEBench: Takamoto et al. 2022, arXiv 2210.07182, appendix D).

On [−1, 1]² with no-flux walls,

    ∂_t u = 10⁻³ Δu + u − u³ − 5·10⁻³ − v,        ∂_t v = 5·10⁻³ Δv + u − v,

from independent N(0, 1) values in the cells of an N × N grid. In the cosine basis (DCT-II) the Laplacian with its walls is
diagonal, so that the linear part, reaction included, is a 2 × 2 matrix L_k per mode. A step h solves it exactly, and

    y' = L y + F(u),        F(u) = (−u³ − 5·10⁻³, 0)

to fourth order by exponential time differencing, ETDRK4 (Cox and Matthews 2002, J. Comput. Phys. 176, eq. 26–29):

    a = e^(Lh/2) y + ½h φ_1(½Lh) F(y),  b = e^(Lh/2) y + ½h φ_1(½Lh) F(a),  c = e^(Lh/2) a + ½h φ_1(½Lh) (2 F(b) − F(y)),
    y ← e^(Lh) y + h ((φ_1 − 3φ_2 + 4φ_3) F(y) + (2φ_2 − 4φ_3) (F(a) + F(b)) + (4φ_3 − φ_2) F(c)),  φ_j = Σ_i (Lh)^i / (i + j)!.

The start is white noise, whose finest modes die within about 0.1; steps that begin small and grow follow it at no more cost.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UserError
from ..grids import CellCentred
from ..settings import FIRST_TEST_SEED, PUBLISHED_SPACING
from .sets import FieldSets

LAPLACIANS = ("finite-volume", "spectral")
SIDE = 2.0
DIFFUSION_U, DIFFUSION_V, SOURCE = 1e-3, 5e-3, 5e-3
CPU_CHUNK, CHUNK = 8, 256
"""Trajectories solved together, on a CPU as many as its cache holds."""
LOADED = 256
"""Trajectories in memory at a time."""
PUBLISHED_TIMES = 101


def graded_times(end: float, steps: int) -> Tensor:
    """t_j = end (j / steps)³ for j = 0 … steps, float64. Raises a ValueError unless 0 < end < ∞ and steps ≥ 1."""
    if not 0 < end < math.inf:
        raise ValueError(f"the end of the time grid must be positive and finite, got {end}")
    if steps < 1:
        raise ValueError(f"steps must be ≥ 1, got {steps}")
    return end * torch.linspace(0, 1, steps + 1, dtype=torch.float64) ** 3


def initial_values(seed: int, resolution: int) -> Tensor:
    """(u, v) at t = 0 of trajectory `seed`, shape (2, N, N), float64: standard normal, u then v, row by row, as published."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((2, resolution, resolution)))


@dataclass(frozen=True)
class ReactionDiffusion:
    """The system on N × N cells.

    Args:
        laplacian: finite-volume is the 5-point stencil of the published data, with eigenvalues −(2/Δx)² sin²(πk/2N) a
            direction, Δx = 2/N; spectral is the operator itself, −(πk/2)².

    Raises a ValueError if there is no such Laplacian.
    """

    resolution: int
    laplacian: str = "finite-volume"

    def __post_init__(self) -> None:
        if self.laplacian not in LAPLACIANS:
            raise ValueError(f"laplacian must be one of {', '.join(LAPLACIANS)}, got '{self.laplacian}'")

    def eigenvalues(self) -> Tensor:
        """−Δ in the cosine basis, shape (N, N), float64, ≥ 0."""
        n = self.resolution
        k = torch.arange(n, dtype=torch.float64)
        if self.laplacian == "spectral":
            mu = (math.pi * k / SIDE).square()
        else:
            mu = (2 * n / SIDE * torch.sin(math.pi * k / (2 * n))).square()
        return mu[:, None] + mu

    def solve(
        self, u: Tensor, v: Tensor, times: Tensor, progress: Callable[[], object] = lambda: None
    ) -> tuple[Tensor, Tensor]:
        """(u, v) at the last of the times, from (u, v) at the first, (batch, N, N), in the precision and on the device of u.

        The times are float64; `progress` is called once per trajectory. Raises a ValueError if the shapes are not (batch, N, N)
        or the times do not increase or are not finite, and a FloatingPointError if a field stops being finite.
        """
        n = self.resolution
        if u.shape != v.shape or u.ndim != 3 or u.shape[1:] != (n, n):
            raise ValueError(f"u and v must have shape (batch, {n}, {n}), got {tuple(u.shape)} and {tuple(v.shape)}")
        if len(times) < 2 or not times.isfinite().all() or not (times.diff() > 0).all():
            raise ValueError(f"times must be finite and increase, got {times.tolist()}")
        steps = [_coefficients(self, h, u.dtype, u.device) for h in times.diff().tolist()]
        cosines = _cosines(n, u.dtype, u.device)
        size = CPU_CHUNK if u.device.type == "cpu" else CHUNK
        ends = []
        for start in range(0, len(u), size):
            ends.append(_run(u[start : start + size], v[start : start + size], steps, cosines))
            for _ in ends[-1][0]:
                progress()
        u_end, v_end = (torch.cat(parts) for parts in zip(*ends, strict=True))
        if not (u_end.isfinite().all() and v_end.isfinite().all()):
            raise FloatingPointError(f"the fields blow up before t = {times[-1]:g}: take more steps")
        return u_end, v_end


def snapshots(
    system: ReactionDiffusion,
    seeds: Sequence[int],
    times: Tensor,
    device: torch.device,
    progress: Callable[[], object] = lambda: None,
) -> Tensor:
    """u at the last of the times of the trajectories with these seeds, shape (len(seeds), N, N), float32, on the CPU."""
    ends = []
    for start in range(0, len(seeds), LOADED):
        values = torch.stack([initial_values(seed, system.resolution) for seed in seeds[start : start + LOADED]])
        u, v = values.to(device, torch.float32).unbind(1)
        ends.append(system.solve(u, v, times, progress)[0].cpu())
    return torch.cat(ends)


def reaction_diffusion_sets(
    resolution: int,
    sizes: Mapping[str, int],
    *,
    end_time: float,
    steps: int,
    laplacian: str,
    file: Path | None,
    name: str,
    device: torch.device,
    progress: Callable[[], object] = lambda: None,
) -> FieldSets:
    """The four sets on the cell-centred grid: u at `end_time`, each set from trajectories of its own.

    Args:
        sizes: of train (seeds 0, 1, …), validation (the seeds after these) and test (seeds 100000, 100001, … for `reference`, and
            as many after these for `floor`).
        file: the published file, from which train and validation are then read.

    Raises a UserError if an argument or the file will not do, or a field blows up.
    """
    train, validation, test = sizes["train"], sizes["validation"], sizes["test"]
    middle, fields = FIRST_TEST_SEED + test, {}
    seeds = {"train": range(train), "validation": range(train, train + validation)}
    seeds |= {"reference": range(FIRST_TEST_SEED, middle), "floor": range(middle, middle + test)}
    try:
        system, times = ReactionDiffusion(resolution, laplacian), graded_times(end_time, steps)
        if train + validation > FIRST_TEST_SEED:
            raise ValueError(f"--train, --validation: above {FIRST_TEST_SEED} trajectories would be test trajectories")
        if file and laplacian != "finite-volume":
            raise ValueError("--laplacian: the published file is of the finite-volume one, and so must be the test set")
        if file:
            published = read_published(file, train + validation, end_time, resolution)
            fields = {"train": published[:train], "validation": published[train:]}
        solved = {key: trajectories for key, trajectories in seeds.items() if key not in fields}
        fields |= {key: snapshots(system, solved[key], times, device, progress) for key in solved}
    except (ValueError, FloatingPointError) as error:
        raise UserError(str(error)) from None
    target = {"kind": "reaction-diffusion", "name": name, "images": False, "native_resolution": resolution}
    target |= {"end_time": end_time, "steps": steps, "laplacian": laplacian, "file": str(file) if file else None}
    return FieldSets(fields, CellCentred(resolution), target)


def read_published(file: Path, count: int, end_time: float, resolution: int) -> Tensor:
    """u at `end_time` of the first `count` trajectories of the published file, shape (count, N, N), float32.

    The file is HDF5 with one group per trajectory, 0000, 0001, …. Its dataset `data` has shape (101, N, N, 2) over t = 0, 0.05,
    … 5. These times are in `grid/t` of the group where it has that.

    Raises a ValueError if the file is missing, is not HDF5, lacks a trajectory, has other times or holds something else.
    """
    import h5py

    index, fields = round(end_time / PUBLISHED_SPACING), []
    if abs(index * PUBLISHED_SPACING - end_time) > 1e-9:
        raise ValueError(f"{file}: has fields every {PUBLISHED_SPACING}, and none at t = {end_time}")
    try:
        with h5py.File(file) as archive:
            for name in (f"{i:04d}" for i in range(count)):
                data, said = archive.get(f"{name}/data"), f"{file}: {name}/data"
                if not isinstance(data, h5py.Dataset):
                    raise ValueError(f"{file}: no dataset {name}/data; give the published file or fewer trajectories")
                times = archive.get(f"{name}/grid/t")
                shape = (PUBLISHED_TIMES if times is None else len(times), resolution, resolution, 2)
                if data.dtype.kind != "f" or data.shape != shape or index >= len(data):
                    raise ValueError(f"{said} is {data.dtype} of shape {data.shape}, not floats of shape {shape}")
                if times is not None and not abs(times[index] - end_time) < 1e-4:
                    raise ValueError(f"{file}: {name}/grid/t: field {index} is of t = {times[index]}, not {end_time}")
                field = torch.from_numpy(data[index, :, :, 0].astype(np.float64)).float()
                if not field.isfinite().all():
                    raise ValueError(f"{said} is not finite at t = {end_time}")
                fields.append(field)
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: cannot be read as HDF5: {' '.join(str(error).split())}") from None
    return torch.stack(fields)


def method_of_lines(resolution: int) -> Callable[[float, NDArray[np.float64]], NDArray[np.float64]]:
    """d(u, v)/dt of the finite-volume system for `scipy.integrate.solve_ivp`, on the flat vector of u and v: the published way.

    The 5-point stencil is a sparse matrix; a wall takes the flux through it away.
    """
    from scipy import sparse

    line = sparse.diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(resolution, resolution), format="lil")
    line[0, 0] = line[-1, -1] = -1
    laplacian = (sparse.kronsum(line, line) * (resolution / SIDE) ** 2).tocsr()

    def rate(_: float, y: NDArray[np.float64]) -> NDArray[np.float64]:
        u, v = np.split(y, 2)
        reaction_u, reaction_v = u - u**3 - SOURCE - v, u - v
        return np.concatenate([DIFFUSION_U * (laplacian @ u) + reaction_u, DIFFUSION_V * (laplacian @ v) + reaction_v])

    return rate


def _run(u: Tensor, v: Tensor, steps: list[tuple[Tensor, ...]], cosines: Tensor) -> tuple[Tensor, Tensor]:
    """One chunk through all steps, each given by its `_coefficients`."""
    n = u.shape[-1]

    def forcing(u_hat: Tensor) -> Tensor:
        values = cosines.T @ u_hat @ cosines
        out = -(cosines @ (values * values * values) @ cosines.T)
        out[..., 0, 0] -= SOURCE * n  # the coefficient of a constant in the orthonormal basis
        return out

    u, v = (cosines @ field @ cosines.T for field in (u, v))
    for whole, half, stage, first, middle, last in steps:
        f_y = forcing(u)
        half_u, half_v = half[0, 0] * u + half[0, 1] * v, half[1, 0] * u + half[1, 1] * v
        a_u, a_v = half_u + stage[0] * f_y, half_v + stage[1] * f_y
        f_a = forcing(a_u)
        f_b = forcing(half_u + stage[0] * f_a)
        f_c = forcing(half[0, 0] * a_u + half[0, 1] * a_v + stage[0] * (2 * f_b - f_y))
        f_a += f_b
        u, v = (whole[i, 0] * u + whole[i, 1] * v + first[i] * f_y + middle[i] * f_a + last[i] * f_c for i in range(2))
    return cosines.T @ u @ cosines, cosines.T @ v @ cosines


@cache
def _cosines(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The orthonormal DCT-II, shape (N, N)."""
    k, x = torch.arange(n, dtype=torch.float64), (torch.arange(n, dtype=torch.float64) + 0.5) / n
    matrix = torch.cos(math.pi * k[:, None] * x) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix.to(device, dtype)


@cache
def _coefficients(system: ReactionDiffusion, h: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """e^(Lh) and e^(Lh/2), (2, 2, N, N); then what multiplies F in the stages and, three times, at the end, (2, N, N)."""
    mu, modes = system.eigenvalues().unique(return_inverse=True)
    exponential, phi_1, phi_2, phi_3 = _phi(mu, h)
    half, half_phi_1, _, _ = _phi(mu, h / 2)
    end = h * (phi_1 - 3 * phi_2 + 4 * phi_3), h * (2 * phi_2 - 4 * phi_3), h * (4 * phi_3 - phi_2)
    values = (exponential, half, h / 2 * half_phi_1, *end)
    return tuple(each[modes].movedim((0, 1), (-2, -1)).to(device, dtype).contiguous() for each in values)


def _phi(mu: Tensor, h: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """e^(Lh), shape (modes, 2, 2), and φ_j(Lh) (1, 0) for j = 1, 2, 3, shapes (modes, 2), from one exponential of a 5 × 5 matrix.

    The exponential of [[Lh, (1, 0)ᵀ, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]] has them as its first two rows (Al-Mohy and
    Higham 2011, SIAM J. Sci. Comput. 33, theorem 2.1).
    """
    block = torch.zeros(len(mu), 5, 5, dtype=torch.float64)
    block[:, 0, 0], block[:, 0, 1] = h * (1 - DIFFUSION_U * mu), -h
    block[:, 1, 0], block[:, 1, 1] = h, -h * (1 + DIFFUSION_V * mu)
    block[:, 0, 2] = block[:, 2, 3] = block[:, 3, 4] = 1
    rows = torch.linalg.matrix_exp(block)[:, :2]
    return rows[..., :2], rows[..., 2], rows[..., 3], rows[..., 4]
