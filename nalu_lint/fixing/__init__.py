"""Fixes: from a finding to edits, and from edits to files that are whole and checked again.

`planning` asks the rule of a finding for what becomes of the code, and keeps it only if the result parses, is no longer
reported there and is reported nowhere anew. The rules ask the wings: `on_use`, `containers` and `small`, which share
`common`. `applying` fixes one file's bytes (`documents`, `notebook_source`) until nothing more can be fixed, `command`
does so for files, and `preview` shows it.
"""
