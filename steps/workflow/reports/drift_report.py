"""The drift report: how the predicted rows differ from the training set."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from markupsafe import Markup

from workflow.evaluation.drift import LARGE_DRIFT
from workflow.formatting import percent
from workflow.reports.report import Page, Section

DRIFT_TEXT = (
    "Drift is the distance between the distribution in the training set and that in the new rows: 0 % is identical,"
    " 100 % has nothing in common. It is the Kolmogorov-Smirnov statistic of numbers, dates and text lengths, and the"
    " total variation distance of categories. Unseen is the fraction of rows whose category does not occur in the"
    " training set. With a few hundred rows, chance alone makes a few per cent."
)
BAR = '<div class="{kind}" style="width:{width:.0f}px"></div> {text}'
BAR_PIXELS = 240  # of a drift of 100 %


def drift_report(drifts: pd.DataFrame, summary: str, addresses: Mapping[str, str]) -> Page:
    """Return the page about the drift of predicted rows.

    Args:
        drifts: a row per feature, as `evaluation.drift.drift` returns it.
        summary: what was predicted, in a sentence or two.
        addresses: pages to link to, by name.
    """
    return Page("Drift of the predicted rows", summary, [drift_section(drifts)], addresses=addresses)


def drift_section(drifts: pd.DataFrame, more: str = "") -> Section:
    """Return the section with the drift of each feature; `more` follows its text."""
    table = drifts.astype(object).assign(drift=pd.Series(map(bar, drifts["drift"]), dtype=object))
    for name in ("missing before", "missing now", "unseen"):
        table[name] = drifts[name].map(lambda fraction: percent(fraction, 1))
    return Section("Drift by feature", DRIFT_TEXT + more, table)


def bar(fraction: float) -> Markup:
    """Return a fraction as a bar and a percentage."""
    if np.isnan(fraction):
        return Markup("no values")
    kind = "bar large" if fraction >= LARGE_DRIFT else "bar"
    return Markup(BAR).format(kind=kind, width=1 + fraction * BAR_PIXELS, text=percent(fraction, 1))
