from conftest import PROJECT

from workflow.provenance import receipt
from workflow.runs.verdicts import digests_of

RECORDED = receipt.read((PROJECT / "receipts/wines.json").read_text(), "wines.json")


def test_verdicts_on_a_training_are_found_by_its_model_and_all_its_inputs():
    """One on the same model from other data is about another result, and no forgery: it must not be found."""
    model = RECORDED.outcome["train linear"].artifacts["model/model.skops"].sha256
    outcome = {"train linear": RECORDED.outcome["train linear"]}
    training = RECORDED.model_copy(update={"step": "train", "outcome": outcome})
    inputs = [each.sha256 for each in training.inputs.values()]
    assert digests_of(training) == [[training.self_digest()], [model, *inputs]]
    assert digests_of(RECORDED) == [[RECORDED.sha256]]
