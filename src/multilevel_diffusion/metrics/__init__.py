"""Distances of sets of fields to a reference set, from arrays alone.

Fields are arrays (n, N, N) of natural values. Every distance is per unit area, comparable across grids, and means little
without its floor: the same distance between two independent sets of true data of the same sizes.

`distances` are of laws on fields, `laws` of the numbers in them, `two_sample` are tests; `base` has floors and standard errors.
"""

import numpy as np
from numpy.typing import NDArray

from .base import Estimate, Fields, Subset, floor, floors, jackknife, subset
from .distances import Distances, Members, projections, radial_spectrum, rescaled, share, vendi_score
from .laws import Laws
from .two_sample import TwoSample

__all__ = [
    "Estimate",
    "Fields",
    "Members",
    "Reference",
    "Subset",
    "floor",
    "floors",
    "jackknife",
    "projections",
    "radial_spectrum",
    "rescaled",
    "share",
    "subset",
    "vendi_score",
]


class Reference(Distances, Laws, TwoSample):
    """A set of true fields and the distances of other sets x (n, N, N) to it; what they need of it alone is computed once.

    Args:
        fields: y, shape (m, N, N); m ≥ 2.
        directions: of the sliced distances, shape (N², P), of unit columns, from `projections`.
        wraps: whether the grid is a torus, on which increments wrap round.
        members: of a mixture, which of fields (n, N, N) belong to the first of its two components, shape (n,).
    """

    def __init__(
        self, fields: Fields, directions: NDArray[np.float64], wraps: bool = True, members: Members | None = None
    ) -> None:
        self.fields, self.directions, self.wraps, self.members = fields, directions, wraps, members
