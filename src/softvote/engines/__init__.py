"""Where jobs run. The rest of the program knows `create_engine` and what it returns, and no more."""

from __future__ import annotations

import functools

from softvote.engines.base import Engine
from softvote.pipeline import LocalEngine, RayEngine


def create_engine(spec: LocalEngine | RayEngine) -> Engine:
    """The engine that a pipeline asks for.

    Raises:
        UserError: Ray is not installed.
    """
    if isinstance(spec, RayEngine):
        from softvote.engines.cluster import require_ray, run_on_cluster

        require_ray()
        return functools.partial(run_on_cluster, spec=spec)
    if spec.workers == 1:
        from softvote.engines.here import run_here

        return run_here
    from softvote.engines.local import prepare, run_local

    prepare()
    return functools.partial(run_local, workers=spec.workers)
