"""`mld data`, a command a data set."""

from __future__ import annotations

import typer

from .data_mixture import mixture
from .data_mnist import mnist
from .data_reaction_diffusion import reaction_diffusion
from .data_restrict import restrict

data = typer.Typer(help="Make the data of an experiment.", no_args_is_help=True)
data.command()(mixture)
data.command()(mnist)
data.command()(reaction_diffusion)
data.command()(restrict)
