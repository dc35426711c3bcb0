"""The first import of a forkserver, which only imports modules and forks trials: it needs no garbage collection."""

import gc

from undertow._system.gc import collect_rarely

gc.disable()
collect_rarely()
