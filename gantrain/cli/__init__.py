"""The `gantrain` command: its subcommands, options, errors and exit statuses."""
