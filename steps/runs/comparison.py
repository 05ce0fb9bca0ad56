"""What is the same in two receipts, what is not, and why: a row per thing that was compared."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EQUAL = "equal"
WITHIN = "within rtol"
DIFFERS = "differs"
ANOTHER = "another"  # may differ without anything being wrong
UNSEEN = "not examined"
ABSENT = "–"


@dataclass(frozen=True)
class Row:
    """One thing that was compared. Rows of one `group` belong together: the files of the code, the metrics of a run."""

    group: str
    item: str
    recorded: str
    reproduced: str
    verdict: str
    deviation: float = 0.0


def compare(recorded: Mapping, reproduced: Mapping, rtol: float) -> list[Row]:
    """Two receipts, except what they say about inputs (see `reproduction.inputs_again`) and the occasion."""
    one, other = recorded["environment"], reproduced["environment"]
    return [
        *exact("code", recorded["code"]["files"], reproduced["code"]["files"]),
        *exact("parameters", recorded["parameters"], reproduced["parameters"]),
        *exact(
            "packages", {"python": one["python"]} | one["packages"], {"python": other["python"]} | other["packages"]
        ),
        *exact("platform", one["platform"], other["platform"], ANOTHER),
        *exact("threads", one["threads"], other["threads"], ANOTHER),
        *outcomes(recorded["outcome"], reproduced["outcome"], rtol),
    ]


def exact(
    group: str, recorded: Mapping[str, Any], reproduced: Mapping[str, Any], otherwise: str = DIFFERS
) -> list[Row]:
    """A row for each name in either mapping."""
    pairs = {name: (recorded.get(name, ABSENT), reproduced.get(name, ABSENT)) for name in {**recorded, **reproduced}}
    return [
        Row(group, name, str(one), str(other), EQUAL if one == other else otherwise)
        for name, (one, other) in pairs.items()
    ]


def outcomes(recorded: Mapping[str, dict], reproduced: Mapping[str, dict], rtol: float) -> list[Row]:
    """A row for each metric and each artifact of each run, in either outcome."""
    nothing = {"metrics": {}, "artifacts": {}}
    rows = []
    for label in {**recorded, **reproduced}:
        one, other = recorded.get(label, nothing), reproduced.get(label, nothing)
        rows += [
            metric(label, name, one["metrics"].get(name, ABSENT), other["metrics"].get(name, ABSENT), rtol)
            for name in {**one["metrics"], **other["metrics"]}
        ]
        rows += [
            artifact(label, name, one["artifacts"].get(name), other["artifacts"].get(name), rtol)
            for name in {**one["artifacts"], **other["artifacts"]}
        ]
    return rows


def metric(label: str, name: str, recorded: Any, reproduced: Any, rtol: float) -> Row:
    """The row of one metric; its deviation is relative."""
    deviation = largest_deviation([recorded], [reproduced])
    return Row(label, name, str(recorded), str(reproduced), judged(recorded == reproduced, deviation, rtol), deviation)


def artifact(label: str, name: str, recorded: Mapping | None, reproduced: Mapping | None, rtol: float) -> Row:
    """The row of one artifact. With a tolerance, a sample of its numbers decides where the digests differ."""
    if recorded is None or reproduced is None:
        digests = [terms["sha256"] if terms else ABSENT for terms in (recorded, reproduced)]
        return Row(label, name, *digests, DIFFERS, math.inf)
    same = recorded["sha256"] == reproduced["sha256"]
    comparable = "sample" in recorded and recorded["count"] == reproduced.get("count")
    deviation = math.inf
    if same:
        deviation = 0.0
    elif comparable:
        deviation = largest_deviation(recorded["sample"], reproduced["sample"])
    verdict = judged(same, deviation, rtol)
    remark = f" ({len(recorded['sample'])} of {recorded['count']} numbers compared)" if verdict == WITHIN else ""
    return Row(label, name, recorded["sha256"], reproduced["sha256"] + remark, verdict, deviation)


def largest_deviation(recorded: Sequence, reproduced: Sequence) -> float:
    """The largest absolute difference over the largest absolute recorded number; infinite where one has no number."""
    if list(recorded) == list(reproduced):
        return 0.0
    pairs = list(zip(recorded, reproduced, strict=True))
    if any(not isinstance(number, int | float) for pair in pairs for number in pair if pair[0] != pair[1]):
        return math.inf
    numbers = [pair for pair in pairs if pair[0] is not None]
    scale = max(abs(one) for one, _ in numbers)
    return max(abs(one - other) for one, other in numbers) / scale if scale else math.inf


def judged(same: bool, deviation: float, rtol: float) -> str:
    """The verdict on numbers."""
    if same:
        return EQUAL
    return WITHIN if deviation <= rtol and rtol > 0 else DIFFERS


def holds(rows: Iterable[Row]) -> bool:
    """Whether nothing differs."""
    return all(row.verdict != DIFFERS for row in rows)


def conclusion(rows: Sequence[Row], outcome: Iterable[str]) -> str:
    """One line: whether the `outcome`, the groups of rows so called, came out again, and if not, why."""
    results = [row for row in rows if row.group in outcome]
    wrong = [row for row in results if row.verdict == DIFFERS]
    changed = [row for row in rows if row.verdict == DIFFERS and row.group not in outcome]
    close = sum(row.verdict == WITHIN for row in results)
    if wrong:
        line = f"{len(wrong)} of {len(results)} metrics and artifacts did not come out again, e.g. {told(wrong[:1])}"
    elif close:
        line = f"all {len(results)} metrics and artifacts came out again, {close} of them not bit for bit"
    else:
        line = f"all {len(results)} metrics and artifacts came out again, bit for bit"
    if wrong or close:
        line += f"; {farthest(results)}"
    if changed:
        return f"{line}; what changed: {told(changed)}"
    return f"{line}; {guess(rows)}" if wrong else line


def farthest(rows: Iterable[Row]) -> str:
    """The largest deviation, in words."""
    row = max((row for row in rows if row.deviation < math.inf), key=lambda row: row.deviation, default=None)
    if row is None or row.deviation == 0:
        return "no number to measure a deviation by"
    return f"the largest deviation is {row.deviation:.2g} ({row.group}: {row.item})"


def told(rows: Sequence[Row], most: int = 3) -> str:
    """What differs, in words; of a group with many rows, the first few."""
    parts = []
    for group in dict.fromkeys(row.group for row in rows):
        of_group = [row for row in rows if row.group == group]
        named = [f"{row.item} {shortened(row.recorded)} → {shortened(row.reproduced)}" for row in of_group[:most]]
        rest = f" and {len(of_group) - most} more" if len(of_group) > most else ""
        parts.append(f"{group}: {', '.join(named)}{rest}")
    return "; ".join(parts)


def guess(rows: Sequence[Row]) -> str:
    """Why numbers differ though all that should decide them is equal."""
    if excuses := [row for row in rows if row.verdict == ANOTHER]:
        return f"perhaps because of {told(excuses)} (another processor: try -P rtol=1e-9)"
    return "nothing that is recorded explains it: something is random that should not be"


def shortened(text: str) -> str:
    """A digest as people quote it; any other text as it is."""
    return text[:12] + text[64:] if len(text) >= 64 and set(text[:64]) <= set("0123456789abcdef") else text
