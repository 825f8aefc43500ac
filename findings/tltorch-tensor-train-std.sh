#!/usr/bin/env bash
# TensorLy-Torch 0.5.0: a tensor train that is initialized by normal_(std=s) does not have the standard deviation s, although the
# documentation says that the reconstruction has it. An FNO with factorization "tt" starts with weights near zero.
#
# Seen: for shape (32, 32, 16, 9) and std 0.1 the tensor that the factors make has a standard deviation of 0.013 at rank 4, 0.0015
# at rank 16 and 0.0005 at rank 0.5. Factorizations CP and Tucker stay between 0.09 and 0.12 at these ranks. The spectral weights
# of an FNO of neuraloperator 2.0.0 have 0.18 when they are dense, CP or Tucker, and below 0.001 when they are tensor trains.
# Whoever compares factorizations at equal numbers of parameters compares starting points that are 200 times apart as well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 tensorly==0.10.0 tensorly-torch==0.5.0 neuraloperator==2.0.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from neuralop.layers.spectral_convolution import SpectralConv
from tltorch import FactorizedTensor

torch.manual_seed(0)


def std(tensor):
    return float(tensor.to_tensor().detach().abs().square().mean().sqrt())


made = {}
for name in ("CP", "Tucker", "TT"):
    for rank in (4, 16, 0.5):
        made[name, rank] = std(FactorizedTensor.new((32, 32, 16, 9), rank=rank, factorization=name).normal_(0, 0.1))
    print(f"normal_(0, 0.1) of {name}:", ", ".join(f"rank {rank}: std {made[name, rank]:.4f}" for rank in (4, 16, 0.5)))
weights = {}
for name in (None, "CP", "Tucker", "TT"):
    weights[name] = std(SpectralConv(32, 32, (16, 16), factorization=name, rank=0.5).weight)
    print(f"SpectralConv with factorization {name}: std of the weights {weights[name]:.4f}")
assert all(0.05 < made[name, rank] < 0.2 for name in ("CP", "Tucker") for rank in (4, 16, 0.5))
assert 0.8 < weights["CP"] / weights[None] < 1.2 and 0.8 < weights["Tucker"] / weights[None] < 1.2
assert made["TT", 4] < 0.03 and made["TT", 0.5] < 0.002 and weights["TT"] < 0.02 * weights[None], "the behaviour has changed"
PYTHON
