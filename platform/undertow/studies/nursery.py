"""The first thing that a forkserver imports: it only ever imports and forks trials, so it looks for no garbage."""

import gc

from undertow.garbage import leave_behind

gc.disable()
leave_behind()
