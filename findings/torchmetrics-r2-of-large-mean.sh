#!/usr/bin/env bash
# TorchMetrics 1.9.0: R2Score and ExplainedVariance of float32 fields whose mean is large beside their spread are wrong without a
# warning. A prediction that is worse than the mean gets the score of a perfect one.
#
# Seen: truth and prediction are independent noise about 300, as temperatures in kelvin are, so R² is -1.02. For a spread of 1
# R2Score says -0.99, for 0.1 it says 4.2, which no R² can be, and for 0.01 it says 1.006. ExplainedVariance goes the same way.
# Both keep sums of squares and subtract the square of the mean from them, and float32 does not hold the difference.
# PearsonCorrCoef of the same package is right on the same batches, R2Score is right when the fields are float64, and the
# formula of the documentation is right in float32. Nothing there says that a field must be centred first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 torchmetrics==1.9.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torchmetrics import ExplainedVariance, PearsonCorrCoef, R2Score

generator = torch.Generator().manual_seed(0)
noise = torch.randn(2, 40, 1024, generator=generator)  # 40 batches of one field on a grid of 32 x 32


def metric(kind, fields):
    metric = kind()
    for prediction, truth in zip(*fields):
        metric.update(prediction, truth)
    return float(metric.compute())


for spread in (1.0, 0.1, 0.01):
    fields = 300 + spread * noise
    prediction, truth = fields.flatten(1)
    right = float(1 - (truth - prediction).square().sum() / (truth - truth.mean()).square().sum())
    scores = {kind.__name__: metric(kind, fields) for kind in (R2Score, ExplainedVariance, PearsonCorrCoef)}
    double = metric(R2Score, fields.double())
    print(f"spread {spread}: R² is {right:.3f}, R2Score in float64 {double:.3f}, and in float32", end=" ")
    print(", ".join(f"{name} {score:.3f}" for name, score in scores.items()))
    assert abs(right + 1) < 0.05 and abs(double + 1) < 0.05 and abs(scores["PearsonCorrCoef"]) < 0.05
    if spread == 0.01:
        assert all(abs(scores[name] + 1) > 0.5 for name in ("R2Score", "ExplainedVariance")), "the behaviour has changed"
PYTHON
