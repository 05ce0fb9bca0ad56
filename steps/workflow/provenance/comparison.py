"""What is the same in two receipts, what is not, and why: a row per thing that was compared."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EQUAL = "equal"
WITHIN_TOLERANCE = "within rtol"
DIFFERS = "differs"
MAY_DIFFER = "another"  # may differ without anything being wrong
NOT_CHECKED = "not examined"
ABSENT = "–"
ELSEWHERE = 1e-9  # the tolerance where the platform is another one: it may round differently, but decide nothing else
PLATFORM = "platform"
NAMES = ("system", "processor")  # of the platform: what they are called changes no number


@dataclass(frozen=True)
class Row:
    """One thing that was compared. Rows of one `group` belong together: the files of the code, the metrics of a run."""

    group: str
    item: str
    recorded: str
    reproduced: str
    verdict: str
    deviation: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """All rows; the groups of them that are results, `train rf` for one; and the relative tolerance of numbers."""

    rows: Sequence[Row]
    results: Collection[str]
    rtol: float

    @property
    def verdict(self) -> str:
        """`equal`, `equal within 1e-9` (or whatever the tolerance is) or `differs`."""
        found = {row.verdict for row in self.rows}
        if DIFFERS in found:
            return DIFFERS
        return f"{EQUAL} within {power(self.rtol)}" if WITHIN_TOLERANCE in found else EQUAL

    @property
    def conclusion(self) -> str:
        """One line: whether the results came out again, and if not, why."""
        results = [row for row in self.rows if row.group in self.results]
        wrong = [row for row in results if row.verdict == DIFFERS]
        changed = [row for row in self.rows if row.verdict == DIFFERS and row.group not in self.results]
        close = sum(row.verdict == WITHIN_TOLERANCE for row in results)
        if wrong:
            line = (
                f"{len(wrong)} of {len(results)} metrics and artifacts did not come out again,"
                f" e.g. {differences(wrong[:1])}"
            )
        elif close:
            line = f"all {len(results)} metrics and artifacts came out again, {close} of them not bit for bit"
        else:
            line = f"all {len(results)} metrics and artifacts came out again, bit for bit"
        if wrong or close:
            line += f"; {largest(results)}"
        if changed:
            return f"{line}; what changed: {differences(changed)}"
        return f"{line}; {cause(self.rows, wrong)}" if wrong or close else line


def compare(
    recorded: Mapping[str, Any], reproduced: Mapping[str, Any], others: Sequence[Row], rtol: float | None
) -> Comparison:
    """Two receipts, except what they say about inputs and the occasion.

    Args:
        recorded: the receipt to reproduce.
        reproduced: that of its reproduction.
        others: rows about the inputs and the recorded runs.
        rtol: relative tolerance of numbers. None: bit for bit on the same platform, `ELSEWHERE` on another.
    """
    one, other = recorded["environment"], reproduced["environment"]
    platform = platforms(one, other, recorded["version"])
    if rtol is None:
        rtol = ELSEWHERE if any(row.verdict == MAY_DIFFER and row.item not in NAMES for row in platform) else 0.0
    rows = [
        *others,
        *exact("code", recorded["code"]["files"], reproduced["code"]["files"]),
        *exact("parameters", recorded["parameters"], reproduced["parameters"]),
        *exact("packages", one["packages"], other["packages"]),
        *platform,
        *exact("threads", one["threads"], other["threads"], MAY_DIFFER),
        *outcomes(recorded["outcome"], reproduced["outcome"], rtol),
    ]
    return Comparison(rows, recorded["outcome"].keys(), rtol)


def platforms(recorded: Mapping[str, Any], reproduced: Mapping[str, Any], version: int) -> list[Row]:
    """A row per part of the platform, Python among them; what a receipt of version 1 does not say may be another."""
    one, other = ({"python": each["python"]} | each["platform"] for each in (recorded, reproduced))
    rows = exact(PLATFORM, one, other, MAY_DIFFER)
    if version == 1:
        rows.append(Row(PLATFORM, "numpy's level", "not recorded", "not recorded", MAY_DIFFER))
    return rows


def exact(
    group: str, recorded: Mapping[str, Any], reproduced: Mapping[str, Any], otherwise: str = DIFFERS
) -> list[Row]:
    """A row for each name in either mapping."""
    pairs = {name: (recorded.get(name, ABSENT), reproduced.get(name, ABSENT)) for name in {**recorded, **reproduced}}
    return [
        Row(group, name, str(one), str(other), EQUAL if one == other else otherwise)
        for name, (one, other) in pairs.items()
    ]


def outcomes(
    recorded: Mapping[str, dict[str, Any]], reproduced: Mapping[str, dict[str, Any]], rtol: float
) -> list[Row]:
    """A row for each metric and each artifact of each run, in either outcome."""
    nothing: dict[str, dict[str, Any]] = {"metrics": {}, "artifacts": {}}
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
    verdict = verdict_on(recorded == reproduced, deviation, rtol)
    return Row(label, name, str(recorded), str(reproduced), verdict, deviation)


def artifact(
    label: str, name: str, recorded: Mapping[str, Any] | None, reproduced: Mapping[str, Any] | None, rtol: float
) -> Row:
    """The row of one artifact. With a tolerance, its structure and a sample of its numbers decide."""
    if recorded is None or reproduced is None:
        one, other = (terms["sha256"] if terms else ABSENT for terms in (recorded, reproduced))
        return Row(label, name, one, other, DIFFERS, math.inf)
    same = recorded["sha256"] == reproduced["sha256"]
    comparable = "sample" in recorded and all(
        recorded.get(part) == reproduced.get(part) for part in ("structure", "count")
    )
    deviation = math.inf
    if same:
        deviation = 0.0
    elif comparable:
        deviation = largest_deviation(recorded["sample"], reproduced["sample"])
    verdict = verdict_on(same, deviation, rtol)
    remark = (
        f" ({len(recorded['sample'])} of {recorded['count']} numbers compared)" if verdict == WITHIN_TOLERANCE else ""
    )
    return Row(label, name, recorded["sha256"], reproduced["sha256"] + remark, verdict, deviation)


def largest_deviation(recorded: Sequence[Any], reproduced: Sequence[Any]) -> float:
    """The largest absolute difference over the largest absolute recorded number; infinite where one has no number."""
    if list(recorded) == list(reproduced):
        return 0.0
    pairs = list(zip(recorded, reproduced, strict=True))
    if any(not isinstance(number, int | float) for pair in pairs for number in pair if pair[0] != pair[1]):
        return math.inf
    numbers = [pair for pair in pairs if pair[0] is not None]
    scale = max(abs(one) for one, _ in numbers)
    return max(abs(one - other) for one, other in numbers) / scale if scale else math.inf


def verdict_on(same: bool, deviation: float, rtol: float) -> str:
    """The verdict on numbers."""
    if same:
        return EQUAL
    return WITHIN_TOLERANCE if deviation <= rtol and rtol > 0 else DIFFERS


def largest(rows: Iterable[Row]) -> str:
    """The largest deviation, in words."""
    row = max((row for row in rows if row.deviation < math.inf), key=lambda row: row.deviation, default=None)
    if row is None or row.deviation == 0:
        return "no number to measure a deviation by"
    return f"the largest deviation is {row.deviation:.2g} ({row.group}: {row.item})"


def differences(rows: Sequence[Row], most: int = 3) -> str:
    """What differs, in words; of a group with many rows, the first few."""
    described = []
    for group in dict.fromkeys(row.group for row in rows):
        of_group = [row for row in rows if row.group == group]
        named = [f"{row.item} {shortened(row.recorded)} → {shortened(row.reproduced)}" for row in of_group[:most]]
        rest = f" and {len(of_group) - most} more" if len(of_group) > most else ""
        described.append(f"{group}: {', '.join(named)}{rest}")
    return "; ".join(described)


def cause(rows: Sequence[Row], wrong: Sequence[Row]) -> str:
    """Why numbers differ though code, data, parameters and packages are equal; what to do about the `wrong` ones."""
    others = [row for row in rows if row.verdict == MAY_DIFFER]
    others = [row for row in others if row.item not in NAMES] or others
    if not others:
        return "nothing that is recorded explains it: something is random that should not be"
    if not wrong:
        return f"because of {differences(others)}"
    if all(row.deviation <= ELSEWHERE for row in wrong):
        return f"because of {differences(others)}: it comes out with -P rtol={power(ELSEWHERE)}"
    return f"perhaps because of {differences(others)}: reproduce it where these are as recorded"


def power(number: float) -> str:
    """A tolerance as people write it: 1e-9."""
    return f"{number:g}".replace("e-0", "e-")


def shortened(text: str) -> str:
    """A digest as people quote it; any other text as it is."""
    return text[:12] + text[64:] if len(text) >= 64 and set(text[:64]) <= set("0123456789abcdef") else text
