"""A fleet is priced by the module that the app trains, and by nothing that nobody named."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.serverapp.strategy import FedAvg
from torch import nn
from torch.nn import functional

import fedsim
from fedsim.errors import FedsimError, InputError
from fedsim.flower import Fleet

FLEET = """
name: mine
seed: 3
fleet:
  clients: 4
  mix:
    - {device: jetson-xavier-nx, share: 0.5, link: wifi}
    - {device: raspberry-pi-4, share: 0.5, link: wifi}
"""
OWN = FLEET + "workload: {examples: 50}\ntraining: {batch_size: 8}\nrounds: {count: 2, cohort: 4}\n"


def cnn() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10))


def digits(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(n, 1, 8, 8), torch.zeros(n, dtype=torch.int64)


def entropy(net: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return functional.cross_entropy(net(batch[0]), batch[1])


def points(n: int) -> torch.Tensor:
    return torch.zeros(n, 20)


def squares(net: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return net(batch).square().mean()


def words(n: int, tokens: int) -> torch.Tensor:
    return torch.zeros(n, tokens, dtype=torch.int64)


#: model, batch, loss, size, how large an example is, parameters
MODELS = {
    "pictures": (cnn, digits, entropy, None, None, (9 + 1) * 8 + (72 + 1) * 10),
    "points": (nn.Linear(20, 6), points, squares, None, None, (20 + 1) * 6),
    "text": (
        lambda: nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 50)),
        words,
        squares,
        "tokens",
        96,
        50 * 16 + (16 + 1) * 50,
    ),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def written(tmp_path):
    """Writes a scenario and gives its path."""

    def write(text: str = OWN) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def text_of(page: Path) -> str:
    """What a person reads on a page, but for the keys of the scenario and what columns mean."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"<(script|style|svg|details|pre).*?</\1>", "", text, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


@pytest.mark.parametrize("which", MODELS)
def test_time_memory_and_transfers_are_the_modules_own(which, tmp_path, written, local_grid, initial):
    model, batch, loss, size, length, parameters = MODELS[which]
    changes = {} if size is None else {"workload.sizes": {size: length}}
    fleet = Fleet(
        written(), tmp_path / "run", model=model, batch=batch, loss=loss, sizes=size or (), changes=changes
    )
    fleet.wrap(FedAvg()).start(grid=local_grid(4), initial_arrays=initial, num_rounds=2)
    run = fedsim.load(tmp_path / "run")
    assert len(run.clients) == 8
    assert (run.clients.outcome == "completed").all()
    assert (run.clients.downloaded_bytes == 4 * parameters).all()
    assert (run.clients.uploaded_bytes == 4 * parameters).all()
    path = fedsim.trace(model, tmp_path, name="alone", batch=batch, loss=loss, sizes=size or (), workers=1)
    sizes = None if size is None else {size: length}
    for device, rows in run.clients.groupby("device"):
        whole, rest = (fedsim.cost(device, str(path), batch=n, sizes=sizes) for n in (8, 50 % 8))
        assert rows.compute_s.to_numpy() == pytest.approx((50 // 8) * whole["step_s"] + rest["step_s"])
        assert rows.footprint_bytes.to_numpy() == pytest.approx(whole["footprint_bytes"])
    name = {"pictures": "Sequential", "points": "Linear", "text": "Sequential"}[which]
    assert [label for label in run.manifest["inputs"] if label.startswith("traces/")] == [
        f"traces/{name}.json"
    ]
    read = text_of(tmp_path / "run" / "report.html")
    assert f"Can 4 clients train {name} in 2 rounds" in read
    assert not re.search(r"speech|utterance|wav2vec|sentence", read, re.IGNORECASE)


def test_a_second_start_traces_nothing(tmp_path, written, monkeypatch):
    first = Fleet(written(), model=cnn, batch=digits, loss=entropy)
    monkeypatch.setattr("fedsim.tracing.trace.trace", None)
    assert Fleet(written(), model=cnn, batch=digits, loss=entropy).loaded == first.loaded


def test_an_app_really_trains_what_is_priced(tmp_path, written, local_grid):
    from flwr.app import Array, ArrayRecord

    images = torch.from_numpy(np.random.default_rng(0).normal(size=(10, 1, 8, 8)).astype(np.float32))
    labels = torch.arange(10)
    torch.manual_seed(0)
    start = torch.nn.utils.parameters_to_vector(cnn().parameters()).detach().numpy()

    def answer(client, message):
        net = cnn()
        vector = torch.from_numpy(message.content["arrays"]["w"].numpy().copy())
        torch.nn.utils.vector_to_parameters(vector, net.parameters())
        if message.metadata.message_type != "train":
            return None, {"eval_loss": float(entropy(net, (images, labels))), "num-examples": 10}
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(5):
            optimizer.zero_grad()
            loss = entropy(net, (images, labels))
            loss.backward()
            optimizer.step()
        trained = torch.nn.utils.parameters_to_vector(net.parameters()).detach().numpy()
        return trained, {"train_loss": float(loss), "num-examples": 10}

    fleet = Fleet(written(), tmp_path / "run", model=cnn, batch=digits, loss=entropy, report=False)
    arrays = ArrayRecord({"w": Array(start)})
    fleet.wrap(FedAvg()).start(grid=local_grid(4, answer), initial_arrays=arrays, num_rounds=3)
    run = fedsim.load(tmp_path / "run")
    losses = run.convergence[run.convergence.split == "validation"].value.to_numpy()
    assert len(losses) == 3
    assert (np.diff(losses) < 0).all()
    assert run.manifest["flower"]["arrays_bytes"] >= 4 * 810 == run.clients.uploaded_bytes[0]


def test_nothing_is_priced_as_something_that_nobody_named(written):
    speech = FLEET + "rounds: {count: 2, cohort: 4}\n"
    for text in (speech, speech + "training: {batch_size: 2}\n", speech + "training: {model: null}\n"):
        with pytest.raises(InputError, match=r"mine\.yaml: training\.model: "):
            Fleet(written(text))
    with pytest.raises(InputError, match="nobody says what the app trains; give its module"):
        Fleet(written(speech))
    Fleet(written(speech), changes={"training.model": "wav2vec2-base"})
    Fleet(written(speech + "training: {model: wav2vec2-base}\n"))


def test_two_models_are_one_or_refused(tmp_path, written):
    ours = {"model": cnn, "batch": digits, "loss": entropy}
    fedsim.trace(cnn, tmp_path, name="same", batch=digits, loss=entropy, workers=1)
    named = OWN.replace("training: {", "training: {model: same.json, ")
    assert Fleet(written(named), **ours).loaded.scenario.training.model.endswith("Sequential.json")
    fedsim.trace(
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10)
        ),
        tmp_path,
        name="gelu",
        batch=digits,
        loss=entropy,
        workers=1,
    )
    two_layers_more = (9 + 1) * 16 + (16 * 9 + 1) * 32 + (32 * 2 * 2 + 1) * 64 + (64 + 1) * 10
    for other, parameters in (("digits-cnn", f"{two_layers_more:,}"), ("gelu.json", "810")):
        with pytest.raises(InputError, match=f"is '{other}', but .* 810 parameters, not {parameters}, or"):
            Fleet(written(named.replace("same.json", other)), **ours)
        with pytest.raises(InputError, match=f"is '{other}', but "):
            Fleet(written(named), changes={"training.model": other}, **ours)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "resnet-18", "batch": digits, "loss": entropy}, "model is 'resnet-18'; it is a module"),
        ({"model": cnn, "batch": digits}, "batch=, which makes batches, and loss="),
        ({"model": cnn, "batch": digits, "loss": "train_loss"}, "the name of a metric is loss_key="),
        ({"batch": digits}, "give the module that they go with"),
        ({"loss": "train_loss"}, "the name of a metric is loss_key="),
        ({"sizes": "tokens"}, "give the module that they go with"),
        ({"model": cnn, "batch": digits, "loss": squares}, "Sequential cannot be run without numbers: "),
        (
            {"model": cnn, "batch": digits, "loss": lambda net, b: net(b[0])},
            r"its loss is a tensor \[2, 10\]",
        ),
        ({"model": cnn, "batch": words, "loss": entropy, "sizes": "tokens"}, "Sequential cannot be run"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(settings, said, written):
    with pytest.raises(FedsimError, match=said) as found:
        Fleet(written(), **settings)
    assert "\n" not in str(found.value)


def test_a_model_without_a_workload_of_its_own_is_refused(written):
    """Utterances have a length in samples, and these models' examples none, or one in tokens."""
    for which, right in (("pictures", "{examples: 100}"), ("text", "{examples: 100, sizes: {tokens: 128}}")):
        model, batch, loss, size, _, _ = MODELS[which]
        for workload in ("", "workload: {utterances: 40}\n"):
            with pytest.raises(InputError, match=rf"workload: is about utterances, .*{re.escape(right)}"):
                Fleet(
                    written(FLEET + workload + "rounds: {count: 2, cohort: 4}\n"),
                    model=model,
                    batch=batch,
                    loss=loss,
                    sizes=size or (),
                )
