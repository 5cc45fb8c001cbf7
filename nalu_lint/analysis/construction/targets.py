"""Where values go: the targets of assignments, and what `del` removes."""

from __future__ import annotations

import libcst as cst

from nalu_lint.analysis.construction.expressions import Expressions
from nalu_lint.analysis.construction.state import MODULE_DICTIONARIES
from nalu_lint.analysis.construction.tree import Site
from nalu_lint.analysis.construction.values import (
    ANY,
    NOT_CONSTANT,
    Container,
    Method,
    ModuleObject,
    Param,
    Tensor,
    Value,
    single,
)


class Targets(Expressions):
    """Assigns values to names, attributes and elements."""

    def bind(self, name: str, value: Value) -> None:
        self.frames[-1].environment.variables[name] = value
        for atom in value:
            if isinstance(atom, Param) and not atom.variable:
                atom.variable = name

    def assign(self, target: cst.CSTNode, value: Value, statement: cst.CSTNode) -> None:
        if isinstance(target, cst.Name):
            self.bind(target.value, value)
        elif isinstance(target, cst.Attribute):
            self.assign_attribute(self.evaluate(target.value), target.attr.value, value, statement)
        elif isinstance(target, cst.Subscript):
            self.assign_element(target, value, statement)
        elif isinstance(target, cst.Tuple | cst.List):
            self.unpack(target, value, statement)
        elif isinstance(target, cst.StarredElement):
            self.assign(target.value, value, statement)

    def unpack(self, target: cst.Tuple | cst.List, value: Value, statement: cst.CSTNode) -> None:
        elements = self.exact_elements(value)
        count = len(target.elements)
        starred = [i for i, e in enumerate(target.elements) if isinstance(e, cst.StarredElement)]
        parts: list[Value]
        if elements is None or (len(elements) != count and not starred) or len(elements) < count - 1:
            joined = self.iterate(value)
            parts = [joined] * count
            for index in starred:
                rest = self.container("list", statement, index)
                self.heap.add(rest, ANY, joined)
                parts[index] = single(rest)
        elif starred:
            (index, *_) = starred
            behind = count - index - 1
            rest = self.container("list", statement, index)
            self.heap.new_elements(rest, elements[index : len(elements) - behind])
            parts = [*elements[:index], single(rest), *elements[len(elements) - behind :]]
        else:
            parts = elements
        for element, part in zip(target.elements, parts, strict=True):
            self.assign(element.value, part, statement)

    def assign_attribute(self, base: Value, name: str, value: Value, statement: cst.CSTNode) -> None:
        site = Site(self.frames[-1].segment, statement)
        is_certain = len(base) == 1
        for atom in base:
            if isinstance(atom, ModuleObject):
                self.store(atom, name, self.as_registered(value, site), site, is_certain=is_certain)
            elif isinstance(atom, Param | Tensor):
                self.assign_tensor_attribute(atom, name, value, is_certain=is_certain)
            else:
                self.escape(value)

    def assign_element(self, target: cst.Subscript, value: Value, statement: cst.CSTNode) -> None:
        base = self.evaluate(target.value)
        key = self.index_of(target)
        for atom in base:
            if isinstance(atom, Container):
                if key is NOT_CONSTANT:
                    self.heap.add(atom, ANY, value)
                else:
                    self.heap.set(atom, key, value)
            elif isinstance(atom, Param):
                self.written(atom)
            elif isinstance(atom, Tensor):
                shared = {link.parameter for link in atom.links if link.shares}
                for parameter in shared:
                    self.written(parameter)
                if not shared and isinstance(target.value, cst.Name | cst.Attribute):
                    self.assign(target.value, base - {atom} | self.compute(single(atom) | value), statement)
            elif isinstance(atom, Method) and atom.name in MODULE_DICTIONARIES:
                site = Site(self.frames[-1].segment, statement)
                if isinstance(atom.receiver, ModuleObject) and isinstance(key, str):
                    self.store(atom.receiver, key, value, site, is_certain=len(base) == 1)
            else:
                self.escape(value)

    def delete(self, target: cst.CSTNode) -> None:
        if isinstance(target, cst.Tuple):
            for element in target.elements:
                self.delete(element.value)
        elif isinstance(target, cst.Attribute):
            for atom in self.evaluate(target.value):
                if isinstance(atom, ModuleObject):
                    self.remove(atom, target.attr.value)
        elif isinstance(target, cst.Subscript):
            key = self.index_of(target)
            for atom in self.evaluate(target.value):
                if isinstance(atom, Method) and isinstance(atom.receiver, ModuleObject) and isinstance(key, str):
                    self.remove(atom.receiver, key)
                elif isinstance(atom, Container):
                    self.discard(self.heap.remove(atom, key) or frozenset())
        elif isinstance(target, cst.Name):
            self.frames[-1].environment.variables.pop(target.value, None)
