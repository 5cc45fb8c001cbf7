"""What functions do with attributes, as sets of names: see `usage`."""

from __future__ import annotations


class Usage:
    """What one function, or several together, do with attributes."""

    def __init__(self) -> None:
        self.reads: set[str] = set()  # attributes of self, by value
        self.cut_reads: set[str] = set()  # those of which only a detached copy is read: it trains nothing
        self.stores: set[str] = set()  # attributes of self assigned, deleted or changed in place
        self.handed: set[str] = set()  # attributes of self taken without calling them: `hook(self.f)`
        self.foreign_reads: set[str] = set()  # attributes of other objects, by value
        self.inner_reads: set[tuple[str, str]] = set()  # self.a.b as (a, b): by the name of the object
        self.kinds: dict[str, set[str]] = {}  # attributes of self assigned new objects, and of which class
        self.mentions: set[str] = set()  # every attribute of self that is touched at all
        # Attributes and variables whose value may become part of another: read, and not only to
        # test it, to initialise something in place, or to give it a second name.
        self.own_flows: set[str] = set()
        self.foreign_flows: set[str] = set()
        self.variable_flows: set[str] = set()
        self.names: set[str] = set()  # bare names loaded
        self.handed_names: set[str] = set()  # bare names loaded other than to call them
        self.parameter_names: set[str] = set()  # attributes assigned a new Parameter
        self.aliases: set[tuple[str, str]] = set()  # attributes assigned another attribute as it is
        self.results: set[tuple[str, str]] = set()  # attributes assigned the result of a call, and of which
        self.names_parameters_dynamically: bool = False  # setattr(self, computed, Parameter(...))
        self.parameter_variables: set[str] = set()  # variables assigned one
        self.makes_parameters: bool = False
        self.getattr_prefixes: set[str] = set()  # getattr(self, f"weight_{i}") reads "weight_*"
        self.given_self: set[str] = set()  # functions and classes called by name with self
        self.reads_anything: bool = False  # computed names, __dict__, self handed to someone unknown
        self.reads_all_parameters: bool = False
        self.flows_all_parameters: bool = False  # and not only their names

    def update(self, other: Usage) -> None:
        self.reads |= other.reads
        self.cut_reads |= other.cut_reads
        self.stores |= other.stores
        self.handed |= other.handed
        self.foreign_reads |= other.foreign_reads
        self.inner_reads |= other.inner_reads
        for name, kinds in other.kinds.items():
            self.kinds.setdefault(name, set()).update(kinds)
        self.mentions |= other.mentions
        self.own_flows |= other.own_flows
        self.foreign_flows |= other.foreign_flows
        self.variable_flows |= other.variable_flows
        self.names |= other.names
        self.handed_names |= other.handed_names
        self.parameter_names |= other.parameter_names
        self.results |= other.results
        self.names_parameters_dynamically |= other.names_parameters_dynamically
        self.aliases |= other.aliases
        self.parameter_variables |= other.parameter_variables
        self.makes_parameters |= other.makes_parameters
        self.getattr_prefixes |= other.getattr_prefixes
        self.given_self |= other.given_self
        self.reads_anything |= other.reads_anything
        self.reads_all_parameters |= other.reads_all_parameters
        self.flows_all_parameters |= other.flows_all_parameters


class FunctionUsage:
    """The usage of a function's own code, and that of the functions that it makes for later."""

    def __init__(self, now: Usage, later: Usage) -> None:
        self.now = now
        self.later = later
