"""How `make docs` builds the pages."""

import re

project = "ringleader"
author = "the ringleader developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
exclude_patterns = ["requirements.txt"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
myst_heading_anchors = 3

SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")
ITEM = re.compile(r"( ?)\d+\. ")
CODE = re.compile(r"(?<![`:])`([^`]+)`(?=(\w?))")


def as_code(line):
    if line.count("`") % 2:  # goes on in the next line
        return line
    return CODE.sub(lambda code: f"``{code[1]}``" + ("\\ " if code[2] else ""), line)


def show_as_written(app, what, name, obj, options, lines):
    """Docstrings are made to be read in the source.  Tables of names and diagrams in them become
    literal blocks here, `names` code; numbered lists lose the space before one-digit numbers."""
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    written: list[str] = []
    in_section = False
    for paragraph in paragraphs:
        if not paragraph:
            continue
        if not paragraph[0].startswith(" "):
            in_section = SECTION.match(paragraph[0]) is not None
        is_indented = all(line.startswith("    ") for line in paragraph)
        if in_section:
            written += map(as_code, paragraph)
        elif ITEM.match(paragraph[0]):
            for line in paragraph:
                if item := ITEM.match(line):
                    indent = len(item[1])
                written.append(as_code(line[indent:]))
        elif is_indented or any(re.search(r"\S {3,}\S|[│▼►]", line) for line in paragraph):
            written += ["::", "", *("    " + line for line in paragraph)]
        else:
            written += map(as_code, paragraph)
        written.append("")
    lines[:] = written


def setup(app):
    app.connect("autodoc-process-docstring", show_as_written, priority=400)  # before napoleon
