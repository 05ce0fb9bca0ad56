import pytest

from workflow.provenance.causes import causes_of, mix
from workflow.provenance.comparison import with_common_labels
from workflow.provenance.receipt import CodeState, Environment, InputRecord, Outcome, Receipt, make


def receipt(
    parameters: dict | None = None,
    data: str = "1",
    contract: str = "2",
    code: dict[str, str] | None = None,
    packages: dict[str, str] | None = None,
    label: str = "evaluate rf",
) -> Receipt:
    sources = {"data": data, "contract": contract}
    return make(
        "evaluate",
        {"seed": 0, "model": "rf"} | (parameters or {}),
        {name: InputRecord(source=f"{name}.csv", sha256=text * 64) for name, text in sources.items() if text},
        CodeState(commit="c" * 40, folder="", remote=None, patch=None, files=code or {"train.py": "3" * 64}),
        Environment(
            python="3.11.7", packages=packages or {"numpy": "2.0"}, supporting={}, platform={"numpy": "V3"}, threads={}
        ),
        {label: Outcome(metrics={"mean_absolute_error": 1.0}, artifacts={})},
        {label: "a" * 32},
    )


CHANGED_CODE = {"train.py": "4" * 64}


@pytest.mark.parametrize(
    ("changes", "causes"),
    [
        ({}, []),
        ({"data": "9"}, ["data"]),
        ({"parameters": {"seed": 1}}, ["seed"]),
        ({"code": CHANGED_CODE}, ["code"]),
        ({"packages": {"numpy": "2.1"}}, ["packages"]),
        ({"packages": {"numpy": "2.0", "extra": "1"}}, []),  # came with the code that imports it
        ({"contract": "", "parameters": {"contract": "auto"}}, ["contract"]),
        ({"code": CHANGED_CODE, "parameters": {"new": 1}}, ["code"]),  # which alone knows the parameter
        ({"data": "9", "code": CHANGED_CODE, "parameters": {"model": "knn"}}, ["data", "model", "code"]),
    ],
)
def test_the_causes_are_what_differs_and_may_change_the_outcome(changes, causes):
    assert causes_of(receipt(), receipt(**changes)) == causes


def test_a_mixed_receipt_has_what_is_chosen_from_the_other_one():
    one = receipt()
    other = receipt({"seed": 1, "new": 2}, data="9", code=CHANGED_CODE, packages={"numpy": "2.1"})
    assert mix(one, other, []) == one
    found = mix(one, other, ["data", "seed"])
    assert found.inputs == {"data": other.inputs["data"], "contract": one.inputs["contract"]}
    assert found.parameters == {"seed": 1, "model": "rf"}
    assert (found.code, found.environment) == (one.code, one.environment)
    assert mix(one, other, ["code"]).parameters == {"seed": 0, "model": "rf", "new": 2}
    everything = mix(one, other, causes_of(one, other))
    for field in ("inputs", "parameters", "code", "environment"):
        assert getattr(everything, field) == getattr(other, field)


def test_a_contract_that_only_one_has_is_given_or_inferred():
    one, other = receipt(), receipt({"contract": "auto"}, contract="")
    assert "contract" not in mix(one, other, ["contract"]).inputs
    assert mix(one, other, ["contract"]).parameters["contract"] == "auto"
    assert "contract" not in mix(one, other, []).parameters
    assert mix(other, one, ["contract"]).inputs["contract"] == one.inputs["contract"]


def test_the_only_runs_of_a_stage_are_compared_whatever_their_models():
    one, other = with_common_labels(receipt(), receipt(label="evaluate knn"))
    assert list(one.outcome) == list(other.outcome) == ["evaluate"]
    same = with_common_labels(receipt(), receipt())
    assert list(same[0].outcome) == ["evaluate rf"]
