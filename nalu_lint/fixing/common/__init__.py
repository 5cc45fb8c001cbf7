"""What all fixes share.

In: the text and the `ast` of a file. Out: what is known of its code (`code`, `family`, `bases`, `stores`, `origins`,
`bindings`), and what becomes of its libcst nodes (`changes`, `nodes`, `leftovers`, `imports`, `edits`). Knows of
`analysis/index` and `analysis/knowledge`, and of no other wing of fixes.
"""
