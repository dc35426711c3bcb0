"""Studies: many runs of one experiment, planned with Optuna, and one report of their results.

    undertow study run experiments/vanishing/digits.yaml

`plan` loads the configuration and checks every combination. `store` records in Optuna's database, the only record,
which combinations are taken and what their results are. `work` runs the trials: a driver keeps the slots busy with
trials in processes of their own. `run` does all of it; `status` and `progress` show how far it is.
"""
