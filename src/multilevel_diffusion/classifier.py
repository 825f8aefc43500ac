"""A classifier of handwritten digits, by which generated digits are judged: it has seen labels, and no sample."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from torch import Tensor, nn

from .errors import UserError
from .grids import Grid, Torus
from .settings import Resolution
from .storage import Header, checked, demand_like, read_tensors, write_tensors

GRID = Torus(32)
"""What it sees."""
FEATURES, CLASSES = 32, 10
CHUNK = 500
"""Fields that are classified together, to bound memory."""


class DigitNetwork(nn.Module):
    """Fields (n, 32, 32) to logits (n, 10); `features` gives the layer before, (n, 32).

    Convolutions 5 × 5 to 16 channels, 3 × 3 to 32 and 3 × 3 to 64, which bring 32 points down to 4; then two linear layers. All
    but the last have batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167) and ReLU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(1, 16, kernel=5, stride=2),
            nn.MaxPool2d(2),
            *_convolution(16, 32, kernel=3, stride=1),
            *_convolution(32, 64, kernel=3, stride=2),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, FEATURES, bias=False),
            nn.BatchNorm1d(FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, CLASSES)

    def features(self, fields: Tensor) -> Tensor:
        """The layer before the logits."""
        return self.body(fields[:, None])

    def forward(self, fields: Tensor) -> Tensor:
        return self.head(self.features(fields))


@dataclass(frozen=True)
class Classifier:
    """A trained network.

    accuracy: its share of right answers on the test images. target: the digits it has learned, entries of the target of their
    fields. training: how it was trained.
    """

    network: DigitNetwork = field(repr=False)
    accuracy: float
    target: dict[str, Any]
    training: dict[str, Any]

    @torch.no_grad()
    def __call__(self, x: NDArray[np.floating], grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Features (n, 32) and probabilities of the classes (n, 10) of fields x (n, N, N) on a torus.

        The fields are restricted or prolonged to 32 points first: modes that 32 points do not resolve are not seen.
        """
        network, found = self.network.eval(), []
        for part in torch.from_numpy(x).split(CHUNK):
            features = network.features(grid.resample(part.double(), GRID).float())
            found.append((features.double(), network.head(features).double().softmax(dim=1)))
        return torch.cat([each for each, _ in found]).numpy(), torch.cat([each for _, each in found]).numpy()


class Digits(BaseModel):
    """What names the digits that a classifier has learned."""

    kind: Literal["mnist"]
    native_resolution: Resolution
    sha256: dict[str, str]


class ClassifierHeader(Header):
    """The header of a file of a classifier, see `Classifier`."""

    mend = "give a file of `mld classifier`, or make it again"
    target: Digits
    accuracy: Annotated[float, Field(ge=0, le=1)]
    training: dict[str, Any]


def write_classifier(path: Path, classifier: Classifier, facts: Mapping[str, Any]) -> None:
    """Write the weights, with how good they are and how they were made. Raises as `write_tensors`."""
    header = {"target": classifier.target, "accuracy": classifier.accuracy, "training": classifier.training}
    write_tensors(path, classifier.network.state_dict(), header | {"provenance": dict(facts)})


def read_classifier(path: Path) -> Classifier:
    """The classifier in a file of `write_classifier`. Raises a UserError if that is missing, damaged or something else."""
    tensors, given = read_tensors(path)
    header, network = checked(path, ClassifierHeader, given), DigitNetwork()
    demand_like(path, "network", tensors, network.state_dict(), header.mend)
    if any((values < 0).any() for name, values in tensors.items() if name.endswith("running_var")):
        raise UserError(f"{path}: a variance is negative; {header.mend}")
    network.load_state_dict(tensors)
    return Classifier(network, header.accuracy, given["target"], header.training)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]
