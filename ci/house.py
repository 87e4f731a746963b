#!/usr/bin/env python3
"""Checks how the house is built: `house.py <root of the repository>`.

* src: no file imports from a floor above its own; FLOORS has them from the ground up.
* src, capi/src, lab/src, preload/src: no files import each other in a circle, however long.
* src: only src/sync names the atomics of core, std or loom.
* No Rust file of src, capi/src, lab/src, preload/src and tests, and no C file of host, has more than LINES lines.
* docs/DEPENDENCIES.md has each direct dependency of each package with its reason, and no other.
* docs/README.md and CONTRIBUTING.md name each page of docs, each folder, and each check.

An import is a `use`, or a path in the code that begins at crate, super, self or a module of the file's own. What a
module passes on by `pub use` counts as its definer's, so that a folder's mod.rs may show what its files have.
"""
import os
import re
import sys
import tomllib

FLOORS = ["sync", "contract", "trace", "layout", "verify", "percpu", "stock", "owners", "routines", "pool"]
LINES = 500
# Stands for any path into the atomics of core, std or loom.
ATOMICS = ["atomics"]
TOKEN = re.compile(
    r"""(?P<skip>//[^\n]*|/\*.*?\*/|b?r(?P<hash>\#*)".*?"(?P=hash)|[bc]?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^'\\])')"""
    r"""|(?P<token>'?[A-Za-z_]\w*|::|[{}();,*<])""",
    re.S,
)


def tokens_of(text):
    """(token, line) of the code, without comments and literals."""
    line, at = 1, 0
    for match in TOKEN.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        if match["token"]:
            yield match["token"], line


class File:
    """What a file says: its modules, what it imports, and what it passes on."""

    def __init__(self, path, module):
        self.path, self.module = path, module
        self.uses = []  # (absolute path, line)
        self.passed_on = {}  # name to absolute path
        text = open(path, encoding="utf-8").read()
        self.lines = text.count("\n")
        self.tokens = list(tokens_of(text))
        self.children = {
            self.tokens[n + 1][0]
            for n in range(len(self.tokens) - 2)
            if self.tokens[n][0] == "mod" and self.tokens[n + 2][0] == ";"
        }
        self.read()

    def token(self, at):
        return self.tokens[at][0] if at < len(self.tokens) else ""

    def absolute(self, path, inside):
        """The path from the crate's root, if it leads into this crate; `inside`: modules within the file."""
        here, first = self.module + inside, path[0]
        if first == "crate":
            return path[1:]
        if first == "self":
            return here + path[1:]
        if first == "super":
            while path and path[0] == "super":
                here, path = here[:-1], path[1:]
            return here + path
        if not inside and first in self.children:
            return here + path
        return None

    def tree(self, at, before):
        """The paths of a use tree, and where it ends."""
        path = list(before)
        while True:
            token = self.token(at)
            if token == "{":
                found, at = [], at + 1
                while self.token(at) != "}":
                    some, at = self.tree(at, path)
                    found += some
                    at += self.token(at) == ","
                return found, at + 1
            if token == "as":
                return [(path, self.token(at + 1))], at + 2
            if token == "::":
                at += 1
            elif token and (token == "*" or token[0].isalpha() or token[0] == "_"):
                path.append(token)
                at += 1
            else:
                if path[-1] == "self" and len(path) > 1:
                    path.pop()
                return [(path, path[-1])], at

    def read(self):
        at, depth, inside, opened = 0, 0, [], []
        public = False
        while at < len(self.tokens):
            token, line = self.tokens[at]
            if token == "{":
                depth += 1
            elif token == "}":
                depth -= 1
                if opened and opened[-1] == depth:
                    opened.pop()
                    inside.pop()
            elif token == "mod" and self.token(at + 2) == "{":
                inside.append(self.token(at + 1))
                opened.append(depth)
                depth += 1
                at += 2
            elif token == "pub":
                if self.token(at + 1) == "(":
                    while self.token(at) != ")":
                        at += 1
                public = self.token(at + 1) == "use"
            elif token == "use" and self.token(at + 1) != "<":
                found, at = self.tree(at + 1, [])
                for path, name in found:
                    self.add(path, name, inside, line, public)
                public = False
                continue
            elif self.token(at + 1) == "::" and self.token(at - 1) != "::":
                path = [token]
                while self.token(at + 1) == "::" and re.match(r"\w", self.token(at + 2)):
                    path.append(self.token(at + 2))
                    at += 2
                self.add(path, None, inside, line, False)
            at += 1

    def add(self, path, name, inside, line, public):
        if any(pair == ("sync", "atomic") for pair in zip(path, path[1:])):
            self.uses.append((ATOMICS, line))
        absolute = self.absolute(path, inside)
        if absolute is None:
            return
        if public and not inside:
            self.passed_on[name] = absolute
            # Passing on what is one's own is no import.
            if absolute[: len(self.module)] == self.module:
                return
        self.uses.append((absolute, line))


class Crate:
    def __init__(self, folder):
        self.folder, self.files = folder, {}
        for path in files_in(folder, ".rs"):
            parts = path[len(folder) + 1 : -len(".rs")].split("/")
            module = [] if parts == ["lib"] else parts[:-1] if parts[-1] == "mod" else parts
            if parts != ["main"]:
                self.files[tuple(module)] = File(path, module)
        # From module to module, with the line of the first import.
        self.edges = {module: self.imports(file) for module, file in self.files.items()}

    def definer(self, path, seen=()):
        """The module that has what the path names."""
        length = next(n for n in range(len(path), -1, -1) if tuple(path[:n]) in self.files)
        rest = path[length:]
        passed_on = self.files[tuple(path[:length])].passed_on.get(rest[0]) if rest else None
        if passed_on and passed_on not in seen:
            return self.definer(passed_on + rest[1:], (*seen, passed_on))
        return tuple(path[:length])

    def imports(self, file):
        edges = {}
        for path, line in file.uses:
            if path != ATOMICS and (module := self.definer(path)) != tuple(file.module):
                edges.setdefault(module, line)
        return edges

    def where(self, module, line):
        return f"{self.files[module].path}:{line}"

    def way_back(self, start):
        """A shortest way from a module to itself, and all that it reaches."""
        came_from, queue = {}, [start]
        for module in queue:
            for target in self.edges[module]:
                if target not in came_from:
                    came_from[target] = module
                    queue.append(target)
        circle = [start] if start in came_from else []
        while circle and (len(circle) == 1 or circle[-1] != start):
            circle.append(came_from[circle[-1]])
        return circle[::-1], came_from.keys()

    def circles(self):
        """Of each set of files that reach one another, a shortest circle."""
        ways = {module: self.way_back(module) for module in sorted(self.files)}
        told = set()
        for start, (circle, reached) in ways.items():
            if circle and start not in told:
                together = [module for module in reached if start in ways[module][1]]
                told.update(together)
                circle = min((ways[module][0] for module in together), key=len)
                steps = [self.where(a, self.edges[a][b]) for a, b in zip(circle, circle[1:])]
                yield f"{steps[0]}: imports in a circle: {', '.join(steps[1:])}, and there again"

    def upwards(self):
        for module, edges in sorted(self.edges.items()):
            if module and module[0] not in FLOORS:
                yield f"{self.files[module].path}: on none of the floors {', '.join(FLOORS)}"
                continue
            for target, line in edges.items() if module else []:
                if target and target[0] in FLOORS and FLOORS.index(target[0]) > FLOORS.index(module[0]):
                    yield f"{self.where(module, line)}: {module[0]} imports from {target[0]}, a floor above it"

    def atomics(self):
        for module, file in sorted(self.files.items()):
            for path, line in file.uses:
                if path == ATOMICS and module[:1] != ("sync",):
                    yield f"{file.path}:{line}: names atomics; only src/sync may, and others take them from there"


def files_in(folder, ending):
    for at, folders, names in os.walk(folder):
        folders.sort()
        yield from (f"{at}/{name}" for name in sorted(names) if name.endswith(ending))


def long_files():
    for folder, ending in [("src", ".rs"), ("capi/src", ".rs"), ("lab/src", ".rs"), ("preload/src", ".rs"), ("tests", ".rs"), ("host", ".c")]:
        for path in files_in(folder, ending):
            lines = open(path, encoding="utf-8").read().count("\n")
            if lines > LINES:
                yield f"{path}: {lines} lines, {LINES} are allowed"


def manifests():
    for at, folders, names in os.walk("."):
        folders[:] = sorted(set(folders) - {"target", ".git", "src"})
        if "Cargo.toml" in names:
            yield os.path.relpath(at, "."), tomllib.load(open(f"{at}/Cargo.toml", "rb"))


def dependencies():
    """(dependency, package) of each manifest: the library and its tests are the root's, others have their folder's name."""
    for folder, manifest in manifests():
        for part in [manifest, *manifest.get("target", {}).values()]:
            for kind in ("dependencies", "dev-dependencies", "build-dependencies"):
                of = folder if folder != "." else "tests" if kind == "dev-dependencies" else "library"
                for name, how in part.get(kind, {}).items():
                    name = how.get("package", name) if isinstance(how, dict) else name
                    if not name.startswith("storport-pool"):
                        yield name, of


def unexplained():
    page = "docs/DEPENDENCIES.md"
    rows = re.findall(r"^\| `([\w-]+)` \| ([\w, /-]+) \| (\S.*) \|$", open(page, encoding="utf-8").read(), re.M)
    told = {(name, of) for name, where, _ in rows for of in where.split(", ")}
    for name, of in sorted(set(dependencies()) - told):
        yield f"{page}: {name} of {of} is missing"
    for name, of in sorted(told - set(dependencies())):
        yield f"{page}: {of} has no {name}"


def unmentioned():
    """What a visitor sees is on the maps."""
    index, map_of_all = (open(page, encoding="utf-8").read() for page in ("docs/README.md", "CONTRIBUTING.md"))
    for name in sorted(os.listdir("docs")):
        if name.endswith(".md") and name != "README.md" and f"({name})" not in index:
            yield f"docs/README.md: no line for {name}"
    for name in sorted(os.listdir(".")):
        if os.path.isdir(name) and not name.startswith(".") and name != "target" and f"`{name}/`" not in map_of_all:
            yield f"CONTRIBUTING.md: no line for {name}/"
    for name in sorted(os.listdir("ci")):
        if name.endswith(".sh") and f"`ci/{name}" not in map_of_all:
            yield f"CONTRIBUTING.md: no line for ci/{name}"


def main():
    os.chdir(sys.argv[1])
    core, others = Crate("src"), [Crate("capi/src"), Crate("lab/src"), Crate("preload/src")]
    wrong = [*core.upwards(), *core.atomics(), *long_files(), *unexplained(), *unmentioned()]
    for crate in [core, *others]:
        wrong += crate.circles()
    for line in wrong:
        print(line)
    if wrong:
        sys.exit(1)
    files = sum(len(crate.files) for crate in [core, *others])
    imports = sum(len(edges) for crate in [core, *others] for edges in crate.edges.values())
    print(f"{files} files, {imports} imports: none upwards, none in a circle; none too long; each dependency has its reason")


main()
