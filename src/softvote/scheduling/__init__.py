"""Where jobs run. The rest of the program knows these functions and what they return, and no more."""

from __future__ import annotations

import functools

from softvote.config.engine import LocalEngine, RayEngine
from softvote.scheduling.caller import Caller, call_here
from softvote.scheduling.engine import Engine


def create_engine(spec: LocalEngine | RayEngine) -> Engine:
    """The engine that a pipeline asks for.

    Raises:
        UserError: Ray is not installed.
    """
    if isinstance(spec, RayEngine):
        from softvote.scheduling.ray import require_ray, run_on_cluster

        require_ray()
        return functools.partial(run_on_cluster, spec=spec)
    if spec.workers == 1:
        from softvote.scheduling.sequential import run_sequential

        return run_sequential
    from softvote.scheduling.processes import prepare, run_local

    prepare()
    return functools.partial(run_local, workers=spec.workers)


def choose_caller(spec: LocalEngine | RayEngine) -> Caller:
    """What calls a function that needs torch, which this process does without where jobs have their own.

    Importing it takes seconds, and a process that looked at a GPU keeps some of its memory.
    """
    if isinstance(spec, RayEngine) or spec.workers == 1:
        return call_here
    from softvote.scheduling.processes import call_forked

    return call_forked
