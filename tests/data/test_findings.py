import re

from conftest import PROJECT

from workflow.data.findings import NOTES, TITLES, Finding


def test_each_code_has_a_section_of_the_page():
    sections = re.findall(r"^### (\w\d{3}) (.+)$", (PROJECT / "docs/findings.md").read_text(encoding="utf-8"), re.M)
    assert dict(sections) == TITLES


def test_a_finding_survives_json_and_is_a_line():
    found = Finding("D106", "column tax is a copy of the target", "drop it", ("tax",), {"correlation": 1.0})
    assert Finding.from_json(found.to_json()) == found
    assert found.to_json()["title"] == TITLES["D106"]
    assert str(found) == "D106 column tax is a copy of the target; drop it"
    assert found.is_warning
    assert not Finding(min(NOTES), "").is_warning
