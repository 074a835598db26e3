"""``python -m dagster_contracts``: the commands, where no script is installed."""

from dagster_contracts.cli.main import main

main()
