"""The fixes that change one expression or statement: one file for each, and `kinds`, what values are, for one of them.

In: a finding. Out: a `Rewrite`. Knows of `common`.
"""
