"""The machine's limit is reckoned from convolutions that are counted as by hand."""

from __future__ import annotations

import pytest
from benchmark import cases, limit

from softvote.inference.network import create_network


def flops_of(layers: list[tuple[int, int, int, int]]) -> int:
    """Of layers (values an output channel, channels in, channels out, kernel)."""
    return sum(2 * places * before * after * kernel**2 for places, before, after, kernel in layers)


@pytest.mark.parametrize(
    ("network", "layers"),
    [
        ("cnn", [(28 * 28, 1, 32, 3), (28 * 28, 32, 32, 3), (14 * 14, 32, 64, 3), (14 * 14, 64, 64, 3)]),
        ("stn_cnn", [(22 * 22, 1, 8, 7), (7 * 7, 8, 10, 5), (26 * 26, 1, 32, 3), (11 * 11, 32, 64, 3)]),
    ],
)
def test_convolutions_are_counted_as_by_hand(network: str, layers: list[tuple[int, int, int, int]]) -> None:
    case = cases.load_case(network)
    model = create_network(case.member, case.competition.task, (1, 28, 28)).model
    assert limit.convolution_flops(model, (1, 28, 28)) == flops_of(layers)


def test_the_five_have_two_cnn_as_their_pipeline_says() -> None:
    loaded = [cases.load_case(network) for network in cases.NETWORKS]
    assert [case.times for case in loaded if case.competition.name == cases.FIVE] == [2, 1, 1, 1]
    assert loaded[0].trainings == 25
    assert (loaded[-1].network, loaded[-1].member.head, loaded[-1].epoch) == ("slot_cnn", "digits", 24_000)
