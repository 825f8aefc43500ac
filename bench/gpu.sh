#!/usr/bin/env bash
# What this repository has to say about an NVIDIA GPU, within 15 minutes: tests on the device, benchmarks, trainings of preset paper.
#     bench/gpu.sh FOLDER [MINUTES]
# FOLDER gets the tables, logs and the device's name. The last part is cut off after MINUTES (8): what it has trained stays there,
# and the same command goes on. It needs the environment of `make setup` with a PyTorch for CUDA.
set -euo pipefail

cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH
out=$(realpath -m "${1:?give a folder for the results}")
minutes=${2:-8}
mkdir -p "$out"
python -c 'import torch; assert torch.cuda.is_available(), "no CUDA device"; print(torch.cuda.get_device_name())' | tee "$out/device.txt"

pytest -q -p no:xdist tests/unit/test_networks.py tests/unit/test_reaction_diffusion.py tests/unit/test_sample.py \
    | tee "$out/tests.txt"
mld bench train 2>&1 | tee "$out/bench-train.txt"
mld bench sample 2>&1 | tee "$out/bench-sample.txt"

# Several trainings at once on the one device: a network of this size leaves most of it idle.
run=(snakemake --cores all --resources gpu=3 --config preset=paper gpu=1 results="$out")
timeout --signal=INT "${minutes}m" "${run[@]}" reaction-diffusion fig1 || test $? = 124
