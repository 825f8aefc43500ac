#!/usr/bin/env bash
# safetensors 0.8.0 with PyTorch 2.13.0: a complex tensor that PyTorch conjugates lazily is written without its conjugation. No
# error and no warning is given, and the file holds the complex conjugate of the values that the tensor shows.
#
# Seen: x.conj() of a complex64 tensor only sets a flag; save_file writes the memory below it, so load_file returns x. The same
# happens to a tensor with the flag for a negative sign, which comes back with the other sign. torch.save keeps the values, and
# tensor.numpy() refuses such a tensor and names resolve_conj() as the mend. Whoever stores Fourier coefficients that were made by
# a conjugate, as the Hermitian half of a spectrum or an adjoint filter, finds every imaginary part with the wrong sign.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 safetensors==0.8.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import torch
from safetensors.torch import load_file, save_file

print("torch", torch.__version__)
x = torch.fft.fft(torch.tensor([1.0, 2.0, 4.0]))
conjugate = x.conj()
save_file({"spectrum": conjugate}, "lazy.safetensors")
save_file({"spectrum": conjugate.resolve_conj()}, "resolved.safetensors")
torch.save(conjugate, "lazy.pt")
lazy, resolved = load_file("lazy.safetensors")["spectrum"], load_file("resolved.safetensors")["spectrum"]
print("the tensor:               ", conjugate.tolist())
print("safetensors returns:      ", lazy.tolist())
print("after resolve_conj():     ", resolved.tolist())
print("torch.save and torch.load:", torch.load("lazy.pt").tolist())
assert conjugate.is_contiguous() and conjugate.is_conj()
assert torch.equal(resolved, conjugate) and torch.equal(torch.load("lazy.pt"), conjugate)
assert torch.equal(lazy, x) and not torch.equal(lazy, conjugate), "the behaviour has changed"
PYTHON
