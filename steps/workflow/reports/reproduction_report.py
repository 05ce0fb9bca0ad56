"""The reproduction report: each compared item, and the verdict."""

from collections.abc import Collection

import pandas as pd

from workflow.reports.report import Page, Section

EQUAL = "equal"
COLUMNS = ["item", "recorded", "reproduced", "verdict"]
GROUP_TEXTS = {
    "receipt": "The receipt's own digest: reveals that it was edited.",
    "as logged": "What the recorded runs hold today: reveals an edited metric or a replaced model.",
    "platform": "May differ, which can change the last digits.",
    "threads": "May differ, and should change nothing.",
}
MAX_UNEQUAL_SHOWN = 4  # rows of a group in the summary
SUMMARY_METRICS = {"cv_r2_score", "r2_score", "mean_absolute_error"}  # in the summary even if they are equal


def summary(compared: pd.DataFrame, results: Collection[str]) -> pd.DataFrame:
    """Return the rows to look at first.

    They are, for each group, the first that are not equal, the main metrics of `results`, and the number of the
    others.

    Args:
        compared: a row per compared item: `group`, `item`, `recorded`, `reproduced`, `verdict`.
        results: the groups that are results, such as `train rf`.

    Returns:
        A frame with the columns `COLUMNS`.
    """
    lines = []
    for group, members in compared.groupby("group", sort=False):
        unequal = members["verdict"] != EQUAL
        main_metric = members["item"].isin(SUMMARY_METRICS if group in results else ())
        equal_shown = members[~unequal & (main_metric | (len(members) == 1))]
        shown = pd.concat([members[unequal].head(MAX_UNEQUAL_SHOWN), equal_shown])
        lines += [(f"{group}: {row.item}", row.recorded, row.reproduced, row.verdict) for row in shown.itertuples()]
        if unequal.sum() > MAX_UNEQUAL_SHOWN:
            more = unequal.sum() - MAX_UNEQUAL_SHOWN
            lines.append((f"{group}: {more} more", "", "see reproduction.html", "not equal"))
        if rest := len(members) - unequal.sum() - len(equal_shown):
            lines.append((f"{group}: {rest}{' more' if rest < len(members) else ''}", "", "", EQUAL))
    return pd.DataFrame(lines, columns=COLUMNS)


def reproduction_report(
    compared: pd.DataFrame, results: Collection[str], label: str, verdict: str, conclusion: str, origin: str
) -> Page:
    """Return the page about the reproduction of one run.

    Args:
        compared: as in `summary`.
        results: as in `summary`.
        label: of the reproduced run.
        verdict: on the whole run.
        conclusion: the verdict with its reason, in one line.
        origin: when, where and from which commit the run was recorded.
    """
    text, warning = origin, conclusion
    if verdict.startswith(EQUAL):
        text, warning = f"{conclusion[0].upper()}{conclusion[1:]}. {origin}", ""
    sections = [Section("Summary", table=summary(compared, results))]
    for group, members in compared.groupby("group", sort=False):
        sections.append(Section(group.capitalize(), GROUP_TEXTS.get(group, ""), members[COLUMNS]))
    return Page(f"Reproduction of {label}: {verdict}", text, sections, warning=warning)
