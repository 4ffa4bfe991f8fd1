"""The command line: `wethink …`, its parser and the commands for people."""
