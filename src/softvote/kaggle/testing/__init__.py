"""A stand-in for Kaggle on this machine, for tests and for trying things out; nothing else imports it."""

from softvote.kaggle.testing.server import KaggleServer
from softvote.kaggle.testing.state import HostedDataset, HostedKernel
from softvote.kaggle.testing.wire import Failure

__all__ = ["Failure", "HostedDataset", "HostedKernel", "KaggleServer"]
