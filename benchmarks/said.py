"""The messages that the code says, found in its syntax: for `benchmarks/messages.py`, which says what they are."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "danqing"
#: Files that hold words which nobody is told: captions, prompts, words of other programs.
QUIET = {
    "measure/evaluation/prompts.py",
    "measure/evaluation/art.py",
    "measure/tell.py",
    "prompt/scenes.py",
    "request/infotext.py",
}
#: Calls whose arguments are no messages: logs, patterns, names in the code of others.
SILENT = {
    "_names",
    "_patterns",
    "cast",
    "compile",
    "encode",
    "get",
    "info",
    "keyed",
    "paint",
    "partition",
    "startswith",
}
SILENT |= {"Published", "TypeVar", "removeprefix", "replace", "settings.pop", "NewType", "fromkeys"}
#: Keywords that hold none.
KEYS = {"examples", "metavar", "hashes", "pattern"}
#: Keywords that hold a message even if it is a single word.
HELP = {"help", "short_help", "description", "does"}
#: Calls that say what is unknown, by the place of that among their arguments.
KINDS = {"UnknownName": 0, "Among": 0, "translate": 2, "Words": 0}
#: Calls whose argument is a message even if it is a single word.
TERMS = {"section", "term", "waiting", "write_heading"}
#: Files in which the names of values are shown: the keys of their dictionaries, and pairs that they yield or return.
NAMED = {"cli/commands/doctor.py", "run/record.py", "store/inspect.py", "measure/table.py"}
#: What the system says of files.
SYSTEM = ("Permission denied", "File exists", "Is a directory", "File name too long", "No such file or directory")
SYSTEM += ("No space left on device", "Not a directory", "Operation not permitted", "Read-only file system")
#: How many texts one expression may choose between.
CHOICES = 8
WORD = re.compile(r"(?<![\w.{])[a-z]{2,}(?![\w=(/.]\w|[=(/_])")
CODE = re.compile(r"\n|^<|^\w+\[|\\[sbdw]|\{\{ ")
HOLE = re.compile(r"\{[^{}]*\}")


def texts(node: ast.expr, fields: str = "{}") -> list[str]:
    """Every text that an expression can be, as a format string; ``fields`` where it is no text."""
    match node:
        case ast.Constant(str(text)):
            return [text.replace("{", "{{").replace("}", "}}")]
        case ast.JoinedStr(values):
            return _joined([texts(value) for value in values])
        case ast.FormattedValue(ast.Call(ast.Attribute(ast.Constant(str(between)), "join"))) if re.search(
            r"\w", between
        ):
            return [f"{{:{between}}}"]
        case ast.FormattedValue(choice) if _choice(choice):
            return texts(choice)
        case ast.IfExp(_, one, other):
            return [*texts(one), *texts(other)]
        case ast.BinOp(left, ast.Add(), right) if _said(node):
            return _joined([texts(left), texts(right)])
    return [fields]


def _joined(parts: list[list[str]]) -> list[str]:
    while len(list(itertools.product(*parts))) > CHOICES:  # the widest choice becomes a hole
        parts = [["{}"] if part is max(parts, key=len) else part for part in parts]
    return ["".join(each) for each in itertools.product(*parts)]


def _said(node: ast.expr) -> bool:
    """Whether an expression is a text that the code says."""
    match node:
        case ast.Constant(str()) | ast.JoinedStr():
            return True
        case ast.BinOp(left, ast.Add(), right):
            return _said(left) or _said(right)
        case ast.IfExp(_, one, other):
            return _said(one) or _said(other)
    return False


def _choice(node: ast.expr) -> bool:
    """Whether an expression chooses between texts alone."""
    if not isinstance(node, ast.IfExp):
        return False
    return all(_choice(one) if isinstance(one, ast.IfExp) else _said(one) for one in (node.body, node.orelse))


def _fields(node: ast.expr) -> Iterator[ast.expr]:
    """What stands in a text and is none."""
    match node:
        case ast.JoinedStr(values):
            parts = [value.value for value in values if isinstance(value, ast.FormattedValue)]
            yield from (each for part in parts for each in (_fields(part) if _choice(part) else [part]))
        case ast.BinOp(left, _, right) | ast.IfExp(_, left, right):
            yield from (each for part in (left, right) for each in (_fields(part) if _said(part) else [part]))


def worded(text: str) -> bool:
    """Whether a format string is made of words, several without a hole, of one line: more are the text of a file."""
    several = HOLE.search(text) or re.search(r"[A-Za-z]{2,}[^A-Za-z]* [^A-Za-z]*[A-Za-z]|[0-9] [a-z]", text)
    return bool(several and " " in text and WORD.search(HOLE.sub(" ", text))) and not CODE.search(text.strip())


class Said(ast.NodeVisitor):
    """The messages of a file, in their order."""

    def __init__(self, place: str, tree: ast.Module, unknown: str):
        self.place, self.unknown, self.found = place, unknown, dict[str, None]()
        self.visit(tree)

    def tell(self, node: ast.expr, *, always: bool = False) -> None:
        """Keep what an expression can say, and look into its fields."""
        if not _said(node):
            self.visit(node)
            return
        for text in texts(node):
            if re.match(r"\s*(danqing|torchrun) ", text):  # examples, with what stands beside them
                beside = (re.split(r"\s{2,}", line.strip()) for line in text.splitlines())
                self.found |= dict.fromkeys(line[1] for line in beside if len(line) > 1)
            elif (always and text.strip()) or worded(text):
                self.found[text] = None
        for each in _fields(node):
            self.visit(each)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.tell(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.tell(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.tell(node) if _said(node) else self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.visit(node.value)

    def visit_Yield(self, node: ast.Yield | ast.Return) -> None:
        if self.place in NAMED and isinstance(node.value, ast.Tuple):
            for each in node.value.elts:
                self.tell(each.values[-1] if isinstance(each, ast.BoolOp) else each, always=True)
        elif node.value:
            self.visit(node.value)

    visit_Return = visit_Yield

    def visit_Dict(self, node: ast.Dict) -> None:
        for key in node.keys:
            if key is not None and self.place in NAMED:
                self.tell(key, always=True)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Nothing is told by a comparison."""

    def visit_Assert(self, node: ast.Assert) -> None:
        """Nor by this."""

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if ast.unparse(node.value) == "Annotated":  # a field, with what it can be
            self.visit(node.slice)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        for each in filter(None, (node.annotation, node.value)):
            self.visit(each)

    def visit_arguments(self, node: ast.arguments) -> None:
        for value in (*node.defaults, *filter(None, node.kw_defaults)):
            self.visit(value)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in KEYS:
            self.tell(node.value, always=node.arg in HELP)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in SILENT:
            return
        if name == "join" and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Constant):
            node = ast.Call(ast.Name(name), node.args, node.keywords)  # what it puts between is no message
        if name in KINDS and len(node.args) > KINDS[name]:
            for kind in texts(node.args[KINDS[name]], ""):
                self.found |= dict.fromkeys([self.unknown.replace("{}", kind, 1)] if kind else [])
        for value in node.args if name in TERMS else ():
            self.tell(value, always=True)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if any("click." in ast.unparse(each) for each in node.decorator_list):  # a command, whose docstring is its help
            self.found |= dict.fromkeys(
                " ".join(each.split()) for each in (ast.get_docstring(node) or "").split("\n\n")
            )
        self.visit(node.args)
        for each in (*node.decorator_list, *node.body):
            self.visit(each)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if any(re.match(r"name(: [^=]+)? = '\w", ast.unparse(each)) for each in node.body):
            self.found |= dict.fromkeys((ast.get_docstring(node) or "").splitlines()[:1])  # what a row does
        self.generic_visit(node)


def messages() -> dict[str, list[str]]:
    """Message -> the files that say it."""
    errors = ast.parse((ROOT / "errors.py").read_text("utf-8"))
    unknown = next(each for each in Said("errors.py", errors, "").found if each.startswith("unknown {} "))
    found = dict[str, list[str]]()
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if place not in QUIET:
            for text in Said(place, ast.parse(path.read_text("utf-8")), unknown).found:
                found.setdefault(text, []).append(place)
    return found | {text: ["the system"] for text in SYSTEM}
