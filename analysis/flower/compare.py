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
from fedsim.report.style import LIGHT
from fedsim.report.words import OUTCOME_WORDS

HERE = Path(__file__).parent
PICTURE = HERE.parent / "pictures" / "flower.png"
COLOURS = {"not asked": LIGHT.grid, **LIGHT.outcome}  # the report's, for every kind of colour vision
ALONE, FLEET = "#E69F00", LIGHT.blue


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

alone, fleet = ([100 * m["test_accuracy"] for m in told.values()] for told in (without, with_fleet))
left.plot(list(without), alone, "s--", c=ALONE, label="Flower alone")
left.plot(list(with_fleet), fleet, "o-", c=FLEET, label="with the fleet")
left.set(xlabel="rounds done", ylabel="test accuracy (%)", title="Same rounds", ylim=(0, 102))
left.legend(frameon=False, loc="lower right")

hours = [0.0, *(rounds.end_s / 3600)]
right.plot(hours, fleet, "o-", c=FLEET)
right.set(xlabel="simulated time (hours)", title="The same rounds on the simulated clock", ylim=(0, 102))
for ax in (left, right):
    ax.grid(axis="y", color=LIGHT.grid)
    ax.spines[["top", "right"]].set_visible(False)

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
below.set(xlabel="round", ylabel="device and number of the client", title="Who makes it")
below.spines[:].set_visible(False)
seen = {names[code] for line in cells for code in line}
handles = [
    Patch(color=colour, label=OUTCOME_WORDS.get(word, word))
    for word, colour in COLOURS.items()
    if word in seen
]
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
