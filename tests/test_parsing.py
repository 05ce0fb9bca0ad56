from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import UserError
from workflow.parameters import MainCommand, PreprocessParams, TrainCommand, TrainParams
from workflow.parsing import (
    FromText,
    Params,
    csv_list,
    fraction,
    integer,
    mapping,
    nested_mapping,
    one_of,
    options_of,
    or_auto,
    parse_texts,
    to_command_line,
    unknown_parameter,
)
from workflow.spelling import nearest


@given(st.integers(0, 2**32 - 1))
def test_every_seed_is_parsed_as_it_is_written(number):
    assert integer(0)(str(number)) == number


@pytest.mark.parametrize("text", ["", "1.5", "-1", "4294967296", "1e3", "one"])
def test_other_texts_are_no_integer(text):
    with pytest.raises(ValueError, match="must be an integer from 0 to 4294967295"):
        integer(0)(text)


@pytest.mark.parametrize("text", ["0", "1", "nan", "inf", "-0.2", "", "half"])
def test_a_fraction_lies_between_0_and_1(text):
    with pytest.raises(ValueError, match="between 0 and 1"):
        fraction(text)


def test_a_list_loses_spaces_and_repetitions_and_is_not_empty():
    assert csv_list(one_of(["a", "b"]))(" b, a,b,") == ["b", "a"]
    with pytest.raises(ValueError, match="name at least one"):
        csv_list(one_of(["a", "b"]))(" , ")


def test_a_mapping_has_names_as_keys():
    assert mapping("null") == mapping("") == mapping("{}") == {}
    assert mapping("{n_estimators: 3, criterion: 'a b'}") == {"n_estimators": 3, "criterion": "a b"}
    with pytest.raises(ValueError, match="mapping"):
        mapping("{1: 2}")


def test_a_nested_mapping_maps_to_mappings():
    parse = nested_mapping("{rf: {n_estimators: 300}}")
    assert parse("{rf: {n_estimators: 3}}") == {"rf": {"n_estimators": 3}}
    with pytest.raises(ValueError, match=r"rf must be mapped to a mapping, as in \{rf: \{n_estimators: 300\}\}"):
        parse("{rf: 3}")


def test_an_unknown_name_gets_a_suggestion():
    assert nearest("modle", ["model", "seed"]) == "did you mean model?"
    assert nearest("zzz", ["model", "seed"]) == "expected one of model, seed"
    assert unknown_parameter("--zzz=1", ["model"]) == "unknown parameter zzz; expected one of model"


def test_texts_become_typed_parameters_that_count_as_given():
    params = parse_texts(TrainCommand, {"seed": "3", "test_size": "0.1", "model_params": "{max_depth: 2}"})
    assert (params.seed, params.test_size, params.model_params) == (3, 0.1, {"max_depth": 2})
    assert params.model_fields_set == {"seed", "test_size", "model_params"}
    assert params.model == "rf"


def test_a_text_that_cannot_be_parsed_is_named_with_the_reason():
    with pytest.raises(UserError, match=r"^test_size=2: must be a number between 0 and 1$"):
        parse_texts(TrainCommand, {"test_size": "2"})


def test_an_option_may_be_called_otherwise_than_its_field():
    assert "register" in options_of(MainCommand)
    assert "register_as" not in options_of(MainCommand)
    assert parse_texts(MainCommand, {"register": "wines"}).register_as == "wines"


def test_narrowed_parameters_know_which_of_them_were_given():
    params = parse_texts(TrainCommand, {"seed": "3", "model": "knn"}).narrow(PreprocessParams)
    assert (params.seed, params.model_fields_set) == (3, {"seed"})


def test_a_stage_inherits_the_values_of_an_upstream_run():
    upstream = PreprocessParams(seed=5, split="time")
    params = TrainParams(model="knn", seed=1).inherit(upstream)
    assert (params.model, params.seed, params.split) == ("knn", 5, "time")


class Sample(Params):
    data: Annotated[str, FromText(in_fingerprint=False)] = "a.csv"
    rows: Annotated[int | str, FromText(or_auto(integer(2)))] = "auto"


def test_a_path_does_not_decide_a_result_but_other_parameters_do():
    assert Sample(data="b.csv", rows=3).deciding() == {"rows": 3}
    assert (Sample.decide("data"), Sample.decide("rows"), Sample.decide("unknown")) == (False, True, False)


@pytest.mark.parametrize("text", ["auto", "2", "17"])
def test_a_parsed_value_is_written_as_the_command_line_takes_it(text):
    assert to_command_line(parse_texts(Sample, {"rows": text}).rows) == text


def test_lists_and_empty_mappings_are_written_as_the_command_line_takes_them():
    assert to_command_line(["rf", "knn"]) == "rf,knn"
    assert to_command_line({}) == "null"
    assert mapping(to_command_line({"max_depth": 2})) == {"max_depth": 2}
