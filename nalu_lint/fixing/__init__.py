"""Fixes: from a finding to edits, and from edits to files that are whole and checked again.

`planning` asks the rule of a finding for edits, applies them to the text and keeps them only if the result
parses, is no longer reported there and is reported nowhere anew. `on_use`, `tie`, `wrapped_last`, `containers`,
`rebound`, `cut_reads`, `loss` and `flags` plan the edits of the rules. `applying` fixes one file's bytes until nothing
more can be fixed; `atomic` puts them in its place.
"""
