"""What happens after construction: where the values that a class reads flow, and what cuts them from the gradients.

In: a class, and what its constructor made. Out: facts about Parameters that are made or replaced where `forward` runs,
and about Parameters that no gradient reaches. Doubt leads to the sink: what is not understood trains. May know of
`knowledge`, `index`, `facts` and `construction`.
"""
