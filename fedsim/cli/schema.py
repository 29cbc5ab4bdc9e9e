"""``fedsim schema``: the JSON schema of a scenario, for editors."""

from __future__ import annotations

import click

from fedsim.cli.plugin import plugin


@click.command(name="schema")
@plugin
def command() -> None:
    """Print the JSON schema of a scenario or sweep file.

    Editors complete and check YAML with it. In VS Code, with the YAML extension: write it to
    fedsim.schema.json, and begin a scenario with "# yaml-language-server: $schema=fedsim.schema.json".
    """
    import json

    from fedsim.scenario.schema import schema

    click.echo(json.dumps(schema(), indent=1, ensure_ascii=False))
