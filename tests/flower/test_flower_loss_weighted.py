"""Loss-weighted aggregation, against weights computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.exception import InconsistentMessageReplies

from fedsim.flower import LossWeighted


def reply(node, values, dtype=np.float32, **metrics):
    sent = Message(RecordDict({}), dst_node_id=node, message_type="train")
    arrays = ArrayRecord({"b": Array(np.array(values, dtype)), "a": Array(np.array(values[:1], dtype))})
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord(metrics)}), reply_to=sent)


def test_weights_are_the_softmax_of_the_negative_loss():
    strategy = LossWeighted()
    replies = [reply(1, [0.0, 1.0], train_loss=0.0), reply(2, [4.0, 5.0], train_loss=math.log(3.0))]
    arrays, metrics = strategy.aggregate_train(1, replies)
    assert strategy.shares == pytest.approx({1: 0.75, 2: 0.25})
    assert arrays["b"].numpy().tolist() == [1.0, 2.0]
    assert arrays["a"].numpy().tolist() == [1.0]
    assert arrays["b"].numpy().dtype == np.float32
    assert metrics["train_loss"] == pytest.approx(0.25 * math.log(3.0))


def test_losses_whose_exponential_is_zero_still_weigh():
    assert int(math.exp(-1.0)) == 0  # what truncation makes of every positive loss
    assert math.exp(-800.0) == 0.0  # what float64 makes of a large one
    strategy = LossWeighted()
    replies = [reply(1, [1.0, 1.0], train_loss=800.0), reply(2, [3.0, 3.0], train_loss=800.0 + math.log(4.0))]
    arrays, _ = strategy.aggregate_train(1, replies)
    assert strategy.shares == pytest.approx({1: 0.8, 2: 0.2})
    assert arrays["b"].numpy() == pytest.approx([1.4, 1.4])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (([1.0, math.inf], {"train_loss": 1.0}), "not finite"),
        (([1.0, 1.0], {"train_loss": math.nan}), "train_loss is nan"),
        (([1.0, 1.0], {"accuracy": 1.0}), "train_loss is missing"),
        (([1.0, 1.0, 1.0], {"train_loss": 1.0}), "other names or shapes"),
        ((["a", "b"], {"train_loss": 1.0}, "<U1"), "no numbers"),
    ],
)
def test_an_update_that_cannot_be_used_is_refused_and_the_rest_aggregated(bad, why):
    strategy = LossWeighted()
    arrays, _ = strategy.aggregate_train(
        1, [reply(1, [7.0, 7.0], train_loss=5.0), reply(2, bad[0], *bad[2:], **bad[1])]
    )
    assert strategy.shares == {1: 1.0}
    assert why in strategy.refused[2]
    assert arrays["b"].numpy().tolist() == [7.0, 7.0]


def test_a_malformed_update_that_comes_first_locks_nobody_out():
    strategy = LossWeighted(fraction_train=0.0)  # nobody is asked: the replies are below
    model = ArrayRecord({"b": Array(np.zeros(2, np.float32)), "a": Array(np.zeros(1, np.float32))})
    assert list(strategy.configure_train(1, model, ConfigRecord({}), None)) == []
    torn = reply(4, [1.0, 1.0], train_loss=0.1)
    torn.content.array_records["arrays"]["a"].data = b"no array"
    good = [reply(node, [3.0, 5.0], train_loss=2.0) for node in (2, 3)]
    arrays, _ = strategy.aggregate_train(1, [reply(1, [9.0, 9.0, 9.0], train_loss=0.1), torn, *good])
    assert arrays["b"].numpy().tolist() == [3.0, 5.0]
    assert set(strategy.refused) == {1, 4}
    assert strategy.shares == {2: 0.5, 3: 0.5}


def test_an_app_without_that_loss_gets_a_sentence():
    with pytest.raises(InconsistentMessageReplies, match=r"reports 'train_loss'.*report accuracy.*loss_key"):
        LossWeighted().aggregate_train(3, [reply(1, [1.0, 1.0], accuracy=0.5)])
    arrays, _ = LossWeighted("nll").aggregate_train(3, [reply(1, [1.0, 1.0], nll=0.5)])
    assert arrays is not None


def test_no_updates_leave_the_model_and_whole_numbers_stay_whole():
    assert LossWeighted().aggregate_train(1, []) == (None, None)
    both = [reply(n, [n, n], np.int64, loss=1.0) for n in (1, 2, 4)]
    arrays, _ = LossWeighted("loss").aggregate_train(1, both)
    assert arrays["a"].numpy().tolist() == [2]  # 7/3, rounded
    assert arrays["a"].numpy().dtype == np.int64
