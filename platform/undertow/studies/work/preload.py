"""The first thing that a forkserver imports: it only ever imports and forks trials, so it looks for no garbage."""

import gc

from undertow._system.gc import skip_final_collection

gc.disable()
skip_final_collection()
