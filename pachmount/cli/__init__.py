"""The command line: arguments in, tables or JSON out. Typer and Rich are used in this package only."""
