import time

import pytest

from workflow.data.contract import read_contract
from workflow.documents import MAX_BYTES, read_yaml, read_yaml_file
from workflow.errors import UserError
from workflow.parsing import mapping

LAUGHS = "a0: &a0 [lol, lol]\n" + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
HOSTILE = {
    "aliases of aliases": (LAUGHS, r"its aliases \(\*name\) repeat more than 1,000,000 values"),
    "a value in itself": ("a: &a [*a]", r"its aliases \(\*name\) repeat"),
    "nested sequences": ("[" * 50_000, "too deeply nested"),
    "nested mappings": ("{a: " * 50_000, "too deeply nested"),
    "a tag of Python": ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
    "two documents": ("a: 1\n---\nb: 2", "expected a single document"),
}


@pytest.mark.parametrize(("text", "words"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_refused_in_a_moment(tmp_path, text, words):
    begun = time.monotonic()
    with pytest.raises(ValueError, match=words):
        read_yaml(text)
    with pytest.raises(ValueError, match=f"^not YAML or JSON: .*{words}"):
        mapping(text)
    (tmp_path / "contract.yaml").write_text(text)
    with pytest.raises(UserError, match=f"^contract .*{words}") as refused:
        read_contract(tmp_path / "contract.yaml")
    assert "\n" not in str(refused.value)
    assert time.monotonic() - begun < 5


def test_aliases_that_repeat_little_are_read():
    assert read_yaml("one: &it {kind: numeric}\ntwo: *it\nthree: {<<: *it, range: [0, 1]}") == {
        "one": {"kind": "numeric"},
        "two": {"kind": "numeric"},
        "three": {"kind": "numeric", "range": [0, 1]},
    }
    assert read_yaml("") is None


def test_a_file_that_nobody_wrote_by_hand_is_not_read(tmp_path):
    with open(tmp_path / "huge.yaml", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ValueError, match="larger than 4 MB"):
        read_yaml_file(tmp_path / "huge.yaml")
