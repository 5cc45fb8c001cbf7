"""What is known of libraries, as tables: names, and what the things that they name do.

In: nothing. Out: sets and dictionaries of dotted names. Knows of no other wing.
"""
