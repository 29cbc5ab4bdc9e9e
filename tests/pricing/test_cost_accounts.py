"""Figure 2's memory: the account that explains the paper, and those that do not."""

from __future__ import annotations

import pytest

from fedsim.pricing.accounts import accounts, peak_bytes
from fedsim.pricing.trace import load_trace

PAPER = {(4, 88_000): 2.54, (8, 192_000): 9.89}


@pytest.fixture(scope="module")
def base():
    return load_trace("wav2vec2-base")


@pytest.mark.parametrize(("setting", "paper"), PAPER.items())
def test_values_and_gradients_of_modules_come_to_the_paper(base, setting, paper):
    found = {account.name: account.bytes for account in accounts(base, *setting)}
    assert found["modules"] / 2**30 == pytest.approx(paper, rel=0.02)


def test_the_paper_lies_on_a_line_through_the_weights(base):
    (b1, s1), (b2, s2) = PAPER
    slope = (9.89 - 2.54) / (b2 * s2 - b1 * s1)
    assert 2.54 - slope * b1 * s1 == pytest.approx(4 * base.parameters / 2**30, rel=0.005)


def test_what_autograd_keeps_without_the_loss(base):
    """The account of the design: 2.55e9 bytes at 5.5 s x 4, 12.5e9 at 12 s x 8, on the CPU path."""
    small, large = (
        next(a.bytes for a in accounts(base, *setting) if a.name == "saved without loss") for setting in PAPER
    )
    assert small == pytest.approx(2.55e9, rel=0.002)
    assert large == pytest.approx(12.5e9, rel=0.002)


def test_accounts_are_ordered_as_they_include_each_other(base):
    found = {account.name: account.bytes for account in accounts(base, 4, 88_000)}
    assert found["saved without maps"] < found["saved without loss"] < found["saved"] < found["alive"]
    assert found["alive"] == 4 * base.parameters + peak_bytes(base, 4, 88_000)


def test_only_real_memory_bends(base):
    """Module outputs double with the length, what is alive more than doubles."""

    def growth(name):
        one, two = (next(a.bytes for a in accounts(base, 4, 100_000 * k) if a.name == name) for k in (1, 2))
        weights = 4 * base.parameters
        return (two - weights) / (one - weights)

    assert growth("modules") == pytest.approx(2, rel=0.01)
    assert growth("saved") > 2.3
