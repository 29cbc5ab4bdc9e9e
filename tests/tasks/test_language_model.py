"""The language model: what it is made of, what it reads, and that it goes the whole way."""

from __future__ import annotations

import math
import random
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from federations import learnt
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim import paths, scenario, simulation
from fedsim.cli import fedsim
from fedsim.errors import CorpusError, InputError, ScenarioError, TraceError
from fedsim.files import sha256
from fedsim.learning import Federation, Learning
from fedsim.pricing.trace import load_trace
from fedsim.results import load
from fedsim.scenario.file_access import ALLOWED, FileAccess, files_of
from fedsim.simulation.baseline import on_server
from fedsim.simulation.progress import Silent
from fedsim.tasks import LanguageModel
from fedsim.tasks.language_model.data import SPLITS, TextData, divided, passages, unigram_loss
from fedsim.tasks.language_model.options import PythonTopics, TextFiles
from fedsim.tasks.language_model.reading import documents
from fedsim.tracing import configs
from fedsim.tracing.step import Step, Variant
from fedsim.tracing.trace import verify

SMALL = {"width": 8, "layers": 1, "heads": 2, "context": 16}
WORDS = (
    "the",
    "a",
    "phone",
    "learns",
    "to",
    "write",
    "and",
    "sends",
    "what",
    "it",
    "has",
    "learned",
    "at",
    "night",
)


def poem(seed: int, verses: int = 12) -> str:
    """Verses of made-up lines, divided by blank lines."""
    draw = random.Random(seed)
    return "\n\n".join(f"{v}: " + " ".join(draw.choices(WORDS, k=14)) + "." for v in range(verses)) + "\n"


@pytest.fixture
def folder(tmp_path):
    """Six poems, one of them a folder deeper, and what is none."""
    there = tmp_path / "poems"
    (there / "more").mkdir(parents=True)
    for n in range(6):
        (there / ("more" if n == 5 else ".") / f"{n}.txt").write_text(poem(n), encoding="utf-8")
    (there / "notes.md").write_text("not a poem\n")
    return there


# What it is made of


@pytest.mark.parametrize(("width", "layers", "heads"), [(8, 1, 2), (12, 3, 3), (128, 2, 4)])
def test_parameters_by_hand(width, layers, heads):
    model = LanguageModel(width=width, layers=layers, heads=heads).build()
    norm = 2 * width
    attention = (width * 3 * width + 3 * width) + (width * width + width)
    feed_forward = (width * 4 * width + 4 * width) + (4 * width * width + width)
    wanted = 256 * width + layers * (2 * norm + attention + feed_forward) + norm + (256 * width + 256)
    assert sum(p.numel() for p in model.parameters()) == wanted


def test_the_shipped_trace_is_that_of_the_default_model():
    trace = load_trace("language_model")
    assert list(trace.sizes) == ["tokens"]
    assert trace.parameters == 462_592  # by the formula above
    assert LanguageModel().model_name == "language_model"
    assert LanguageModel(context=512).model_name == "language_model"  # no weight depends on the context
    assert LanguageModel(width=64).model_name == "language_model-64-2-4"


@pytest.mark.parametrize("variant", ["cpu/eager/fp32", "cpu/eager/mixed", "cuda/sdpa/mixed"])
@pytest.mark.parametrize(("batch", "tokens"), [(1, 2), (1, 63), (5, 100), (2, 1023)])
def test_the_trace_is_exact_at_lengths_that_nobody_fitted(variant, batch, tokens):
    fitted = Variant(*variant.split("/"))
    verify(load_trace("language_model"), fitted, Step(LanguageModel(), fitted), batch, tokens)


def test_it_is_traced_by_its_name_as_it_is_shipped():
    assert {"language_model", "wav2vec2-tiny"} < set(configs.names())
    assert configs.named("language_model") == LanguageModel()
    for name in ("ctc", "wav2vec2", "language-model"):  # speech is traced by its presets
        with pytest.raises(
            TraceError, match=f"no model '{name}'; fedsim knows .*language_model.*wav2vec2-tiny"
        ):
            configs.named(name)


@pytest.mark.parametrize(("batch", "tokens"), [(1, 64), (3, 100), (8, 257)])
def test_flops_by_hand_and_by_the_counter_of_torch(batch, tokens):
    from torch.utils.flop_counter import FlopCounterMode

    linear = 2 * (128 * 384 + 128 * 128 + 2 * 128 * 512) + 128 * 256
    maps = 2 * 2 * 128 * tokens  # in each of two layers: scores, and what they weigh
    forward = 2 * batch * tokens * (linear + maps)
    trace = load_trace("language_model")
    for metric, wanted in (("forward_flops", forward), ("backward_flops", 2 * forward)):
        assert sum(trace.per_layer(metric, "cpu/eager/fp32", batch, tokens)) == wanted
    task = LanguageModel()
    read = torch.zeros(batch, tokens, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        task.loss(task.build(), (read, read), 0).loss.backward()
    assert counter.get_total_flops() == 3 * forward


def test_nothing_looks_ahead():
    torch.manual_seed(0)
    model = LanguageModel(**SMALL).build().eval()
    read = torch.randint(256, (3, 20))
    with torch.no_grad():
        whole, changed = model(read), model(torch.cat([read[:, :12], 255 - read[:, 12:]], dim=1))
        assert torch.equal(whole[:, :12], changed[:, :12])
        assert not torch.allclose(whole[:, 12:], changed[:, 12:])
        assert torch.allclose(model(read[:, :5]), whole[:, :5], atol=1e-6)


@pytest.mark.parametrize("heads", [3, 5])
def test_heads_divide_the_width(heads, tmp_path):
    data = {
        "name": "x",
        "fleet": {"clients": 2, "mix": [{"device": "raspberry-pi-4", "share": 1.0}]},
        "rounds": {"count": 1, "cohort": 2},
        "learning": {"task": "language_model", "width": 16, "heads": heads},
    }
    with pytest.raises(ScenarioError, match=f"width is 16, which {heads} heads do not divide"):
        scenario.build(data, tmp_path / "x.yaml", ALLOWED)


# What it reads


def test_a_unigram_by_hand():
    train = np.frombuffer(b"aab", np.uint8)
    # each of 256 bytes counts once more: a 3 of 259, b 2 of 259, any other 1 of 259
    assert unigram_loss(train, np.frombuffer(b"a", np.uint8)) == pytest.approx(-math.log(3 / 259))
    assert unigram_loss(train, np.frombuffer(b"abz", np.uint8)) == pytest.approx(
        -(math.log(3 / 259) + math.log(2 / 259) + math.log(1 / 259)) / 3
    )
    assert unigram_loss(train[:0], train) == pytest.approx(math.log(256))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a\nb\n\nc\n \t\n\n  d\n\n", ["a\nb", "c", "  d"]),
        ("a\r\n\r\nb\r\n\r\nc", ["a", "b", "c"]),
        ("a\n\nb", ["a", "b"]),
        ("one\ntwo\nthree", ["one", "two", "three"]),
        (" \n\n ", []),
    ],
)
def test_passages(text, wanted):
    assert passages(text) == wanted


texts = st.dictionaries(
    st.text("abc", min_size=1),
    st.lists(st.text("xyz \n", max_size=12), max_size=12).map("\n\n".join),
    max_size=6,
)


@given(texts=texts, seed=st.integers(0, 2**70))
def test_every_passage_is_in_one_split_of_one_document(texts, seed):
    found, repeated = divided(texts, seed)
    held = [" ".join(p.split()) for splits in found.values() for split in SPLITS for p in splits[split]]
    there = [" ".join(p.split()) for text in texts.values() for p in passages(text)]
    assert len(held) == len(set(held))
    assert set(held) == set(there)
    assert repeated == len(there) - len(held)
    count = {split: sum(len(splits[split]) for splits in found.values()) for split in SPLITS}
    if len(held) >= 3:
        tenth = max(1, round(0.1 * len(held)))
        assert count == {"train": len(held) - 2 * tenth, "validation": tenth, "test": tenth}


@given(seed=st.integers(0, 9), context=st.integers(1, 90), partition=st.sampled_from(["natural", "iid"]))
@settings(max_examples=20)
def test_every_byte_is_predicted_once_and_every_example_is_in_one_part(
    tmp_path_factory, seed, context, partition
):
    there = tmp_path_factory.mktemp("texts")
    for n in range(4):
        (there / f"{n}.txt").write_text(poem(10 * seed + n), encoding="utf-8")
    corpus = TextFiles(path=str(there), seed=seed)
    task = LanguageModel(context=context, corpus=corpus, partition=partition, parts=3)
    data = TextData(task, seed)
    found, _ = divided(documents(corpus), seed)
    for number, split in enumerate(SPLITS):
        examples = np.flatnonzero(data.split == number)
        streams = ["\n\n".join(found[name][split]).encode() for name in sorted(found)]
        assert data.targets(examples).tobytes() == b"".join(stream[1:] for stream in streams)
        read, follows = data.tokens(examples)
        assert follows[follows >= 0].astype(np.uint8).tobytes() == data.targets(examples).tobytes()
        inside = follows[:, :-1] >= 0
        assert np.array_equal(read[:, 1:][inside], follows[:, :-1][inside])
    assert np.array_equal(np.sort(np.concatenate(data.parts)), np.flatnonzero(data.split == 0))
    assert len(data.parts) == 3
    if partition == "natural":
        owners = [set(data.document[part].tolist()) for part in data.parts]
        assert sum(map(len, owners)) == len(set.union(*owners))
    else:
        assert max(map(len, data.parts)) - min(map(len, data.parts)) <= 1
    for split in ("validation", "test"):
        held = np.concatenate(data.held_out(split))
        assert set(held.tolist()) <= set(np.flatnonzero(data.split == SPLITS.index(split)).tolist())


def test_evaluation_is_bounded_and_spread(folder):
    few = LanguageModel(context=8, corpus=TextFiles(path=str(folder)), evaluation_tokens=80).data(0)
    whole = np.flatnonzero(few.split == SPLITS.index("test"))
    held = np.concatenate(few.held_out("test"))
    assert len(held) == 10 < len(whole)
    assert held[0] == whole[0]
    assert held[-1] == whole[9 * len(whole) // 10]


def test_the_topics_of_python_are_a_document_each():
    data = LanguageModel().data(0)
    assert len(data.parts) == len(np.unique(data.document[data.split == 0])) > 50
    found, _ = divided(documents(PythonTopics()), 0)
    train = b"".join("\n\n".join(found[name]["train"]).encode() for name in sorted(found))
    for split in ("validation", "test"):
        guessed = data.targets(np.concatenate(data.held_out(split)))
        assert data.account["unigram_loss"][split] == unigram_loss(np.frombuffer(train, np.uint8), guessed)
    again = LanguageModel(corpus=PythonTopics(seed=1)).data(0)
    assert data.account["sha256"] != again.account["sha256"]


def test_files_of_a_folder_or_one_alone(folder):
    assert list(documents(TextFiles(path=str(folder)))) == [
        "0.txt",
        "1.txt",
        "2.txt",
        "3.txt",
        "4.txt",
        "more/5.txt",
    ]
    assert list(documents(TextFiles(path=str(folder / "2.txt")))) == ["2.txt"]
    assert list(documents(TextFiles(path=str(folder), pattern="[01].*"))) == ["0.txt", "1.txt"]


def test_a_text_may_hold_any_letters(tmp_path):
    file = tmp_path / "letters.txt"
    written = ["è così", "日本語", "абв", "👍 ok"]
    file.write_bytes(("\ufeff" + "\n\n".join(written)).encode())
    data = LanguageModel(context=4, corpus=TextFiles(path=str(file))).data(0)
    # two of four train, two lines apart; of each split's text, all bytes but the first are predicted
    size = sum(len(text.encode()) for text in written) + 2
    assert sum(data.account["tokens"].values()) == size - 3


def nothing(there):
    return there / "nowhere.txt"


def not_text(there):
    (there / "x.txt").write_bytes(b"\xff\xfe")
    return there / "x.txt"


def zeros(there):
    (there / "x.txt").write_bytes(b"a\0b")
    return there / "x.txt"


def no_match(there):
    (there / "x.md").write_text("a\n\nb\n\nc")
    return there


def empty(there):
    (there / "x.txt").write_text("\n \n")
    return there


def two_passages(there):
    (there / "x.txt").write_text("one passage\n\nanother one\n")
    return there


def repetitions(there):
    for name in "xyz":
        (there / f"{name}.txt").write_text("the same text\n")
    return there


def leads_out(there):
    (there.parent / "secret.txt").write_text(poem(0))
    (there / "x.txt").symlink_to(there.parent / "secret.txt")
    return there


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (nothing, "cannot be read: No such file"),
        (not_text, "is not UTF-8 text"),
        (zeros, "holds zero bytes"),
        (no_match, r"holds no file whose name matches '\*.txt'; learning.corpus.pattern says"),
        (empty, "leaves no train text; three passages or more"),
        (two_passages, "leaves no train text; three passages or more"),
        (repetitions, "leaves no train text; three passages or more"),
        (leads_out, "is a link that leads out of .*--allow-outside"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(make, said, tmp_path):
    there = tmp_path / "texts"
    there.mkdir()
    path = make(there)
    with pytest.raises(CorpusError, match=said) as fault:
        LanguageModel(corpus=TextFiles(path=str(path))).data(0)
    assert "\n" not in str(fault.value)
    assert fault.value.file is not None or fault.value.key == "learning.corpus"


def test_a_link_may_lead_out_where_that_is_allowed(tmp_path):
    there = tmp_path / "texts"
    there.mkdir()
    assert documents(TextFiles(path=str(leads_out(there)), outside=True)) == {"x.txt": poem(0)}


@pytest.mark.parametrize(
    ("partition", "what"), [("natural", "6 training documents"), ("iid", "training examples")]
)
def test_too_many_parts(folder, partition, what):
    task = LanguageModel(corpus=TextFiles(path=str(folder)), partition=partition, parts=10_000)
    with pytest.raises(
        CorpusError, match=f"learning.parts: the corpus has .*{what}, too few for 10000 parts"
    ):
        task.data(0)


def test_content_goes_with_the_text_and_not_with_its_place(folder, tmp_path):
    task = LanguageModel(corpus=TextFiles(path=str(folder)))
    moved = tmp_path / "moved"
    folder.rename(moved)
    again = LanguageModel(corpus=TextFiles(path=str(moved)))
    before = again.content()
    assert before == LanguageModel(corpus=TextFiles(path=str(moved), outside=True)).content()
    (moved / "0.txt").write_text(poem(77))
    assert again.content() != before
    assert again.content() != LanguageModel().content()
    with pytest.raises(CorpusError):
        task.content()


# That it goes the whole way


def test_it_learns_the_same_on_any_number_of_workers(folder):
    task = LanguageModel(width=32, layers=1, heads=2, context=32, corpus=TextFiles(path=str(folder)))
    learning = Learning(
        task=task, clients_per_round=4, local_steps=10, batch_size=8, learning_rate=0.01, warmup_rounds=0
    )
    _, values = learnt(Federation(learning=learning, clients=6, rounds=4))
    assert values["perplexity", "test"] == pytest.approx([math.exp(v) for v in values["loss", "test"]])
    guessed = task.data(3).account["unigram_loss"]
    for split in ("validation", "test"):
        assert values["loss", split][0] > 5.0 > guessed[split] > values["loss", split][-1] + 0.2


SCENARIO = """
name: poems
fleet: {clients: 6, mix: [{device: snapdragon-870, share: 1.0, link: lte}]}
workload: {examples: 40, sizes: {tokens: 16}}
training: {model: language_model, batch_size: 8}
rounds: {count: 3, cohort: 4}
learning:
  {task: language_model, corpus: {kind: files, path: PATH}, width: 16, layers: 1, heads: 2, context: 16,
   clients_per_round: 2, local_steps: 2, batch_size: 4, learning_rate: 0.01, evaluate_every: 1}
"""


@pytest.fixture
def poems(folder, tmp_path):
    file = tmp_path / "poems.yaml"
    file.write_text(SCENARIO.replace("PATH", folder.name))
    return file


def test_a_run_from_the_command_line_speaks_of_text(poems, tmp_path):
    runner = CliRunner()
    done = runner.invoke(fedsim, ["validate", str(poems)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    out = tmp_path / "run"
    done = runner.invoke(fedsim, ["run", str(poems), "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    run = load(out)
    assert set(run.convergence["metric"]) == {"loss", "perplexity"}
    assert set(run.convergence["split"]) == {"train", "validation", "test"}
    corpus = run.summary["corpus"]
    assert corpus["documents"] == 6
    assert sum(f"corpus/{n}.txt" in run.manifest["inputs"] for n in range(6)) == 6
    guessed = f"{corpus['unigram_loss']['validation']:.2f}"
    assert f"a loss of {guessed} nats a byte on the validation text" in done.output
    assert f"Guessing bytes by how often they occur has a validation loss of {guessed}" in done.output
    for word in ("speech", "utterance", "speaker", "recording"):
        assert word not in done.output.lower()
    page = (out / "report.html").read_text(encoding="utf-8").partition('id="inputs"')[0]
    for word in ("utterance", "speakers that", "speech corpus"):
        assert word not in page
    assert "evaluated on examples that no client trains on" in page
    shutil.copytree(out, tmp_path / "other")
    both = ["compare", str(out), str(tmp_path / "other"), "--out", str(tmp_path / "both")]
    done = CliRunner().invoke(fedsim, both, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "both" / "compare.html").read_text(encoding="utf-8")
    assert "a global model on the validation split" in page
    assert "WER" not in done.output


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["learning.baseline=centralised", "server.device=nvidia-a40"], "on nvidia-a40, with all the data."),
        (["learning.baseline=local-only", "learning.alone=3"], "client 3 trains alone, with its own data."),
    ],
)
def test_a_baseline_is_told_in_words_of_any_task(poems, tmp_path, changes, said):
    changes = [*changes, "rounds.count=1", "learning.local_steps=1"]
    given = [word for change in changes for word in ("--set", change)]
    done = CliRunner().invoke(
        fedsim, ["run", str(poems), "--out", str(tmp_path / "run"), *given], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    assert said in done.output


class Interrupted(Exception):
    pass


class StopAfterTwo(Silent):
    """Stands for a process that dies when two rounds are done."""

    def round(self, record):
        if record.index == 1:
            raise Interrupted


@pytest.mark.parametrize("name", ["0.txt", "more/5.txt"])
def test_text_that_changes_while_a_run_is_stopped(poems, folder, tmp_path, name):
    with pytest.raises(Interrupted):
        simulation.run(scenario.load(str(poems)), tmp_path / "run", progress=StopAfterTwo())
    resume = ["run", "--resume", str(tmp_path / "run")]
    (folder / name).write_text(poem(99))
    for more, said in (
        ([], "lies outside of the folder"),
        (["--allow-outside"], "are not what this run began"),
    ):
        again = CliRunner().invoke(fedsim, [*resume, *more])
        assert isinstance(again.exception, InputError), again.output
        assert said in str(again.exception)
    (folder / name).write_text(poem(int(name[-5])))
    again = CliRunner().invoke(fedsim, resume, catch_exceptions=False)
    assert again.exit_code == 0, again.output


def test_the_scenario_that_ships_is_valid_and_priced_by_what_it_trains():
    done = CliRunner().invoke(fedsim, ["validate", "text"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = scenario.load(str(paths.data_dir("scenarios") / "text.yaml")).scenario
    task = found.learning.task
    assert found.training.model == task.model_name
    assert found.workload.sizes == {"tokens": task.context}
    assert "Real training of language_model" in done.output


@pytest.mark.parametrize(("cohort", "examples", "work"), [(4, 40, 160), (1, 40, 40), (100, 7, 42)])
def test_in_one_place_a_round_is_the_work_of_a_cohort(poems, cohort, examples, work):
    changes = [
        "learning.baseline=centralised",
        "server.device=nvidia-a40",
        f"rounds.cohort={cohort}",
        f"workload.examples={examples}",
    ]
    whole = on_server(scenario.load(str(poems), changes).scenario)  # of six clients
    assert (whole.workload.examples, whole.workload.sizes) == (work, {"tokens": 16})


def test_a_scenario_reaches_no_text_elsewhere(poems, folder, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    folder.rename(mine / "poems")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    file = theirs / "poems.yaml"
    for path in ("../mine/poems", str(mine / "poems"), "../mine/poems/0.txt"):
        file.write_text(SCENARIO.replace("PATH", path))
        with pytest.raises(ScenarioError, match="lies outside of the folder") as fault:
            scenario.load(str(file))
        assert fault.value.key == "learning.corpus.path"
        loaded = scenario.load(str(file), access=ALLOWED).scenario
        assert loaded.learning.task.corpus.outside is True
        # what a run was made from is known by its content, and nothing else in the folder is
        corpus = {"kind": "files", "path": str(file.parent / path)}
        made_from = files_of({"learning": {"task": "language_model", "corpus": corpus}})
        digests = frozenset(map(sha256, made_from))
        assert len(digests) == (1 if path.endswith("txt") else 6)
        known = FileAccess(known=digests)
        assert scenario.load(str(file), access=known).scenario.learning.task.corpus.outside is False
        with pytest.raises(ScenarioError, match="lies outside"):
            scenario.load(str(file), access=FileAccess(known=frozenset(list(digests)[1:])))
    file.write_text(SCENARIO.replace("path: PATH", "path: ../mine/poems, pattern: '*'"))
    with pytest.raises(ScenarioError, match="lies outside"):
        scenario.load(str(file), access=known)


@pytest.mark.parametrize("corpus", ["python-topics", "{kind: python-topics}", "{seed: 3}"])
def test_text_without_a_path_may_be_used_by_whoever_allows_everything(poems, corpus):
    poems.write_text(SCENARIO.replace("{kind: files, path: PATH}", corpus))
    loaded = scenario.load(str(poems), access=ALLOWED).scenario
    assert isinstance(loaded.learning.task.corpus, PythonTopics)


@pytest.mark.parametrize(
    ("corpus", "said"),
    [
        ("{kind: files}", "learning.corpus: 'files' needs the key 'path' beside it"),
        ("{kind: espeak}", "learning.corpus.kind: 'espeak' is not one of 'python-topics' or 'files'"),
        ("{kind: files, path: poems, patern: x}", "did you mean 'pattern'"),
        (
            "{kind: python-topics, outside: true}",
            "the key 'outside' belongs to files, not to 'python-topics'",
        ),
    ],
)
def test_a_corpus_that_is_none_is_one_sentence(poems, corpus, said):
    poems.write_text(SCENARIO.replace("{kind: files, path: PATH}", corpus))
    done = CliRunner().invoke(fedsim, ["validate", str(poems)])
    assert isinstance(done.exception, ScenarioError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_folder_that_is_not_there_yet_is_said(poems, folder, tmp_path):
    folder.rename(tmp_path / "elsewhere")
    poems.write_text(SCENARIO.replace("width: 16, layers: 1, heads: 2, ", "").replace("PATH", "poems"))
    done = CliRunner().invoke(fedsim, ["validate", str(poems)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "The corpus poems is not there; say where it is: --set learning.corpus.path=PATH" in done.output
