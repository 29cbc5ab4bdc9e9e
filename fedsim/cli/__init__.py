"""The command line: a table of verbs, each loaded only when it is called.

``fedsim --help`` must be instant, so the group knows each verb's one-line help without importing
it. An :class:`~fedsim.errors.InputError` becomes one line on standard error and exit code 2, any
other :class:`~fedsim.errors.FedsimError`, and a disk that refuses, one line and exit code 1. Ctrl-C
and requests to end become one line that says how to go on (:mod:`fedsim.cli.stop`).
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from typing import Any

import click

from fedsim.cli.stop import Stopped, listening
from fedsim.errors import FedsimError, MovedKeyWarning, one_line
from fedsim.version import __version__

CHAPTERS = {
    "Say what to simulate": {
        "init": "Write a first scenario, every key explained.",
        "validate": "Check a scenario and say what it will need.",
        "describe": "Say what a scenario will do before it does it.",
        "schema": "Print the JSON schema of scenarios, for editors.",
    },
    "Run it": {
        "run": "Run a scenario and write a run directory.",
        "sweep": "Run a scenario at many points and write one table.",
        "finetune": "Fine-tune a run's model for speech recognition.",
    },
    "Look at it": {
        "report": "Make the figures and the report of a run again.",
        "compare": "Lay runs over each other: time and energy to a target.",
    },
    "Devices, models and years": {
        "devices": "List the devices, or show one with its sources.",
        "cost": "Price one training step on one device.",
        "fit": "Find what makes training fit on a device.",
        "feasible": "Find the year in which training becomes practical.",
        "calibrate": "Measure this machine and write a device file for it.",
        "trace": "Trace a model's layers and write its layer trace.",
    },
    "The paper": {
        "reproduce": "Hold fedsim against every figure of the paper.",
    },
}
VERBS = {verb: meaning for chapter in CHAPTERS.values() for verb, meaning in chapter.items()}


class LazyGroup(click.Group):
    """A click group whose commands are modules of this package, imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order in which people meet them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module and return its command."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"fedsim.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        room = max(map(len, VERBS))
        for chapter, verbs in CHAPTERS.items():
            with formatter.section(chapter):
                formatter.write_dl([(verb.ljust(room), meaning) for verb, meaning in verbs.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fedsim")
def fedsim() -> None:
    """Can this fleet of devices train this model, how long does it take, and what breaks?

    Start with: fedsim run quickstart. Each verb has a --help of its own.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0, 1 (a fault), 2 (bad input) or 128 + signal (130 for Ctrl-C)."""
    try:
        with listening(), warnings.catch_warnings():
            _say_moved_keys()
            result = fedsim.main(arguments, prog_name="fedsim", standalone_mode=False)
            sys.stdout.flush()
        sys.exit(result if isinstance(result, int) else 0)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        stopped = error.__cause__ if isinstance(error.__cause__, Stopped) else Stopped()
        _say(stopped)
        sys.exit(stopped.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        sys.exit(error.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        help_line = f"; see {context.command_path} --help" if context else ""
        _say(f"{error.format_message().rstrip('.')}{help_line}")
        sys.exit(error.exit_code)
    except FedsimError as error:
        _say(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        _say(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
        sys.exit(1)


def _say_moved_keys() -> None:
    """Make a line of the warning that a key goes by another name today."""
    show = warnings.showwarning

    def say(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, MovedKeyWarning):
            _say(message)
        else:
            show(message, category, *where, **more)

    warnings.showwarning = say


def _say(what: object) -> None:
    """One line on standard error, if anybody listens."""
    with contextlib.suppress(OSError):
        print(f"fedsim: {one_line(what)}", file=sys.stderr, flush=True)
