"""What is timed of our network and neuraloperator's: training steps, evaluations, sampling; and what a step costs by count.

A training step here is the network's share of one: forward, mean squared error against a noise, backward, Adam. Ours is PyTorch's
fused Adam, which the complex weights of neuraloperator do not have.

Functions of a `Case` run in a process of their own (`worker.process`), which keeps the network from call to call.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from neuralop import models
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import gelu
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..builders import build
from ..denoise import LearnedDenoiser
from ..grids import Grid, Torus, squared_norm
from ..memory import peak, reset_peak
from ..models import device_of
from ..networks import FNO
from ..priors import Laplacian
from ..sample import Sampler, time_grid
from ..sde import ForwardSDE
from ..settings import SamplerSettings
from ..storage import generator
from .worker import seconds

STOCK, OURS = "neuraloperator", "ours"


@dataclass(frozen=True)
class Case:
    """A network and the fields it is given: `batch` of them on resolution² points. The defaults are the paper's network."""

    network: str  # STOCK or OURS
    resolution: int
    batch: int
    width: int = 32
    layers: int = 4
    modes: int = 14
    head: int = 128

    def build(self) -> nn.Module:
        """Return the untrained network."""
        if self.network == STOCK:
            return Stock(self)
        return FNO(self.width, self.layers, self.modes, self.head, generator(0, "bench", "network"))


class Stock(nn.Module):
    """neuraloperator's FNO as its users build it; value and time are its two channels."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.fno = models.FNO(
            n_modes=(2 * case.modes, 2 * case.modes - 2),
            in_channels=2,
            out_channels=1,
            hidden_channels=case.width,
            n_layers=case.layers,
            lifting_channel_ratio=0,
            projection_channel_ratio=case.head / case.width,
            use_channel_mlp=False,
            fno_skip="linear",
            positional_embedding="grid",
        )

    def forward(self, values: Tensor, t: Tensor, grid: Grid) -> Tensor:
        return self.operate(torch.stack(torch.broadcast_tensors(values, t[:, None, None]), dim=1))[:, 0]

    def operate(self, channels: Tensor) -> Tensor:
        """Apply the network to (batch, 2, N, N) channels."""
        return self.fno(channels)


class Plain(Stock):
    """The function of one of our networks, computed by neuraloperator's own layers with our weights; GELU stands between them."""

    def __init__(self, case: Case, ours: FNO) -> None:
        super().__init__(case)
        fno = self.fno
        with torch.no_grad():
            lift = ours.lift  # of (value, x₁, x₂, t); theirs of (value, t, x₁, x₂)
            fno.lifting.fcs[0].weight.copy_(lift.weight[:, [0, 3, 1, 2], None])
            fno.lifting.fcs[0].bias.copy_(lift.bias)
            blocks = zip(fno.fno_blocks.convs, fno.fno_blocks.fno_skips, ours.spectral, ours.pointwise, strict=True)
            for convolution, skip, spectral, pointwise in blocks:
                convolution.weight.to_tensor().copy_(torch.complex(*spectral.weight).permute(2, 3, 0, 1))
                convolution.bias.copy_(pointwise.bias[:, None, None])
                skip.conv.weight.copy_(pointwise.weight[..., None])
            for theirs, head in zip(fno.projection.fcs, ours.head, strict=True):
                theirs.weight.copy_(head.weight[..., None])
                theirs.bias.copy_(head.bias)

    def operate(self, channels: Tensor) -> Tensor:
        hidden = self.fno.lifting(self.fno.positional_embedding(channels))
        blocks = self.fno.fno_blocks
        for i, (convolution, skip) in enumerate(zip(blocks.convs, blocks.fno_skips, strict=True)):
            hidden = gelu(hidden) if i else hidden
            hidden = convolution(hidden) + skip(hidden)
        return self.fno.projection(hidden)


class Step:
    """A training step of a case (a call), and an evaluation; both on the same fields of noise, drawn once."""

    def __init__(self, case: Case, device: torch.device | str = "cpu") -> None:
        stream = generator(0, "bench", "fields")
        self.network, self.grid = case.build().to(device), Torus(case.resolution)
        fused = device != "meta" and not any(each.is_complex() for each in self.network.parameters())
        self.optimizer = torch.optim.Adam(self.network.parameters(), weight_decay=1e-4, fused=fused)
        fields = torch.randn(2, case.batch, case.resolution, case.resolution, generator=stream)
        self.values, self.eta = fields.to(device)
        self.t = torch.rand(case.batch, generator=stream).to(device)

    def __call__(self) -> None:
        self.differentiate()
        self.optimizer.step()

    def differentiate(self) -> None:
        """The gradients of the loss."""
        loss = 0.5 * squared_norm(self.eta - self.network(self.values, self.t, self.grid)).mean()
        self.optimizer.zero_grad()
        loss.backward()

    @torch.no_grad()
    def evaluate(self) -> None:
        self.network(self.values, self.t, self.grid)


def step_seconds(case: Case) -> float:
    """Return the time of one training step."""
    return seconds(_step(case))


def step_memory(case: Case) -> float:
    """Return the most bytes that the steps so far held beyond the untrained network and the fields; on a GPU with these."""
    _step(case)
    return float(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else peak()


def forward_seconds(case: Case) -> float:
    """Return the time of one evaluation, without gradients."""
    return seconds(_step(case).evaluate)


def sampling_seconds(case: Case, settings: SamplerSettings, steps: int) -> float:
    """Return the time in which a sampler draws `case.batch` fields."""
    solver, grid = _sampler(case, settings), Torus(case.resolution)
    times = time_grid(settings.times, steps, solver.sde)
    return seconds(lambda: solver.sample(case.batch, grid, times, partial(generator, 0, "bench", device=device_of())))


def evaluations(case: Case, settings: SamplerSettings, steps: int) -> int:
    """Return how often the sampler evaluates the network in so many steps."""
    return _sampler(case, settings).evaluations(steps)


@torch.no_grad()
def difference(case: Case) -> float:
    """Return ‖ours − plain‖ / ‖plain‖ on two fields, where plain is the same function by neuraloperator's layers (`Plain`)."""
    step = _step(case)
    fields = step.values[:2], step.t[:2], step.grid
    plain = Plain(case, step.network).to(step.t.device)(*fields)
    return float((step.network(*fields) - plain).norm() / plain.norm())


def ceilings(repeats: int) -> tuple[float, float]:
    """Measure FLOP/s of the float32 product of matrices of 2048 rows, and bytes/s of the triad a = b + s c on arrays of 134 MB.

    Each is the best of `repeats`; a triad counts 12 bytes per element (McCalpin's STREAM).
    """
    n, size, on = 2048, 2**25, device_of()
    x, y, product = (torch.ones(n, n, device=on) for _ in range(3))
    a, b, c = (torch.ones(size, device=on) for _ in range(3))
    works = (lambda: torch.mm(x, y, out=product), lambda: torch.add(b, c, alpha=0.5, out=a))
    multiplied, added = (min(seconds(work) for _ in range(repeats)) for work in works)
    return 2 * n**3 / multiplied, 12 * size / added


def flops(case: Case) -> dict[str, int]:
    """Count the floating-point operations of the matrix products of a training step of our network, by part.

    A multiplication with an addition counts two. With B fields on N² points, C channels, L layers, H channels in the head, and
    the K₁ × K₂ modes that the grid resolves, forward:

        transforms   L · 8 K₂ B C N (N + 2 K₁)      two truncated ones along x₂, O(N² m), and two along x₁, O(N m²)
        mixing       L · 8 K₁ K₂ B C²               complex matrices as four real products
        pointwise    L · 2 B N² C²
        lift, head   2 B N² · 4 C,  2 B N² (C + 1) H

    The backward pass takes each product twice again, but transforms once (their matrices are not learned) and the lift once
    (nothing is before it). It computes the lift and the first layer of the head once more. GELU and other elementwise work is
    memory traffic, not counted here.
    """
    n, fields, channels, top = case.resolution, case.batch, case.width, (case.resolution - 1) // 2
    k1, k2 = min(case.modes, top) + min(case.modes, top + 1), min(case.modes, top + 1)
    points = fields * n**2
    return {
        "transforms": 2 * case.layers * 8 * k2 * fields * channels * n * (n + 2 * k1),
        "mixing": 3 * case.layers * 8 * k1 * k2 * fields * channels**2,
        "pointwise": 3 * case.layers * 2 * points * channels**2,
        "lift, head": 3 * 2 * points * 4 * channels + 2 * points * (4 * channels + 3) * case.head,
    }


def traffic(case: Case) -> tuple[int, int]:
    """Count the bytes that the operators of a training step read and write, and those it must hold, by running it without data.

    Every argument and result of every operator counts once, a view nothing. Adam reads weights, gradients and two moments, and
    writes all but the gradients. Held are what autograd keeps for the backward pass, the gradients and the moments.
    """
    step, kept = Step(case, device="meta"), {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    step.differentiate()  # so that the matrices of the transforms are there
    parameters = {parameter.untyped_storage()._cdata for parameter in step.network.parameters()}
    with _Traffic() as counted, saved_tensors_hooks(keep, lambda tensor: tensor):
        step.differentiate()
    learned = sum(parameter.untyped_storage().nbytes() for parameter in step.network.parameters())
    return counted.bytes + 7 * learned, 3 * learned + sum(size for key, size in kept.items() if key not in parameters)


class _Traffic(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = operator(*args, **(kwargs or {}))
        if not operator.is_view and operator is not torch.ops.aten._unsafe_view.default:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            self.bytes += sum(min(t.nbytes, t.untyped_storage().nbytes()) for t in tensors)
        return result


@lru_cache(maxsize=1)
def _step(case: Case) -> Step:
    step = Step(case, device_of())
    reset_peak()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    return step


def _sampler(case: Case, settings: SamplerSettings) -> Sampler:
    network = _step(case).network
    return build(settings, LearnedDenoiser(network, ForwardSDE(), Laplacian(64, 10.0), lambda resolution: 1.0))
