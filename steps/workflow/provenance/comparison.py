"""Comparison of two receipts: a row per compared item, a verdict, and the reason where they differ."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow.provenance.receipt import ArtifactDigest, Environment, Outcome, Receipt

EQUAL = "equal"
WITHIN_TOLERANCE = "within rtol"
DIFFERS = "differs"
MAY_DIFFER = "may differ"
NOT_CHECKED = "not checked"
ABSENT = "–"
PLATFORM_RTOL = 1e-9  # on another platform, which may round differently, but decides nothing else
PLATFORM = "platform"
PLATFORM_NAMES = ("system", "processor")  # what they are called changes no number


@dataclass(frozen=True)
class Row:
    """One compared item. Rows of one `group` belong together: the files of the code, the metrics of a run."""

    group: str
    item: str
    recorded: str
    reproduced: str
    verdict: str
    deviation: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """All rows; the groups of them that are results, such as `train rf`; and the relative tolerance of numbers."""

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
        """One line: whether the results match, and if not, why."""
        results = [row for row in self.rows if row.group in self.results]
        wrong = [row for row in results if row.verdict == DIFFERS]
        changed = [row for row in self.rows if row.verdict == DIFFERS and row.group not in self.results]
        close = sum(row.verdict == WITHIN_TOLERANCE for row in results)
        if wrong:
            line = f"{len(wrong)} of {len(results)} metrics and artifacts differ, e.g. {differences(wrong[:1])}"
        elif close:
            line = f"all {len(results)} metrics and artifacts match, {close} of them not bit for bit"
        else:
            line = f"all {len(results)} metrics and artifacts match bit for bit"
        if wrong or close:
            line += f"; {largest(results)}"
        if changed:
            return f"{line}; what changed: {differences(changed)}"
        return f"{line}; {cause(self.rows, wrong)}" if wrong or close else line


def compare(recorded: Receipt, reproduced: Receipt, others: Sequence[Row], rtol: float | None) -> Comparison:
    """Compare two receipts, except for their inputs and provenance.

    Args:
        recorded: the receipt to reproduce.
        reproduced: that of its reproduction.
        others: rows about the inputs and the recorded runs.
        rtol: relative tolerance of numbers. None: bit for bit on the same platform, `PLATFORM_RTOL` on another.
    """
    platform = platform_rows(recorded.environment, reproduced.environment)
    if rtol is None:
        elsewhere = any(row.verdict == MAY_DIFFER and row.item not in PLATFORM_NAMES for row in platform)
        rtol = PLATFORM_RTOL if elsewhere else 0.0
    rows = [
        *others,
        *exact("code", recorded.code.files, reproduced.code.files),
        *exact("parameters", recorded.parameters, reproduced.parameters),
        *exact("packages", recorded.environment.packages, reproduced.environment.packages),
        *platform,
        *exact("threads", recorded.environment.threads, reproduced.environment.threads, MAY_DIFFER),
        *outcome_rows(recorded.outcome, reproduced.outcome, rtol),
    ]
    return Comparison(rows, [*recorded.outcome, *(reproduced.outcome.keys() - recorded.outcome)], rtol)


def platform_rows(recorded: Environment, reproduced: Environment) -> list[Row]:
    """Return a row per part of the platform, Python included."""
    one, other = ({"python": each.python} | each.platform for each in (recorded, reproduced))
    return exact(PLATFORM, one, other, MAY_DIFFER)


def exact(
    group: str, recorded: Mapping[str, Any], reproduced: Mapping[str, Any], otherwise: str = DIFFERS
) -> list[Row]:
    """Return a row for each name in either mapping, with the verdict `otherwise` where the values are not equal."""
    pairs = {name: (recorded.get(name, ABSENT), reproduced.get(name, ABSENT)) for name in {**recorded, **reproduced}}
    return [
        Row(group, name, str(one), str(other), EQUAL if one == other else otherwise)
        for name, (one, other) in pairs.items()
    ]


def with_common_labels(one: Receipt, other: Receipt) -> tuple[Receipt, Receipt]:
    """Return two receipts in whose outcomes the only run of a stage has the same label, whatever its model."""
    labels: list[dict[str, str]] = [{}, {}]
    for stage in {label.partition(" ")[0] for label in {**one.outcome, **other.outcome}}:
        own = [[label for label in each.outcome if label.partition(" ")[0] == stage] for each in (one, other)]
        if own[0] != own[1] and len(own[0]) == len(own[1]) == 1:
            labels = [each | {found[0]: stage} for each, found in zip(labels, own, strict=True)]
    renamed = [
        each.model_copy(update={"outcome": {names.get(label, label): value for label, value in each.outcome.items()}})
        for each, names in zip((one, other), labels, strict=True)
    ]
    return renamed[0], renamed[1]


def outcome_rows(recorded: Mapping[str, Outcome], reproduced: Mapping[str, Outcome], rtol: float) -> list[Row]:
    """Return a row for each metric and each artifact of each run, in either outcome."""
    nothing = Outcome(metrics={}, artifacts={})
    rows = []
    for label in {**recorded, **reproduced}:
        one, other = recorded.get(label, nothing), reproduced.get(label, nothing)
        rows += [
            metric_row(label, name, one.metrics.get(name, ABSENT), other.metrics.get(name, ABSENT), rtol)
            for name in {**one.metrics, **other.metrics}
        ]
        rows += [
            artifact_row(label, name, one.artifacts.get(name), other.artifacts.get(name), rtol)
            for name in {**one.artifacts, **other.artifacts}
        ]
    return rows


def metric_row(label: str, name: str, recorded: float | str | None, reproduced: float | str | None, rtol: float) -> Row:
    """Return the row of one metric; its deviation is relative."""
    deviation = largest_deviation([recorded], [reproduced])
    verdict = verdict_on(recorded == reproduced, deviation, rtol)
    return Row(label, name, str(recorded), str(reproduced), verdict, deviation)


def artifact_row(
    label: str, name: str, recorded: ArtifactDigest | None, reproduced: ArtifactDigest | None, rtol: float
) -> Row:
    """Return the row of one artifact. With a tolerance, its structure and a sample of its numbers decide."""
    if recorded is None or reproduced is None:
        one, other = (digest.sha256 if digest else ABSENT for digest in (recorded, reproduced))
        return Row(label, name, one, other, DIFFERS, math.inf)
    same = recorded.sha256 == reproduced.sha256
    deviation = 0.0 if same else sampled_deviation(recorded, reproduced)
    verdict = verdict_on(same, deviation, rtol)
    remark = ""
    if verdict == WITHIN_TOLERANCE:
        remark = f" ({len(recorded.sample or [])} of {recorded.count} numbers compared)"
    return Row(label, name, recorded.sha256, reproduced.sha256 + remark, verdict, deviation)


def sampled_deviation(recorded: ArtifactDigest, reproduced: ArtifactDigest) -> float:
    """Return the largest deviation between the samples of two artifacts; infinite if they are not comparable."""
    comparable = (recorded.structure, recorded.count) == (reproduced.structure, reproduced.count)
    if not comparable or recorded.sample is None or reproduced.sample is None:
        return math.inf
    return largest_deviation(recorded.sample, reproduced.sample)


def largest_deviation(recorded: Sequence[Any], reproduced: Sequence[Any]) -> float:
    """Return the largest absolute difference over the largest absolute recorded number.

    It is infinite where one of the two has no number.
    """
    if list(recorded) == list(reproduced):
        return 0.0
    pairs = list(zip(recorded, reproduced, strict=True))
    if any(not isinstance(number, int | float) for pair in pairs for number in pair if pair[0] != pair[1]):
        return math.inf
    numbers = [pair for pair in pairs if pair[0] is not None]
    scale = max(abs(one) for one, _ in numbers)
    return max(abs(one - other) for one, other in numbers) / scale if scale else math.inf


def verdict_on(same: bool, deviation: float, rtol: float) -> str:
    """Return the verdict on numbers."""
    if same:
        return EQUAL
    return WITHIN_TOLERANCE if deviation <= rtol and rtol > 0 else DIFFERS


def largest(rows: Iterable[Row]) -> str:
    """Describe the largest deviation."""
    row = max((row for row in rows if row.deviation < math.inf), key=lambda row: row.deviation, default=None)
    if row is None or row.deviation == 0:
        return "no number to measure a deviation by"
    return f"the largest deviation is {row.deviation:.2g} ({row.group}: {row.item})"


def differences(rows: Sequence[Row], shown: int = 3) -> str:
    """Describe what differs; of a group with many rows, the first few."""
    described = []
    for group in dict.fromkeys(row.group for row in rows):
        of_group = [row for row in rows if row.group == group]
        named = [f"{row.item} {shortened(row.recorded)} → {shortened(row.reproduced)}" for row in of_group[:shown]]
        rest = f" and {len(of_group) - shown} more" if len(of_group) > shown else ""
        described.append(f"{group}: {', '.join(named)}{rest}")
    return "; ".join(described)


def cause(rows: Sequence[Row], wrong: Sequence[Row]) -> str:
    """Explain why numbers differ though code, data, parameters and packages are equal, and what to do."""
    others = [row for row in rows if row.verdict == MAY_DIFFER]
    others = [row for row in others if row.item not in PLATFORM_NAMES] or others
    if not others:
        return "nothing that is recorded explains it: something is random that should not be"
    if not wrong:
        return f"because of {differences(others)}"
    if all(row.deviation <= PLATFORM_RTOL for row in wrong):
        return f"because of {differences(others)}: they match with -P rtol={power(PLATFORM_RTOL)}"
    return f"perhaps because of {differences(others)}: reproduce it where these are as recorded"


def power(number: float) -> str:
    """Return a tolerance as people write it: 1e-9."""
    return f"{number:g}".replace("e-0", "e-")


def shortened(text: str) -> str:
    """Return the first characters of a digest; any other text as it is."""
    return text[:12] + text[64:] if len(text) >= 64 and set(text[:64]) <= set("0123456789abcdef") else text
