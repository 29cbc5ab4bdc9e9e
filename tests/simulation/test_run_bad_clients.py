"""Bad clients asked for in a scenario: counted in every table, and no key is misunderstood."""

import numpy as np
import pytest
from federations import lies

from fedsim import results
from fedsim import simulation as run
from fedsim.errors import InputError
from fedsim.learning.byzantine import ByzantineClients
from fedsim.scenario import load

SCENARIO = """
seed: 3
fleet: {clients: 12, mix: [{device: jetson-xavier-nx, share: 1.0, speed_spread: 0.1}]}
rounds: {count: 2, cohort: 8, aggregate: fedyogi, compression: int8}
learning:
  corpus: {speakers: 6, minutes: 1}
  clients_per_round: 2
  local_steps: 1
  batch_size: 2
  crop_seconds: 1.0
  evaluation_seconds: 4
"""


@pytest.fixture
def scenario(tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    file = tmp_path / "bad.yaml"
    file.write_text(SCENARIO)
    return lambda *overrides: load(file, overrides)


def test_rejected_clients_are_counted_everywhere_and_change_no_time(scenario, tmp_path):
    byzantine = ("learning.byzantine.share=0.4", "learning.byzantine.kind=inf")
    found = results.load(run.run(scenario(*byzantine), tmp_path / "bad"))
    timed = results.load(run.run(scenario("learning=null"), tmp_path / "timed"))
    clients = found.clients
    delivered = (timed.clients["outcome"] == "completed").to_numpy()
    bad = ByzantineClients(lies(0.4, "inf"), 3, 1).among(clients["client"].to_numpy()) & delivered
    assert 0 < bad.sum() < delivered.sum()
    assert ((clients["outcome"] == "rejected").to_numpy() == bad).all()
    assert ((clients["outcome"] == "completed").to_numpy() == delivered & ~bad).all()
    assert (clients["weight"].to_numpy()[bad] == 0).all()
    per_round = [int(bad[clients["round"] == r].sum()) for r in range(2)]
    assert found.rounds["rejected"].tolist() == per_round
    assert found.summary["outcomes"]["rejected"] == sum(per_round)
    assert found.summary["devices"]["jetson-xavier-nx"]["outcomes"]["rejected"] == sum(per_round)
    assert np.isfinite(found.convergence["value"]).all()
    times = ["client", "dispatched_s", "download_s", "compute_s", "upload_s", "ended_s"]
    assert clients[times].equals(timed.clients[times])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "learning.byzantine={kind: evil, share: 0.2}",
            "learning.byzantine.kind: 'evil' is not one of 'nan'",
        ),
        ("learning.byzantine={kind: nan, share: 1.5}", "learning.byzantine.share: 1.5 is not at most 1"),
        ("learning.byzantine={kind: noise}", "learning.byzantine: 'noise' needs the key 'share' beside it"),
        (
            "learning.byzantine={kind: nan, share: 0.2, scale: 3}",
            "the key 'scale' belongs to noise or sign-flip, not to 'nan'",
        ),
        ("learning.largest_update=0", "learning.largest_update: 0 is not above 0"),
        ("learning.largest_update=.inf", "learning.largest_update: inf is not a finite number"),
    ],
)
def test_a_mistake_is_one_sentence(scenario, override, sentence):
    with pytest.raises(InputError) as caught:
        scenario(override)
    assert sentence in str(caught.value)
