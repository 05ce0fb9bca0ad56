"""Contract inference as an MLflow run: the contract is printed and logged."""

from workflow.commands import preprocess
from workflow.parameters import ContractParams
from workflow.runs import cli, links, sources, tracking
from workflow.runs.names import Files


def run(params: ContractParams) -> None:
    """Infer the contract of the data, log it and print it."""
    from workflow.data import files
    from workflow.data.contract import contract_text
    from workflow.stages.preprocess import infer_contract

    tracking.describe_command("contract", "contract", params.model_dump(mode="json"))
    with files.open_table(sources.local_copy("data", params.data, preprocess.PROJECT)) as data:
        inferred = infer_contract(data, params)
    text = contract_text(inferred.contract, inferred.notes)
    with tracking.artifacts() as folder:
        (folder / Files.CONTRACT).write_text(text, encoding="utf-8")
    print(text)
    cli.print_findings(inferred.findings)
    cli.print_links({"contract": links.run_page(tracking.active_run())})
