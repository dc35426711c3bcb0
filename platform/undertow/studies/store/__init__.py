"""Which combinations are taken, and their results: Optuna's database (`storage`) as a `ledger` of trials (`trial`)."""
