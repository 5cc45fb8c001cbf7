"""The published experiments on neural arithmetic units, all seeds of a row trained at once.

    python -m nalu_reference.experiments product --units NMU --seeds 100 --replay --out results

`protocols` says what is learned, `networks` by what, `streams` from which numbers, `engine` trains, `results` counts,
`published` is what others measured, `plots` draws. Needs `pip install 'nalu-reference[experiments]'`.
"""
