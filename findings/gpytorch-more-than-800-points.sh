#!/usr/bin/env bash
# GPyTorch 1.15.2: a Gaussian random field on more than 800 points is another field than on 800. Samples lose their roughness,
# and a Kullback-Leibler divergence comes out negative. No warning is given.
#
# Seen: Matérn kernel with nu = 1/2 and length 0.1 on a square. On 28 x 28 points the samples have the kernel's variance, and so
# have the differences of neighbours. On 29 x 29 points these ratios are 0.7 and a sixth. The divergence of the field from itself
# with noise of variance 0.1 is 19 on 28 x 28 points and about -240 on 29 x 29. Above 800 points GPyTorch takes the root of the
# covariance from 100 Lanczos steps, and determinants from random probes. The settings max_cholesky_size and fast_computations
# say so, and the documentation of the distribution does not. Whoever compares resolutions sees a jump between two grids.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 gpytorch==1.15.2 linear_operator==0.6.1
"$folder/venv/bin/python" -W error::UserWarning -W error::RuntimeWarning - <<'PYTHON'
import torch
from gpytorch.distributions import MultivariateNormal
from gpytorch.kernels import MaternKernel
from gpytorch.settings import max_cholesky_size


@torch.no_grad()
def ratios(side):
    """The sampled variance and the sampled variance of increments, over the kernel's, and the divergence."""
    torch.manual_seed(0)
    line = torch.arange(side, dtype=torch.float64) / side
    points = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).flatten(0, 1)
    kernel = MaternKernel(nu=0.5).double()
    kernel.lengthscale = 0.1
    zero, noise = torch.zeros(side**2, dtype=torch.float64), 0.1 * torch.eye(side**2, dtype=torch.float64)
    field, noisy = MultivariateNormal(zero, kernel(points)), MultivariateNormal(zero, kernel(points) + noise)
    samples = field.sample(torch.Size([1000])).reshape(1000, side, side)
    increment = 2 - 2 * float(kernel(points[:1], points[1:2]).to_dense())
    divergence = torch.distributions.kl_divergence(field, noisy)
    return float(samples.var(0).mean()), float(samples.diff(dim=2).var(0).mean()) / increment, float(divergence)


for side, size in ((28, 800), (29, 800), (29, 1000)):
    with max_cholesky_size(size):
        variance, increments, divergence = ratios(side)
    print(f"{side} x {side} points, max_cholesky_size {size}:", end=" ")
    print(f"variance {variance:.2f}, increments {increments:.2f}, divergence {divergence:.1f}")
    if side**2 <= size:
        assert abs(variance - 1) < 0.05 and abs(increments - 1) < 0.05 and divergence > 0
    else:
        assert variance < 0.8 and increments < 0.3 and divergence < 0, "the behaviour has changed"
PYTHON
