"""Periodic convolutions as a network of `multilevel_diffusion`."""

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import gelu

from multilevel_diffusion import builds
from multilevel_diffusion.settings import Count, NetworkBase


class PeriodicCNNSettings(NetworkBase):
    """A stack of periodic convolutions."""

    kind: Literal["cnn"] = Field(description="3 × 3 convolutions of periodic fields: any grid.")
    width: Count = Field(description="Channels of the hidden fields.")
    layers: Count = Field(description="Convolutions; a layer reaches one pixel, whatever the spacing.")


class PeriodicCNN(nn.Module):
    """3 × 3 convolutions of (value, t), GELU between them."""

    def __init__(self, width, layers):
        super().__init__()
        ends = pairwise([2, *[width] * (layers - 1), 1])
        self.convolutions = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1, padding_mode="circular") for pair in ends)

    def forward(self, values, t, grid):
        """Fields (batch, N, N) and times (batch,) to fields (batch, N, N)."""
        hidden = torch.stack([values, t[:, None, None].expand_as(values)], dim=1)
        for i, convolution in enumerate(self.convolutions):
            hidden = convolution(gelu(hidden) if i else hidden)
        return hidden[:, 0]


@builds(PeriodicCNNSettings)
def periodic_cnn(settings, generator):
    with torch.random.fork_rng(
        devices=[]
    ):  # weights come from the generator alone, and the global one is left as it was
        torch.manual_seed(torch.randint(2**62, (), generator=generator).item())
        return PeriodicCNN(settings.width, settings.layers)
