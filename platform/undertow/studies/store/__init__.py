"""What is taken and what came of it: Optuna's database (`storage`), seen as trials of combinations (`ledger`)."""
