"""The names of tags and artifacts of runs: no other module spells them."""


class Tags:
    """Tags of runs and of model versions."""

    PREFIX = "workflow."  # of all of them

    STAGE = "workflow.step"
    PARAMETERS = "workflow.parameters"  # of the whole lineage, as JSON
    UPSTREAM = "workflow.upstream"  # the run it was built on
    PREPROCESS = "workflow.preprocess"  # of an evaluate run: the preprocess run whose test set it scored
    FINGERPRINT = "workflow.fingerprint"  # written last: a FINISHED run with it is complete
    REPORT = "workflow.report"  # the fingerprint of its page and figures
    PROCESS = "workflow.process"
    ERROR = "workflow.error"
    FINDINGS = "workflow.findings"  # the codes of its findings, with spaces between them
    BLEND_MEMBERS = "workflow.blends"  # of a blend: the train run of each member, as JSON
    WINNER = "workflow.winner"
    WINNER_RUN = "workflow.winner_run_id"
    WINNER_EVALUATE_RUN = "workflow.winner_evaluate_run_id"
    WINNER_OF = "workflow.winner_of"
    SEARCH = "workflow.search"  # of a trial: the fingerprint of the search
    TRIED = "workflow.tried"  # of a trial: its parameters
    FOLD_SCORES = "workflow.folds"  # of a trial
    PRUNED = "workflow.pruned"
    RECEIPT = (
        "workflow.receipt"  # SHA-256 of receipt.json: of a run, of a model version its run's; of a trial, its digest
    )
    ALTERED = "workflow.altered"  # an artifact that was found to be not as recorded: the run is not reused
    PROMOTION = "workflow.promotion"  # of a model version: the run that promotes it
    DECISION = "workflow.decision"
    SIGNERS = "workflow.signers"  # of a model version: who has reproduced and signed it
    CHAMPION = "workflow.champion"  # of a run: the version that it made the champion, as name/version
    FORMER_CHAMPION = "workflow.former_champion"  # of a model version: the champion before it
    REPRODUCES = "workflow.reproduces"
    REPRODUCED = "workflow.reproduced"  # the verdict
    REPRODUCED_BY = "workflow.reproduced_by"
    VERDICT = "workflow.verdict"
    COUNTERFACTUAL = "workflow.counterfactual"  # the digest of all that decides what was mixed from two receipts
    SUBJECTS = "workflow.subjects"  # of a reproduction: the digests of all that its verdict is about
    SIGNED = "workflow.signed"  # of a reproduction: the id of the key that signed its verdict
    RECEIPT_DIGEST = "workflow.receipt_digest"  # of a reproduction: the receipt that it compared with


LATER_TAGS = {  # of a run: set again after its receipt was made, or by other runs
    *(Tags.PROCESS, Tags.ERROR, Tags.REPORT, Tags.RECEIPT, Tags.ALTERED),
    *(Tags.CHAMPION, Tags.WINNER_OF, Tags.DECISION, Tags.REPRODUCED, Tags.REPRODUCED_BY),
}


class Files:
    """Artifacts of runs, by path."""

    TRAINING_SET = "train.parquet"
    TEST_SET = "test.parquet"
    CONTRACT = "contract.yaml"
    FEATURES = "features.py"  # of the user, whose function derives columns
    EXAMPLES = "examples.json"
    REJECTED = "rejected.csv"
    DATA_FACTS = "data_facts.json"
    FINDINGS = "findings.json"
    DATA_REPORT = "data_report.html"
    MODEL = "model/model.skops"  # `model/` leads into the model that the run logged
    INTERVALS = "model/intervals.skops"
    RECEIPT_DIGEST = "model/receipt.sha256"  # of what the receipt of its training says
    OOF_PREDICTIONS = "cross_validation.parquet"
    PREDICTIONS = "predictions.parquet"
    SHAP_VALUES = "shap_values.parquet"
    SHAP_COLOURS = "shap_colours.parquet"
    INTERVAL_CALIBRATION = "interval_calibration.csv"
    EFFECTS = "effects.parquet"
    INTERACTIONS = "interactions.csv"
    LEARNING_CURVE = "learning_curve.csv"  # if it was asked for
    NAMED_SEGMENTS = "segments_by_column.csv"
    WORST_SEGMENTS = "worst_segments.csv"
    SEGMENTS = "segments.csv"
    WORST_PREDICTIONS = "worst_predictions.csv"
    NEAREST_ROWS = "nearest_rows.csv"  # of the training set, to the worst predictions
    MODEL_REPORT = "report.html"
    MODEL_CARD = "model_card.md"
    LEADERBOARD = "leaderboard.csv"
    LEADERBOARD_FIGURE = "leaderboard.png"
    TRIALS = "trials.parquet"
    TUNING_REPORT = "tuning.html"
    DECISION = "decision.csv"
    DIFFERENCES_FIGURE = "differences.png"
    DRIFT = "drift.csv"
    DRIFT_REPORT = "drift.html"
    HISTORY_REPORT = "history.html"
    RETRAIN_REPORT = "retrain.html"
    COMPARISON = "compare.csv"
    COMPARISON_REPORT = "compare.html"
    EXPLANATION = "explanation.csv"
    EXPLANATION_FIGURE = "explanation.png"
    EXPLANATION_REPORT = "explanation.html"
    SCORED_ROWS = "scored_rows.parquet"  # that the predictions are of
    REPRODUCTION = "reproduction.csv"
    REPRODUCTION_REPORT = "reproduction.html"
    BADGE = "badge.json"
    VERDICT = "verdict.json"
    SIGNED_VERDICT = "verdict.dsse.json"
    VERIFICATION_REPORT = "verify.html"
    RECORDED_RECEIPT = "recorded.json"
    REPRODUCED_RECEIPT = "reproduced.json"
    RECEIPT = "receipt.json"
    PATCH = "uncommitted.patch"
    INPUTS = "inputs"  # copies of the files that were read
    OUTPUT = "output.txt"
