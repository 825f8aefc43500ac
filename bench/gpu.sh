#!/usr/bin/env bash
# All that needs an NVIDIA GPU: tests on the device, benchmarks, trainings of preset paper. It has not run on one yet.
#     bench/gpu.sh FOLDER [MINUTES]
# FOLDER gets the tables, logs and the device's name. The last part is cut off after MINUTES (8): what it has trained stays there,
# and the same command goes on. It needs the environment of `make setup` with a PyTorch for CUDA.
set -euo pipefail

cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH
folder=$(realpath -m "${1:?give a folder for the results}")
minutes=${2:-8}
python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("bench/gpu.sh: PyTorch sees no CUDA device; run it where it does")'
mkdir -p "$folder"
python -c 'import torch; print(torch.cuda.get_device_name())' | tee "$folder/device.txt"

pytest -q -p no:xdist tests/unit/test_networks.py tests/unit/test_reaction_diffusion.py tests/unit/test_sample.py \
    | tee "$folder/tests.txt"
mld bench train 2>&1 | tee "$folder/bench-train.txt"
mld bench sample 2>&1 | tee "$folder/bench-sample.txt"

# Several trainings at once on the one device: a network of this size leaves most of it idle.
run=(snakemake reaction-diffusion fig1 --cores all --resources gpu=3 --config preset=paper gpu=1 results="$folder")
timeout --signal=INT "${minutes}m" "${run[@]}" || test $? = 124
