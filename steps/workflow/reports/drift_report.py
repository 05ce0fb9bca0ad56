"""The page about how new rows differ from those that a model has learned from."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from markupsafe import Markup

from workflow.reports.report import Section, page, percent

TEXT = (
    "How many of the rows would have to change for both to look alike: 0 % is as in training, 100 % nothing alike. For"
    " numbers, dates and the length of prose it is the Kolmogorov-Smirnov statistic, for categories the total variation"
    " distance; unseen are rows whose category the model has never met. Chance alone makes a few per cent of a few"
    " hundred rows."
)
BAR = '<div style="background:{colour};width:{width:.0f}px;height:12px;display:inline-block"></div> {share}'
WIDE, MUCH = 240, 0.2  # pixels of all, and the share from where on a bar stands out


def drift_report(moved: pd.DataFrame, lead: str, addresses: Mapping[str, str]) -> str:
    """The page about rows that were predicted; `moved` is as `learning.drift` gives it, and the rest as `page` does."""
    table = moved.astype(object).assign(drift=pd.Series(map(bar, moved["drift"]), dtype=object))
    for name in ("missing before", "missing now", "unseen"):
        table[name] = moved[name].map(lambda share: percent(share, 1))
    return page("Drift of the predicted rows", lead, [Section("Column by column", TEXT, table)], addresses=addresses)


def bar(share: float) -> Markup:
    """A share as a bar and a number."""
    if np.isnan(share):
        return Markup("no values")
    colour = "#7b1e3a" if share >= MUCH else "#c9ced3"
    return Markup(BAR).format(colour=colour, width=1 + share * WIDE, share=percent(share, 1))
