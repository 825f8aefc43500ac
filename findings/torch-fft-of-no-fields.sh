#!/usr/bin/env bash
# PyTorch 2.13.0 on the CPU: the FFT of a batch of no fields is an error, where NumPy, and every other operator of PyTorch that
# acts on the last axes, returns a batch of no results. Whoever filters a batch of fields, or takes a basis of rank 0, meets it.
#
# Seen: torch.fft.rfft2(torch.zeros(0, 8, 8)) raises RuntimeError, "MKL FFT error: Intel oneMKL DFTI ERROR: Inconsistent
# configuration parameters"; so do fft, fft2, rfft and irfft2. numpy.fft.rfft2 returns shape (0, 8, 5), and torch.linalg.eigh and
# matmul take the empty batch. The message names neither the empty axis nor the shape.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import torch

print("torch", torch.__version__)
raised = {}
for name in ("fft", "fft2", "rfft", "rfft2"):
    try:
        shape = tuple(getattr(torch.fft, name)(torch.zeros(0, 8, 8)).shape)
        raised[name] = f"shape {shape}"
    except RuntimeError as error:
        raised[name] = str(error)
for name, said in raised.items():
    print(f"torch.fft.{name} of shape (0, 8, 8): {said}")
expected = np.fft.rfft2(np.zeros((0, 8, 8))).shape
print("numpy.fft.rfft2 of shape (0, 8, 8): shape", expected)
assert expected == (0, 8, 5)
assert torch.linalg.eigh(torch.zeros(0, 8, 8)).eigenvalues.shape == (0, 8)
assert (torch.zeros(0, 8, 8) @ torch.zeros(8, 8)).shape == (0, 8, 8)
assert all("Inconsistent configuration parameters" in said for said in raised.values()), "the behaviour has changed"
PYTHON
