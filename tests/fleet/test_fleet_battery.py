"""Batteries, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim import checks
from fedsim.errors import InputError
from fedsim.fleet import Battery, Fleet, Group
from fedsim.fleet.battery import LOOK_AHEAD_S
from fedsim.fleet.hours import Hours
from fedsim.hardware import Link

HOUR, DAY = 3600.0, 86400.0
WIFI = Link("wifi", "Wi-Fi", 2021, 6e6, 2e6, 0.02, 0.0, 1.0, {}, "wifi.yaml")


def fleet_of(*batteries, offset=0.0):
    groups = [Group(str(k), 1.0, WIFI, battery=b, utc_offsets_s=(offset,)) for k, b in enumerate(batteries)]
    fleet = Fleet.build(groups, len(batteries), 3)
    order = [int(g.device) for g in fleet.groups]
    place = {device: client for client, device in enumerate(np.array(order)[fleet.group])}
    return fleet, np.array([place[k] for k in range(len(batteries))])


def drain(battery, charge, start, end, power, offset=0.0):
    fleet, clients = fleet_of(battery, offset=offset)
    after, empty = fleet.battery.drain(
        clients, np.array([charge]), np.array([start]), np.array([end]), np.array([power])
    )
    return float(after[0]), float(empty[0])


def test_unplugged_it_is_a_division():
    never = Battery(capacity=1000.0, floor=0.2, plugged="never")
    assert drain(never, 700.0, 50.0, 90.0, 5.0) == (500.0, np.inf)
    assert drain(never, 700.0, 50.0, 150.0, 5.0) == (200.0, 150.0)
    assert drain(never, 700.0, 50.0, np.inf, 5.0)[1] == 150.0
    assert drain(never, 200.0, 50.0, 60.0, 5.0)[1] == 50.0


def test_plugged_in_it_charges_up_to_its_capacity():
    night = Battery(capacity=1e6, floor=0.1, charge=10.0, plugged=Hours(22 * HOUR, 30 * HOUR))
    # At noon, at rest: nothing until 22:00, then 36 kJ an hour.
    assert drain(night, 5e5, 12 * HOUR, 22 * HOUR, 0.0)[0] == 5e5
    assert drain(night, 5e5, 12 * HOUR, 24 * HOUR, 0.0)[0] == 5e5 + 72e3
    assert drain(night, 9e5, 12 * HOUR, 40 * HOUR, 0.0)[0] == 1e6
    # At 4 W: down 40 h x 4 W in the day, up 6 W x 3600 an hour in the night.
    assert drain(night, 5e5, 12 * HOUR, 24 * HOUR, 4.0)[0] == 5e5 - 10 * HOUR * 4 + 2 * HOUR * 6
    # In Rome it is plugged in an hour earlier by UTC.
    assert drain(night, 5e5, 12 * HOUR, 22 * HOUR, 0.0, offset=3600.0)[0] == 5e5 + 36e3


def test_what_the_night_gives_back_decides_whether_it_is_ever_empty():
    night = Battery(capacity=1e6, floor=0.1, charge=10.0, plugged=Hours(22 * HOUR, 30 * HOUR))
    # 3 W takes 16 h x 3 W = 173 kJ by day and gains 8 h x 7 W = 202 kJ by night: never.
    assert drain(night, 5e5, 6 * HOUR, np.inf, 3.0)[1] == np.inf
    # 4 W loses 230 kJ by day and gains 173 kJ: 58 kJ a day, from 500 kJ down to 100 kJ.
    empty = drain(night, 5e5, 6 * HOUR, np.inf, 4.0)[1]
    lows = [5e5 - 16 * HOUR * 4 - k * (16 * HOUR * 4 - 8 * HOUR * 6) for k in range(9)]
    day = next(k for k, low in enumerate(lows) if low <= 1e5)
    assert empty == pytest.approx(day * DAY + 22 * HOUR - (1e5 - lows[day]) / 4)


def test_always_plugged_in_and_strong_enough_is_never_empty():
    wall = Battery(capacity=1e6, charge=10.0, plugged=Hours())
    assert drain(wall, 5e5, 0.0, np.inf, 10.0)[1] == np.inf
    assert drain(wall, 5e5, 0.0, np.inf, 11.0)[1] == pytest.approx(3e5)


def test_a_client_without_a_battery_has_no_end():
    fleet, clients = fleet_of(None, Battery(capacity=1000.0))
    charge = fleet.battery.initial_j(clients)
    assert charge[0] == np.inf
    assert 200.0 < charge[1] < 1000.0
    assert fleet.battery.start_j(clients).tolist() == [-np.inf, 300.0]
    after, empty = fleet.battery.drain(clients, charge, np.zeros(2), np.full(2, np.inf), np.full(2, 1e9))
    assert after[0] == np.inf
    assert empty[0] == np.inf
    assert empty[1] < 1.0
    assert fleet_of(None)[0].battery is None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_spending_in_two_steps_is_spending_in_one(data):
    battery = Battery(capacity=1e6, floor=0.1, charge=8.0, plugged=Hours(22 * HOUR, 30 * HOUR))
    charge = data.draw(st.floats(1.1e5, 1e6))
    start = data.draw(st.floats(0.0, 3 * DAY))
    middle = start + data.draw(st.floats(0.0, 2 * DAY))
    end = middle + data.draw(st.floats(0.0, 2 * DAY))
    power = data.draw(st.floats(0.0, 12.0))
    whole, empty = drain(battery, charge, start, end, power)
    half, empty_half = drain(battery, charge, start, middle, power)
    assert empty_half == pytest.approx(empty if empty <= middle else np.inf, rel=1e-9) or (
        abs(empty - middle) < 1e-3
    )
    if np.isinf(empty_half) and half > 1e5:
        rest, empty_rest = drain(battery, half, middle, end, power)
        if np.isinf(empty):
            assert rest == pytest.approx(whole, rel=1e-9)
        assert empty_rest == pytest.approx(empty, rel=1e-9)


def test_the_look_ahead_is_a_year():
    slow = Battery(capacity=1e12, floor=0.0, plugged="never")
    assert drain(slow, 1e12, 0.0, np.inf, 1e12 / LOOK_AHEAD_S / 1.01)[1] == np.inf
    assert drain(slow, 1e12, 0.0, np.inf, 1e12 / LOOK_AHEAD_S * 1.01)[1] < LOOK_AHEAD_S


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"capacity": "0J"}, "capacity: '0J' is not above zero"),
        ({"floor": 0.3}, "start 0.3 must lie above floor 0.3"),
        ({"start": 1.1}, "start: 1.1 is not at most 1"),
        ({"charge": "-1W"}, "charge: '-1W' is not above zero"),
        ({"plugged": "sometimes"}, "plugged: is 'sometimes'; give overnight, never or hours such as"),
        ({"plugged": {"opens": "19h", "closes": "17h"}}, "plugged: 68400 s to 61200 s after midnight are no"),
        ({"plugged": {"opens": "9h", "closs": "17h"}}, "plugged.closs: 'closs' is not a known key"),
    ],
)
def test_a_battery_that_cannot_be_is_refused(change, said):
    with pytest.raises(InputError) as fault:
        checks.check(Battery, change)
    assert said in str(fault.value)


def test_it_may_be_plugged_in_at_hours_of_ones_own():
    battery = checks.check(Battery, {"plugged": {"opens": "9h", "closes": "17h"}})
    assert battery.hours == Hours(9 * HOUR, 17 * HOUR)
    assert checks.check(Battery, checks.dump(battery)) == battery
