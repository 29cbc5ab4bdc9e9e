"""Cross-checks of a scenario against what exists: devices, links, trends, layer traces."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fedsim.errors import InputError, ScenarioError
from fedsim.scenario.model import Scenario


def check_names(scenario: Scenario) -> None:
    """Look every name of the scenario up.

    Raises:
        ScenarioError: with the key path of the first name that leads nowhere.
    """
    import fedsim.hardware as hardware
    import fedsim.pricing as pricing
    from fedsim.fleet import speech
    from fedsim.pricing.sizes import is_speech, settled

    _look_up(hardware.load_trend, scenario.hardware.trend, "hardware.trend")
    for i, entry in enumerate(scenario.fleet.mix):
        _look_up(hardware.load_device, entry.device, f"fleet.mix[{i}].device")
        _look_up(hardware.load_link, entry.link, f"fleet.mix[{i}].link")
    if scenario.server.device is not None:
        _look_up(hardware.load_device, scenario.server.device, "server.device")
    _look_up(pricing.load_trace, scenario.training.model, "training.model")
    trace, block = pricing.load_trace(scenario.training.model), scenario.workload
    sizes, wanted = list(block.sizes), list(trace.sizes)
    kind, right = f"an example of {trace.name} has {', '.join(wanted) or 'no size'}", ": ..., ".join(wanted)
    if block.examples is not None:
        if sorted(sizes) != sorted(wanted):
            right = f"give {{{right}: ...}}" if wanted else "leave them out"
            raise ScenarioError(f"{', '.join(sizes) or 'none'} given; {kind}: {right}", key="workload.sizes")
        usual = {name: n if isinstance(n, int) else round(n.mean) for name, n in block.sizes.items()}
        _look_up(partial(settled, trace, None), usual, "workload.sizes")
        return
    if not is_speech(trace):
        right = f"{{examples: 100{f', sizes: {{{right}: 128}}' if wanted else ''}}}"
        raise ScenarioError(
            f"is about utterances, and {kind}; say how many examples a client has, as in {right}",
            key="workload",
        )
    _look_up(speech.load, scenario.workload.corpus, "workload.corpus")


def _look_up(load: Callable[..., object], name: object, key: str) -> None:
    try:
        load(name)
    except InputError as error:
        own = isinstance(name, str) and error.file is None
        raise ScenarioError(error.message if own else str(error), key=key) from None
