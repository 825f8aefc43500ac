"""Settings of the claims of the paper and the criteria by which they are judged."""

import itertools
from typing import Annotated, Self

from pydantic import Field, model_validator

from .base import FileName, Finite, Line, Name, Positive, Removable, SetSize, Settings, Several

Entry = Annotated[Line, Field(max_length=100)] | Annotated[int, Field(strict=True)]
Row = Annotated[dict[FileName, Entry], Field(min_length=1)]


class QuantitySettings(Settings):
    """A number per seed from a table of results: `value` of one row, alone or against another row."""

    table: FileName = Field(description="Name of the table.")
    of: Row = Field(description="Column to value, which leave one row per seed.")
    over: Row | None = Field(
        None, description="Divided by the row that differs in these columns, or by `column: floor` of its own."
    )
    less: Row | None = Field(
        None, description="Less the row that differs in these columns, or less `column: floor` of its own."
    )
    debiased: bool = Field(
        False, description="Distances without their floor, (value² − floor²)^½, over the data's standard deviation."
    )

    @property
    def against(self) -> Row:
        """The columns in which the other row differs, if there is one."""
        return self.over or self.less or {}

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.over is not None and (self.less is not None or self.debiased):
            raise ValueError("over: a quantity is a ratio, or a difference or debiased distance, not both")
        if self.debiased and "column" in self.against:
            raise ValueError("less: a debiased distance is without its floor already; give another row")
        return self


class CriterionSettings(Settings):
    """A quantity and its bound."""

    quantity: QuantitySettings = Field(description="What is judged.")
    at_most: Finite | None = Field(None, description="Upper bound of the quantity.")
    at_least: Finite | None = Field(None, description="Lower bound, instead.")
    within: Positive | None = Field(None, description="Bound of its size, instead: an equivalence test.")

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        bounds = [bound for bound in (self.at_most, self.at_least, self.within) if bound is not None]
        if len(bounds) != 1:
            raise ValueError("a claim has one of at_most, at_least and within")
        if self.quantity.over is not None and (self.within or bounds[0] <= 0):
            raise ValueError(
                "the bound of a ratio is at_most or at_least, and positive: ratios are judged by their logarithms"
            )
        return self

    def of(self, chosen: Row) -> Self:
        """The same about rows with these values too."""
        quantity = self.quantity.model_copy(update={"of": self.quantity.of | chosen})
        return self.model_copy(update={"quantity": quantity})


class ClaimSettings(CriterionSettings):
    """A claim of the paper, and when it holds."""

    figure: Line = Field(description="What of the paper it is about; claims about the same are judged together (Holm).")
    statement: str = Field(description="The claim in words, with {column} for the columns of `each`.")
    each: dict[FileName, Several[Entry]] = Field({}, description="Column to values; a claim for each combination.")
    first_written: CriterionSettings | None = Field(
        None,
        description="The criterion that stood here before the runs, if it differs; it is shown beside this one.",
    )

    @model_validator(mode="after")
    def _statement_names_known_columns(self) -> Self:
        try:
            for chosen in self.choices:
                self.statement.format_map(chosen)
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"statement: {{column}} must be one of each, not {error}") from None
        return self

    @property
    def criteria(self) -> dict[str, CriterionSettings]:
        """The one by which it is judged and the first one that was written, if it is another, by where their quantities stand."""
        first = {"first_written.quantity": self.first_written} if self.first_written else {}
        return {"quantity": self} | first

    @property
    def choices(self) -> list[Row]:
        """Every combination of `each`."""
        return [dict(zip(self.each, values, strict=True)) for values in itertools.product(*self.each.values())]


class ClaimsSettings(Settings):
    """The claims, and how certain a verdict must be."""

    seeds: SetSize = Field(description='Seeds that a verdict needs; with fewer it is "undecided".')
    confidence: Annotated[Finite, Field(gt=0, lt=1)] = Field(
        description="Confidence of the intervals, by Student's t over seeds, and of all verdicts about a figure together, by "
        "Holm's method."
    )
    power: Positive = Field(
        description="A metric that puts the Gaussian baseline fewer standard errors above the floor judges no network."
    )
    rows: Removable[dict[Name, ClaimSettings]] = Field(description="The claims by name; null removes one.")

    @property
    def each(self) -> list[tuple[str, ClaimSettings]]:
        """Every single claim with its name, as "fields-keep-their-law fno-laplacian values 64"."""
        singles = []
        for name, claim in self.rows.items():
            for chosen in claim.choices:
                first = claim.first_written.of(chosen) if claim.first_written else None
                changed = {"statement": claim.statement.format_map(chosen), "each": {}, "first_written": first}
                singles.append(
                    (" ".join([name, *map(str, chosen.values())]), claim.of(chosen).model_copy(update=changed))
                )
        return singles
