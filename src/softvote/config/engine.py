"""Where trainings run, as a pipeline file says under `engine`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from softvote.config.schema import ConfigError, Strict


class LocalEngine(Strict):
    """Trainings run in processes of this machine."""

    name: Literal["local"] = "local"
    """`local`: trainings run in processes of this machine."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Number of trainings at once; 1 for one after the other in the command itself; if omitted, as many as
    there are cores and memory for."""
    devices_per_training: Annotated[int, Field(ge=1)] = 1
    """Number of processes that train one network together, each on its share of every batch: GPUs, or where
    there are none, shares of the cores. The same network within noise, and nothing is trained anew for it."""


class RayEngine(Strict):
    """Trainings run on a Ray cluster whose nodes have softvote's dependencies; its code is sent to them."""

    name: Literal["ray"]
    """`ray`: trainings run on a Ray cluster."""
    address: str | None = None
    """Address of the cluster's head, as host:port, or `local` for one that starts on this machine and ends
    with the run; if omitted, the variable RAY_ADDRESS says it, else it is one that runs on this machine, or
    `local`."""
    cpus: Annotated[float, Field(gt=0)] = 1.0
    """CPU cores per training."""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """GPUs per training; 0.25 lets four trainings share one."""
    devices_per_training: Annotated[int, Field(ge=1)] = 1
    """Number of processes on a node that train one network together, each on its share of every batch; they
    share the `cpus`, and each takes one of the `gpus`, of which there must be as many or none."""

    @model_validator(mode="after")
    def _each_device_is_asked_for(self) -> RayEngine:
        n = self.devices_per_training
        if n > 1 and (self.cpus < n or self.gpus not in (0, n)):
            what = f"{n} do not fit cpus: {self.cpus:g} and gpus: {self.gpus:g}"
            raise ConfigError.at("devices_per_training", what, f"set cpus: {n} or more, and gpus: {n} or 0")
        return self


def _expand_engine_name(engine: Any) -> Any:
    """`engine: ray` for `engine: {name: ray}`; without a name it is the local one."""
    if isinstance(engine, str):
        return {"name": engine}
    return {"name": "local"} | engine if isinstance(engine, dict) else engine


_Engine = Annotated[LocalEngine | RayEngine, Field(discriminator="name")]


EngineConfig = Annotated[
    _Engine,
    BeforeValidator(_expand_engine_name, json_schema_input_type=Literal["local", "ray"] | _Engine),
]
