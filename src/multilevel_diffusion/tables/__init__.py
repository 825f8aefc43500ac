"""Tables from tables: the tidy metrics of a whole run, what is read off them, and files to read. Only `priors` needs PyTorch."""
# ruff: noqa: F403

from .claims import *
from .files import *
from .ladders import *
from .metrics import *
from .posterior import *
from .power import *
from .runs import *
