#!/usr/bin/env python3
"""Checks that each public item has an example: `examples.py <rustdoc's JSON>`.

An item has one if its documentation has a compiled block of code, or says where there is one ("has an example").

* A type has one, too, if its documentation links to an item with a block of its own, or a function of its has one.
* A function has one, too, if it is called by an example of its type, of another function of that type, or of an item that
  the documentation of the two links to.

Fields, variants and constants need words alone, which rustc sees to. Hidden items are not in the JSON.
"""
import json
import re
import sys

BLOCK = re.compile(r"^ *```(\S*)\n(.*?)^ *```", re.S | re.M)
TYPES = {"struct", "enum", "union", "trait", "macro", "type_alias"}


def code_of(item):
    """The compiled blocks of an item's documentation."""
    blocks = BLOCK.findall((item or {}).get("docs") or "")
    return "\n".join(code for kind, code in blocks if kind not in ("text", "ignore", "sh", "toml"))


class Crate:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        self.index = document["index"]
        self.seen = set()
        self.without, self.total = [], 0
        self.walk(document["root"])

    def item(self, number):
        return self.index.get(str(number))

    def walk(self, number):
        item = self.item(number)
        if item is None or number in self.seen:
            return
        self.seen.add(number)
        (kind, inner), = item["inner"].items()
        if kind == "use":
            self.walk(inner["id"])
        elif kind == "module":
            for child in inner["items"]:
                if self.item(child) and self.item(child)["visibility"] == "public":
                    self.walk(child)
        elif kind == "function":
            self.count(item, item["name"], code_of(item) or self.told(item))
        elif kind in TYPES:
            functions = self.functions_of(kind, inner)
            near = any(map(code_of, [*functions, *self.links_of(item)]))
            self.count(item, item["name"], code_of(item) or self.told(item) or near)
            self.functions(item, functions)

    def links_of(self, item):
        return map(self.item, item["links"].values())

    def functions_of(self, kind, inner):
        """The functions of a type's own: those of a trait, or of blocks that implement none."""
        lists = [inner["items"]] if kind == "trait" else []
        for number in inner.get("impls", []) if kind in ("struct", "enum", "union") else []:
            block = self.item(number)["inner"]["impl"]
            if block["trait"] is None:
                lists.append(block["items"])
        found = [self.item(number) for numbers in lists for number in numbers]
        shown = [item for item in found if item and (kind == "trait" or item["visibility"] == "public")]
        return [item for item in shown if "function" in item["inner"]]

    def functions(self, owner, functions):
        examples = "\n".join(map(code_of, [owner, *functions, *self.links_of(owner)]))
        for item in functions:
            linked = "\n".join(map(code_of, self.links_of(item)))
            called = re.search(rf"(\.|::|fn ){item['name']}\b", examples + linked)
            self.count(item, f"{owner['name']}::{item['name']}", code_of(item) or self.told(item) or called)

    @staticmethod
    def told(item):
        return re.search(r"\bha(s|ve)\s+(an|a\s+longer)?\s*examples?\b", item["docs"] or "")

    def count(self, item, name, has):
        self.total += 1
        if not has:
            where = item["span"]
            self.without.append(f"{where['filename']}:{where['begin'][0]}: {name} has no example")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    crate = Crate(sys.argv[1])
    print("\n".join(sorted(crate.without)), file=sys.stderr, end="\n" * bool(crate.without))
    if crate.without:
        sys.exit(f"{len(crate.without)} of {crate.total} public items have no example")
    print(f"{crate.total} public types, functions and macros: each has an example")


main()
