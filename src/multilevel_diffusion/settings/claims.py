"""Settings of the claims of the paper and the criteria by which they are judged."""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import Field, model_validator

from .base import Name, Removable, SetSize, Settings


class QuantitySettings(Settings):
    """A number per seed from a table of results: `value` of one row, or over that of another row."""

    table: str = Field(description="Name of the table.")
    of: dict[str, str | int] = Field(min_length=1, description="Column to value, which leave one row a seed.")
    over: dict[str, str | int] | None = Field(
        None, description="Columns in which the row below the line differs, or `column: floor`; null: nothing is below."
    )


class ClaimSettings(Settings):
    """A claim of the paper: its quantity is at most, or at least, a bound."""

    figure: str = Field(description="What of the paper it is about.")
    statement: str = Field(description="The claim in words, with {column} for the columns of `each`.")
    each: dict[str, tuple[str | int, ...]] = Field({}, description="Column to values; a claim for each combination.")
    quantity: QuantitySettings = Field(description="What is judged.")
    at_most: float | None = Field(None, description="Upper bound of the quantity.")
    at_least: float | None = Field(None, description="Lower bound, instead.")

    @model_validator(mode="after")
    def _one_bound(self) -> ClaimSettings:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("a claim has either at_most or at_least")
        return self

    @model_validator(mode="after")
    def _statement_names_known_columns(self) -> ClaimSettings:
        try:
            self.statement.format_map(dict.fromkeys(self.each, ""))
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"statement: {{column}} must be one of each, not {error}") from None
        return self


class ClaimsSettings(Settings):
    """The claims, and how certain a verdict must be."""

    seeds: SetSize = Field(description='With fewer the verdict is "undecided".')
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(description="Of the intervals, by Student's t over seeds.")
    rows: Removable[dict[Name, ClaimSettings]] = Field(description="The claims by name; null removes one.")

    @property
    def each(self) -> list[tuple[str, ClaimSettings]]:
        """Every single claim with its name, as "fields-keep-their-law fno-laplacian values 64"."""
        singles = []
        for name, claim in self.rows.items():
            for values in itertools.product(*claim.each.values()):
                chosen = dict(zip(claim.each, values, strict=True))
                quantity = claim.quantity.model_copy(update={"of": claim.quantity.of | chosen})
                changed = {"statement": claim.statement.format_map(chosen), "each": {}, "quantity": quantity}
                singles.append((" ".join([name, *map(str, values)]), claim.model_copy(update=changed)))
        return singles
