"""The page about a reproduction: what was compared, and what came of it."""

from collections.abc import Collection

import pandas as pd

from workflow.reports.report import Section, page

EQUAL = "equal"
COLUMNS = ["item", "recorded", "reproduced", "verdict"]
EXPLAINED = {
    "receipt": "Its own digest: an edit after it was written shows.",
    "as logged": "What the recorded runs hold today: an edited metric or a swapped model shows.",
    "platform": "May differ, and may then change the last digits.",
    "threads": "May differ, and should change nothing.",
}
MOST = 4  # rows of a group to show where they are not equal
SCORES = {"cv_r2_score", "r2_score", "mean_absolute_error"}  # shown in short even where all is equal


def summary(compared: pd.DataFrame, results: Collection[str]) -> pd.DataFrame:
    """What people look at: of each group the first that are not equal, and how many are; the scores of `results`.

    Args:
        compared: a row per thing that was compared: `group`, `item`, `recorded`, `reproduced`, `verdict`.
        results: the groups that are results, `train rf` for one.

    Returns:
        A frame of the `COLUMNS`.
    """
    lines = []
    for group, members in compared.groupby("group", sort=False):
        wrong = members["verdict"] != EQUAL
        score = members["item"].isin(SCORES if group in results else ())
        fine = members[~wrong & (score | (len(members) == 1))]
        shown = pd.concat([members[wrong].head(MOST), fine])
        lines += [(f"{group}: {row.item}", row.recorded, row.reproduced, row.verdict) for row in shown.itertuples()]
        if wrong.sum() > MOST:
            lines.append((f"{group}: {wrong.sum() - MOST} more", "", "see reproduction.html", "not equal"))
        if rest := len(members) - wrong.sum() - len(fine):
            lines.append((f"{group}: {rest}{' more' if rest < len(members) else ''}", "", "", EQUAL))
    return pd.DataFrame(lines, columns=COLUMNS)


def reproduction_report(
    compared: pd.DataFrame, results: Collection[str], label: str, verdict: str, conclusion: str, origin: str
) -> str:
    """The page about the reproduction of one run.

    Args:
        compared: as in `summary`.
        results: as in `summary`.
        label: what was reproduced.
        verdict: on the whole.
        conclusion: the verdict with its reason, in one line.
        origin: when, where and from what code it was recorded.
    """
    lead, warning = origin, conclusion
    if verdict.startswith(EQUAL):
        lead, warning = f"{conclusion[0].upper()}{conclusion[1:]}. {origin}", ""
    sections = [Section("In short", table=summary(compared, results))]
    for group, members in compared.groupby("group", sort=False):
        sections.append(Section(group.capitalize(), EXPLAINED.get(group, ""), members[COLUMNS]))
    return page(f"Reproduction of {label}: {verdict}", lead, sections, warning)
