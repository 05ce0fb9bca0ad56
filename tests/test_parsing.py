import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.parameters import mapping, nearest, one_of, several, unknown_parameter, whole


@given(st.integers(0, 2**32 - 1))
def test_whole_numbers(number):
    assert whole(0)(str(number)) == number


@pytest.mark.parametrize("text", ["", "1.5", "-1", "4294967296", "1e3", "one"])
def test_not_a_whole_number(text):
    with pytest.raises(ValueError, match="whole number"):
        whole(0)(text)


@pytest.mark.parametrize("text", ["0", "1", "nan", "inf", "-0.2", "", "half"])
def test_not_a_share(text):
    with pytest.raises(ValueError, match="between 0 and 1"):
        share(text)


def test_lists():
    assert several(one_of(["a", "b"]))(" b, a,b,") == ["b", "a"]
    with pytest.raises(ValueError, match="name at least one"):
        several(one_of(["a", "b"]))(" , ")


def test_mappings():
    assert mapping("null") == mapping("") == mapping("{}") == {}
    assert mapping("{n_estimators: 3, criterion: 'a b'}") == {"n_estimators": 3, "criterion": "a b"}
    with pytest.raises(ValueError, match="mapping"):
        mapping("{1: 2}")


def test_names():
    assert nearest("modle", ["model", "seed"]) == "did you mean model?"
    assert unknown_parameter("--zzz=1", ["model"]) == "unknown parameter zzz: there are model"
