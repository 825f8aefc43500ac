#!/usr/bin/env bash
# torchdiffeq 0.2.5: the method explicit_adams with its default options diverges on y' = -y, and more steps make it worse. It
# returns finite numbers and gives no warning.
#
# Seen: from y(0) = 1 to t = 2 with 10, 20, 40 and 100 equal steps, y(2) is 0.16, 1.75, 992 and 6e7, and exp(-2) is 0.135. With
# 1000 steps the value is right. Euler's method has an error below 0.02 with 20 steps, and explicit_adams with max_order=4 below
# 0.001. The default order is 12, of which the documentation of the option says nothing, and Adams-Bashforth of so high an order
# is stable only for steps far below those that its accuracy needs. Whoever refines the steps of a probability flow or a neural
# ODE to see it converge sees the error grow by factors of hundreds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1 torchdiffeq==0.2.5
"$folder/venv/bin/python" -W error - <<'PYTHON'
import math

import torch
from torchdiffeq import odeint


def end(method, steps, **options):
    t = torch.linspace(0, 2, steps + 1, dtype=torch.float64)
    return odeint(lambda t, y: -y, torch.ones(1, dtype=torch.float64), t, method=method, options=options)[-1].item()


print(f"exp(-2) = {math.exp(-2):.4f}")
errors = {}
for steps in (10, 20, 40, 100, 1000):
    values = {"euler": end("euler", steps), "explicit_adams": end("explicit_adams", steps)}
    values["explicit_adams, max_order=4"] = end("explicit_adams", steps, max_order=4)
    print(f"{steps} steps:", ", ".join(f"{name} {value:.4g}" for name, value in values.items()))
    errors[steps] = {name: abs(value - math.exp(-2)) for name, value in values.items()}
    assert all(error < 0.03 for name, error in errors[steps].items() if name != "explicit_adams")
adams = {steps: errors[steps]["explicit_adams"] for steps in errors}
assert adams[1000] < 1e-6
assert adams[20] > 1 and adams[40] > 100 * adams[20] and adams[100] > 100 * adams[40], "the behaviour has changed"
PYTHON
