"""Studies: many runs of one experiment, as Optuna plans them, and one report of what they showed.

    undertow study run experiments/vanishing/digits.yaml

`space` says which combinations there are, `ledger` which of them are taken (Optuna's database is the only record),
`driver` keeps the workers of `executor` busy with `trial`s, `results` reads back what came of them, `report` shows it.
"""
