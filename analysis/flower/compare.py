# %% [markdown]
# The same Flower app with and without a fleet: same rounds, a clock, and clients that never make it.
#
#     python analysis/flower/compare.py        # two Flower simulations, then the picture
#
# Writes `analysis/pictures/flower.png`. Each simulation runs in a process of its own.

# %%
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

import fedsim

HERE = Path(__file__).parent
PICTURE = HERE.parent / "pictures" / "flower.png"
COLOURS = {
    "not asked": "#e6e6e6",
    "completed": "#3b7a57",
    "late": "#d9a441",
    "oom": "#b5403a",
    "offline": "#5b7db1",
    "failed": "#333333",
}


# %%
def run(folder: Path, *arguments: str) -> dict[int, dict[str, float]]:
    """What the app's central evaluation says, by round."""
    told = folder / "told.json"
    subprocess.run([sys.executable, HERE / "app.py", *arguments, "--told", told], check=True, timeout=600)
    return {int(number): said for number, said in json.loads(told.read_text(encoding="utf-8")).items()}


# %%
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    without = run(folder, "--without")
    with_fleet = run(folder, "--out", str(folder / "run"))
    ride = fedsim.load(folder / "run")
    rounds, clients = ride.rounds, ride.clients
    scenario = ride.scenario

# %%
figure = plt.figure(figsize=(10, 6.4), layout="constrained")
grid = figure.add_gridspec(2, 2, height_ratios=[1, 1.1])
left, right, below = (figure.add_subplot(part) for part in (grid[0, 0], grid[0, 1], grid[1, :]))

left.plot(list(without), [m["test_accuracy"] for m in without.values()], "o-", c="0.55", label="Flower alone")
left.plot(
    list(with_fleet),
    [m["test_accuracy"] for m in with_fleet.values()],
    "o-",
    c="#3b7a57",
    label="with the fleet",
)
left.set(xlabel="round", ylabel="test accuracy", title="Same rounds", ylim=(0, 1))
left.legend(frameon=False, loc="lower right")

hours = [0.0, *(rounds.end_s / 3600)]
right.plot(hours, [m["test_accuracy"] for m in with_fleet.values()], "o-", c="#3b7a57")
right.set(xlabel="simulated hours", title="The same rounds on the simulated clock", ylim=(0, 1))

# %%
names = list(COLOURS)
device = clients.drop_duplicates("client").set_index("client").device
order = sorted(range(scenario["fleet"]["clients"]), key=lambda c: (str(device.get(c, "~")), c))
cells = [[0] * len(rounds) for _ in order]
for row in clients.itertuples():
    cells[order.index(row.client)][row.round] = names.index(row.outcome)
below.pcolormesh(
    range(1, len(rounds) + 2),
    range(len(order) + 1),
    cells,
    cmap=ListedColormap(list(COLOURS.values())),
    vmin=-0.5,
    vmax=len(names) - 0.5,
    edgecolor="white",
    linewidth=1.5,
)
below.set_yticks(
    [y + 0.5 for y in range(len(order))], [f"{device.get(c, 'never asked')}  {c}" for c in order], fontsize=8
)
below.set_xticks([x + 0.5 for x in range(1, len(rounds) + 1)], range(1, len(rounds) + 1))
below.invert_yaxis()
below.tick_params(length=0)
below.set(xlabel="round", title="Who makes it")
seen = {names[code] for line in cells for code in line}
handles = [Patch(color=colour, label=word) for word, colour in COLOURS.items() if word in seen]
below.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)

figure.savefig(PICTURE, dpi=130)
print(
    f"accuracy after round {len(rounds)}: {without[len(rounds)]['test_accuracy']:.3f} alone, "
    f"{with_fleet[len(rounds)]['test_accuracy']:.3f} with the fleet, at {hours[-1]:.2f} simulated hours"
)
print(
    clients.outcome.value_counts().to_dict(),
    f"clients that completed at least once: "
    f"{clients[clients.outcome == 'completed'].client.nunique()} of {len(order)}",
)
