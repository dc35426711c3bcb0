"""Training: one job (`job`) of a Learner over TaskData, what it records, measures and saves on its way."""
