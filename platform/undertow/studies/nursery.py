"""What every trial needs, imported once by the forkserver from which their processes come; nothing is computed here."""

import undertow.studies.trial
import undertow.train.denormals
import undertow.train.job  # noqa: F401
